"""THE ORDER OF A PROGRAM: from an order to a process, through its steps, to the word of its end.

A program is compiled (once per text and runtime), gets a process with a mailbox, contexts and
limits, and runs until its main code returns, raises, calls exit, meets a limit or is ended from
outside. Its parent hears of that by an `exit` event, whoever ordered it by `on_exit`, the owners
of its contexts by `close` events: the kernel sees to those.

Invariants: a process is told over exactly once; its guest is freed before anybody hears of it; a
guest whose slice is out on the second thread is never touched. One class with one state behind the
system calls and the lanes; its length is that of the two protocols it speaks.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from lithox.dispatch.driven import Driven
from lithox.dispatch.job import Clock
from lithox.dispatch.outcomes import APP_CODE, error_of_step
from lithox.dispatch.programs.allowances import (
    grant_to_child,
    meter_limits,
    note_children,
    own_usage,
    settle_child,
    settle_meter,
)
from lithox.dispatch.programs.natives import Grant, Natives
from lithox.dispatch.programs.orders import child_order, whole_number
from lithox.dispatch.programs.process import (
    MODE_COOPERATIVE,
    Cancel,
    Exit,
    ProcessEnds,
    ProgramOrder,
    ProgramProcess,
    Terminal,
    cancel_nothing,
    message_of,
)
from lithox.dispatch.programs.syscalls import EXITS, WAITS, Outcome, Syscalls
from lithox.errors import (
    SUMMARIES,
    BadArguments,
    CompileFailed,
    GuestProtocolError,
    InternalError,
    LimitExceeded,
    LithoxError,
    NotAvailable,
    NotFound,
    Overloaded,
    meaning_of,
)
from lithox.kernel.contexts import NativeContext
from lithox.kernel.kernel import Kernel
from lithox.kernel.limits import smallest
from lithox.kernel.process import CODE_CANCELLED, Mode, SliceEnd, Spawn
from lithox.model.ids import Pid
from lithox.model.limits import MIB, UNBOUNDED, Limits
from lithox.sandbox import messages
from lithox.sandbox.contract import Engine, Program, Source, Step, StepKind
from lithox.sandbox.messages import encode_program_answer

LOAD_FUEL_FIRST: Final = 60_000_000
LOAD_FUEL_PER_BYTE: Final = 600
LOAD_MEMORY_BYTES: Final = 32 * MIB
"""What compiling a program and running its runtime's chunks may take: 15 ms, and more by the length
of its text, so that a short one cannot hold the node. Source: the package's runtimes take 12 to
34 M fuel; plain statements and tables 390 to 460 a byte."""
DIGESTS_MAX: Final = 1_000
DIGEST_TEXT_BYTES_MAX: Final = 16 << 10
REASON_CHARACTERS_MAX: Final = 200
"""Of what `os.kill` says; the page of the native API tells it."""
LOG_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_log: Final = logging.getLogger("lithox.program")


class NodeLog:
    """The terminal of processes that were given none: lines of the node's log, no input."""

    def write(self, frame: ProgramProcess, stream: str, data: bytes) -> bool:
        level = logging.WARNING if stream == "err" else logging.INFO
        text = data.decode(errors="replace").rstrip("\n")
        _log.log(level, "%s", text, extra={"pid": frame.pid, "program": frame.name})
        return True

    def when_writable(self, then: Callable[[], None]) -> Cancel:
        then()
        return cancel_nothing

    def read(self, bytes_max: int) -> bytes | None:
        del bytes_max
        return None

    def when_readable(self, then: Callable[[], None]) -> Cancel:
        then()
        return cancel_nothing

    def on_start(self, frame: ProgramProcess) -> None:
        """Nothing to note."""

    def on_exit(self, frame: ProgramProcess, exit_: Exit) -> None:
        """Nothing to note."""


