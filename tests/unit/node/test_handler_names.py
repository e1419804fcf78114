"""Modules whose handlers nobody could call are refused when they are deployed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import lithox
from lithox.modules.bundle import Bundle
from lithox.modules.digest import digest_of
from lithox.node.handler_names import check_given, find_line
from lithox.node.node import Node
from lithox.sandbox.contract import Source
from lithox.testing.scripted import ScriptedEngine
from tests.unit.node.test_node import COUNTER

EXPECTED = "a name [a-z_][a-z0-9_]{0,63}"


def source(language: str, text: str) -> Source:
    data = text.encode()
    return Source(language=language, name="poll", text=data, digest=digest_of(language, data))


@pytest.mark.parametrize(
    ("language", "text", "line"),
    [
        ("javascript", "// openPoll opens\nconst x = 1;\nexport function openPoll(self) {}\n", 3),
        ("javascript", "function f() {}\nexport { f as openPoll };\n", 2),
        ("javascript", "const reopenPoll = 1;\nexport async function openPoll() {}", 2),
        ("lua", "-- openPoll\nlocal m = {}\nfunction m.openPoll(self) end\nreturn m", 3),
        ("lua", "-- openPoll\nlocal m = {}\nm.openPoll = function() end\nreturn m", 3),
        ("lua", "-- openPoll\nreturn { ['openPoll'] = print }", 2),
        ("python", "# openPoll\nasync def openPoll(self):\n    pass\n", 2),
        ("python", "# openPoll\n\ndef a(self):\n    pass\n\nopenPoll = a\n", 6),
    ],
)
def test_a_name_nobody_can_call_is_refused_where_it_stands(
    language: str, text: str, line: int
) -> None:
    """The error has file, line and what is expected, and proposes a name that would do."""
    with pytest.raises(lithox.CompileFailed) as raised:
        check_given(source(language, text), ("add", "openPoll"))
    assert raised.value.fields == {"file": "poll", "line": line, "expected": EXPECTED}
    assert raised.value.message == (
        f"poll:{line}: nobody could call handler 'openPoll': expected {EXPECTED}, such as open_poll"
    )


@pytest.mark.parametrize("name", ["Add", "a-b", "a" * 65, "1", "größe", "x" * 100_000])
def test_every_other_name_that_does_not_fit_is_refused(name: str) -> None:
    """Whatever a module says; the message stays short."""
    with pytest.raises(lithox.CompileFailed) as raised:
        check_given(source("wasm", ""), (name,))
    assert raised.value.fields == {"file": "poll", "expected": EXPECTED}
    assert len(raised.value.message) < 300


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("lua", "function m.NAME(self)"),
        ("javascript", "export function NAME(self)"),
        ("python", "def NAME(self):"),
        ("wasm", "lithox.handlers.1"),
        ("component", "`handlers` returns"),
    ],
)
def test_a_module_without_handlers_is_refused_in_its_own_words(language: str, words: str) -> None:
    """The message and the field `expected` say how a handler is written in that language."""
    with pytest.raises(lithox.CompileFailed, match="gives no handler") as raised:
        check_given(source(language, ""), ())
    assert words in raised.value.message
    assert words in raised.value.fields["expected"]


def test_a_place_is_looked_for_within_bounds() -> None:
    """A source that says the name a million times, in one line, costs a look at a thousand."""
    text = "openPoll " * 100_000 + "\nexport function openPoll() {}"
    assert find_line(source("javascript", text), "openPoll") == 1
    assert find_line(source("javascript", "\n" * 500_000), "openPoll") is None


@pytest.mark.parametrize("text", ["export function openPoll(self) {}", "const x = 1;", ""])
@pytest.mark.parametrize("check", [True, False])
def test_a_deploy_refuses_it(tmp_path: Path, text: str, check: bool) -> None:
    """Nothing of such a bundle is published, and a check says the same."""
    manifest = '[[template]]\nmatch = "p/*"\nlanguage = "javascript"\nsource = "p.js"\n'

    class Engine(ScriptedEngine):
        def load(self, source: Source, limits: lithox.Limits):
            names = [name for name in ("openPoll",) if name in text]
            return super().load(
                self.publish("p", dict.fromkeys(names, COUNTER["increment"])), limits
            )

    async def main() -> None:
        async with Node(tmp_path / "data", engines={"javascript": Engine()}) as node:
            bundle = Bundle(manifest=manifest, files={"p.js": text.encode()})
            with pytest.raises(lithox.CompileFailed):
                await node.deploy(bundle, check=check)
            with pytest.raises(lithox.NotFound):
                await node.call("p/1", "openPoll".lower())

    asyncio.run(main())
