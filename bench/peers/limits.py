"""The physical limit beside the figures: a bare log that is appended to and synced in groups."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

RECORD_BYTES: Final = 200
IN_FLIGHT: Final = 128


def raw_log(folder: Path, *, in_flight: int = IN_FLIGHT, seconds: float = 1.0) -> float:
    """Returns records/s of one file: `in_flight` records are one write and one fdatasync.

    That is the most a log can do for so many callers that each wait for their record. Blocks.
    """
    path = folder / "raw.log"
    group = b"x" * (RECORD_BYTES * in_flight)
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    groups = 0
    try:
        begun = time.perf_counter()
        while (elapsed := time.perf_counter() - begun) < seconds:
            os.write(number, group)
            os.fdatasync(number)
            groups += 1
    finally:
        os.close(number)
        path.unlink()
    return groups * in_flight / elapsed
