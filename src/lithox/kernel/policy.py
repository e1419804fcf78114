"""How the kernel shares the node: every number it decides by, in one frozen record.

Invariants: all numbers are integers but the floor's share, so that two kernels fed the same facts
decide the same; quanta grow with the level; every bound is at least 1. A `Policy` that breaks one
cannot be made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lithox.errors import ConfigError

PRIORITIES: Final = 10
"""Priorities are 0 (lowest) to 9 (highest)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What an operator may set about scheduling and admission.

    Attributes:
        quanta_fuel: charged fuel a process may use on each level before it moves one down; level 0
            is the FAST lane, the others are the LONG lane. The last level repeats.
        slice_fuel_min: a slice is never shorter than this, however little of the level is left.
        fuel_per_us: charge of a microsecond of processor time. Source: 100,000 fuel of Lua in
            22 us, proofs of the sandbox: 4,500; rounded down.
        processes_max: live processes of the node; more are refused.
        processes_per_account_max: live processes of one account.
        children_reserve: how many processes above both bounds children of live parents may take.
        starvation_ns: a ready process that has waited this long goes before everything else of
            its account and is lifted to its lane's top level.
        long_floor_share: least share of all charged fuel the LONG lane gets while it has work.
        accounts_idle_max: how many accounts without work a lane remembers what they have used.
    """

    quanta_fuel: tuple[int, ...] = (4_000_000, 8_000_000, 16_000_000, 32_000_000)
    slice_fuel_min: int = 50_000
    fuel_per_us: int = 4_000
    processes_max: int = 12_000
    processes_per_account_max: int = 10_000
    children_reserve: int = 1_000
    starvation_ns: int = 100_000_000
    long_floor_share: float = 0.05
    accounts_idle_max: int = 1_024

    def __post_init__(self) -> None:
        """Checks the record; raises ConfigError that names the field."""
        if len(self.quanta_fuel) < 2 or sorted(self.quanta_fuel) != list(self.quanta_fuel):
            raise ConfigError(
                f"quanta_fuel is two or more numbers that do not shrink; found {self.quanta_fuel}"
            )
        for name in (
            "slice_fuel_min",
            "fuel_per_us",
            "processes_max",
            "processes_per_account_max",
            "starvation_ns",
            "accounts_idle_max",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is at least 1; found {getattr(self, name)}")
        if self.quanta_fuel[0] < 1 or self.children_reserve < 0:
            raise ConfigError(
                "quanta_fuel begins at 1 or more and children_reserve at 0 or more; "
                f"found {self.quanta_fuel[0]} and {self.children_reserve}"
            )
        if not 0 <= self.long_floor_share < 1:
            raise ConfigError(
                f"long_floor_share is at least 0 and below 1; found {self.long_floor_share}"
            )


DEFAULT_POLICY: Final = Policy()
