"""One process of a server that is told to stop before it serves."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lithox.cli import serving_process
from lithox.cluster.sharing import RUN_FOLDER


class Silent:
    """A parent that says nothing more, and notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def hear(self) -> None:
        await asyncio.Future()

    def say(self, what: str, **_more: Any) -> None:
        self.told.append(what)


def run(body: Callable[[Any, Silent], Awaitable[None]]) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / RUN_FOLDER).mkdir()
            said = {
                "data": folder,
                "volume": 1,
                "volumes": 2,
                "spread": [],
                "listen": "127.0.0.1:7070",
                "config_text": None,
                "is_cooperative": False,
                "fds": {},
                "direct": [],
            }
            parent = Silent()
            control: Any = parent
            async with asyncio.timeout(20):
                await body(serving_process._Process(said, control), parent)

    asyncio.run(main())


def test_a_process_that_waits_for_a_lead_that_never_comes_ends_when_told():
    """A lead that cannot start is told at once: nobody holds up the end of the others."""

    async def body(process, parent):
        serving = asyncio.create_task(process.serve())
        while process._sharing.peers[0]._keeping is None:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0)
        process._stop.set()
        await serving
        assert parent.told == []

    run(body)


def test_a_process_that_takes_the_code_over_ends_when_told():
    """A lead that answers nothing, too, holds nobody up; what was asked of it is broken off."""

    async def body(process, _parent):
        lead = process._sharing.peers[0]
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def pull(_ask: Any) -> bool:
            asked.set_result(None)
            try:
                await asyncio.Future()
            finally:
                process.was_left = True
            return True

        class Node:
            class code_sync:  # noqa: N801 - as a node spells it
                pass

        Node.code_sync.pull = staticmethod(pull)
        lead._up.set()
        taking = asyncio.create_task(process._take_code(Node))
        await asked
        process._stop.set()
        with pytest.raises(serving_process._StoppedError):
            await taking
        assert process.was_left
        await process._sharing.stop()

    run(body)


def test_what_fails_while_it_is_waited_for_is_told():
    """Waiting with an eye on the stop hides no error."""

    async def body(process, _parent):
        async def fail() -> None:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await process._unless_stopped(fail())

    run(body)
