"""A process that restores a large archive, tells how far it is, and waits to be killed there.

Arguments: target directory; after how many chunks of the archive it waits; chunks in all.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from lithox.model.archive import KIND_STORE, ArchiveWriter
from lithox.node.moving_stores import place_of, restore
from lithox.store.dump import CellRow
from lithox.store.dump_lines import write_rows

ROWS_PER_CHUNK = 2_000


def rows(count: int) -> Iterator[CellRow]:
    """Gives cells in order, each its number."""
    for number in range(count):
        yield CellRow(f"e/{number // 100:06}", f"{number:09}", b"v" * 100)


def chunks(wait_after: int, count: int) -> Iterator[bytes]:
    """Gives the archive; before chunk `wait_after` says so and gives nothing more."""
    writer = ArchiveWriter()
    parts = [writer.begin(KIND_STORE)]
    parts += write_rows(rows(count * ROWS_PER_CHUNK), writer)
    parts.append(writer.end())
    for number, part in enumerate(parts):
        if number == wait_after:
            print("waiting", flush=True)
            threading.Event().wait()
        yield part


def main() -> None:
    target, wait_after, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    print(restore(chunks(wait_after, count), place_of(f"sqlite:{target}")).rows_sha256, flush=True)


if __name__ == "__main__":
    main()
