"""What the handlers of whole-node simulations do, and what callers ask of them.

Each workload is a module of scripted handlers, the pattern of its entities, and a function that
draws a call. Handlers burn a drawn amount between their reads and writes, so that runs overlap and
lose races; everything else they do depends on arguments and state alone, as `serial` asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from lithox.testing.drawing import Call
from lithox.testing.script import Module
from lithox.testing.workloads_effects import (
    CLOCKS,
    MAIL,
    SHOP,
    draw_clocks,
    draw_mail,
    draw_shop,
)
from lithox.testing.workloads_state import (
    BANK,
    CLAIMS,
    HOSTILE,
    LISTS_MODULE,
    draw_bank,
    draw_claims,
    draw_hostile,
    draw_lists,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Handlers, where they are, and what is asked of them.

    Attributes:
        draw: draws a call, given the number of the wish and over how many entities they spread.
    """

    name: str
    match: str
    module: Module
    draw: Callable[[Random, int, int], Call]


WORKLOADS: Final = (
    Workload(name="bank", match="bank/*", module=BANK, draw=draw_bank),
    Workload(name="lists", match="lists/*", module=LISTS_MODULE, draw=draw_lists),
    Workload(name="claims", match="claims/*", module=CLAIMS, draw=draw_claims),
    Workload(name="mail", match="mail/*", module=MAIL, draw=draw_mail),
    Workload(name="shop", match="shop/*", module=SHOP, draw=draw_shop),
    Workload(name="clocks", match="clocks/*", module=CLOCKS, draw=draw_clocks),
    Workload(name="hostile", match="hostile/*", module=HOSTILE, draw=draw_hostile),
)
MODULES: Final = {workload.match: workload.module for workload in WORKLOADS}
