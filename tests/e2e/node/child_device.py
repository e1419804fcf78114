"""A process that rewrites a device, one number all over at a time, until it is killed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from lithox.node.device import BLOCK_BYTES, Device
from lithox.store.crash_points import CRASH_VARIABLE, parse_crash_at, reach_nothing
from lithox.store.embedded.store import EmbeddedOptions, EmbeddedStore

WRITES = 200
START, LENGTH = 100, 5 * BLOCK_BYTES
"""Six blocks, the first and the last only in part."""


def main() -> None:
    posted: SimpleQueue[Any] = SimpleQueue()
    wanted = os.environ.get(CRASH_VARIABLE)
    store = EmbeddedStore.open(
        Path(sys.argv[1]),
        post=posted.put,
        options=EmbeddedOptions(reach=parse_crash_at(wanted) if wanted else reach_nothing),
    )
    device = Device(store)
    for number in range(1, WRITES + 1):
        told: list[Any] = []
        device.write(START, bytes([number]) * LENGTH, on_done=told.append)
        while not told:
            posted.get()()
        assert told == [None]
        print(number, flush=True)
    store.close()
    print("closed", flush=True)


if __name__ == "__main__":
    main()
