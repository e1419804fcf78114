"""The trace of one simulation under other hash seeds, in interpreters of their own."""

from __future__ import annotations

import os
import subprocess
import sys


def digests_under_hash_seeds(module: str, simulation: str) -> set[str]:
    """Returns the digests that `simulation`, an expression over `module`, has in two interpreters.

    Blocks: until both have run it.
    """
    program = f"from {module} import *; print(({simulation}).run().trace_digest)"
    return {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
