"""Where the chance of a node comes from."""

from __future__ import annotations

import os
from typing import Final


class SeedSource:
    """Unpredictable 63-bit seeds, drawn from the system's chance a page at a time.

    Source of the page: `os.urandom` costs about 5 us a call here, however few bytes it gives.
    """

    _PAGE_SEEDS: Final = 512

    def __init__(self) -> None:
        self._seeds: list[int] = []

    def __call__(self) -> int:
        """Returns the next seed; each is given once."""
        if not self._seeds:
            page = memoryview(os.urandom(8 * self._PAGE_SEEDS)).cast("Q")
            self._seeds = [seed >> 1 for seed in page]
        return self._seeds.pop()
