"""One node for all cases of a mode: programs are run as processes of it, one after another."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.model.limits import Limits

MODES = ("preemptive", "cooperative")


@dataclass
class Ran:
    """What a program came to: its end, and what it wrote."""

    exit: dict[str, Any]
    out: str
    err: str

    @property
    def values(self) -> list[Any]:
        """What main returned; the program must have ended well."""
        assert self.exit["status"] == 0, (self.exit, self.err)
        return self.exit["values"]


class Bench:
    """Runs code in one node."""

    def __init__(self, node: lithox.Node) -> None:
        self.node = node

    async def run(self, code: str, *args: Any, limits: Limits | None = None) -> Ran:
        """Runs `code` to its end."""
        pid = await self.node.run_program(code=code, name="case", args=args, limits=limits)
        return await self.follow(pid)

    async def follow(self, pid: int) -> Ran:
        """Reads all output of a run to its end."""
        texts = {"out": b"", "err": b""}
        after = 0
        while True:
            page = await self.node.read_output(pid, after=after, wait_ms=20_000)
            after = page["next"]
            for chunk in page["chunks"]:
                texts[chunk["stream"]] += chunk["data"]
            if page["exit"] is not None:
                return Ran(page["exit"], texts["out"].decode(), texts["err"].decode())

    def programs(self) -> list[dict[str, Any]]:
        """Returns a row for each program that runs, init left out."""
        rows = self.node.program_side.programs.describe_all()
        return [row for row in rows if row["name"] not in {"init", "storage"}]

    async def until_gone(self) -> None:
        """Waits until no program but init's own runs: each end is an event of the loop."""
        for _ in range(2_000):
            if not self.programs():
                return
            await asyncio.sleep(0)
        raise AssertionError(f"still there: {self.programs()}")


Test = Callable[..., Coroutine[Any, Any, None]]


def in_both_modes(test: Test) -> Callable[..., None]:
    """Makes `async def test(bench, ...)` a test that is run in a node of each mode."""
    plain = inspect.signature(test)
    own = [one for name, one in plain.parameters.items() if name != "bench"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("mode", "tmp_path")
    ]

    @pytest.mark.parametrize("mode", MODES)
    @functools.wraps(test)
    def wrapped(*, mode: str, tmp_path: Path, **arguments: Any) -> None:
        async def play() -> None:
            config = lithox.NodeConfig(is_cooperative=mode == "cooperative")
            async with lithox.Node(tmp_path / "data", config=config) as node:
                await test(bench=Bench(node), **arguments)

        asyncio.run(play())

    keyword = inspect.Parameter.KEYWORD_ONLY
    wrapped.__signature__ = inspect.Signature(  # pyright: ignore[reportFunctionMemberAccess]
        [*(one.replace(kind=keyword) for one in own), *added]
    )
    return wrapped