@dataclass(slots=True, kw_only=True)
class Programs:
    """All programs of a node. Every method is called on the node's thread.

    Attributes:
        engines: language name -> engine; program guests among them.
        wake: asks for a turn of the lanes.
        limits: the most a program may use that the first process starts, all that this one starts
            in turn included; the first process itself is not bound.
        is_cooperative: every program runs in cooperative mode.
    """

    kernel: Kernel
    by_pid: dict[Pid, Driven]
    engines: Mapping[str, Engine]
    clock: Clock
    seeds: Callable[[], int]
    wake: Callable[[], None]
    on_bug: Callable[[Exception], object]
    limits: Limits = UNBOUNDED
    is_cooperative: bool = False
    natives: Natives = field(default_factory=Natives)
    syscalls: Syscalls = field(init=False)
    _node_log: Terminal = field(default_factory=NodeLog)
    _digests: OrderedDict[Any, str] = field(default_factory=OrderedDict[Any, str])

    def __post_init__(self) -> None:
        self.syscalls = Syscalls(self)

    # -- starting ---------------------------------------------------------------------------

    def run(self, order: ProgramOrder) -> ProgramProcess:
        """Starts a program.

        Raises:
            CompileFailed, LimitExceeded, GuestTrapped: it or its runtime does not load.
            NotAvailable: no engine of that name on this node.
            Overloaded: the node or the account has as many processes as it may.
            ContextInvalid, ContextClosed, TooManyContexts: what it was to be given.

        Blocks: while it is compiled, the first time.
        """
        program = self.load(order)
        parent = order.parent
        mode = MODE_COOPERATIVE if self.is_cooperative else order.mode
        total = order.limits
        if parent is not None:
            total = grant_to_child(self.kernel, parent, smallest(self.limits, total))
        frame = ProgramProcess(order, program, total, meter_limits(total), self)
        frame.mode = mode
        frame.seed = self.seeds()
        frame.started_ms = self.clock.wall_ns() // 1_000_000
        now_ns = self.clock.monotonic_ns()
        pid = self.kernel.notify_spawned(
            Spawn(
                account=order.caller.account,
                name=order.name,
                priority=order.priority,
                wall_end_ns=None if total.wall_ns is None else now_ns + total.wall_ns,
                parent=None if parent is None else parent.pid,
                mode=Mode(mode),
                limits=total,
            ),
            now_ns,
        )
        if pid is None:
            note_children(self.kernel, parent)
            raise Overloaded(
                "the node or the account has as many processes as it may; try again",
                retry_after_ms=100,
            )
        frame.pid = pid
        try:
            self._give_contexts(frame, order)
        except LithoxError:
            settle_child(self.kernel, frame, UNBOUNDED)
            self.kernel.notify_ended(pid, now_ns)
            raise
        self.by_pid[pid] = frame
        if frame.terminal_own is not None:
            frame.terminal_own.on_start(frame)
        self.wake()
        return frame

    def _give_contexts(self, frame: ProgramProcess, order: ProgramOrder) -> None:
        """Hands over context 0, then the named ones."""
        interactions, parent = self.kernel.interactions, order.parent
        interactions.enter(frame.pid, order.caller.account)
        if parent is None:
            assert isinstance(order.grant, (Grant, NativeContext))
            interactions.make_native(frame.pid, order.grant)
            return
        interactions.grant(parent.pid, order.context, frame.pid)
        for name, number in order.contexts.items():
            frame.contexts[name] = interactions.grant(parent.pid, number, frame.pid)

    def run_child(
        self, parent: ProgramProcess, text: bytes, name: str, options: dict[str, Any], args: bytes
    ) -> ProgramProcess:
        """Starts a process on behalf of another; raises LithoxError to refuse."""
        order = child_order(parent, text, name, options, args)
        number = options.get("output")
        if number is not None:
            number = whole_number(number, "output")
            grant = self.kernel.interactions.find_grant(parent.pid, number)
            if grant is None or grant.terminal is None:
                raise NotAvailable("output is a context that output.open gave")
            order.terminal, order.is_terminal_own = grant.terminal, True
        elif parent.terminal is not None:
            order.terminal = parent.terminal
        return self.run(order)

    def load(self, order: ProgramOrder) -> Program:
        """Returns the compiled program of an order; raises as `run` does."""
        engine = self.engines.get(order.engine)
        if engine is None:
            raise NotAvailable(f"this node has no {order.engine!r} to run {order.name!r} with")
        # A short text is its own key: what was run before is found without hashing its runtime.
        asked = (order.engine, order.name, order.text, order.preludes)
        key = self._digests.get(asked)
        if key is None:
            key = self._digest(order)
            if len(order.text) <= DIGEST_TEXT_BYTES_MAX and len(order.preludes) <= 2:
                self._digests[asked] = key
            if len(self._digests) > DIGESTS_MAX:
                self._digests.popitem(last=False)
        found = engine.find(key)
        if found is not None:
            return found
        source = Source(
            language=order.engine,
            name=order.name,
            text=order.text,
            digest=key,
            preludes=order.preludes,
        )
        size = len(order.text) + sum(len(text) for _, text in order.preludes[1:])
        fuel = LOAD_FUEL_FIRST + LOAD_FUEL_PER_BYTE * size
        limits = Limits(fuel=fuel, memory_bytes=LOAD_MEMORY_BYTES, calls=1_000)
        try:
            return engine.load(source, limits)
        except LimitExceeded as error:
            # The asker is refused; it is not the asker's limit that was met.
            raise CompileFailed(error.message, file=order.name) from None

    @staticmethod
    def _digest(order: ProgramOrder) -> str:
        parts = (order.engine, order.name, order.text, order.preludes)
        return hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()

    # -- following (see `driven.Driver`) ----------------------------------------------------

    def begin(self, frame: ProgramProcess) -> SliceEnd | None:
        """Starts the guest, or gives it the answer it has waited for."""
        if frame.guest is not None:
            frame.is_waiting = False
            settle_meter(frame)
            frame.guest.answer(self.syscalls.resume(frame))
            return None
        try:
            frame.guest = frame.program.start(
                messages.encode_program(
                    messages.ProgramMessage(
                        msgspec.Raw(frame.args),
                        frame.started_ms,
                        frame.seed,
                        self._start_info(frame),
                    )
                ),
                frame.limits,
            )
        except LithoxError as error:
            return self._over(frame, exit_of(error))
        return None

    def after_step(self, frame: ProgramProcess, step: Step) -> SliceEnd | None:
        """Takes what a step came to."""
        kind = step.kind
        if kind is StepKind.ASKED:
            guest = frame.guest
            assert guest is not None
            if frame.exit_asked is not None:
                return self._over(frame, frame.exit_asked)
            try:
                answer = self.syscalls.perform(frame, step.data)
            except ProcessEnds as end:
                return self._over(frame, exit_of(end.error))
            except LithoxError as error:
                return self._over(frame, exit_of(error))
            if not isinstance(answer, Outcome):
                settle_meter(frame)
                guest.answer(answer)
                return SliceEnd.SWITCHED if frame.mode == MODE_COOPERATIVE else None
            if answer is WAITS:
                return SliceEnd.ASKED
            assert answer is EXITS
            # The guest unwinds to its beginning by itself, so that its memory can be used again.
            guest.answer(encode_program_answer([]))
            return None
        if kind is StepKind.YIELDED:
            return SliceEnd.YIELDED
        if frame.exit_asked is not None:
            return self._over(frame, frame.exit_asked)
        if kind is StepKind.FINISHED:
            return self._over(frame, self._exit_of_outcome(frame, step.data))
        return self._over(
            frame, exit_of(error_of_step(frame.name, frame.limits, frame.guest, step))
        )

    def _exit_of_outcome(self, frame: ProgramProcess, data: bytes) -> Exit:
        """Returns how main code ended; what it raised is told on its terminal too."""
        try:
            outcome = messages.decode_program_outcome(data)
            if outcome.kind == messages.OUTCOME_RETURNED:
                return Exit(values=bytes(outcome.body))
            error = messages.decode_error(outcome.body)
        except GuestProtocolError as problem:
            return exit_of(problem)
        code = f"app.{error.code}" if APP_CODE.match(error.code) else "guest.raised"
        text = error.traceback or error.message
        self.terminal_of(frame).write(frame, "err", f"{frame.name}: {text}\n".encode())
        return Exit(status=meaning_of(code).guest_status, code=code, message=error.message[:2000])

    def _over(self, frame: ProgramProcess, exit_: Exit) -> SliceEnd:
        """Frees everything of a process that has ended in its own slice, and tells of it."""
        self._release(frame, exit_)
        return SliceEnd.ENDED

    def _release(self, frame: ProgramProcess, exit_: Exit) -> None:
        if frame.is_over:
            return
        frame.is_over = True
        frame.cancel_wait()
        used = own_usage(frame)
        self.close_guest(frame)
        self.by_pid.pop(frame.pid, None)
        parent = frame.parent
        settle_child(self.kernel, frame, used)
        if parent is not None and not parent.is_over:
            self.kernel.interactions.post_exit(
                parent.pid, frame.pid, exit_.status, exit_.code, exit_.message, exit_.values
            )
        if frame.terminal_own is not None:
            frame.terminal_own.on_exit(frame, exit_)
        if frame.on_exit is not None:
            frame.on_exit(frame, exit_)

    def break_off(self, frame: ProgramProcess, bug: Exception) -> SliceEnd:
        """Ends the process because of a bug of ours."""
        self.on_bug(bug)
        return self._over(
            frame,
            Exit(
                status=meaning_of("internal").guest_status,
                code="internal",
                message="an internal error; the node's log has more",
            ),
        )

    def end_from_outside(self, frame: ProgramProcess, code: str) -> None:
        """The kernel has ended the process: a kill, a limit on time, its parent's end."""
        message = SUMMARIES.get(code, code)
        if code == CODE_CANCELLED and frame.kill_message is not None:
            message = frame.kill_message
        self._release(frame, Exit(status=meaning_of(code).guest_status, code=code, message=message))

    @property
    def stays_fast(self) -> bool:
        """A program runs on and on: what counts is how much it burns between its calls."""
        return True

    def charge_cpu(self, frame: ProgramProcess, cpu_ns: int) -> None:
        """Notes the processor time of a slice."""
        frame.cpu_ns += cpu_ns

    def following(self, frame: ProgramProcess) -> Pid | None:
        """Nothing goes on right after a program's slice but what the kernel picks."""
        del frame
        return None

    def close_guest(self, frame: ProgramProcess) -> None:
        """Frees the guest; idempotent."""
        guest, frame.guest = frame.guest, None
        if guest is not None:
            guest.close()

    # -- what system calls need -------------------------------------------------------------

    def terminal_of(self, frame: ProgramProcess) -> Terminal:
        """Returns where a process writes and reads."""
        return self._node_log if frame.terminal is None else frame.terminal

    def log(self, frame: ProgramProcess, level: str, text: str) -> None:
        """Writes a line of the node's log on behalf of a process; it stays one line."""
        if level not in LOG_LEVELS:
            levels = ", ".join(LOG_LEVELS)
            raise BadArguments(f"a log level is one of {levels}; found {level!r:.40}")
        number = LOG_LEVELS[level]
        text = "".join(one if one.isprintable() else " " for one in text)
        _log.log(number, "%s", text, extra={"pid": frame.pid, "program": frame.name})

    def add_output(self, frame: ProgramProcess, size_bytes: int) -> None:
        """Charges output to a process; raises ProcessEnds past its bound."""
        frame.output_bytes += size_bytes
        allowed = frame.total.output_bytes
        if allowed is None:
            return
        used = frame.output_bytes + frame.output_given
        if used > allowed:
            raise ProcessEnds(
                LimitExceeded(
                    f"the program and its children put out {used} bytes; {allowed} are allowed",
                    limit="output",
                    used=used,
                    allowed=allowed,
                )
            )

    def find(self, pid: int) -> ProgramProcess | None:
        """Returns the program that is process `pid`, or None."""
        frame = self.by_pid.get(Pid(pid))
        return frame if isinstance(frame, ProgramProcess) else None

    def get_descendant(self, frame: ProgramProcess, pid: int) -> ProgramProcess:
        """Returns process `pid` if `frame` has begun it, itself or through others."""
        found = self.find(pid)
        ancestor = found
        while ancestor is not None:
            if ancestor is frame and found is not None:
                return found
            ancestor = ancestor.parent
        raise NotFound(f"process {pid} is no descendant of this one")

    def kill_child(self, frame: ProgramProcess, pid: int, reason: str | None) -> None:
        """Ends a descendant of `frame`, which was asked for that.

        Args:
            reason: what those who wait for its end are told, after who ended it; a guest's word,
                of which `REASON_CHARACTERS_MAX` characters are kept.

        Raises:
            NotFound: it is no descendant.
        """
        found = self.get_descendant(frame, pid)
        if found is frame:
            raise NotFound("a process ends itself with os.exit")
        if found.kill_message is None:
            why = f": {reason[:REASON_CHARACTERS_MAX]}" if reason else ""
            found.kill_message = f"process {frame.pid} ended it{why}"
        self.kill(found.pid, CODE_CANCELLED)

    def kill(self, pid: int, code: str) -> bool:
        """Ends a process and its descendants; False when there is no such process.

        When it is told of several kills, the first one's code and reason stand.
        """
        frame = self.find(pid)
        if frame is not None and frame.kill_message is None:
            frame.kill_message = SUMMARIES.get(code, code)
        done = self.kernel.notify_killed(Pid(pid), code, self.clock.monotonic_ns())
        self.wake()
        return done

    def _start_info(self, frame: ProgramProcess) -> dict[str, Any]:
        return {
            "pid": frame.pid,
            "name": frame.name,
            "runtime": frame.runtime,
            "mode": frame.mode,
            "contexts": frame.contexts,
            "parent": None if frame.parent is None else frame.parent.pid,
            "wall_ms": frame.started_ms,
        }

    def info_of(self, frame: ProgramProcess, pid: int) -> dict[str, Any]:
        """Returns what `frame` may know of itself or of a descendant."""
        return self.describe(self.get_descendant(frame, pid))

    def describe_all(self) -> list[dict[str, Any]]:
        """Returns one row a program, by PID."""
        frames = [one for one in self.by_pid.values() if isinstance(one, ProgramProcess)]
        return [self.describe(frame) for frame in sorted(frames, key=lambda one: one.pid)]

    def describe(self, frame: ProgramProcess) -> dict[str, Any]:
        """Returns one row about a program, for `os.info`, `lithox ps` and the gateway."""
        view = self.kernel.find(frame.pid)
        counts = self.kernel.interactions.counts(frame.pid)
        counted = {} if counts is None else counts._asdict()
        if "contexts" in counted:
            counted["contexts_held"] = counted.pop("contexts")
        return {
            **self._start_info(frame),
            "state": "zombie" if view is None else view.state.value,
            "level": 0 if view is None else view.level,
            "priority": 0 if view is None else view.priority,
            "fuel": 0 if frame.guest is None else frame.guest.fuel_used,
            "memory": 0 if frame.guest is None else frame.guest.memory_bytes,
            "cpu_us": frame.cpu_ns // 1000,
            "output": frame.output_bytes,
            **counted,
        }

    def usage_of(self, frame: ProgramProcess) -> dict[str, Any]:
        """Returns what a process has used and what it may use; None: no bound."""
        guest, limits = frame.guest, frame.limits
        assert guest is not None
        return {
            "used": {
                "fuel": guest.fuel_used,
                "memory": guest.memory_bytes,
                "output": frame.output_bytes,
                "calls": guest.calls,
            },
            "allowed": {
                "fuel": _bound(limits.fuel),
                "memory": limits.memory_bytes,
                "output": limits.output_bytes,
                "calls": _bound(limits.calls),
                "wall_ms": None if limits.wall_ns is None else limits.wall_ns // 1_000_000,
            },
        }


def _bound(value: int | None) -> int | None:
    return None if value is None or value >= 1 << 61 else value


def exit_of(error: LithoxError | InternalError) -> Exit:
    """Returns an error as the end of a process."""
    text = message_of(error) if isinstance(error, LithoxError) else str(error)
    return Exit(status=meaning_of(error.code).guest_status, code=error.code, message=text)
