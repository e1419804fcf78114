"""A process that commits and says what is durable until it is killed: `child_writer.py PATH`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

sys.path.insert(0, str(Path(__file__).parents[3]))

from lithox.store.crash_points import CRASH_VARIABLE, parse_crash_at
from lithox.store.embedded import EmbeddedOptions, EmbeddedStore
from tests.e2e.store import workload


def main() -> None:
    posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
    options = EmbeddedOptions(log_pages_max=40)
    if CRASH_VARIABLE in os.environ:
        options.reach = parse_crash_at(os.environ[CRASH_VARIABLE])
    store = EmbeddedStore.open(sys.argv[1], post=posted.put, options=options)
    # One write per line: what the pipe has is what was acknowledged.
    workload.run(store, posted, count=400, acknowledge=lambda n: os.write(1, b"%d\n" % n) and None)
    store.close()
    os.write(1, b"closed\n")


if __name__ == "__main__":
    main()
