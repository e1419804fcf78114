"""What is one run of a component, from its first instruction to its end?

A `ComponentGuest` makes an instance, calls one export, answers its host calls and reads the result:
sliced by fuel, suspended while the node works on a system call, ended by limits or traps. It keeps
`contract.Guest`, as the guests of core modules do.

    INSTANCE -> CALL -> LAST_LINE (what was printed without an end of line) -> FINISHED
    any of them -> ENDED; while a system call is out: asked

Host calls that need nobody else are answered here at once; they burn fuel by a fixed price, so that
a component that does nothing else is sliced like any other and the price does not depend on how it
was sliced.

It is long because one run is one thing: what may happen between two polls stands in one place.
"""

from __future__ import annotations

import re
from enum import IntEnum
from functools import partial
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

import msgspec

from lithox.errors import LithoxError
from lithox.model.limits import Limits
from lithox.sandbox import messages
from lithox.sandbox.capi import TRAP_NAMES, TRAP_UNREACHABLE
from lithox.sandbox.component import host, wasi
from lithox.sandbox.component.cell import ComponentCell
from lithox.sandbox.component.ended import Ended
from lithox.sandbox.component.run import Run
from lithox.sandbox.component.values import LIST_ITEMS_MAX, TooLarge
from lithox.sandbox.contract import Step, StepKind
from lithox.sandbox.core.guest import LONG_STEP_NS_MAX, PART_FUEL, STEP_NS_MAX
from lithox.sandbox.meters import (
    CODE_OUT_OF_CALLS,
    CODE_OUT_OF_FUEL,
    CODE_OUT_OF_MEMORY,
    CODE_OUT_OF_OUTPUT,
    CODE_PROTOCOL,
    CODE_TRAPPED,
    OUTCOME_BYTES_MAX,
    REQUEST_BYTES_MAX,
    calls_of,
    fuel_of,
    memory_bytes_of,
)

if TYPE_CHECKING:
    from lithox.sandbox.component.program import ComponentProgram

HOST_CALL_FUEL: Final = 20_000
"""Price of a host call, beside what the guest burns itself: about 5 us at 4 units a nanosecond,
less than it takes, so that slices stay shorter than a millisecond."""
HOST_BYTE_FUEL: Final = 4
"""Price of a byte that a host call brings or takes, about a nanosecond."""
HOST_ITEM_FUEL: Final = 1_000
"""Price of an item of JSON that is read or written here: each is looked at, a quarter of a
microsecond. Eight million of them in one text would keep the node's thread for seconds, so they are
paid before they are looked at."""
NAMES_BYTES_MAX: Final = 128 << 10
"""Names of all handlers together that are copied and read."""
MESSAGE_CHARACTERS_MAX: Final = 16_384
TRACEBACK_CHARACTERS_MAX: Final = 65_536
_TRAP: Final = re.compile(r"wasm trap: ([^\n]{1,200})")
_MEMORY_REFUSED: Final = re.compile(
    r"exceeds memory limits|memory minimum size|mmap failed|failed to allocate memory"
)
_TRAPS: Final = {
    "call stack exhausted": TRAP_NAMES[0],
    "wasm `unreachable` instruction executed": TRAP_NAMES[TRAP_UNREACHABLE],
}
"""What the other rooms call a trap, by wasmtime's words for it."""

_encode: Final = msgspec.msgpack.Encoder().encode
_YIELDED: Final = Step(StepKind.YIELDED)


class Phase(IntEnum):
    """See the module's header."""

    INSTANCE = 0
    CALL = 1
    LAST_LINE = 2
    FINISHED = 3
    ENDED = 4


