"""What a run may use. The minimum over several is taken by `kernel.limits`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIB: Final = 1 << 20
SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Allowances of one run. Every field is a maximum; None means "not said here".

    Attributes:
        fuel: metered instructions (one unit is about one WebAssembly instruction).
        memory_bytes: size the guest's memory may reach.
        wall_ns: nanoseconds from admission to the end, waiting included.
        output_bytes: encoded size of result, error, log lines and state writes together.
        calls: system calls.
        state_bytes: encoded size of the keys and values one run may write.
        big_bytes: bytes of big values one run may write, those of writers it never closes too.
    """

    fuel: int | None = None
    memory_bytes: int | None = None
    wall_ns: int | None = None
    output_bytes: int | None = None
    calls: int | None = None
    state_bytes: int | None = None
    big_bytes: int | None = None


UNBOUNDED: Final = Limits()
"""Says nothing. One object, so that "nothing is limited here" is told by identity."""

LIMIT_FIELDS: Final = (
    *("fuel", "memory_bytes", "wall_ns", "output_bytes", "calls", "state_bytes", "big_bytes"),
)

NODE_DEFAULT_LIMITS: Final = Limits(
    fuel=2_000_000_000,
    memory_bytes=64 * MIB,
    wall_ns=30 * SECOND_NS,
    output_bytes=8 * MIB,
    calls=1_000_000,
    state_bytes=8 * MIB,
    big_bytes=32 * MIB,
)
"""Policy of a node whose configuration says nothing. No request may ask for more."""

HANDLER_DEFAULT_LIMITS: Final = Limits(
    fuel=200_000_000,
    memory_bytes=8 * MIB,
    wall_ns=5 * SECOND_NS,
    output_bytes=2 * MIB,
    calls=100_000,
    state_bytes=2 * MIB,
    big_bytes=32 * MIB,
)
"""Limits of a handler whose template says nothing (about 50 ms of processor time)."""

PRIORITY_LOWEST: Final = 0
PRIORITY_DEFAULT: Final = 4
PRIORITY_HIGHEST: Final = 9
CALL_DEPTH_MAX: Final = 32
PARTICIPANTS_MAX: Final = 16
