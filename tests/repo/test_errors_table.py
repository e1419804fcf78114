"""The one table of errors is whole: every class, every code, every listener."""

from __future__ import annotations

import copy
import pickle
import re
from collections import Counter

import pytest

from lithox import errors
from lithox.errors import TABLE, InternalError, LithoxError, meaning_of, rebuild
from lithox.node.native_table import NODE_ROWS
from tests.repo.checkout import tracked

RAISED = {code: rebuild(code, {"message": "m", "a": 1}) for code in TABLE if code != "internal"}


def leaves(kind: type[LithoxError]) -> list[type[LithoxError]]:
    """Returns every class below `kind`."""
    return [leaf for child in kind.__subclasses__() for leaf in [child, *leaves(child)]]


def test_every_class_has_its_code_in_the_table() -> None:
    """The code of every class that may be raised is a row of the table."""
    strangers = [leaf.__name__ for leaf in leaves(LithoxError) if leaf.default_code not in TABLE]
    assert strangers == []


def test_every_code_has_a_class() -> None:
    """Every row but our own bug is rebuilt as a LithoxError of its code."""
    assert {code: error.code for code, error in RAISED.items()} == {c: c for c in RAISED}
    assert type(rebuild("internal", {"message": "m"})) is InternalError


def test_every_code_has_a_summary() -> None:
    """The page of errors can say of every code what happened."""
    assert set(errors.SUMMARIES) == set(TABLE)


def test_guest_statuses_are_unique_and_never_ok() -> None:
    """No two codes are one number in a guest, and none is the number of success."""
    statuses = Counter(row.guest_status for row in TABLE.values())
    assert [status for status, count in statuses.items() if count > 1] == []
    assert errors.STATUS_OK not in statuses


@pytest.mark.parametrize("code", TABLE)
def test_each_row_agrees_with_itself(code: str) -> None:
    """Statuses are in range, and whose fault it is agrees with HTTP and with the command line."""
    row = TABLE[code]
    assert 400 <= row.http_status <= 599
    assert row.exit_status in {1, 2, 3, 4, 5}
    assert row.fault in {"caller", "guest", "node", "peer", "operator", "ours"}
    assert (row.exit_status == 5) == (row.fault == "ours")
    guest_made = ("guest.", "context.", "call.", "process.exited")
    assert (row.exit_status == 1) == code.startswith(guest_made)
    assert row.http_status < 500 or row.fault != "guest"


def test_an_own_code_of_a_handler_has_the_row_of_raised() -> None:
    """Every `app.*` code means outside what `guest.raised` means."""
    assert meaning_of("app.sold_out") is TABLE["guest.raised"]


@pytest.mark.parametrize("code", [*RAISED, "app.sold_out"])
def test_errors_cross_processes(code: str) -> None:
    """(code, fields), pickle and copy each give the same class, code, message and fields back."""
    fields = {"message": "wanted this, found that", "retry_after_ms": 20, "line": 3, "used": None}
    first = rebuild(code, fields)
    assert isinstance(first, LithoxError)
    for again in (
        rebuild(first.code, first.to_fields()),
        pickle.loads(pickle.dumps(first)),
        copy.copy(first),
    ):
        assert type(again) is type(first)
        assert again.code == code
        assert again.to_fields() == first.to_fields()
        assert again.fault == first.fault
        assert again.http_status == first.http_status
        assert again.exit_status == first.exit_status
        assert str(again) == "wanted this, found that"


def test_codes_written_in_the_source_are_in_the_table() -> None:
    """No module names an error code that the table does not have."""
    families = {code.split(".")[0] for code in TABLE} - {"internal"}
    pattern = re.compile(rf'"((?:{"|".join(families)})\.[a-z_]+)"')
    unknown = {
        found
        for path in tracked(".py", under="src")
        for found in pattern.findall(path.read_text("utf-8"))
        if found not in TABLE and not found.startswith("guest.out_of_")
    }
    # A room may also name its modules and crash points so, and calls of native contexts; those
    # are not codes.
    unknown -= {row[0] for row in NODE_ROWS} | {"context.derive"}
    assert {code for code in unknown if code.split(".")[0] not in {"store", "config"}} == set()
