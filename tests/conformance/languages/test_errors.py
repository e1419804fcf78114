"""An error of a handler arrives with its code, message, data and place; nothing else remains."""

from __future__ import annotations

import re

import pytest

from tests.conformance.languages.languages import RAISED
from tests.conformance.languages.world import World


def test_plain_error_is_raised(world: World) -> None:
    """An error without a code of its own is `guest.raised`, with its message."""
    error = world.fail(world.fresh(), "fail", "it is ä broken")
    assert error.code == "guest.raised"
    assert "it is ä broken" in error.message


def test_own_code_is_kept(world: World) -> None:
    """A code of the handler's own arrives as `app.` and the code; the message is its own."""
    error = world.fail(world.fresh(), "fail", "sold out, sorry", "sold_out")
    assert (error.code, error.message) == ("app.sold_out", "sold out, sorry")
    error = world.fail(world.fresh(), "fail", "nested", "shop.stock.sold_out")
    assert (error.code, error.message) == ("app.shop.stock.sold_out", "nested")


@pytest.mark.parametrize("code", ["internal", "guest.out_of_fuel", "request.not_permitted"])
def test_no_code_of_the_node_can_be_feigned(world: World, code: str) -> None:
    """Whatever a handler calls its error, it is told as the handler's."""
    assert world.fail(world.fresh(), "fail", "feigned", code).code == f"app.{code}"


@pytest.mark.parametrize("code", ["has space", "UPPER/slash", "x" * 1000, "\x00"])
def test_code_that_is_no_code(world: World, code: str) -> None:
    """What cannot be a code is none: the error is a plain one."""
    assert world.fail(world.fresh(), "fail", "odd", code).code == "guest.raised"


@pytest.mark.needs("error_data")
def test_data_goes_with_an_error(world: World) -> None:
    """Fields of an error's own are told to its owner."""
    data = {"left": 3, "of": ["apples", {"kind": None}]}
    error = world.fail(world.fresh(), "fail", "sold out", "sold_out", data)
    assert error.fields["data"] == data


@pytest.mark.needs("error_line")
def test_traceback_names_file_and_line(world: World) -> None:
    """The traceback has the module's name and the line on which the error was raised."""
    error = world.fail(world.fresh(), "fail", "here")
    line = world.language.line_of(RAISED)
    assert line is not None
    file_name = world.language.source_name or world.language.file_name
    place = re.escape(file_name) + rf"\D{{1,12}}{line}\b"
    assert re.search(place, error.fields["traceback"]), error.fields["traceback"]


def test_failed_run_leaves_the_state(world: World) -> None:
    """After an error everything is as before, what was put, edited and deleted alike."""
    entity = world.fresh()
    world.put(entity, "count", 3)
    world.put(entity, "key", {"a": [1]})
    before, version = world.state(entity), world.node.statistics()["store_visible_version"]
    error = world.fail(entity, "put_fail", "key", "other", "no")
    assert error.code == "guest.raised"
    assert world.state(entity) == before
    assert world.node.statistics()["store_visible_version"] == version
    assert world.call(entity, "increment") == 4


def test_error_that_is_caught_is_none(world: World) -> None:
    """A handler catches its own errors in its language's way."""
    assert world.call(world.fresh(), "catch") == "caught"


def test_long_message_is_bounded(world: World) -> None:
    """A message of a megabyte fails the run like any other, and arrives no longer than it was."""
    entity = world.fresh()
    error = world.fail(entity, "fail", "x" * (1 << 20), "long")
    assert error.code in {"app.long", "guest.raised", "guest.out_of_output"}
    assert len(error.message) <= 1 << 20
    assert world.call(entity, "increment") == 1
