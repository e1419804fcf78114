"""What is one run of a Python handler, from its first instruction to its end?

A `PythonGuest` lets a worker process run until it asks, ends, or has used its quantum of processor
time; then it holds it with SIGSTOP. So it can be sliced like any other guest, although nothing
inside the worker yields: the node calls such a process `cooperative`, because its own clock, and
not a counter of instructions, says when it must pause.

States: QUEUED (no worker yet), READY (may be stepped), ASKED (waits for `answer`), FINISHED, ENDED,
CLOSED.

    QUEUED -step-> QUEUED | READY | ASKED | FINISHED | ENDED
    READY -step-> READY | ASKED | FINISHED | ENDED      ASKED -answer-> READY
    any but "being stepped" -close-> CLOSED

Invariants: an end by a limit kills the worker, so nothing in it can catch that; a worker goes back
to the pool only when its run has ended by itself; a step takes at most twice its quantum of time.
The module is long because one object owns all of a run's state, and the contract has seven methods.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from lithox.errors import BadArguments
from lithox.model.limits import Limits
from lithox.sandbox.contract import CooperativeGuest, Step, StepKind
from lithox.sandbox.messages import CALL_LOG, CONTEXT_SELF
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
from lithox.sandbox.python.conversation import KNOWN_CALLS, Conversation
from lithox.sandbox.python.loading import answer_system, format_frames
from lithox.sandbox.python.meters import (
    BYTE_FUEL,
    FUEL_PER_NS,
    ITEM_FUEL,
    TURN_FUEL,
    is_out_of_memory,
    step_of_death,
)
from lithox.sandbox.python.pool import Held, Image, WorkerPool
from lithox.sandbox.python.prelude import HOST_NAME
from lithox.sandbox.python.values import items_of
from lithox.sandbox.python.wire import (
    DUMP,
    UNDEFINED,
    Event,
    EventKind,
    WireError,
    encode_not_found,
    encode_raise,
    encode_text_answer,
)
from lithox.sandbox.python.worker import ADDRESS_BYTES, Worker, WorkerGone

if TYPE_CHECKING:
    from lithox.sandbox.python.engine import PythonProgram

MEMORY_SLACK_BYTES: Final = 32 << 20
"""What a worker may hold beside its run's memory: buffers, and what its allocator keeps."""
LARGE_BYTES: Final = 64 << 10
"""State or an event that takes milliseconds to translate: the thread for long runs does it."""
LONG_FUEL: Final = 10_000_000
"""A run that burned that much (2.5 ms) has outlived its first slice."""
LINES_MAX: Final = 1000
"""Lines of one print that become lines of the log each; what is behind them is one more."""
QUEUE_WAIT_S: Final = 0.0005
"""How long the thread for long runs waits for a worker before others have their slices."""
_YIELDED: Final = Step(StepKind.YIELDED)
_encode: Final = msgspec.msgpack.Encoder().encode


class State(IntEnum):
    """See the module's header."""

    QUEUED = 0
    READY = 1
    ASKED = 2
    FINISHED = 3
    ENDED = 4
    CLOSED = 5


class Order(NamedTuple):
    """What is to be run.

    Attributes:
        account: whose share of the workers it takes.
        message: the `RunMessage`.
        is_nested: a guest that holds a worker waits for this one.
    """

    account: str
    message: bytes
    is_nested: bool


