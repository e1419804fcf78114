"""How much may a module of so many bytes use while it loads?

A parser works for every byte it reads, so a deploy's limits for what a module does at its top level
cannot also be those of its text: each interpreter of text adds fuel and memory in proportion to it.

Measured over modules of 64 kB and 1 MiB of twenty kinds of code (functions long and short, tables,
classes, minified text, comments; wasmtime 50.0.1, 2 cores, about 0.5 ns a unit of fuel):

    Lua 5.4     33 to 640 fuel a byte                        memory  1.2 to 24 MiB for 1 MiB
    QuickJS-NG  30 to 3,000 fuel a byte, and 36 for each     memory  2.5 to 30 MiB for 1 MiB,
                pair of names in the module's own scope              51 minified, 88 of arrows alone
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from lithox.model.limits import Limits
from lithox.sandbox.meters import fuel_of, memory_bytes_of


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadAllowance:
    """What loading may use for each byte of source, beyond the limits of the load.

    Attributes:
        fuel_per_byte: of fuel.
        memory_per_byte: bytes of memory.
    """

    fuel_per_byte: int = 0
    memory_per_byte: int = 0

    def widen(self, limits: Limits, source_bytes: int) -> Limits:
        """Returns the limits under which a source of `source_bytes` bytes loads."""
        if not (self.fuel_per_byte or self.memory_per_byte):
            return limits
        return replace(
            limits,
            fuel=fuel_of(limits) + self.fuel_per_byte * source_bytes,
            memory_bytes=memory_bytes_of(limits) + self.memory_per_byte * source_bytes,
        )

    def describe(self, limits: Limits, source_bytes: int) -> str:
        """Returns what a module that met `limits`, widened already, is told beside the limit."""
        if not (self.fuel_per_byte or self.memory_per_byte):
            return ""
        return (
            f"; a source of {source_bytes} bytes may use {fuel_of(limits)} of fuel and "
            f"{memory_bytes_of(limits)} bytes of memory while it loads: do less at the top level, "
            "keep thousands of names in a function of their own, or split the module"
        )


LUA_ALLOWANCE: Final = LoadAllowance(fuel_per_byte=1_000, memory_per_byte=24)
"""A module of 1 MiB: 1.1 G fuel (half a second of a thread's time), 40 MiB."""
JAVASCRIPT_ALLOWANCE: Final = LoadAllowance(fuel_per_byte=8_000, memory_per_byte=48)
"""A module of 1 MiB: 8.4 G fuel (four seconds of a thread's time), 64 MiB, what a node's policy
gives a run at most unless its configuration says otherwise. Enough for some 13,000 names in one
scope."""
