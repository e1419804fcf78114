"""The system calls of programs (`table.SYSCALLS`): from a message of the guest to its answer.

A call that can be answered at once returns the answer's bytes. One that must wait has told the
kernel what for and returns WAITS: the answer is made when the process is next picked (`resume`), so
that one whose wait is over but whose turn is far costs nothing more. EXITS: the process is over.

One method for each row of that table, most of a few lines. Arguments of one process for another
travel undecoded. Trust: everything in a message is the
guest's word; numbers of contexts and calls mean only what the kernel holds for this very process.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from lithox.dispatch.programs.natives import (
    WRITE_BYTES_MAX,
    Grant,
    NativeCall,
    Values,
    decode_args,
    encode_values,
)
from lithox.dispatch.programs.process import EMPTY_ARRAY, Exit, ProgramProcess
from lithox.dispatch.programs.table import SYSCALLS
from lithox.dispatch.programs.wire import NOTHING, encode_outcome
from lithox.errors import (
    BadArguments,
    GuestProtocolError,
    InternalError,
    LithoxError,
    NotInArguments,
    meaning_of,
)
from lithox.kernel.parties import WaitKind
from lithox.kernel.process import NEVER_NS
from lithox.sandbox.messages import (
    decode_call,
    encode_program_answer,
    encode_program_refusal,
    is_array,
    splice_answer,
)
from lithox.sandbox.said import UNREADABLE

if TYPE_CHECKING:
    from lithox.dispatch.programs.programs import Programs

TIMEOUT_MS_MAX: Final = 3_600_000
"""No call waits longer than an hour."""
SLEEP_MS_MAX: Final = 365 * 24 * 3_600_000
LOG_TEXT_CHARACTERS_MAX: Final = 8_192
READ_BYTES_MAX: Final = 64 << 10
STREAMS: Final = ("out", "err")
CARRIERS: Final = ("answer", "reply")
"""Calls with which contexts may travel."""

_text: Final = msgspec.msgpack.Decoder(str).decode
_integer: Final = msgspec.msgpack.Decoder(int | float).decode
_maybe_text: Final = msgspec.msgpack.Decoder(str | None).decode
_maybe_number: Final = msgspec.msgpack.Decoder(int | float | None).decode
_numbers: Final = msgspec.msgpack.Decoder(list[int]).decode
_options: Final = msgspec.msgpack.Decoder(dict[str, Any] | None).decode
_any: Final = msgspec.msgpack.Decoder().decode

Raws = list[msgspec.Raw]


class Outcome:
    """What a system call came to when it was not answered at once."""

    def __init__(self, name: str) -> None:
        self.name = name


WAITS: Final = Outcome("waits")
EXITS: Final = Outcome("exits")
_NIL: Final = b"\xc0"
_DONE: Final = encode_program_answer([], True)

Perform = Callable[[ProgramProcess, Raws], "bytes | Outcome"]


def whole(raw: msgspec.Raw, what: str) -> int:
    """Returns a whole number, which guests without integers send as a double."""
    value = _integer(raw)
    if isinstance(value, float):
        if not value.is_integer():
            raise BadArguments(f"{what} is a whole number; found {value!r:.40}")
        value = int(value)
    return value


class Syscalls:
    """Performs system calls of programs."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._kernel = programs.kernel
        self._interactions = programs.kernel.interactions
        self._clock = programs.clock
        self._by_name: dict[str, Perform] = {
            row.name: getattr(self, f"_{row.name}") for row in SYSCALLS
        }

    def perform(self, frame: ProgramProcess, data: bytes) -> bytes | Outcome:
        """Performs the system call in `data`.

        A refusal is an answer too; only a guest that breaks the protocol itself is ended.

        Raises:
            GuestProtocolError: not a system call at all.
            ProcessEnds: the call uses up one of the process's own limits.
        """
        try:
            call = decode_call(data)
            name, shared = _text(call[1]), bytes(call[-1])
        except (*UNREADABLE, IndexError, GuestProtocolError) as error:
            raise GuestProtocolError(f"not a system call: {error}") from None
        try:
            perform = self._by_name.get(name)
            if perform is None:
                raise BadArguments(f"there is no system call {name[:80]!r}")
            if shared != EMPTY_ARRAY and name not in CARRIERS:
                raise NotInArguments(
                    "a context cannot be an argument; it travels in an answer or at a start"
                )
            return perform(frame, call)
        except LithoxError as error:
            return refuse(error)
        except (*UNREADABLE, IndexError) as error:
            return refuse(BadArguments(f"arguments of {name[:80]!r}: {error}"))

    def resume(self, frame: ProgramProcess) -> bytes:
        """Returns the answer to the system call `frame` waited in, now that its wait is over."""
        return encode_outcome(self._interactions.take_outcome(frame.pid))

    # -- calls and answers ------------------------------------------------------------------

    def _deadline(self, raw: msgspec.Raw) -> tuple[int, int]:
        """Returns tuple of (now, when the call ends) for a timeout in milliseconds or nil."""
        now_ns = self._clock.monotonic_ns()
        timeout = _maybe_number(raw)
        if timeout is None:
            return now_ns, now_ns + self._kernel.policy.call_timeout_ns
        if not 0 <= timeout <= TIMEOUT_MS_MAX:
            raise BadArguments(f"a timeout is 0 to {TIMEOUT_MS_MAX} ms; found {timeout!r:.40}")
        return now_ns, now_ns + int(timeout * 1_000_000)

    def _call(self, frame: ProgramProcess, call: Raws) -> bytes:
        number, name, args = whole(call[2], "a context"), _text(call[3]), bytes(call[5])
        now_ns, deadline_ns = self._deadline(call[4])
        _check_array(args)
        grant = self._interactions.find_grant(frame.pid, number)
        if grant is None:
            cid = self._interactions.call(
                frame.pid, number, name, args, deadline_ns, now_ns, is_blocking=False
            )
            return encode_program_answer([], cid)
        cid = self._interactions.call_native(frame.pid, deadline_ns, now_ns, is_blocking=False)
        status, values, grants, later = self._perform_native(frame, grant, name, args)
        if later is None:
            self._interactions.answer_native(cid, status, values, grants, now_ns)
        else:
            later.add_done_callback(lambda done: self._answer_later(cid, done))
        return encode_program_answer([], cid)

    def _request(self, frame: ProgramProcess, call: Raws) -> bytes | Outcome:
        number, name, args = whole(call[2], "a context"), _text(call[3]), bytes(call[5])
        now_ns, deadline_ns = self._deadline(call[4])
        _check_array(args)
        interactions = self._interactions
        grant = interactions.find_grant(frame.pid, number)
        if grant is None:
            cid = interactions.call(
                frame.pid, number, name, args, deadline_ns, now_ns, is_blocking=True
            )
        else:
            status, values, grants, later = self._perform_native(frame, grant, name, args)
            if later is None:
                numbers = [interactions.make_native(frame.pid, one) for one in grants]
                return splice_answer(status, numbers, values)
            cid = interactions.call_native(frame.pid, deadline_ns, now_ns, is_blocking=True)
            later.add_done_callback(lambda done: self._answer_later(cid, done))
        return self._wait_for(frame, cid)

    def _wait_for(self, frame: ProgramProcess, cid: int) -> bytes | Outcome:
        if not self._interactions.wait(frame.pid, WaitKind.ANSWER, cid=cid):
            return self.resume(frame)
        frame.is_waiting = True
        return WAITS

    def _perform_native(
        self, frame: ProgramProcess, grant: Grant, name: str, args: bytes
    ) -> tuple[int, bytes, list[Grant], Future[Values] | None]:
        """Returns tuple of (status, encoded values, grants, None), or with a promise at its end."""
        try:
            call = NativeCall(frame=frame, grant=grant, name=name, args=decode_args(args))
            result = self._programs.natives.perform(call)
            if isinstance(result, Future):
                return 0, b"", [], result
            values, grants = encode_values(result)
        except LithoxError as error:
            return meaning_of(error.code).guest_status, refused_values(error), [], None
        else:
            return 0, values, grants, None

    def _answer_later(self, cid: int, done: Future[Values]) -> None:
        """A native call that took its time is over: the answer goes to whoever waits."""
        try:
            values, grants = encode_values(done.result())
            status = 0
        except LithoxError as error:
            status, values, grants = meaning_of(error.code).guest_status, refused_values(error), []
        except Exception as bug:  # noqa: BLE001 - the border: told as `internal`, logged as ours
            self._programs.on_bug(bug)
            error = InternalError("an internal error; the node's log has more")
            values = msgspec.msgpack.encode(["internal", str(error)])
            status, grants = meaning_of("internal").guest_status, []
        self._interactions.answer_native(cid, status, values, grants, self._clock.monotonic_ns())
        self._programs.wake()

    def _answer(self, frame: ProgramProcess, call: Raws) -> bytes:
        cid, status = whole(call[2], "a call"), whole(call[3], "a status")
        args, shared = bytes(call[5]), _numbers(call[6])
        _check_array(args)
        if not 0 <= status <= 0xFFFF:
            raise BadArguments(f"a status is 0 to 65535; found {status}")
        now_ns = self._clock.monotonic_ns()
        self._interactions.answer(frame.pid, cid, status, args, shared, now_ns)
        return _DONE

    def _reply(self, frame: ProgramProcess, call: Raws) -> bytes | Outcome:
        """`answer` and `pull` in one, for whoever serves: it saves a round into the guest."""
        self._answer(frame, call)
        return self._next_event(frame, call[4])

    # -- contexts ---------------------------------------------------------------------------

    def _context(self, frame: ProgramProcess, call: Raws) -> bytes:
        del call
        return encode_program_answer([], self._interactions.make_context(frame.pid))

    def _close(self, frame: ProgramProcess, call: Raws) -> bytes:
        now_ns = self._clock.monotonic_ns()
        self._interactions.close(frame.pid, whole(call[2], "a context"), now_ns)
        return _DONE

    def _revoke(self, frame: ProgramProcess, call: Raws) -> bytes:
        holder = None if bytes(call[3]) == _NIL else whole(call[3], "a process")
        count = self._interactions.revoke(
            frame.pid, whole(call[2], "a context"), holder, self._clock.monotonic_ns()
        )
        return encode_program_answer([], count)

    def _bind(self, frame: ProgramProcess, call: Raws) -> bytes:
        self._interactions.bind(frame.pid, whole(call[2], "a context"), _text(call[3]))
        return _DONE

    def _unbind(self, frame: ProgramProcess, call: Raws) -> bytes:
        self._interactions.unbind(frame.pid, whole(call[2], "a context"), _text(call[3]))
        return _DONE

    # -- queues and waiting -----------------------------------------------------------------

    def _push(self, frame: ProgramProcess, call: Raws) -> bytes:
        args = bytes(call[5])
        _check_array(args)
        delivered, lost = self._interactions.push(
            frame.pid,
            whole(call[2], "a context"),
            _text(call[3]),
            args,
            self._clock.monotonic_ns(),
        )
        return encode_program_answer([], delivered, lost)

    def _listen(self, frame: ProgramProcess, call: Raws) -> bytes:
        limit = None if bytes(call[4]) == _NIL else whole(call[4], "a limit")
        self._interactions.listen(
            frame.pid,
            whole(call[2], "a context"),
            _text(call[3]),
            limit=limit,
            overflow=_maybe_text(call[5]),
        )
        return _DONE

    def _unlisten(self, frame: ProgramProcess, call: Raws) -> bytes:
        self._interactions.unlisten(frame.pid, whole(call[2], "a context"), _text(call[3]))
        return _DONE

    def _pull(self, frame: ProgramProcess, call: Raws) -> bytes | Outcome:
        return self._next_event(frame, call[2])

    def _next_event(self, frame: ProgramProcess, said: msgspec.Raw) -> bytes | Outcome:
        event = self._interactions.pull(frame.pid)
        if event is not None:
            return encode_outcome(event)
        timeout = _maybe_number(said)
        if timeout is not None and timeout <= 0:
            return NOTHING
        return self._wait_time(frame, WaitKind.PULL, timeout)

    def _sleep(self, frame: ProgramProcess, call: Raws) -> bytes | Outcome:
        return self._wait_time(frame, WaitKind.SLEEP, _integer(call[2]))

    def _wait_time(
        self, frame: ProgramProcess, kind: WaitKind, time_ms: float | None
    ) -> bytes | Outcome:
        end_ns: int | None = None
        if time_ms is not None:
            if not 0 <= time_ms <= SLEEP_MS_MAX:
                raise BadArguments(f"a time is 0 to {SLEEP_MS_MAX} ms; found {time_ms!r:.40}")
            end_ns = self._clock.monotonic_ns() + int(time_ms * 1_000_000)
        if not self._interactions.wait(frame.pid, kind, end_ns):
            return self.resume(frame)
        frame.is_waiting = True
        return WAITS

    # -- processes --------------------------------------------------------------------------

    def _run(self, frame: ProgramProcess, call: Raws) -> bytes:
        text, name = _bytes(call[2]), _text(call[3])
        options: dict[str, Any] = _options(call[4]) or {}
        args = _list_of(call[5])
        child = self._programs.run_child(frame, text, name, options, args)
        return encode_program_answer([], child.pid)

    def _exit(self, frame: ProgramProcess, call: Raws) -> Outcome:
        status, values = whole(call[2], "a status"), _list_of(call[3])
        if not 0 <= status <= 0xFFFF:
            raise BadArguments(f"an exit status is 0 to 65535; found {status}")
        frame.exit_asked = Exit(
            status=status,
            code="process.exited" if status else "",
            message=f"exit status {status}" if status else "",
            values=values,
        )
        return EXITS

    def _kill(self, frame: ProgramProcess, call: Raws) -> bytes:
        self._programs.kill_child(frame, whole(call[2], "a process"), _maybe_text(call[3]))
        return _DONE

    def _info(self, frame: ProgramProcess, call: Raws) -> bytes:
        pid = frame.pid if bytes(call[2]) == _NIL else whole(call[2], "a process")
        return encode_program_answer([], self._programs.info_of(frame, pid))

    def _usage(self, frame: ProgramProcess, call: Raws) -> bytes:
        del call
        return encode_program_answer([], self._programs.usage_of(frame))

    # -- the world --------------------------------------------------------------------------

    def _time(self, frame: ProgramProcess, call: Raws) -> bytes:
        del frame, call
        return encode_program_answer([], self._clock.wall_ns() // 1_000_000)

    def _write(self, frame: ProgramProcess, call: Raws) -> bytes | Outcome:
        stream, data = _text(call[2]), _bytes(call[3])
        if stream not in STREAMS or len(data) > WRITE_BYTES_MAX:
            raise BadArguments(f"write takes out or err and at most {WRITE_BYTES_MAX} bytes")
        self._programs.add_output(frame, len(data))
        terminal = self._programs.terminal_of(frame)
        if terminal.write(frame, stream, data):
            return _DONE
        now_ns = self._clock.monotonic_ns()
        cid = self._interactions.call_native(frame.pid, NEVER_NS, now_ns, is_blocking=True)

        def retry() -> None:
            # What a process that has ended meanwhile wanted to write is gone with it.
            if not self._interactions.is_open(cid):
                return
            if terminal.write(frame, stream, data):
                self._settle(cid, [True])
            else:
                frame.cancel_wait = terminal.when_writable(retry)

        frame.cancel_wait = terminal.when_writable(retry)
        return self._wait_for(frame, cid)

    def _read(self, frame: ProgramProcess, call: Raws) -> bytes | Outcome:
        bytes_max = min(max(whole(call[2], "a count"), 1), READ_BYTES_MAX)
        terminal = self._programs.terminal_of(frame)
        found = terminal.read(bytes_max)
        if found is None or found:
            return encode_program_answer([], found)
        now_ns, deadline_ns = self._deadline(call[3])
        if bytes(call[3]) == _NIL:
            deadline_ns = NEVER_NS
        cid = self._interactions.call_native(frame.pid, deadline_ns, now_ns, is_blocking=True)

        def retry() -> None:
            if not self._interactions.is_open(cid):
                return
            again = terminal.read(bytes_max)
            if again == b"":
                frame.cancel_wait = terminal.when_readable(retry)
            else:
                self._settle(cid, [again])

        frame.cancel_wait()
        frame.cancel_wait = terminal.when_readable(retry)
        return self._wait_for(frame, cid)

    def _settle(self, cid: int, values: Values) -> None:
        now_ns = self._clock.monotonic_ns()
        self._interactions.answer_native(cid, 0, msgspec.msgpack.encode(values), [], now_ns)
        self._programs.wake()

    def _log(self, frame: ProgramProcess, call: Raws) -> bytes:
        text = _bytes(call[3]).decode(errors="replace")[:LOG_TEXT_CHARACTERS_MAX]
        self._programs.add_output(frame, len(text))
        self._programs.log(frame, _text(call[2]), text)
        return _DONE


def _bytes(raw: msgspec.Raw) -> bytes:
    """Returns text or bytes as bytes; a Lua string may arrive as either."""
    value = _any(raw)
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes):
        raise BadArguments(f"a string is wanted; found {value!r:.40}")
    return value


def _list_of(raw: msgspec.Raw) -> bytes:
    """Returns an encoded list; an empty table and nil are one too."""
    data = bytes(raw)
    if data in (b"\x80", b"\xc0"):
        return EMPTY_ARRAY
    _check_array(data)
    return data


def _check_array(data: bytes) -> None:
    if not is_array(data):
        raise BadArguments("arguments are a list")


def refused_values(error: LithoxError) -> bytes:
    """Returns the encoded values [code, message] that go with a refusal's status."""
    return msgspec.msgpack.encode([error.code, error.message])


def refuse(error: LithoxError) -> bytes:
    """Returns an error as the answer to a system call."""
    return encode_program_refusal(meaning_of(error.code).guest_status, error.code, error.message)
