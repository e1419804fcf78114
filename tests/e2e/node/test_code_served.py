"""The stores of code of a real node, over HTTP: from the client, across a restart, into a run."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import lithox
from lithox.errors import BadArguments, CompileFailed, NotFound
from tests.e2e.node.serving import Served, serving

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def over_http(served: Served, body: Callable[[lithox.Client], Awaitable[None]]) -> None:
    async def main() -> None:
        async with lithox.Client(served.url) as client:
            await body(client)

    asyncio.run(main())


def test_versions_set_over_http_survive_a_kill(tmp_path: Path) -> None:
    """Every version that was answered is there after SIGKILL, with its text and info."""

    async def fill(client: lithox.Client) -> None:
        assert await client.store_set("program", "p", "print(1)", note="one", runtime="cc") == 1
        assert await client.store_set("program", "p", b"\xff\x00") == 2
        assert await client.store_rollback("program", "p", 1) == 3
        assert await client.store_set("library", "l", "return 1") == 1
        assert await client.store_remove("library", "l") == 2

    async def look(client: lithox.Client) -> None:
        text, info = await client.store_get("program", "p")
        assert (text, info["version"], info["runtime"]) == (b"print(1)", 3, "cc")
        assert (await client.store_get("program", "p", 2))[0] == b"\xff\x00"
        rows = await client.store_history("program", "p", before=3)
        assert [(row["version"], row["note"]) for row in rows] == [(2, ""), (1, "one")]
        with pytest.raises(NotFound, match="version 2 removed it"):
            await client.store_get("library", "l")
        rows, more = await client.store_list("program", "p", limit=1)
        assert ([row["name"] for row in rows], more) == (["p"], False)
        assert await client.store_remove("library", "l", forgets_history=True) == 2
        assert [row["version"] for row in await client.store_history("library", "l")] == [2]
        with pytest.raises(BadArguments):
            await client.store_get("program", "..")

    with serving(tmp_path / "data") as served:
        over_http(served, fill)
        assert served.stop(signal.SIGKILL) == -signal.SIGKILL
    with serving(tmp_path / "data") as served:
        over_http(served, look)


def test_a_text_is_checked_with_the_runtime_it_is_for(tmp_path: Path) -> None:
    """What one Lua takes another refuses, with the line; a refused text is not set."""
    goto_as_name = "local goto = 1\nreturn goto\n"

    async def body(client: lithox.Client) -> None:
        assert await client.store_set("program", "p", goto_as_name, check="compat-5.1") == 1
        with pytest.raises(CompileFailed) as caught:
            await client.store_set("program", "p", goto_as_name, check="native")
        assert caught.value.fields["line"] == 1
        with pytest.raises(CompileFailed):
            await client.store_set("runtime", "mine", "local x =\n", check="native")
        assert await client.store_set("runtime", "mine", "mine = 1\n", check="native") == 1
        assert await client.store_set("library", "l", "return mine\n", check="mine") == 1
        with pytest.raises(NotFound, match="no runtime 'nobodys'"):
            await client.store_set("library", "l", "return 1", check="nobodys")
        assert [row["version"] for row in await client.store_history("program", "p")] == [1]

    with serving(tmp_path / "data") as served:
        over_http(served, body)


def test_a_deployed_program_runs_with_its_runtime_and_library(tmp_path: Path) -> None:
    """What one deploy published finds itself: the program its runtime, and what it requires."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "lithox.toml").write_text(
        '[[program]]\nname = "hello"\nsource = "hello.lua"\nruntime = "compat-5.1"\n'
        '[[library]]\nname = "greet"\nsource = "greet.lua"\n'
    )
    (bundle / "hello.lua").write_text('print(require("greet")("you"), unpack({ 1, 2 }))\n')
    (bundle / "greet.lua").write_text('return function(name) return "hi " .. name end\n')

    async def body(client: lithox.Client) -> None:
        report = await client.deploy(bundle)
        assert report["code"] == {"program": {"hello": 1}, "library": {"greet": 1}}
        done = await client.run("hello")
        assert (done.output, done.status) == (b"hi you\t1\t2\n", 0)

    with serving(tmp_path / "data") as served:
        over_http(served, body)


def test_a_program_that_runs_keeps_its_code(tmp_path: Path) -> None:
    """A set in the middle of a run changes the next run and not that one."""

    async def body(client: lithox.Client) -> None:
        await client.store_set("program", "p", 'print(io.read() .. " one")\n')
        pid = await client.run_program(program="p")
        await client.store_set("program", "p", 'print("two")\n')
        await client.store_remove("program", "p")
        await client.store_set("program", "p", 'print("three")\n')
        await client.write_input(pid, b"still\n", is_end=True)
        written, after, ended = b"", 0, None
        while ended is None:
            page = await client.read_output(pid, after=after, wait_ms=25_000)
            written += b"".join(chunk["data"] for chunk in page["chunks"])
            after, ended = page["next"], page["exit"]
        assert (written, ended["status"]) == (b"still one\n", 0)
        assert (await client.run("p")).output == b"three\n"

    with serving(tmp_path / "data") as served:
        over_http(served, body)


def test_sets_at_once_get_a_version_each(tmp_path: Path) -> None:
    """Twenty clients set one name at the same moment: twenty versions, each with its text."""

    async def body(client: lithox.Client) -> None:
        texts = [f"print({number})" for number in range(20)]
        versions = await asyncio.gather(*(client.store_set("program", "p", text) for text in texts))
        assert sorted(versions) == list(range(1, 21))
        for version, text in zip(versions, texts, strict=True):
            assert (await client.store_get("program", "p", version))[0] == text.encode()

    with serving(tmp_path / "data") as served:
        over_http(served, body)
