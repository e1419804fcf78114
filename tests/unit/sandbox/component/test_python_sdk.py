"""`sdk/python/lithox_handler.py`, with a host of the test's own in place of the component's."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

SDK = Path(__file__).parents[4] / "sdk" / "python" / "lithox_handler.py"


class Host(ModuleType):
    """A host that keeps a state, as JSON text."""

    def __init__(self, state: dict[str, str]) -> None:
        super().__init__("host")
        self.state = state
        self.asked: list[tuple[str, ...]] = []

    def get(self, key: str) -> str | None:
        """Returns a key's JSON."""
        self.asked.append(("get", key))
        return self.state.get(key)

    def put(self, key: str, text: str) -> None:
        """Writes a key."""
        self.asked.append(("put", key))
        self.state[key] = text

    def delete(self, key: str) -> None:
        """Deletes a key."""
        self.asked.append(("delete", key))
        self.state.pop(key, None)

    def info(self) -> Any:
        """Returns what a run is told of itself."""
        return SimpleNamespace(seed=1, entity="e", caller="c", request_id=None, attempt=1, now=0)

    def Error(self, code: str, message: str, data: str, where: str) -> Any:  # noqa: N802
        """Makes the world's error; named as the bindings name it."""
        return SimpleNamespace(code=code, message=message, data=data, traceback=where)


@pytest.fixture
def host() -> Host:
    """A host whose entity has one key."""
    return Host({"a": "1"})


@pytest.fixture
def sdk(host: Host, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, imported as a component imports it, with no handler yet."""
    for name, module in {
        "wit_world": SimpleNamespace(WitWorld=object),
        "wit_world.imports": SimpleNamespace(host=host),
        "componentize_py_types": SimpleNamespace(Err=type("Err", (Exception,), {})),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("lithox_handler", SDK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec.loader.exec_module(module)
    return module


async def coroutine(self: Any) -> None:
    """No handler of a component."""


async def pages(self: Any) -> AsyncIterator[int]:
    """No handler of a component."""
    yield 1


def rows(self: Any) -> Iterator[int]:
    """No handler of a component."""
    yield 1


@pytest.mark.parametrize("function", [coroutine, pages, rows])
def test_only_plain_functions_are_handlers(sdk: Any, function: Any) -> None:
    """What runs nothing when it is called is refused while the component is built, by its name."""
    shown = function.__name__
    for decorate in (sdk.handler, sdk.handler("other")):
        with pytest.raises(TypeError, match=f"^{shown}: .* `def {shown}\\(self, ...\\)`, without"):
            decorate(function)
    with pytest.raises(TypeError, match="is a plain function"):
        sdk.handler(Host)
    assert sdk.WitWorld().handlers() == []


def test_plain_function_is_a_handler(sdk: Any, host: Host) -> None:
    """A handler runs with self and its arguments, under its own or another name."""

    def add(self: Any, by: int = 1) -> int:
        self.state["a"] += by
        return self.state["a"]

    sdk.handler(add)
    sdk.handler("plus")(add)
    world = sdk.WitWorld()
    assert world.handlers() == ["add", "plus"]
    assert (world.run("add", "[]"), world.run("plus", "[5]")) == ("2", "7")
    assert host.state == {"a": "7"}


def test_deleting_what_is_absent_is_a_key_error(sdk: Any, host: Host) -> None:
    """`del self.state[key]` speaks of a key that is not there as a dict does; pop has a default."""
    state = sdk.State()
    with pytest.raises(KeyError, match="nowhere"):
        del state["nowhere"]
    del state["a"]
    with pytest.raises(KeyError, match="a"):
        del state["a"]
    assert state.pop("a", None) is None
    state.flush()
    assert host.state == {}
    assert [asked for asked in host.asked if asked[0] == "delete"] == [("delete", "a")]
