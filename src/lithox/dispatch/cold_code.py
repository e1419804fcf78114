"""Waiting for code: a run whose program is not loaded waits while others run.

Making machine code of a module takes seconds, reading a large one out of the store tens of
milliseconds, and neither may hold the node's loop. So such a run waits here, as a process that
waits, on its way to its first instruction:

    READING    the module leaves the store, a step at each turn of the loop
    PREPARING  `Engine.prepare` in a thread of `Workers`
    loaded     on the loop, by `Engine.load`, which takes milliseconds now; all who wait are woken

Invariants: a module is fetched once however many runs wait for it; a frame is woken once, with the
program or with the error in its hand, so that a program which has left the engine's cache again
meanwhile is no reason to wait again; who is killed or out of time is simply not found any more.
Without `Workers` (simulations, tests) nobody ever waits and `load` does all the work itself.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from lithox.dispatch.catalog import DEPLOY_LIMITS, Catalog
from lithox.dispatch.fair_queue import FairQueue
from lithox.dispatch.job import Clock, Frame
from lithox.dispatch.module_cells import ModuleReading
from lithox.errors import GuestError, InternalError, LithoxError, Overloaded, StoreCorrupt
from lithox.kernel.kernel import Kernel
from lithox.sandbox.contract import Engine, Program, Source

FETCHES_MAX: Final = 1_024
"""Modules waited for at once; a run that needs another is told to try again."""
BEGUN_MAX: Final = 8
BEGUN_LANGUAGE_MAX: Final = 2
"""Modules of one language read or prepared at once: so many large ones are in memory for it, and
a language whose modules take a minute to compile holds up none of the others."""
FAILED_MAX: Final = 256
FAILED_KEPT_NS: Final = 2_000_000_000
"""How long the error of a module is told again instead of compiling it again."""
_PRUNE_FIRST: Final = 64
_RETRY_AFTER_MS: Final = 250
_COMPILED_AFTER_MS: Final = 2_000
_OUT_OF_WALL: Final = "guest.out_of_wall"

Schedule = Callable[[Callable[[], None]], object]
OnWorked = Callable[[Exception | None], None]
"""Told None, or what the work has raised."""


class Workers(Protocol):
    """Threads for what is slow."""

    def submit(self, work: Callable[[], None], on_done: OnWorked) -> None:
        """Has `work` done in another thread; `on_done` is called once, on the node's thread."""
        ...


class _Fetch:
    """One module on its way, and who waits for it."""

    __slots__ = ("language", "prune_at", "reading", "waiters")

    def __init__(self, language: str, reading: ModuleReading) -> None:
        self.language = language
        self.reading = reading
        self.waiters: list[Frame] = []
        self.prune_at = _PRUNE_FIRST

    def add(self, frame: Frame) -> None:
        """Lets a frame wait; those that ended meanwhile are let go of, so that they do not pile."""
        if len(self.waiters) >= self.prune_at:
            self.waiters = [one for one in self.waiters if not one.is_over]
            self.prune_at = max(_PRUNE_FIRST, 2 * len(self.waiters))
        self.waiters.append(frame)


