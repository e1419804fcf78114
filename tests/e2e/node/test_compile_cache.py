"""What a deploy has compiled is not compiled again: not by calls, not by a start after it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

import lithox
from lithox.modules.bundle import Bundle
from lithox.node import node as node_module
from lithox.node.node import CACHE_NAME
from lithox.sandbox.engines import open_engines
from tests import built_guests

pytestmark = pytest.mark.e2e
LUA = "local m = {} function m.one(self) return 1 end return m"
JAVASCRIPT = "export function one(self) { return 1; }"
PYTHON = "def one(self):\n    return 1\n"
TEXTS = {"lua": LUA, "javascript": JAVASCRIPT, "python": PYTHON}
LANGUAGES = [*TEXTS, "wasm"]


@pytest.fixture(autouse=True)
def _has_a_cache_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undoes what lets the nodes of all other tests share one."""
    built_guests.require()
    monkeypatch.setattr(node_module, "open_engines", open_engines)


def bundle_of(language: str) -> tuple[Bundle, str, list[object], object]:
    """Returns a bundle, and a handler of it with arguments and value."""
    manifest = f'[[template]]\nmatch = "a/*"\nlanguage = "{language}"\nsource = "m"\n'
    if language in TEXTS:
        return Bundle(manifest=manifest, files={"m": TEXTS[language].encode()}), "one", [], 1
    from tests.conformance.languages.modules.c.build import build

    return Bundle(manifest=manifest, files={"m": build()}), "echo", [5], 5


def figure(node: lithox.Node, language: str, name: str) -> int:
    """Returns a figure of the cache; engines of programs open when init needs them, so not all."""
    return int(node.statistics()[f"sandbox_{language}_cache_{name}"])


async def ask(node: lithox.Node, handler: str, args: list[object]) -> object:
    """Calls until the module is compiled, as a client does that is told to try again."""
    while True:
        try:
            return await node.call("a/x", handler, *args)
        except lithox.Overloaded:
            continue


@pytest.mark.timeout(300)
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_call_after_a_restart_compiles_nothing(tmp_path: Path, language: str) -> None:
    """Everything is found on the disk; without the cache, all is made again and works."""
    bundle, handler, args, value = bundle_of(language)
    data = tmp_path / "data"

    async def deploy() -> None:
        async with lithox.Node(data) as node:
            await node.deploy(bundle)
            made = figure(node, language, "misses")
            assert made >= 1
            assert await node.call("a/x", handler, *args) == value
            assert figure(node, language, "misses") == made

    async def start(*, is_cached: bool) -> None:
        async with lithox.Node(data) as node:
            assert await ask(node, handler, args) == value
            assert (figure(node, language, "misses") == 0) is is_cached
            assert figure(node, language, "refused") == 0

    asyncio.run(deploy())
    asyncio.run(start(is_cached=True))
    shutil.rmtree(data / CACHE_NAME)
    asyncio.run(start(is_cached=False))
    asyncio.run(start(is_cached=True))


def test_a_tampered_cache_is_made_again(tmp_path: Path) -> None:
    """Every entry changed by one bit: each is refused, compiled again, and calls are right."""
    bundle, handler, args, value = bundle_of("lua")
    data = tmp_path / "data"

    async def start(refused: int, *, is_first: bool = False) -> None:
        async with lithox.Node(data) as node:
            if is_first:
                await node.deploy(bundle)
            assert await node.call("a/x", handler, *args) == value
            assert figure(node, "lua", "refused") == refused

    asyncio.run(start(0, is_first=True))
    for path in (data / CACHE_NAME).glob("*.lxmod"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    asyncio.run(start(1))
    asyncio.run(start(0))
