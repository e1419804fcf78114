"""What Python code says of a request is checked where it comes in, compiled or not."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.errors import BadArguments
from lithox.node.node import Node
from lithox.testing.scripted import ScriptedEngine
from tests.unit.node.test_node import bundle_of, run


class Name(StrEnum):
    ENTITY = "counter/a"
    HANDLER = "increment"
    ID = "q1"


class Shown(str):
    """A text whose `str()` is another one."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another"


def test_a_text_of_a_subclass_is_the_text_it_holds(tmp_path: Path) -> None:
    """Members of enumerations may name entities, handlers and requests, wherever they are said."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        assert await node.call(Name.ENTITY, Name.HANDLER, request_id=Name.ID) == 1
        assert await node.call(Shown("counter/a"), "increment") == 2
        assert await node.call("counter/a", "increment", request_id="q1") == 1
        assert await node.atomic([(Name.ENTITY, Name.HANDLER)], request_id=Name.ID) == [3]
        assert type(await node.call_async(Name.ENTITY, Name.HANDLER, request_id=Name.ID)) is str
        found = await node.request_outcome(Name.ID, entity=Name.ENTITY)
        assert found is not None
        assert found.value == 1

    run(tmp_path, body)


WRONG: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((None, "increment"), {}),
    ((b"counter/a", "increment"), {}),
    (("counter/a", 5), {}),
    (("counter/a", "increment"), {"request_id": True}),
    (("counter/a", "increment"), {"limits": {"fuel": 1}}),
    (("counter/a", "increment"), {"limits": lithox.Limits(memory_bytes=-1)}),
    (("counter/a", "increment"), {"deadline_ms": 1.5}),
    (("counter/a", "increment"), {"caller": "alice"}),
]


@pytest.mark.parametrize(("names", "options"), WRONG)
def test_what_is_of_a_wrong_kind_is_refused(
    tmp_path: Path, names: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """By the error of a bad argument, whichever way it is asked; nothing has run."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        for ask in (
            lambda: node.call(*names, **options),
            lambda: node.call_async(*names, **options),
            lambda: node.atomic([names], **options),
            lambda: node.atomic_async([names], **options),
        ):
            with pytest.raises(BadArguments):
                await ask()
        assert await node.call("counter/a", "increment") == 1

    run(tmp_path, body)


def test_the_rest_of_what_can_be_said_is_checked_too(tmp_path: Path) -> None:
    """URLs of call-backs, groups that are none, and what is looked up."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        wrong: Any = 5
        for ask in (
            lambda: node.call_async("counter/a", "increment", callback=wrong),
            lambda: node.atomic(wrong),
            lambda: node.atomic([wrong]),
            lambda: node.request_outcome(wrong),
            lambda: node.request_outcome("r", entity=wrong),
            lambda: node.request_outcome("r", caller=wrong),
        ):
            with pytest.raises(BadArguments):
                await ask()

    run(tmp_path, body)


@pytest.mark.parametrize("wrong", [1.5, float("inf"), "1"])
def test_a_limit_that_is_no_whole_number_is_refused(tmp_path: Path, wrong: Any) -> None:
    """By the node, or by the record itself where that is compiled; never as a bug of the node."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine))
        try:
            limits = lithox.Limits(fuel=wrong)
        except TypeError:
            return
        for ask in (node.call, node.call_async):
            with pytest.raises(BadArguments, match="limit fuel is a whole number"):
                await ask("counter/a", "increment", limits=limits)

    run(tmp_path, body)