class ComponentGuest:
    """One run. Made by `ComponentProgram.start`.

    Attributes:
        fuel_used: fuel burned so far, as of the last step.
        memory_bytes: what its memories began with; the C interface does not tell how they grow.
        calls: system calls it made.
    """

    __slots__ = (
        "_arguments",
        "_ask",
        "_calls_max",
        "_cell",
        "_ended",
        "_export",
        "_fuel_max",
        "_is_out",
        "_is_stepping",
        "_outcome",
        "_phase",
        "_program",
        "_run",
        "calls",
        "fuel_used",
        "memory_bytes",
    )

    def __init__(self, program: ComponentProgram, message: bytes | None, limits: Limits) -> None:
        """Makes a store under `limits`; nothing of the component runs before the first step.

        Args:
            program: whose it is; it counts its live guests.
            message: the `RunMessage`, or None to ask for the names of the handlers.
            limits: of the run.
        """
        self._program = program
        self._fuel_max = fuel_of(limits)
        self._calls_max = calls_of(limits)
        self._run = run = Run(message)
        self._phase = Phase.INSTANCE
        self._ask: host.Ask | None = None
        self._outcome = b""
        self._ended: Step | None = None
        self._is_out = self._is_stepping = False
        self.calls = 0
        self.fuel_used = 0
        self.memory_bytes = program.memory_bytes
        if message is None:
            self._export, self._arguments = b"handlers", ()
        else:
            args = host.show_json(run.message.args)
            self._export, self._arguments = b"run", (run.message.handler.encode(), args)
        wall = program.wall
        cell = ComponentCell(wall.library, wall.engine, wall.values, run)
        self._cell: ComponentCell | None = cell
        run.open_handle = partial(wall.values.new_handle, cell.context)
        try:
            cell.set_memory_limit(memory_bytes_of(limits), program.memories)
            cell.set_fuel(self._fuel_max)
            cell.begin_instance(program.world, program.component)
        except BaseException:
            cell.close()
            raise

    def step(self, quantum_fuel: int, *, frees_lock: bool) -> Step:
        """Runs until the guest yields, asks, finishes or ends; see `contract.Guest`.

        Fuel is not time (see `sandbox.core.guest`): a quantum is burned in parts, with a look at
        the clock between them.

        Blocks: for at most the quantum, and about `STEP_NS_MAX`.
        """
        if self._ended is not None:
            return self._ended
        cell = self._cell
        assert cell is not None, "step after close"
        assert not self._is_out, "step without an answer"
        assert not self._is_stepping, "two threads step one guest"
        if self._phase is Phase.LAST_LINE:
            return self._finish()
        part_fuel = max(1, min(quantum_fuel, PART_FUEL))
        if part_fuel != cell.interval_fuel:
            cell.set_interval(part_fuel)
        until_fuel = self.fuel_used + quantum_fuel
        end_ns = monotonic_ns() + (LONG_STEP_NS_MAX if frees_lock else STEP_NS_MAX)
        library = self._program.wall.library
        poll = library.poll_long if frees_lock else library.poll_short
        self._is_stepping = True
        try:
            cell.enter()
            while True:
                is_done = poll(cell.future)
                self.fuel_used = self._fuel_max - cell.read_fuel()
                if is_done:
                    step = self._after_call(cell)
                elif cell.asked is not None:
                    step = self._receive(cell)
                else:
                    step = None
                if step is not None:
                    return step
                if self.fuel_used >= until_fuel or monotonic_ns() >= end_ns:
                    return _YIELDED
        finally:
            self._is_stepping = False

    def _after_call(self, cell: ComponentCell) -> Step | None:
        """Looks at a call that is over; None when the next one was begun."""
        cell.end_call()
        text = cell.take_error()
        if text is not None:
            return self._end_by(text)
        if self._phase is Phase.INSTANCE:
            self._phase = Phase.CALL
            cell.begin_call(self._program.world, self._export, self._arguments)
            return None
        is_loading = self._run.is_loading
        try:
            result = cell.take_result(NAMES_BYTES_MAX if is_loading else OUTCOME_BYTES_MAX)
        except TooLarge:
            if is_loading:
                return self._end(
                    CODE_PROTOCOL,
                    f"it gives more than {LIST_ITEMS_MAX} handlers, or names of more than "
                    f"{NAMES_BYTES_MAX} bytes together",
                )
            return self._end(CODE_OUT_OF_OUTPUT, f"a result of more than {OUTCOME_BYTES_MAX} bytes")
        # Nothing of it runs any more, so the machine need not know.
        self.fuel_used = min(self._fuel_max, self.fuel_used + price_of(result))
        if self.fuel_used == self._fuel_max:
            return self._end_without_fuel()
        self._outcome = self._encode_outcome(result)
        return self._finish()

    def _finish(self) -> Step:
        rest = wasi.take_rest(self._run)
        if rest is not None:
            self._phase = Phase.LAST_LINE
            return self._go_out(rest)
        self._phase = Phase.FINISHED
        return Step(StepKind.FINISHED, self._outcome)

    def _encode_outcome(self, result: Any) -> bytes:
        """Returns the outcome message of what the export returned."""
        state = self._run.state
        reads = sorted(state.reads)
        if self._run.is_loading:
            names = [name.decode() for name in result]
            return _encode((messages.OUTCOME_RETURNED, names, (), (), {}))
        is_ok, body = result
        if is_ok:
            try:
                value = msgspec.Raw(host.store_json(body))
            except LithoxError as error:
                said = ("", f"the result of {self._run.message.handler}: {error.message}", "", None)
                return _encode((messages.OUTCOME_RAISED, said, reads, (), {}))
            writes = state.take_pending()
            return _encode((messages.OUTCOME_RETURNED, value, reads, (), writes))
        return _encode((messages.OUTCOME_RAISED, _read_error(body), reads, (), {}))

    def _receive(self, cell: ComponentCell) -> Step | None:
        """Answers a host call; None when the guest may go on."""
        assert cell.asked is not None
        number, arguments = cell.asked
        called = self._program.world.imports[number]
        if arguments is None:
            return self._end(
                CODE_PROTOCOL,
                f"{called.name} was called with more than {REQUEST_BYTES_MAX} bytes, or a list "
                "longer than is read",
            )
        if not self._burn(cell, HOST_CALL_FUEL + price_of(arguments)):
            return self._end_without_fuel()
        try:
            value = called.answer(self._run, arguments)
        except Ended as end:
            return self._end(end.code, end.detail)
        if isinstance(value, host.Ask):
            return self._go_out(value)
        return self._deliver(cell, value)

    def _go_out(self, ask: host.Ask) -> Step:
        """Makes a system call."""
        if self.calls >= self._calls_max:
            return self._end(CODE_OUT_OF_CALLS, f"more than {self._calls_max} system calls")
        if len(ask.message) > REQUEST_BYTES_MAX:
            return self._end(
                CODE_PROTOCOL,
                f"a system call of {len(ask.message)} bytes; at most {REQUEST_BYTES_MAX} are read",
            )
        self.calls += 1
        self._ask = ask
        self._is_out = True
        return Step(StepKind.ASKED, ask.message)

    def _burn(self, cell: ComponentCell, fuel: int) -> bool:
        """Burns fuel for work that is done here; says whether there was so much left."""
        left = self._fuel_max - self.fuel_used - fuel
        cell.set_fuel(max(0, left))
        self.fuel_used = self._fuel_max - max(0, left)
        return left > 0

    def _deliver(self, cell: ComponentCell, value: Any) -> Step | None:
        """Lets a host call return `value`; None when the guest may go on."""
        assert cell.asked is not None
        price = price_of(value)
        if price and not self._burn(cell, price):
            return self._end_without_fuel()
        write = self._program.world.imports[cell.asked[0]].write
        if write is not None:
            write(cell.result_address, value)
        cell.asked = None
        cell.set_ready(is_ready=True)
        return None

    def answer(self, message: bytes) -> None:
        """Gives the answer to the system call it asked; the next step goes on from there."""
        cell, ask = self._cell, self._ask
        assert cell is not None, "answer after close"
        assert self._is_out, "an answer nobody asked for"
        assert ask is not None
        self._is_out = False
        self._ask = None
        if cell.asked is None:
            return
        if not self._burn(cell, HOST_BYTE_FUEL * len(message)):
            self._end_without_fuel()
            return
        try:
            value = host.read_reply(ask, message)
        except LithoxError as error:
            value = host.refusal_of(error)
        if not self._program.world.imports[cell.asked[0]].is_host:
            # What was printed, of WASI: its own errors are few.
            value = (True, None) if value[0] else (False, b"closed")
        self._deliver(cell, value)

    def _end(self, code: str, detail: str) -> Step:
        self._phase = Phase.ENDED
        self._ended = Step(StepKind.ENDED, b"", code, detail)
        return self._ended

    def _end_without_fuel(self) -> Step:
        return self._end(CODE_OUT_OF_FUEL, "the fuel allowance is used up")

    def _end_by(self, text: str) -> Step:
        """Ends the guest for what wasmtime says of its call."""
        if self.fuel_used >= self._fuel_max:
            return self._end_without_fuel()
        if self._phase is Phase.INSTANCE and _MEMORY_REFUSED.search(text):
            return self._end(CODE_OUT_OF_MEMORY, f"the component alone takes more: {_last(text)}")
        # Names of functions, which the component chose, stand before the cause.
        traps = _TRAP.findall(text)
        trap = str(traps[-1]) if traps else _last(text)
        return self._end(CODE_TRAPPED, _TRAPS.get(trap, trap))

    def charge(self, fuel: int, calls: int) -> None:
        """Burns fuel and calls of its allowance on behalf of a callee, while it waits for it."""
        assert self._is_out, "charge only while it waits for an answer"
        assert self._cell is not None
        self._burn(self._cell, max(0, fuel))
        self.calls += calls

    def credit(self, fuel: int, calls: int) -> None:
        """Gives back what `charge` took and nobody has used; while it waits for an answer."""
        assert self._is_out, "credit only while it waits for an answer"
        assert self._cell is not None
        left = min(self._fuel_max, self._fuel_max - self.fuel_used + max(0, fuel))
        self._cell.set_fuel(left)
        self.fuel_used = self._fuel_max - left
        self.calls = max(0, self.calls - calls)

    def bound_memory(self, memory_bytes_max: int) -> None:
        """Lets its memory grow to that much from now on; what it has, it keeps."""
        assert self._is_out, "only while it waits for an answer"
        assert self._cell is not None
        self._cell.set_memory_limit(max(memory_bytes_max, 0), self._program.memories)

    def close(self) -> None:
        """Ends the guest at whatever point it is, and frees its memory. Idempotent."""
        assert not self._is_stepping, "close while another thread steps it"
        cell = self._cell
        self._cell = None
        if cell is not None:
            cell.close()
            self._run.open_handle = None
            self._program.give_back()


def price_of(value: Any) -> int:
    """Returns the fuel for reading or writing the texts in `value`, however they are nested."""
    if type(value) is bytes:
        items = value.count(b",") + value.count(b"[") + value.count(b"{")
        return HOST_BYTE_FUEL * len(value) + HOST_ITEM_FUEL * items
    if type(value) is dict:
        return sum(map(price_of, value.values()))  # pyright: ignore[reportUnknownArgumentType]
    if type(value) is tuple or type(value) is list:
        return sum(map(price_of, value))  # pyright: ignore[reportUnknownArgumentType]
    return 0


def _read_error(body: dict[str, bytes]) -> tuple[str, str, str, Any]:
    """Returns the fields of an `ErrorMessage` for the record `error` a handler gave."""
    try:
        data = msgspec.Raw(host.store_json(body["data"]))
    except LithoxError:
        data = msgspec.Raw(messages.NIL)
    return (
        body["code"].decode(),
        body["message"].decode()[:MESSAGE_CHARACTERS_MAX],
        body["traceback"].decode()[-TRACEBACK_CHARACTERS_MAX:],
        data,
    )


def _last(text: str) -> str:
    """Returns the last line of an error of wasmtime's, which is its cause."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "unknown error"