@dataclass(slots=True, kw_only=True)
class ColdCode:
    """Has programs loaded for frames. Every method is called on the node's thread.

    Attributes:
        schedule: runs a function at the loop's next turn.
        wake: asks for a turn of the pump.
        on_bug: told of exceptions that are ours.
        workers: None: nobody waits, a load does everything itself.
    """

    catalog: Catalog
    kernel: Kernel
    clock: Clock
    schedule: Schedule
    wake: Callable[[], None]
    on_bug: Callable[[Exception], object]
    workers: Workers | None = None
    _fetches: dict[str, _Fetch] = field(default_factory=dict[str, _Fetch])
    _queued: FairQueue[str] = field(
        default_factory=lambda: FairQueue[str](all_max=BEGUN_MAX, account_max=BEGUN_LANGUAGE_MAX)
    )
    """Digests whose fetch has not begun; languages take turns."""
    _failed: OrderedDict[str, tuple[int, LithoxError]] = field(
        default_factory=OrderedDict[str, "tuple[int, LithoxError]"]
    )
    """Digest -> (until when, why)."""
    _is_stopped: bool = False

    def is_at_hand(self, frame: Frame) -> bool:
        """Returns whether `find` will say something; if not the frame must wait.

        What `find` raises is kept for it: by then the frame may be resolved to something else.
        """
        digest = frame.resolved.module
        try:
            program = self.find(frame)
        except LithoxError as error:
            frame.code = (digest, error)
            return True
        if program is None:
            return False
        frame.code = (digest, program)
        return True

    def find(self, frame: Frame) -> Program | None:
        """Returns the program of `frame`; None: it must wait, and is asked for again when woken.

        Raises:
            CompileFailed, LimitExceeded, GuestTrapped, GuestProtocolError: it does not load.
            NotFound, NotAvailable, StoreCorrupt, Overloaded.
        """
        resolved = frame.resolved
        came = frame.code
        if came is not None:
            frame.code = None
            digest, result = came
            if digest == resolved.module:
                if isinstance(result, Exception):
                    raise result
                if result is not None:
                    return result
        program = self.catalog.find_program(resolved)
        if program is not None:
            return program
        if self.workers is None:
            return self.catalog.program(resolved)
        self._wait(frame)
        return None

    @staticmethod
    def find_end(frame: Frame, code: str) -> LithoxError | None:
        """Returns the error of a run that the kernel ended while it waited for its code.

        None: it did not wait, or the ordinary error fits. Its own limit of time is no fault of a
        guest that has not begun; the module goes on being made ready, for those who ask again.
        """
        if code != _OUT_OF_WALL or frame.code is None or frame.code[1] is not None:
            return None
        return Overloaded(
            f"{frame.entity}:{frame.handler} waits for its module, which is being compiled; "
            "try again",
            retry_after_ms=_COMPILED_AFTER_MS,
        )

    def _wait(self, frame: Frame) -> None:
        digest = frame.resolved.module
        known = self._failed.get(digest)
        if known is not None:
            if known[0] > self.clock.monotonic_ns():
                raise known[1]
            del self._failed[digest]
        fetch = self._fetches.get(digest)
        if fetch is None:
            if len(self._fetches) >= FETCHES_MAX:
                raise Overloaded(
                    f"{FETCHES_MAX} modules are being loaded; try again",
                    retry_after_ms=_RETRY_AFTER_MS,
                )
            reading = ModuleReading(self.catalog.open_snapshot, digest)
            fetch = self._fetches[digest] = _Fetch(frame.resolved.language, reading)
            self._queued.push(fetch.language, digest)
            self._begin_next()
        frame.is_waiting = True
        frame.code = (digest, None)
        fetch.add(frame)

    def _begin_next(self) -> None:
        while (digest := self._queued.pop()) is not None:
            self.schedule(partial(self._read, digest))

    def _read(self, digest: str) -> None:
        """READING: one step, and the next at the loop's next turn."""
        if self._is_stopped:
            return
        builtin, reading = self.catalog.find_builtin(digest), self._fetches[digest].reading
        try:
            if builtin is None and not reading.step():
                self.schedule(partial(self._read, digest))
                return
            language = reading.language if builtin is None else builtin.language
            work = _Work(self.catalog.engine(language), builtin or reading)
            assert self.workers is not None
            self.workers.submit(work.do, partial(self._load, digest, work))
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
            self._end(digest, error)

    def _load(self, digest: str, work: _Work, error: Exception | None) -> None:
        """PREPARING has ended."""
        if self._is_stopped:
            return
        result: Program | Exception
        if error is not None:
            result = error
        else:
            assert isinstance(work.source, Source)
            try:
                result = work.engine.load(work.source, DEPLOY_LIMITS)
            except Exception as failure:  # noqa: BLE001 - as above
                result = failure
        self._end(digest, result)

    def _end(self, digest: str, result: Program | Exception) -> None:
        """Wakes all who wait, and begins the next module."""
        fetch = self._fetches.pop(digest)
        self._queued.end(fetch.language)
        if isinstance(result, Exception):
            result = self._error_of(digest, result)
        now_ns = self.clock.monotonic_ns()
        for frame in fetch.waiters:
            if self.kernel.notify_woken(frame.pid, now_ns):
                frame.code = (digest, result)
        self._begin_next()
        self.wake()

    def _error_of(self, digest: str, error: Exception) -> LithoxError | InternalError:
        if isinstance(error, GuestError):
            until_ns = self.clock.monotonic_ns() + FAILED_KEPT_NS
            self._failed[digest] = (until_ns, error)
            if len(self._failed) > FAILED_MAX:
                self._failed.popitem(last=False)
        if isinstance(error, (LithoxError, InternalError)):
            return error
        self.on_bug(error)
        return InternalError("an internal error; the request did nothing. The node's log has more")

    def stop(self) -> None:
        """Begins and ends nothing more."""
        self._is_stopped = True


class _Work:
    """PREPARING, in a thread: a module is put together, looked at and prepared."""

    __slots__ = ("engine", "source")

    def __init__(self, engine: Engine, source: Source | ModuleReading) -> None:
        self.engine = engine
        self.source = source

    def do(self) -> None:
        """Leaves the module in `source`. What is damaged in the store is never compiled."""
        source = self.source
        if isinstance(source, ModuleReading):
            source = self.source = source.take()
        said = hashlib.sha256(source.language.encode() + b"\0")
        said.update(source.text)
        if said.hexdigest() != source.digest:
            raise StoreCorrupt(
                f"module {source.digest} is damaged in the store; restore the data from a backup"
            )
        self.engine.prepare(source)