class PythonGuest(CooperativeGuest):
    """One run. Made by `PythonProgram.start_for`.

    Attributes:
        fuel_used: processor time of its worker so far, in fuel, and what its callees used.
        memory_bytes: memory its worker has of its own.
        calls: system calls it made.
    """

    __slots__ = (
        "_account",
        "_asked",
        "_bytes_start",
        "_calls_max",
        "_charged",
        "_conversation",
        "_cpu_start_ns",
        "_due",
        "_ended",
        "_fuel_max",
        "_has_yielded",
        "_held",
        "_is_large",
        "_is_reserved",
        "_is_second",
        "_is_stepping",
        "_items",
        "_lines",
        "_memory_bytes_max",
        "_message",
        "_output_bytes_max",
        "_pool",
        "_program",
        "_randoms",
        "_state",
        "_turns",
        "calls",
        "fuel_used",
        "memory_bytes",
    )

    def __init__(
        self,
        program: PythonProgram,
        pool: WorkerPool,
        order: Order,
        limits: Limits,
    ) -> None:
        """Takes no worker yet.

        Raises:
            Overloaded: another guest waits for this one, and there are as many as there may be.
        """
        account, message = order.account, order.message
        if order.is_nested:
            pool.reserve_nested(account)
        self._is_reserved = order.is_nested
        self._program = program
        self._pool = pool
        self._account = account
        self._message = message
        self._conversation: Conversation | None = None
        self._fuel_max = fuel_of(limits)
        self._calls_max = calls_of(limits)
        self._memory_bytes_max = memory_bytes_of(limits)
        # Reading it takes time in proportion, so what the dispatcher would refuse is not read.
        self._output_bytes_max = min(OUTCOME_BYTES_MAX, limits.output_bytes or OUTCOME_BYTES_MAX)
        self._held: Held | None = None
        self._due: deque[str] = deque()
        self._lines: deque[str] = deque()
        self._asked: int | None = None
        self._ended: Step | None = None
        self._state = State.QUEUED
        self._charged: int = 0
        self._turns = 0
        self._items = 0
        self._bytes_start = 0
        self._randoms = 0
        self._cpu_start_ns = 0
        self._has_yielded = False
        self._is_large = len(message) > LARGE_BYTES
        self._is_stepping = False
        self._is_second = False
        self.calls = 0
        self.fuel_used = 0
        self.memory_bytes = 0

    # -- stepping -----------------------------------------------------------------------------

    def step(self, quantum_fuel: int, *, frees_lock: bool) -> Step:
        """Runs until the guest yields, asks, finishes or ends; see `contract.Guest`."""
        if self._ended is not None:
            return self._ended
        assert self._state in (State.QUEUED, State.READY), (
            "step without an answer, or after the end"
        )
        assert not self._is_stepping, "two threads step one guest"
        self._is_stepping = True
        try:
            if self._state is State.QUEUED and not self._begin(frees_lock=frees_lock):
                return self._ended or _YIELDED
            if self._lines:
                return self._ask_line()
            return self._run(quantum_fuel, frees_lock=frees_lock)
        except WorkerGone as gone:
            if self._may_begin_again():
                return _YIELDED
            return self._end(
                step_of_death(
                    gone.status,
                    memory_bytes=self.memory_bytes,
                    memory_bytes_max=self._memory_bytes_max,
                )
            )
        except (WireError, BadArguments) as error:
            return self._end_by(CODE_PROTOCOL, f"the worker said {error}")
        finally:
            self._is_stepping = False

    def _may_begin_again(self) -> bool:
        """Forgets a worker that died before its run had shown itself; True once, at most.

        A worker that was killed while it was idle may look alive when it is taken.
        """
        if self._has_yielded or self.calls or self._is_second:
            return False
        self._is_second = True
        self._drop()
        self._due.clear()
        self._charged = self.fuel_used
        self._turns = self._items = 0
        self._state = State.QUEUED
        return True

    def _begin(self, *, frees_lock: bool) -> bool:
        """Takes a worker and sends it the run; False when there is none yet."""
        if self._is_large and not frees_lock and not self._has_yielded:
            self._has_yielded = True
            return False
        if not self._is_reserved:
            self._is_reserved = self._pool.reserve(self._account)
        if not self._is_reserved:
            if frees_lock:
                self._pool.wait_for_share(QUEUE_WAIT_S)
            return False
        image = self._program.find_image(self._memory_bytes_max)
        held = self._held = self._pool.take(image)
        if held is None:
            if self._pool.problem:
                self._end_by(CODE_TRAPPED, f"no worker can be started: {self._pool.problem}")
            elif frees_lock:
                self._pool.wait(QUEUE_WAIT_S)
            return False
        self._state = State.READY
        worker = held.worker
        self._cpu_start_ns = worker.cpu_ns()
        self._bytes_start = worker.taken_bytes
        conversation = self._conversation
        if conversation is None:
            conversation = self._conversation = Conversation(self._message)
            self._message = b""
        worker.bound_address_space(ADDRESS_BYTES + 2 * self._memory_bytes_max)
        self._due.extend(["ready"] * held.owed)
        held.owed = 0
        if image is None:
            worker.send(self._program.opening(self._memory_bytes_max) + DUMP)
            self._due.extend(("ready", "ready", "module", "image"))
        worker.send(conversation.opening())
        self._due.append("run")
        return True

    def _run(self, quantum_fuel: int, *, frees_lock: bool) -> Step:
        """Lets the worker go on for a quantum."""
        held = self._held
        assert held is not None, "step after close"
        worker = held.worker
        worker.resume()
        quantum_ns = max(1, quantum_fuel // FUEL_PER_NS)
        # The thread for long runs waits for a worker that does not get a processor; the node's own
        # does not.
        until_ns = time.monotonic_ns() + (2 * quantum_ns if frees_lock else quantum_ns)
        until_fuel = self.fuel_used + quantum_fuel
        while True:
            if not frees_lock and (worker.waiting_bytes() or 0) > LARGE_BYTES:
                # Reading it takes milliseconds: the thread for long runs does that.
                return self._yield(worker, is_long=False)
            event = worker.take_event()
            if event is not None:
                self._turns += 1
                self._read_meters(worker)
                step = self._on_event(event, worker)
                if step is not None:
                    return step
                is_in_time = time.monotonic_ns() < until_ns
                if is_in_time and self.fuel_used < min(until_fuel, self._fuel_max):
                    continue
            else:
                left_ms = min(quantum_ns, until_ns - time.monotonic_ns()) / 1e6
                if left_ms > 0 and worker.exchange(left_ms):
                    continue
                self._read_meters(worker)
            ended = self._over_a_limit()
            if ended is not None:
                return ended
            if self.fuel_used >= until_fuel or time.monotonic_ns() >= until_ns:
                return self._yield(worker, is_long=self.fuel_used >= min(until_fuel, LONG_FUEL))

    def _yield(self, worker: Worker, *, is_long: bool) -> Step:
        worker.stop()
        self._has_yielded = True
        held = self._held
        assert held is not None
        if is_long and not held.is_long:
            self._pool.note_long(held, is_long=True)
        return _YIELDED

    def _read_meters(self, worker: Worker) -> None:
        burned = (worker.cpu_ns() - self._cpu_start_ns) * FUEL_PER_NS
        read_bytes = worker.taken_bytes - self._bytes_start
        self.fuel_used = min(
            self._fuel_max,
            max(0, burned)
            + self._turns * TURN_FUEL
            + read_bytes * BYTE_FUEL
            + self._items * ITEM_FUEL
            + self._charged,
        )

    def _pay_items(self, text: str) -> Step | None:
        """Burns the fuel of decoding `text` before it is done; the end when there is none left.

        Raises:
            BadArguments: it is more than is decoded.
        """
        held = self._held
        assert held is not None
        self._items += items_of(text)
        self._read_meters(held.worker)
        return self._over_a_limit() if self.fuel_used >= self._fuel_max else None

    def _over_a_limit(self) -> Step | None:
        if self.fuel_used >= self._fuel_max:
            return self._end_by(CODE_OUT_OF_FUEL, "the fuel allowance is used up")
        assert self._held is not None
        self.memory_bytes = self._held.worker.memory_bytes()
        if self.memory_bytes > self._memory_bytes_max + MEMORY_SLACK_BYTES:
            return self._end_by(
                CODE_OUT_OF_MEMORY,
                f"{self.memory_bytes} bytes in use; {self._memory_bytes_max} are allowed",
            )
        return None

    # -- events -------------------------------------------------------------------------------

    def _on_event(self, event: Event, worker: Worker) -> Step | None:
        """Deals with what the worker said; None when it may go on."""
        kind = event.kind
        if kind is EventKind.FUNCTION_CALL:
            return self._on_call(event, worker)
        if kind is EventKind.NAME_LOOKUP:
            worker.send(UNDEFINED)
        elif kind is EventKind.OS_CALL:
            self._randoms += 1
            conversation = self._conversation
            assert conversation is not None
            is_loading = self._due[0] != "run"
            now_ms, seed = (0, 0) if is_loading else (conversation.now_ms, conversation.seed)
            worker.send(answer_system(event, now_ms, seed, self._randoms))
        elif kind is EventKind.PRINT:
            return self._on_print(event.text or "")
        elif kind is EventKind.FATAL:
            return self._end_by(CODE_TRAPPED, f"the worker gave up: {event.text or ''}"[:500])
        else:
            return self._on_turn_end(event)
        return None

    def _on_turn_end(self, event: Event) -> Step | None:
        due = self._due.popleft() if self._due else ""
        if due == "run":
            return self._finish(event)
        if event.kind is EventKind.ERROR and is_out_of_memory(event):
            return self._end_by(CODE_OUT_OF_MEMORY, event.text or "")
        if due == "image" and event.kind is EventKind.DUMPED:
            image = Image(self._program.digest, self._memory_bytes_max, event.data)
            self._program.keep_image(image)
            assert self._held is not None
            self._held.image = image
            return None
        if due in ("ready", "module") and event.kind in (EventKind.OK, EventKind.COMPLETE):
            return None
        return self._end_by(
            CODE_TRAPPED, f"the module does not load: {event.name}: {event.text or ''}"[:500]
        )

    def _finish(self, event: Event) -> Step:
        """Returns what the run that is over came to."""
        conversation = self._conversation
        assert conversation is not None
        assert self._held is not None
        self.memory_bytes = self._held.worker.memory_bytes()
        if event.kind is EventKind.ERROR:
            if is_out_of_memory(event):
                return self._end_by(CODE_OUT_OF_MEMORY, event.text or "")
            lines = format_frames(event.frames, self._program.name)
            data = conversation.failure(event.name, event.text or "", lines)
        elif event.kind is EventKind.COMPLETE:
            size = len(event.text or "")
            if size > self._output_bytes_max:
                return self._end_by(
                    CODE_OUT_OF_OUTPUT,
                    f"an outcome of {size} letters; at most {self._output_bytes_max} are carried",
                )
            try:
                ended = self._pay_items(event.text or "")
            except BadArguments as error:
                return self._end_by(CODE_OUT_OF_OUTPUT, f"an outcome of {error.message}")
            if ended is not None:
                return ended
            try:
                data = conversation.outcome(event.text)
            except BadArguments as error:
                data = conversation.failure("ValueError", error.message, [])
        else:
            return self._end_by(CODE_PROTOCOL, f"the worker answered {event.kind.name}")
        self._state = State.FINISHED
        return Step(StepKind.FINISHED, data)

    def _on_call(self, event: Event, worker: Worker) -> Step | None:
        args, conversation = event.args, self._conversation
        assert conversation is not None
        if event.name != HOST_NAME or len(args) != 2 or args[0] is None:
            worker.send(encode_not_found(event.call_id, event.name))
            return None
        if self._due[0] != "run":
            text = "the node is not available while a module loads"
            worker.send(encode_raise(event.call_id, "RuntimeError", text))
            return None
        name, text = args[0], args[1] or ""
        if name not in KNOWN_CALLS:
            return self._end_by(CODE_PROTOCOL, f"the node has no call {name[:40]!r}")
        ended = self._pay_items(text)
        if ended is not None:
            return ended
        try:
            message = conversation.call(name, text)
        except BadArguments as error:
            worker.send(encode_raise(event.call_id, "ValueError", error.message))
            return None
        if isinstance(message, str):
            self.calls += 1
            if self.calls > self._calls_max:
                return self._end_by(CODE_OUT_OF_CALLS, f"more than {self._calls_max} system calls")
            worker.send(encode_text_answer(event.call_id, message))
            return None
        self._asked = event.call_id
        return self._ask(message)

    def _ask(self, message: bytes) -> Step:
        if len(message) > REQUEST_BYTES_MAX:
            return self._end_by(
                CODE_PROTOCOL,
                f"a system call of {len(message)} bytes; at most {REQUEST_BYTES_MAX} are read",
            )
        if self.calls >= self._calls_max:
            return self._end_by(CODE_OUT_OF_CALLS, f"more than {self._calls_max} system calls")
        assert self._held is not None
        self.memory_bytes = self._held.worker.memory_bytes()
        if not self._held.is_long:
            self._pool.note_long(self._held, is_long=True)
        self.calls += 1
        self._state = State.ASKED
        return Step(StepKind.ASKED, message)

    def _on_print(self, text: str) -> Step | None:
        if not self._due or self._due[0] != "run":
            return None
        lines = text.removesuffix("\n").split("\n", LINES_MAX)
        self._lines.extend(lines)
        return self._ask_line()

    def _ask_line(self) -> Step:
        """Asks for a line of the log; the worker knows nothing of it."""
        line = self._lines.popleft()
        self._asked = None
        return self._ask(_encode((CONTEXT_SELF, CALL_LOG, "info", line, None)))

    # -- ends ---------------------------------------------------------------------------------

    def _end_by(self, code: str, detail: str) -> Step:
        return self._end(Step(StepKind.ENDED, b"", code, detail))

    def _end(self, step: Step) -> Step:
        """Ends the run, and its worker with it."""
        self._state = State.ENDED
        self._ended = step
        self._drop()
        return step

    def _drop(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._pool.drop(held)

    # -- what the node does while it waits -----------------------------------------------------

    def answer(self, message: bytes) -> None:
        """Gives the answer to the system call it asked; the next step goes on from there."""
        assert self._state is State.ASKED, "an answer nobody asked for"
        self._state = State.READY
        if self._held is not None and self._held.is_long and self.fuel_used < LONG_FUEL:
            self._pool.note_long(self._held, is_long=False)
        call_id, self._asked = self._asked, None
        if call_id is None:
            return
        held, conversation = self._held, self._conversation
        assert held is not None
        assert conversation is not None
        text, is_refusal = conversation.read_answer(message)
        encode: Callable[[], bytes] = (
            (lambda: encode_raise(call_id, "RuntimeError", text))
            if is_refusal
            else (lambda: encode_text_answer(call_id, text))
        )
        held.worker.send(encode())

    def charge(self, fuel: int, calls: int) -> None:
        """Burns fuel and calls of its allowance on behalf of a callee, while it waits for it."""
        assert self._state is State.ASKED, "charge only while it waits for an answer"
        taken = min(max(0, fuel), self._fuel_max - self.fuel_used)
        self._charged += taken
        self.fuel_used += taken
        self.calls += calls

    def credit(self, fuel: int, calls: int) -> None:
        """Gives back what `charge` took and nobody has used; while it waits for an answer."""
        assert self._state is State.ASKED, "credit only while it waits for an answer"
        given = min(max(0, fuel), self._charged)
        self._charged -= given
        self.fuel_used -= given
        self.calls = max(0, self.calls - calls)

    def bound_memory(self, memory_bytes_max: int) -> None:
        """Lets its memory grow to that much from now on; what it has, it keeps."""
        assert self._state is State.ASKED, "only while it waits for an answer"
        self._memory_bytes_max = max(memory_bytes_max, self.memory_bytes)
        if self._held is not None:
            size = ADDRESS_BYTES + 2 * self._memory_bytes_max
            self._held.worker.bound_address_space(size)

    def close(self) -> None:
        """Ends the guest at whatever point it is, and frees or recycles its worker. Idempotent."""
        assert not self._is_stepping, "close while another thread steps it"
        if self._state is State.CLOSED:
            return
        if self._state is State.FINISHED and self._held is not None:
            held, self._held = self._held, None
            self._pool.give(held)
        else:
            self._drop()
        self._state = State.CLOSED
        if self._is_reserved:
            self._is_reserved = False
            self._pool.release(self._account)
