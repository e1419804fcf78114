"""What is one run, from its first instruction to its end?

A `WasmGuest` drives one cell through one call of the guest module: sliced by fuel, suspended by
system calls, ended by limits or traps. It is the only code that believes nothing a guest says:
every (pointer, length) is checked, unsigned, against the memory's size as read after the poll that
brought it, and a wrong one ends the guest.

States: READY (may be stepped), ASKED (waits for `answer`), FINISHED, ENDED, CLOSED.

    READY -step-> READY | ASKED | FINISHED | ENDED      ASKED -answer-> READY
    any but "being stepped" -close-> CLOSED

Invariants: fuel burned is the allowance minus what wasmtime has left, so it does not depend on how
a run was sliced; while another thread steps it, no other method may be called (asserted).
"""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from lithox.model.limits import Limits
from lithox.sandbox.cell import (
    INTERVAL_NONE,
    MASK_32,
    WORD_ERROR,
    WORD_FUEL,
    WORD_LENGTH,
    WORD_RESULT,
    WORD_TRAP,
    Cell,
)
from lithox.sandbox.contract import Step, StepKind
from lithox.sandbox.meters import (
    CODE_OUT_OF_CALLS,
    CODE_OUT_OF_MEMORY,
    CODE_OUT_OF_OUTPUT,
    CODE_PROTOCOL,
    NO_MEMORY_TEXT,
    OUTCOME_BYTES_MAX,
    REQUEST_BYTES_MAX,
    calls_of,
    fuel_of,
    memory_bytes_of,
    step_of_trap,
)
from lithox.sandbox.wasm import WORD_READY, enter

if TYPE_CHECKING:
    from lithox.sandbox.capi import Library

INBOX_BYTES: Final = 16 << 10
"""Size of the static inbox every guest module has; a longer message needs `lx_reserve`."""
_SIGN_32: Final = 1 << 32

_YIELDED: Final = Step(StepKind.YIELDED)


class State(IntEnum):
    """See the module's header."""

    READY = 0
    ASKED = 1
    FINISHED = 2
    ENDED = 3
    CLOSED = 4


_READY: Final = State.READY
_ASKED: Final = State.ASKED


class StartImage(Protocol):
    """What a guest's memory holds before its first instruction: see `sandbox.image`."""

    size_bytes: int


ImageT_contra = TypeVar("ImageT_contra", bound=StartImage, contravariant=True)


class Cells(Protocol[ImageT_contra]):
    """Where a guest's cell comes from and goes to: see `sandbox.pool`."""

    library: Library

    def take(self, image: ImageT_contra, memory_bytes_max: int) -> Cell:
        """Returns a cell that holds `image`; raises Overloaded where there is no room."""
        ...

    def give(self, cell: Cell) -> None:
        """Takes back a cell whose guest ended in the ordinary way."""
        ...

    def drop(self, cell: Cell) -> None:
        """Takes back a cell nobody may have after this guest."""
        ...


