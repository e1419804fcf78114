"""How often the collector of cyclic garbage looks, in a process that is a server and nothing else.

A run leaves no cycles (`bench/guard` counts them), so nearly all that the collector finds is alive:
at Python's defaults it takes a tenth of a run. An embedding program's collector is left alone.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG_MAX: Final = 50_000
"""Objects made beyond those freed before the youngest are looked at: what some hundred runs under
way hold; Python's own is 700."""
MIDDLE_MAX: Final = 20
OLD_MAX: Final = 50


def spare_collector() -> None:
    """Looks once, sets aside what the start has made, and looks more seldom from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, MIDDLE_MAX, OLD_MAX)
