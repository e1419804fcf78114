"""Which limit did a guest meet, and how is its end named?

Turns the limits of a run into the numbers wasmtime counts with, and a trap into one of the error
codes of `lithox.errors`. Pure: no C calls here.
"""

from __future__ import annotations

from typing import Final

from lithox.model.limits import NODE_DEFAULT_LIMITS, Limits
from lithox.sandbox.capi import TRAP_OUT_OF_FUEL, TRAP_UNREACHABLE
from lithox.sandbox.contract import Step, StepKind

WASM_PAGE_BYTES: Final = 65536
MEMORY_NEAR_LIMIT_BYTES: Final = 4 * WASM_PAGE_BYTES
"""An abort with less room than this left below the memory limit, or with more than half of the
limit in use, counts as out of memory. The C interface tells nobody of a refused growth; tables and
strings double when they grow, and an interpreter has no other reason to abort."""
NO_MEMORY_TEXT: Final = b"out of memory\0"
"""What a guest writes at the beginning of its inbox before it aborts for want of memory."""
REQUEST_BYTES_MAX: Final = 8 << 20
"""Size of one system-call message; the same as a node's default `output_bytes`."""
OUTCOME_BYTES_MAX: Final = 32 << 20
"""Size of an outcome that is copied at all; a run's own `output_bytes` bites before."""
FUEL_MAX: Final = (1 << 62) - 1
MEMORY_BYTES_MAX: Final = 1 << 32

CODE_OUT_OF_FUEL: Final = "guest.out_of_fuel"
CODE_OUT_OF_MEMORY: Final = "guest.out_of_memory"
CODE_OUT_OF_CALLS: Final = "guest.out_of_calls"
CODE_OUT_OF_OUTPUT: Final = "guest.out_of_output"
CODE_TRAPPED: Final = "guest.trapped"
CODE_PROTOCOL: Final = "guest.protocol"


def fuel_of(limits: Limits) -> int:
    """Returns the fuel allowance, the node's default where `limits` says nothing."""
    fuel = limits.fuel if limits.fuel is not None else NODE_DEFAULT_LIMITS.fuel
    assert fuel is not None
    return min(max(fuel, 0), FUEL_MAX)


def memory_bytes_of(limits: Limits) -> int:
    """Returns the largest memory in bytes, the node's default where `limits` says nothing."""
    memory = limits.memory_bytes
    if memory is None:
        memory = NODE_DEFAULT_LIMITS.memory_bytes
    assert memory is not None
    return min(max(memory, 0), MEMORY_BYTES_MAX)


def calls_of(limits: Limits) -> int:
    """Returns how many system calls are allowed, the node's default where nothing is said."""
    calls = limits.calls if limits.calls is not None else NODE_DEFAULT_LIMITS.calls
    assert calls is not None
    return max(calls, 0)


def step_of_trap(
    trap_code: int,
    name: str,
    *,
    memory_bytes: int,
    memory_bytes_max: int,
    inbox_text: bytes = b"",
) -> Step:
    """Returns the end that a trap stands for.

    Args:
        trap_code: wasmtime's code, -1 when it has none.
        name: the trap's name, for the detail.
        memory_bytes: size of the guest's memory when it trapped.
        memory_bytes_max: its limit.
        inbox_text: the first bytes of its inbox. A guest that wants too much at once is far from
            its limit when it aborts, and says so here; one whose language does not is judged by
            the room it had left.
    """
    if trap_code == TRAP_OUT_OF_FUEL:
        return Step(StepKind.ENDED, b"", CODE_OUT_OF_FUEL, "the fuel allowance is used up")
    room_bytes = memory_bytes_max - memory_bytes
    is_full = room_bytes < max(MEMORY_NEAR_LIMIT_BYTES, memory_bytes)
    if trap_code == TRAP_UNREACHABLE and (is_full or inbox_text == NO_MEMORY_TEXT):
        return Step(
            StepKind.ENDED,
            b"",
            CODE_OUT_OF_MEMORY,
            f"{name} with {memory_bytes} of {memory_bytes_max} bytes of memory in use",
        )
    return Step(StepKind.ENDED, b"", CODE_TRAPPED, name)