class WasmGuest:
    """One run. Made by `WasmProgram.start`.

    Attributes:
        fuel_used: fuel burned so far, as of the last step.
        memory_bytes: size of its memory, as of the last step.
        calls: system calls it made.
    """

    __slots__ = (
        "_calls_max",
        "_cell",
        "_ended",
        "_fuel_max",
        "_image",
        "_inbox",
        "_is_stepping",
        "_kept_answer",
        "_library",
        "_pool",
        "_state",
        "calls",
        "fuel_used",
        "memory_bytes",
    )

    def __init__(self, pool: Cells[ImageT_contra], image: ImageT_contra, limits: Limits) -> None:
        """Takes a cell with `image` in it and sets its limits; `begin` must follow.

        Raises:
            Overloaded: there is no room for another guest.
        """
        self._pool = pool
        self._library = pool.library
        self._fuel_max = fuel_of(limits)
        self._calls_max = calls_of(limits)
        self._image = image  # held while its cell may map it
        self._inbox = 0
        self._is_stepping = False
        self._kept_answer: bytes | None = None
        self._ended: Step | None = None
        self._state: State = _READY
        self.calls = 0
        self.fuel_used = 0
        self.memory_bytes = image.size_bytes
        memory_bytes_max = memory_bytes_of(limits)
        self._cell: Cell | None = None
        if memory_bytes_max < image.size_bytes:
            self._refuse(
                CODE_OUT_OF_MEMORY,
                f"the module alone takes {image.size_bytes} bytes of memory; "
                f"{memory_bytes_max} are allowed",
            )
            return
        cell = self._cell = pool.take(image, memory_bytes_max)
        self._library.set_fuel(cell.context, self._fuel_max)

    @property
    def cell(self) -> Cell | None:
        """The cell, for taking an image of it; None when it has none (any more)."""
        return self._cell

    def begin(self, function: bytes, message: bytes, inbox: int) -> None:
        """Puts `message` into the guest and prepares the call of `function`.

        Args:
            function: `lx_run` or `lx_load`.
            message: what the guest reads first.
            inbox: address of the static inbox in its memory.
        """
        cell = self._cell
        if cell is None:
            return
        self._inbox = inbox
        length = len(message)
        if length > INBOX_BYTES:
            reserved = self._reserve(cell, length)
            if reserved is None:
                return
            inbox = reserved
        self._library.memmove(cell.base + inbox, message, length)
        cell.begin(cell.function_address(function), length, 1, 1)

    def _reserve(self, cell: Cell, length: int) -> int | None:
        """Has the guest make room for `length` bytes; None when that ended it."""
        self._set_interval(cell, INTERVAL_NONE)
        cell.begin(cell.function_address(b"lx_reserve"), length, 1, 1)
        enter(cell)
        while not self._library.poll_short(cell.future):
            if cell.asked is not None:
                self._refuse(CODE_PROTOCOL, "a system call from lx_reserve")
                return None
        self._read_meters(cell)
        if self._ended_by_trap(cell) is not None:
            return None
        pointer = cell.words[WORD_RESULT] & MASK_32
        if pointer == 0:
            self._refuse(CODE_OUT_OF_MEMORY, f"no memory for a message of {length} bytes")
            return None
        if pointer + length > cell.memory_bytes:
            self._refuse(CODE_PROTOCOL, "lx_reserve gave an address outside its memory")
            return None
        return pointer

    def _set_interval(self, cell: Cell, quantum_fuel: int) -> None:
        cell.interval_fuel = quantum_fuel
        self._library.yield_interval(cell.context, quantum_fuel)

    def step(self, quantum_fuel: int, *, frees_lock: bool) -> Step:
        """Runs until the guest yields, asks, finishes or ends; see `contract.Guest`."""
        if self._ended is not None:
            return self._ended
        cell = self._cell
        assert cell is not None, "step after close"
        assert self._state is _READY, "step without an answer, or after the end"
        assert not self._is_stepping, "two threads step one guest"
        library = self._library
        if quantum_fuel != cell.interval_fuel:
            self._set_interval(cell, max(1, min(quantum_fuel, INTERVAL_NONE)))
        until_fuel = self.fuel_used + cell.interval_fuel
        self._is_stepping = True
        try:
            enter(cell)
            poll = library.poll_long if frees_lock else library.poll_short
            while True:
                is_done = poll(cell.future)
                self._read_meters(cell)
                if is_done:
                    step = self._finish(cell)
                    if step is not None:
                        return step
                elif cell.asked is not None:
                    step = self._receive(cell, cell.asked)
                    if step is not None:
                        return step
                elif self.fuel_used >= until_fuel:
                    return _YIELDED
                # Else wasmtime has collected the garbage of caught exceptions and offers a pause
                # which is not due: the quantum goes on.
        finally:
            self._is_stepping = False

    def _read_meters(self, cell: Cell) -> None:
        library, context = self._library, cell.context
        cell.base = library.memory_data(context, cell.memory_address)
        cell.memory_bytes = self.memory_bytes = library.memory_size(context, cell.memory_address)
        library.get_fuel(context, cell.fuel_address)
        self.fuel_used = self._fuel_max - cell.words[WORD_FUEL]

    def _finish(self, cell: Cell) -> Step | None:
        """Returns what the call that is over came to; None when another one has begun."""
        ended = self._ended_by_trap(cell)
        if ended is not None:
            return ended
        result = cell.words[WORD_RESULT]
        pointer, length = result >> 32, result & MASK_32
        if pointer + length > cell.memory_bytes:
            return self._refuse(CODE_PROTOCOL, "the outcome lies outside the guest's memory")
        if length > OUTCOME_BYTES_MAX:
            return self._refuse(
                CODE_OUT_OF_OUTPUT,
                f"an outcome of {length} bytes; at most {OUTCOME_BYTES_MAX} are carried",
            )
        self._state = State.FINISHED
        return Step(StepKind.FINISHED, ctypes.string_at(cell.base + pointer, length))

    def _ended_by_trap(self, cell: Cell) -> Step | None:
        """Frees the future of a call that is over; returns its end if it trapped."""
        cell.end_call()
        if not (cell.words[WORD_TRAP] or cell.words[WORD_ERROR]):
            return None
        problem = cell.take_problem()
        assert problem is not None
        self._state = State.ENDED
        self._ended = step_of_trap(
            *problem,
            memory_bytes=cell.memory_bytes,
            memory_bytes_max=cell.memory_bytes_max,
            inbox_text=ctypes.string_at(cell.base + self._inbox, len(NO_MEMORY_TEXT)),
        )
        return self._ended

    def _refuse(self, code: str, detail: str) -> Step:
        """Ends the guest for something it did."""
        self._state = State.ENDED
        self._ended = Step(StepKind.ENDED, b"", code, detail)
        return self._ended

    def _receive(self, cell: Cell, asked: tuple[int, int, int, int]) -> Step | None:
        """Looks at a system call; None when it was dealt with here and the guest may go on."""
        pointer, length, out, capacity = asked
        memory_bytes = cell.memory_bytes
        if pointer + length > memory_bytes or out + capacity > memory_bytes:
            return self._refuse(CODE_PROTOCOL, "a system call with an address outside the memory")
        if pointer == 0 and length == 0:
            if self._kept_answer is None:
                return self._refuse(CODE_PROTOCOL, "there is no answer to collect")
            self._deliver(cell, self._kept_answer)
            return None
        if length > REQUEST_BYTES_MAX:
            return self._refuse(
                CODE_PROTOCOL,
                f"a system call of {length} bytes; at most {REQUEST_BYTES_MAX} are read",
            )
        if self.calls >= self._calls_max:
            return self._refuse(CODE_OUT_OF_CALLS, f"more than {self._calls_max} system calls")
        self.calls += 1
        self._kept_answer = None
        self._state = _ASKED
        return Step(StepKind.ASKED, ctypes.string_at(cell.base + pointer, length))

    def answer(self, message: bytes) -> None:
        """Gives the answer to the system call it asked; the next step goes on from there."""
        cell = self._cell
        assert cell is not None, "answer after close"
        assert self._state is _ASKED, "an answer nobody asked for"
        self._state = _READY
        self._deliver(cell, message)
        # The time in the system call counts for nobody: the next step has a whole quantum.
        cell.interval_fuel = 0

    def _deliver(self, cell: Cell, message: bytes) -> None:
        """Copies `message` if it fits, and lets the system call return."""
        assert cell.asked is not None
        _, _, out, capacity = cell.asked
        length = len(message)
        if length <= capacity:
            self._kept_answer = None
            self._library.memmove(cell.base + out, message, length)
            cell.words[WORD_LENGTH] = length
        else:
            self._kept_answer = message
            cell.words[WORD_LENGTH] = _SIGN_32 - length
        self._library.memmove(cell.result_address, cell.length_address, 4)
        cell.asked = None
        cell.words[WORD_READY] = 1

    def charge(self, fuel: int, calls: int) -> None:
        """Burns fuel and calls of its allowance on behalf of a callee, while it waits for it."""
        cell = self._cell
        assert cell is not None, "charge after close"
        assert self._state is _ASKED, "charge only while it waits for an answer"
        left = max(0, self._fuel_max - self.fuel_used - max(0, fuel))
        self._library.set_fuel(cell.context, left)
        self.fuel_used = self._fuel_max - left
        self.calls += calls

    def credit(self, fuel: int, calls: int) -> None:
        """Gives back what `charge` took and nobody has used; while it waits for an answer."""
        cell = self._cell
        assert cell is not None, "credit after close"
        assert self._state is _ASKED, "credit only while it waits for an answer"
        left = min(self._fuel_max, self._fuel_max - self.fuel_used + max(0, fuel))
        self._library.set_fuel(cell.context, left)
        self.fuel_used = self._fuel_max - left
        self.calls = max(0, self.calls - calls)

    def bound_memory(self, memory_bytes_max: int) -> None:
        """Lets its memory grow to that much from now on; what it has, it keeps."""
        cell = self._cell
        assert cell is not None, "bound_memory after close"
        assert self._state is _ASKED, "only while it waits for an answer"
        cell.set_memory_limit(max(memory_bytes_max, cell.memory_bytes))

    def close(self) -> None:
        """Ends the guest at whatever point it is, and frees or recycles its memory. Idempotent."""
        assert not self._is_stepping, "close while another thread steps it"
        cell = self._cell
        if cell is None:
            self._state = State.CLOSED
            return
        self._cell = None
        if self._state is State.FINISHED and cell.memory_bytes == self._image.size_bytes:
            self._pool.give(cell)
        else:
            self._pool.drop(cell)
        self._state = State.CLOSED
