"""How does the text of a module become something runs can begin from?

A worker loads the prelude, then the module, whose types are checked before it runs if that is
asked; it says which of the names that look like handlers are functions; what it then holds is the
image of every run. All of it under limits, stepped here, with every call of the node refused.

Invariant: whatever the module does, loading ends: by fuel (the worker's processor time), memory, or
`LOAD_WALL_S`, and the worker is dropped unless all went well.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

from lithox.errors import CompileFailed, GuestTrapped, LimitExceeded, NotAvailable
from lithox.sandbox.contract import Source
from lithox.sandbox.python.checking import STUBS, bind_self, judge_types, refuse_without_self
from lithox.sandbox.python.meters import FUEL_PER_NS, TURN_FUEL, describe_death, is_out_of_memory
from lithox.sandbox.python.pool import Held, Image, WorkerPool
from lithox.sandbox.python.prelude import HOST_NAME, KIND_NAME, PRELUDE
from lithox.sandbox.python.wire import (
    DUMP,
    OS_IMPORT,
    OS_URANDOM,
    UNDEFINED,
    Event,
    EventKind,
    Frame,
    SessionOptions,
    WireError,
    encode_configure,
    encode_feed,
    encode_moment,
    encode_not_found,
    encode_not_handled,
    encode_raise,
    encode_random,
)
from lithox.sandbox.python.worker import ADDRESS_BYTES, CHECK_ADDRESS_BYTES, Worker, WorkerGone

RECURSION_MAX: Final = 400
"""Calls in calls; the worker's own stack holds that many of the deepest kind with room to spare."""
HANDLERS_MAX: Final = 1024
LOAD_WALL_S: Final = 20.0
PIECE_MS: Final = 20.0
MODULE_FEED: Final = 1
"""Which feed of a session the module is; the prelude is number 0."""
_HANDLER: Final = re.compile(r"^(?:async[ \t]+)?def[ \t]+([^\W\d]\w{0,99})[ \t]*\(", re.MULTILINE)
_EXPECTED: Final = re.compile(r"[Ee]xpected (.{1,80}?)(?:,|$| found| but)")
_UNSUPPORTED: Final = "The monty syntax parser does not yet support "
_ARTICLE: Final = re.compile(r"^(?:the|an?) ")
_INTERNAL: Final = "Internal error in monty: "
_Result = TypeVar("_Result")
_SYNTAX: Final = ("SyntaxError", "NotImplementedError")
"""What the interpreter calls text it cannot read, and Python it does not have; both at deploy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBounds:
    """What loading may use.

    Attributes:
        fuel: processor time, in units of fuel.
        memory_bytes: of the module's memory.
        is_checked: check types before.
    """

    fuel: int
    memory_bytes: int
    is_checked: bool


def read_text(source: Source) -> str:
    """Returns the module's text; raises CompileFailed when it is none."""
    try:
        text = source.text.decode()
    except UnicodeDecodeError as error:
        line = source.text.count(b"\n", 0, error.start) + 1
        raise CompileFailed(
            f"{source.name}:{line}: a Python module is UTF-8 text; found the byte "
            f"0x{source.text[error.start]:02x}",
            file=source.name,
            line=line,
            expected="UTF-8 text",
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CompileFailed(
            f"{source.name}:{line}: a Python module is text; found a zero byte",
            file=source.name,
            line=line,
            expected="text",
        )
    return text


def opening(text: str, *, memory_bytes: int) -> bytes:
    """Returns the requests that begin a session with the module of `text` in it."""
    options = SessionOptions(
        script_name="module.py", memory_bytes_max=memory_bytes, recursion_max=RECURSION_MAX
    )
    return encode_configure(options) + encode_feed(PRELUDE) + encode_feed(text)


def answer_system(event: Event, now_ms: int, seed: int, number: int) -> bytes:
    """Returns the answer to an operation of the system: virtual, or refused.

    Args:
        now_ms: what every clock says.
        seed: what all randomness comes from.
        number: counts the answers of one session.
    """
    if event.name in ("today", "now", "time"):
        return encode_moment(event, datetime.fromtimestamp(now_ms / 1000, UTC))
    if event.name == OS_URANDOM:
        return encode_random(event, seed, number)
    if event.name == OS_IMPORT:
        return encode_not_found(event.call_id, "import")
    return encode_not_handled(event.call_id)


def format_frames(frames: tuple[Frame, ...], source: str) -> list[str]:
    """Returns the lines of a traceback that are the module's own, the outermost first."""
    module = f"<python-input-{MODULE_FEED}>"
    lines: list[str] = []
    for frame in frames:
        if frame.file == module:
            where = frame.function or "<module>"
            lines.append(f'  File "{source}", line {frame.line}, in {where}')
            if frame.text:
                lines.append(f"    {frame.text.strip().splitlines()[0][:200]}")
    return lines


def find_names(text: str) -> list[str]:
    """Returns names that look like handlers: `def` at the beginning of a line."""
    return list(dict.fromkeys(name for name in _HANDLER.findall(text) if name[0] != "_"))


class Loading:
    """One module being loaded in one worker."""

    def __init__(self, pool: WorkerPool, source: Source, bounds: LoadBounds) -> None:
        self._pool = pool
        self._source = source
        self._text = read_text(source)
        self._bounds = bounds
        self._until = time.monotonic() + LOAD_WALL_S
        self._cpu_start_ns = 0
        self._turns = 0
        self._answers = 0
        self._held: Held | None = None

    def run(self) -> tuple[tuple[str, ...], Image]:
        """Returns (handler names, image).

        Raises:
            CompileFailed: with fields file, line, column, expected, traceback where known.
            LimitExceeded: loading used up fuel or memory.
            GuestTrapped: the worker died of it.
            NotAvailable: no worker can be started.

        Blocks: while it loads.
        """
        names = find_names(self._text)
        if len(names) > HANDLERS_MAX:
            raise CompileFailed(
                f"{self._source.name} gives {len(names)} handlers; at most {HANDLERS_MAX}",
                file=self._source.name,
            )
        if self._bounds.is_checked:
            self._in_worker(self._check_types)
        return self._in_worker(partial(self._take_image, names))

    def _in_worker(self, work: Callable[[Held], _Result]) -> _Result:
        held = self._held = self._take_worker()
        is_well = False
        try:
            # What it has used before, and what it still answers of that, is nobody's here.
            for _ in range(held.owed):
                self._begin_counting(held)
                self._next(held)
            held.owed = 0
            self._begin_counting(held)
            result = work(held)
            is_well = True
            return result
        except WorkerGone as gone:
            self._fail_gone(gone)
        except WireError as error:
            raise GuestTrapped(
                f"{self._source.name} cannot be loaded: its worker said {error}",
                file=self._source.name,
            ) from None
        finally:
            self._held = None
            if is_well and held.image is not None:
                held.worker.bound_address_space(ADDRESS_BYTES)
                self._pool.give(held)
            else:
                self._pool.drop(held)

    def _take_worker(self) -> Held:
        while (held := self._pool.take(None)) is None:
            if self._pool.problem or time.monotonic() > self._until:
                raise NotAvailable(
                    f"no worker for Python can be started: {self._pool.problem or 'it takes long'}"
                )
            self._pool.wait(PIECE_MS / 1000)
        return held

    def _begin_counting(self, held: Held) -> None:
        self._cpu_start_ns = held.worker.cpu_ns()
        self._turns = 0

    def _check_types(self, held: Held) -> None:
        held.worker.bound_address_space(CHECK_ADDRESS_BYTES)
        options = SessionOptions(
            script_name=self._source.name,
            memory_bytes_max=self._bounds.memory_bytes,
            recursion_max=RECURSION_MAX,
            type_check=True,
            stubs=STUBS,
        )
        held.worker.send(encode_configure(options))
        self._expect(held, EventKind.OK)
        # Behind an error of types nothing runs; else only the imports are asked for, and the end of
        # the module's own code is met again, with its own limits, when its image is taken.
        checked = bind_self(self._text)
        held.worker.send(encode_feed(checked.text))
        event = self._next(held)
        if event.kind is EventKind.TYPING_ERROR:
            judge_types(event.text or "", self._source.name, checked)
        if event.kind is EventKind.ERROR:
            self._fail(event, MODULE_FEED - 1)

    def _take_image(self, names: list[str], held: Held) -> tuple[tuple[str, ...], Image]:
        bounds = self._bounds
        held.worker.bound_address_space(ADDRESS_BYTES + 2 * bounds.memory_bytes)
        held.worker.send(opening(self._text, memory_bytes=bounds.memory_bytes))
        self._expect(held, EventKind.OK)
        self._expect(held, EventKind.COMPLETE)
        event = self._next(held)
        if event.kind is not EventKind.COMPLETE:
            self._fail(event, MODULE_FEED)
        held.worker.send(DUMP)
        state = self._expect(held, EventKind.DUMPED).data
        # Asked behind the dump, so that the number of feeds in it does not change with the names.
        kinds = ",".join(f"{KIND_NAME}(lambda: {name})" for name in names)
        held.worker.send(encode_feed(f"','.join([{kinds}])"))
        found = (self._expect(held, EventKind.COMPLETE).text or "").split(",")
        functions = [name for name, kind in zip(names, found, strict=False) if kind == "function"]
        refuse_without_self(self._text, self._source.name, functions)
        image = held.image = Image(self._source.digest, bounds.memory_bytes, state)
        return tuple(sorted(functions)), image

    def _expect(self, held: Held, kind: EventKind) -> Event:
        event = self._next(held)
        if event.kind is not kind:
            self._fail(event, MODULE_FEED)
        return event

    def _next(self, held: Held) -> Event:
        """Returns the next event that is not answered here."""
        worker = held.worker
        while True:
            event = worker.take_event()
            if event is not None:
                self._turns += 1
                answer = self._answer(event)
                if answer is None:
                    return event
                worker.send(answer)
            else:
                worker.exchange(PIECE_MS)
            # In every turn: a module that talks would otherwise never be looked at.
            self._check_bounds(worker)

    def _check_bounds(self, worker: Worker) -> None:
        """Raises LimitExceeded when loading has used what it may."""
        name, allowed = self._source.name, self._bounds.fuel
        burned = (worker.cpu_ns() - self._cpu_start_ns) * FUEL_PER_NS
        used = burned + self._turns * TURN_FUEL
        if used > allowed:
            raise LimitExceeded(
                f"{name} cannot be loaded: checking and running its own code used up the {allowed} "
                "units of fuel that loading may use",
                limit="fuel",
                file=name,
                used=used,
                allowed=allowed,
            )
        if time.monotonic() > self._until:
            raise LimitExceeded(
                f"{name} cannot be loaded: it took longer than the {LOAD_WALL_S:.0f} s that "
                "loading may take",
                limit="wall",
                file=name,
                allowed=int(LOAD_WALL_S * 1e9),
            )

    def _answer(self, event: Event) -> bytes | None:
        if event.kind is EventKind.NAME_LOOKUP:
            return UNDEFINED
        if event.kind is EventKind.PRINT:
            return b""
        if event.kind is EventKind.OS_CALL:
            self._answers += 1
            return answer_system(event, 0, 0, self._answers)
        if event.kind is EventKind.FUNCTION_CALL:
            if event.name == HOST_NAME:
                text = "the node is not available while a module loads"
                return encode_raise(event.call_id, "RuntimeError", text)
            return encode_not_found(event.call_id, event.name)
        return None

    # -- failures -----------------------------------------------------------------------------

    def _fail(self, event: Event, feed: int) -> NoReturn:
        """Raises what an event that ends loading stands for."""
        name, text = self._source.name, event.text or ""
        if event.kind is not EventKind.ERROR:
            raise GuestTrapped(
                f"{name} cannot be loaded: its worker answered {event.kind.name}: {text[:200]}",
                file=name,
            )
        if is_out_of_memory(event):
            allowed = self._bounds.memory_bytes
            raise LimitExceeded(
                f"{name} cannot be loaded: {text[:200]}",
                limit="memory",
                file=name,
                used=allowed,
                allowed=allowed,
            )
        frame = next(
            (one for one in event.frames[::-1] if one.file == f"<python-input-{feed}>"), None
        )
        fields: dict[str, Any] = {"file": name}
        where = name
        if frame is not None:
            fields |= {"line": frame.line, "column": frame.column}
            where = f"{name}:{frame.line}:{frame.column}"
        if event.name == "NotImplementedError" and text.startswith(_UNSUPPORTED):
            what = _ARTICLE.sub("", text.removeprefix(_UNSUPPORTED))
            fields["expected"] = "what docs/limitations/python.md lists"
            raise CompileFailed(
                f"{where}: Python handlers have no {what}; see docs/limitations/python.md", **fields
            )
        if text.startswith(_INTERNAL):
            fields["expected"] = "what docs/limitations/python.md lists"
            raise CompileFailed(
                f"{where}: its own code did what Python handlers cannot: "
                f"{text.removeprefix(_INTERNAL)[:1000]}; see docs/limitations/python.md",
                **fields,
            )
        expected = _EXPECTED.search(text) if event.name in _SYNTAX else None
        if expected is not None:
            fields["expected"] = expected[1]
        lines = [] if event.name in _SYNTAX else format_frames(event.frames, name)
        if lines:
            fields["traceback"] = "\n".join(lines)
        raise CompileFailed(f"{where}: {event.name}: {text[:1000]}", **fields)

    def _fail_gone(self, gone: WorkerGone) -> NoReturn:
        name = self._source.name
        raise GuestTrapped(
            f"{name} cannot be loaded: its worker {describe_death(gone.status)}", file=name
        ) from None
