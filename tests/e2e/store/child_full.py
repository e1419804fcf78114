"""Commits until the system allows no larger files, waits for more room, and goes on.

Says `durable N` for the last durable commit when writing stopped, `reads` when the state could be
read meanwhile, and `resumed` when a commit was durable after room was made.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from queue import SimpleQueue

from lithox.errors import StoreUnavailable
from lithox.store.contract import Commit
from lithox.store.embedded import EmbeddedOptions, EmbeddedStore

ROOM_BYTES = 400_000


def main() -> None:
    posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
    store = EmbeddedStore.open(
        sys.argv[1], post=posted.put, options=EmbeddedOptions(probe_first_s=0.001)
    )
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, hard))
    durable, failed = -1, False

    def submit(n: int) -> None:
        def on_done(error: Exception | None) -> None:
            nonlocal durable, failed
            if error is None:
                durable = n
            else:
                failed = True

        store.submit(Commit(0, writes={("a", f"k{n:04}"): bytes(5_000)}), on_done)

    for n in range(1_000):
        try:
            submit(n)
        except StoreUnavailable:
            break
        while not failed and durable < n:
            posted.get(timeout=20)()
    print("durable", durable)
    if store.open_snapshot().find("a", f"k{durable:04}") is not None:
        print("reads")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    while not store.statistics()["is_writable"]:
        posted.get(timeout=20)()
    submit(durable + 1)
    wanted = durable + 1
    while durable < wanted:
        posted.get(timeout=20)()
    print("resumed")
    store.close()


if __name__ == "__main__":
    main()
