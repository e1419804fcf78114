"""Modules of nearly 1 MiB, as large as a deploy takes, through a node of the defaults.

Each kind is honest code a build step might write. What loads in a thread is not timed; that it was
no work of the node's own thread is.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.errors import LimitExceeded
from lithox.modules.bundle import Bundle
from lithox.sandbox.engine import WasmEngine
from lithox.sandbox.guest import WasmGuest
from tests import built_guests

SOURCE_BYTES = (1 << 20) - 64
Unit = Callable[[int], str]


def fill(unit: Unit, *, head: str = "", tail: str = "", size: int = SOURCE_BYTES) -> bytes:
    """Returns `head`, as many numbered units as fit into `size` bytes, and `tail`."""
    parts, left, number = [head], size - len(head) - len(tail), 0
    while len(part := unit(number)) <= left:
        parts.append(part)
        left -= len(part)
        number += 1
    return "".join((*parts, tail)).encode()


def js_function(number: int) -> str:
    """Three lines, of which the first five hundred are handlers."""
    export = "export " if number < 500 else ""
    return (
        f"{export}function f{number}(self, a) {{\n"
        f"  const b = a + {number};\n  return self.state.x ?? b;\n}}\n"
    )


def lua_function(number: int) -> str:
    """The same in Lua."""
    table = "m" if number < 500 else "h"
    return (
        f"function {table}.f{number}(self, a)\n"
        f"  local b = a + {number}\n  return self.state.x or b\nend\n"
    )


def js_rows(number: int) -> str:
    """A line of a table."""
    return f'  {{ id: {number}, name: "item {number}", price: {number * 7 % 1000} }},\n'


FUNCTIONS = {
    "javascript": fill(js_function),
    "lua": fill(lua_function, head="local m, h = {}, {}\n", tail="return m\n"),
}
ONE_FUNCTION = fill(
    lambda number: f"  x = x + {number};\n",
    head="export function f7(self, x) {\n  const a = x;\n",
    tail="  return a + 7;\n}\n",
)
TABLE = fill(
    js_rows, head="const t = [\n", tail="];\nexport const f7 = (self, a) => a + t[7].id;\n"
)


async def call_one(folder: Path, language: str, text: bytes, limits: str = "") -> Any:
    """Deploys a module to a new node of the defaults and calls `f7(1)` of it."""
    name = f"large.{language}"
    manifest = (
        f'[[template]]\nmatch = "large/*"\nlanguage = "{language}"\nsource = "{name}"\n{limits}'
    )
    node = lithox.Node(folder)
    await node.open()
    try:
        await node.deploy(Bundle(manifest=manifest, files={name: text}))
        return await node.call("large/a", "f7", 1)
    finally:
        await node.close()


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The threads in which modules were loaded."""
    built_guests.require()
    threads: set[int] = set()
    load_on = WasmEngine._load_on  # pyright: ignore[reportPrivateUsage]

    def noted(engine: WasmEngine, *args: Any, **named: Any) -> Any:
        threads.add(threading.get_ident())
        return load_on(engine, *args, **named)

    monkeypatch.setattr(WasmEngine, "_load_on", noted)
    return threads


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("language", "text", "limits"),
    [
        pytest.param("lua", FUNCTIONS["lua"], "", id="lua-functions"),
        pytest.param(
            "javascript",
            FUNCTIONS["javascript"],
            'limits = { memory = "32MiB" }\n',
            id="javascript-functions",
        ),
        pytest.param(
            "javascript", ONE_FUNCTION, 'limits = { memory = "32MiB" }\n', id="javascript-one"
        ),
        pytest.param("javascript", TABLE, 'limits = { memory = "32MiB" }\n', id="javascript-table"),
    ],
)
def test_module_of_the_largest_size_is_deployed_and_runs(
    tmp_path: Path, stepped: set[int], language: str, text: bytes, limits: str
) -> None:
    """The size the documents promise loads under a deploy's own limits, off the node's thread."""
    assert (1 << 20) - 200 < len(text) <= 1 << 20
    assert asyncio.run(call_one(tmp_path, language, text, limits)) == 8
    assert stepped
    assert threading.get_ident() not in stepped


def test_half_of_it_runs_with_the_memory_of_a_handler_that_says_nothing(
    tmp_path: Path, stepped: set[int]
) -> None:
    """A JavaScript module of 400 kB needs no `limits` in its template."""
    text = fill(js_function, size=400_000)
    assert asyncio.run(call_one(tmp_path, "javascript", text)) == 8
    assert threading.get_ident() not in stepped


def test_run_with_less_memory_than_its_module_is_told_how_much(
    tmp_path: Path, stepped: set[int]
) -> None:
    """A module too large for the limits of its handlers is deployed, and the run says the size."""
    with pytest.raises(LimitExceeded, match=r"its module alone takes [\d.]+MiB") as caught:
        asyncio.run(call_one(tmp_path, "javascript", ONE_FUNCTION))
    assert caught.value.code == "guest.out_of_memory"
    assert caught.value.fields["allowed"] == 8 << 20 < caught.value.fields["used"] < 32 << 20
    assert stepped


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("for (;;) {}", "fuel"),
        ("const a = []; for (;;) a.push(new Uint8Array(1 << 20));", "memory"),
        ("(function f() { try { f(); } catch { f(); } })()", "fuel"),
        ("/(a+)+$/.test('a'.repeat(64) + 'b')", "fuel"),
    ],
)
def test_hostile_top_level_ends_whatever_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, limit: str
) -> None:
    """The allowance is for the text: code at the top level meets it too, and is told so."""
    built_guests.require()
    used: list[int] = []
    close = WasmGuest.close

    def noted(guest: WasmGuest) -> None:
        used.append(guest.fuel_used)
        close(guest)

    monkeypatch.setattr(WasmGuest, "close", noted)
    source = f"{text}\n//{'x' * 10_000}\nexport function f7() {{}}\n".encode()
    with pytest.raises(LimitExceeded, match=rf"a source of {len(source)} bytes may use") as caught:
        asyncio.run(call_one(tmp_path, "javascript", source))
    assert caught.value.fields["limit"] == limit
    assert max(used) <= 50_000_000 + 8_000 * len(source)
