"""How does a run of a stranger's module differ from one of our interpreters?

Nothing it exports may be called without a meter and a quantum, not even `lx_reserve`. So a
`CoreGuest` whose message is too long for the standing inbox makes two calls of one run: the address
from `lx_reserve`, then `lx_run`. A `SetupGuest` makes the calls that set up a module when it loads.

Nor is fuel time: a module may be made of the instructions that last longest for what they cost
(`ref.func`, an empty `memory.fill`, `memory.grow`: 17 to 44 ns of processor time a unit, where code
takes 1 to 2). So a quantum is burned in parts, and ends early when it has lasted too long.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import Final

from lithox.model.limits import Limits
from lithox.sandbox.cell import MASK_32, WORD_RESULT, Cell
from lithox.sandbox.contract import Step, StepKind
from lithox.sandbox.core.module import INITIALIZE_EXPORT, START_EXPORT
from lithox.sandbox.core.pool import BlankImage, CoreCell, CorePool
from lithox.sandbox.guest import INBOX_BYTES, State, WasmGuest
from lithox.sandbox.meters import CODE_OUT_OF_MEMORY, CODE_PROTOCOL

_RESERVE: Final = b"lx_reserve"
PART_FUEL: Final = 100_000
"""Between two looks at the clock: 0.15 ms of plain code, 5 ms of the worst there is."""
STEP_NS_MAX: Final = 2_000_000
LONG_STEP_NS_MAX: Final = 10_000_000
"""A step lasts that long and one part more, on the node's thread and on another."""
_SETUP_FINISHED: Final = Step(StepKind.FINISHED)


class CoreGuest(WasmGuest):
    """One run of a module; see `contract.Guest`."""

    __slots__ = ("_function", "_waiting")

    def step(self, quantum_fuel: int, *, frees_lock: bool) -> Step:
        """Runs until the guest yields, asks, finishes or ends; see `contract.Guest`.

        Blocks: for at most the quantum, and about `STEP_NS_MAX`.
        """
        step = super().step(min(quantum_fuel, PART_FUEL), frees_lock=frees_lock)
        if step.kind is not StepKind.YIELDED:
            return step
        left = quantum_fuel - PART_FUEL
        end_ns = monotonic_ns() + (LONG_STEP_NS_MAX if frees_lock else STEP_NS_MAX)
        while left > 0 and step.kind is StepKind.YIELDED and monotonic_ns() < end_ns:
            before = self.fuel_used
            step = super().step(min(left, PART_FUEL), frees_lock=frees_lock)
            left -= self.fuel_used - before
        return step

    def begin(self, function: bytes, message: bytes, inbox: int) -> None:
        """Puts `message` into the guest, or asks it first where; see `WasmGuest.begin`."""
        self._waiting: bytes | None = None
        self._function = function
        if len(message) <= INBOX_BYTES:
            super().begin(function, message, inbox)
            return
        self._inbox = inbox
        cell = self._cell
        if cell is not None:
            self._waiting = message
            cell.begin(cell.function_address(_RESERVE), len(message), 1, 1)

    def _finish(self, cell: Cell) -> Step | None:
        message = self._waiting
        if message is None:
            return super()._finish(cell)
        ended = self._ended_by_trap(cell)
        if ended is not None:
            return ended
        self._waiting = None
        pointer = cell.words[WORD_RESULT] & MASK_32
        if pointer == 0:
            return self._refuse(
                CODE_OUT_OF_MEMORY, f"no memory for a message of {len(message)} bytes"
            )
        if pointer + len(message) > cell.memory_bytes:
            return self._refuse(CODE_PROTOCOL, "lx_reserve gave an address outside its memory")
        self._library.memmove(cell.base + pointer, message, len(message))
        cell.begin(cell.function_address(self._function), len(message), 1, 1)
        return None

    def _receive(self, cell: Cell, asked: tuple[int, int, int, int]) -> Step | None:
        if self._waiting is not None:
            return self._refuse(CODE_PROTOCOL, "a system call from lx_reserve")
        return super()._receive(cell, asked)


class SetupGuest(WasmGuest):
    """The calls that set up a module in a new instance: start, `_initialize`, `lx_reserve`.

    Attributes:
        inbox: address of the standing inbox, once it has finished.
    """

    __slots__ = ("_calls", "inbox")

    def __init__(self, pool: CorePool, image: BlankImage, limits: Limits) -> None:
        """Takes a new cell; `begin_setup` must follow."""
        super().__init__(pool, image, limits)
        self.inbox = 0

    def begin_setup(self, exports: tuple[bytes, ...]) -> None:
        """Prepares the calls of `exports`, which take and give nothing, and of `lx_reserve`."""
        self._calls = list(exports)
        if self._cell is not None:
            self._begin_next(self._cell)

    def _begin_next(self, cell: Cell) -> None:
        if self._calls:
            assert isinstance(cell, CoreCell)
            assert self._calls[0] in {START_EXPORT, INITIALIZE_EXPORT}
            cell.begin(cell.fetch_function(self._calls.pop(0)), 0, 0, 0)
        else:
            self._calls = [_RESERVE]
            cell.begin(cell.function_address(_RESERVE), INBOX_BYTES, 1, 1)

    def _finish(self, cell: Cell) -> Step | None:
        ended = self._ended_by_trap(cell)
        if ended is not None:
            return ended
        if self._calls != [_RESERVE]:
            self._begin_next(cell)
            return None
        self.inbox = cell.words[WORD_RESULT] & MASK_32
        if self.inbox == 0 or self.inbox + INBOX_BYTES > cell.memory_bytes:
            return self._refuse(
                CODE_PROTOCOL,
                f"lx_reserve({INBOX_BYTES}) gave {self.inbox}, which is no address for as many "
                "bytes inside the memory",
            )
        self._state = State.FINISHED
        return _SETUP_FINISHED

    def close(self) -> None:
        """Ends the guest; its cell serves nobody else."""
        self._state = State.ENDED
        super().close()
