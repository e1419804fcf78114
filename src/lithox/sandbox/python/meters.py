"""What does a Python run burn, and which limit did it meet?

Fuel is the worker's processor time at the node's fixed rate; so it is not the same in every run, as
it is of a WebAssembly guest. Pure.
"""

from __future__ import annotations

import signal
from typing import Final

from lithox.sandbox.contract import Step, StepKind
from lithox.sandbox.meters import CODE_OUT_OF_MEMORY, CODE_TRAPPED
from lithox.sandbox.python.wire import Event

FUEL_PER_NS: Final = 4
"""The rate at which a WebAssembly guest burns fuel; see `model.limits`."""
TURN_FUEL: Final = 80_000
"""What one turn of the pipe costs the node (20 us): a run that only asks is ended by its fuel."""
BYTE_FUEL: Final = 8
"""What reading a byte of what a worker says costs the node (2 ns)."""
ITEM_FUEL: Final = 200
"""What decoding one of `values.items_of` costs it (50 ns)."""
OOM_STATUS: Final = 65
"""Status of a worker whose allocator was refused. Source: OOM_EXIT_CODE of `monty-alloc`."""
_HINTS: Final[dict[int, str]] = {
    signal.SIGKILL: "the system does that when memory runs out",
    signal.SIGABRT: "something nests deeper than its stack",
    signal.SIGSEGV: "something nests deeper than its stack",
}
_OUT_OF_MEMORY: Final = "memory limit exceeded"


def is_out_of_memory(event: Event) -> bool:
    """Returns whether an error is the interpreter's refusal of memory, which nobody can catch."""
    return event.name == "MemoryError" and (event.text or "").startswith(_OUT_OF_MEMORY)


def step_of_death(status: int | None, *, memory_bytes: int, memory_bytes_max: int) -> Step:
    """Returns the end of a run whose worker has died.

    Args:
        status: of the process: negative for a signal.
        memory_bytes: what it had when it was looked at last.
        memory_bytes_max: what it might have.
    """
    if status == OOM_STATUS or (status == -signal.SIGABRT and memory_bytes > memory_bytes_max // 2):
        return Step(
            StepKind.ENDED,
            b"",
            CODE_OUT_OF_MEMORY,
            f"the worker ended for want of memory with {memory_bytes} bytes",
        )
    detail = f"the Python worker {describe_death(status)}"
    return Step(StepKind.ENDED, b"", CODE_TRAPPED, detail)


def describe_death(status: int | None) -> str:
    """Returns how a worker ended, and what that tends to mean.

    Args:
        status: of the process: negative for a signal.
    """
    if status is None or status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = _HINTS.get(-status)
    return f"was ended by {name}" + ("" if hint is None else f": {hint}")
