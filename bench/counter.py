"""The work that is measured: examples/counter on 256 entities, a state key each run.

Also where benchmarks keep their data: on the checkout's own file system, because /tmp is memory on
many machines and a sync there costs nothing.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import lithox

ROOT: Final = Path(__file__).resolve().parent.parent
BUNDLE: Final = ROOT / "examples" / "counter"
DATA_PARENT: Final = ROOT / ".cache" / "bench"
ENTITIES: Final = 256
CALLERS: Final = 64
HANDLER: Final = "increment"
_SEED: Final = 7

_draw = random.Random(_SEED)
ORDER: Final = [f"counter/e{_draw.randrange(ENTITIES)}" for _ in range(4096)]
"""Entities in the order they are called; repeats after its end."""


@contextmanager
def data_directory() -> Iterator[Path]:
    """Gives a fresh directory on the checkout's file system and removes it afterwards."""
    DATA_PARENT.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=DATA_PARENT))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def increment(node: lithox.Node, number: int) -> Awaitable[object]:
    """Makes call number `number` of the load."""
    return node.call(ORDER[number % len(ORDER)], HANDLER)


async def prepare(node: lithox.Node) -> None:
    """Deploys the counter and makes every entity, so that rounds only change state."""
    await node.deploy(BUNDLE)
    await asyncio.gather(*[node.call(f"counter/e{index}", HANDLER) for index in range(ENTITIES)])
