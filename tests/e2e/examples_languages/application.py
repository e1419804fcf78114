"""The application of examples/languages on a node of its own, in whichever language.

Every test takes the fixture `tell` and is run once for each language by it: what is promised is
promised by all of them, in the same words. Time stands still unless a test moves it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import lithox
from examples.languages.c import build
from lithox.model.limits import HANDLER_DEFAULT_LIMITS, NODE_DEFAULT_LIMITS
from lithox.modules.bundle import Bundle, read_bundle
from lithox.node.clock import RealClock
from lithox.node.config import NodeConfig
from tests import built_guests
from tests.repo.checkout import ROOT

FOLDER = ROOT / "examples" / "languages"
LANGUAGES = ("lua", "python", "javascript", "c")
START_MS = 1_800_000_000_000
POLLS_MAX = 5_000


class SetClock(RealClock):
    """A wall clock that a test sets. Monotonic and processor time are real: limits go by them."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def wall_ns(self) -> int:
        return self.now_ms * 1_000_000


class Shop:
    """A node with the application, as a caller sees it, and the hands of its clock."""

    def __init__(self, node: lithox.Node, clock: SetClock) -> None:
        self.node = node
        self.clock = clock

    async def call(self, entity: str, handler: str, *args: Any, **options: Any) -> Any:
        """Returns the answer of a call."""
        return await self.node.call(entity, handler, *args, **options)

    async def fail(self, entity: str, handler: str, *args: Any, **options: Any) -> Any:
        """Returns the error of a call, which must fail."""
        with pytest.raises(lithox.LithoxError) as caught:
            await self.node.call(entity, handler, *args, **options)
        return caught.value

    async def code(self, entity: str, handler: str, *args: Any, **options: Any) -> str:
        """Returns the code of the error of a call, which must fail."""
        return (await self.fail(entity, handler, *args, **options)).code

    def pass_ms(self, duration_ms: int) -> None:
        """Lets wall time pass and has timers look at it."""
        self.clock.now_ms += duration_ms
        self.node.dispatcher.timers.notify_time()

    async def wait_until(
        self, is_so: Callable[[Any], bool], entity: str, handler: str, *args: Any
    ) -> None:
        """Asks until `is_so` of the answer: messages and timers come when they come."""
        found = None
        for _ in range(POLLS_MAX):
            found = await self.call(entity, handler, *args)
            if is_so(found):
                return
        raise AssertionError(f"{entity}:{handler} stays at {found}")


Story = Callable[[Shop], Awaitable[None]]
Tell = Callable[[Story], None]


WALL_NS = 50_000_000_000
PATIENT = NodeConfig(
    limits=replace(NODE_DEFAULT_LIMITS, wall_ns=WALL_NS),
    handler_limits=replace(HANDLER_DEFAULT_LIMITS, wall_ns=WALL_NS),
)
"""Seven runs of Python that wait for each other take more than 5 s beside busy tests."""


@asynccontextmanager
async def open_shop(data: Path, clock: SetClock) -> AsyncIterator[Shop]:
    """Opens a node over `data`; nothing is deployed yet."""
    async with lithox.Node(data, clock=clock, config=PATIENT) as node:
        yield Shop(node, clock)


@cache
def folder_of(language: str) -> Path | Bundle:
    """Returns what is to be deployed. Blocks: for C, seconds when nothing is built yet."""
    if language == "c":
        with tempfile.TemporaryDirectory() as folder:
            build.build(Path(folder))
            return read_bundle(Path(folder))
    return FOLDER / language


@pytest.fixture(params=LANGUAGES)
def tell(request: pytest.FixtureRequest, tmp_path: Path) -> Tell:
    """Gives what runs a story on a new node with the application in one language."""
    built_guests.require()

    async def tell_it(story: Story) -> None:
        async with open_shop(tmp_path / "data", SetClock()) as shop:
            await shop.node.deploy(folder_of(request.param))
            await story(shop)

    return lambda story: asyncio.run(tell_it(story))
