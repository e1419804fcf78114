"""The first process: started by the node, restarted when it ends, asked by the node.

`init` is a Lua program like any other, from the program store or, when the store has none, the
package's boot copy. It alone gets a context that answers every native call. What the node wants of
it (run a program for somebody, list services, stop everything) it asks as a call in the context
that init has named with `init.serve`.

An init that ends is started again with a back-off; one from the store that ends five times in a
row within its first ten seconds, or does not take the node's calls, is set aside for the boot copy,
so that a wrong `lithox store set program init` can be taken back: another version gets its own try
at the next start of init.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any, Final

import msgspec

from lithox.dispatch.job import Clock
from lithox.dispatch.programs.natives import Grant
from lithox.dispatch.programs.process import Exit, ProgramOrder, ProgramProcess
from lithox.dispatch.programs.programs import Programs
from lithox.errors import DeadlinePassed, LithoxError, NotAvailable, NotOwner, rebuild
from lithox.kernel.contexts import NativeContext
from lithox.model.ids import AccountName
from lithox.model.limits import PRIORITY_HIGHEST
from lithox.node.code_stores import BOOT_VERSION, CodeStores
from lithox.runtimes.registry import runtime_of
from lithox.security.identities import LOCAL_OPERATOR

INIT: Final = "init"
INIT_CALLER: Final = replace(LOCAL_OPERATOR, account=AccountName("init"))
"""An account of its own: what people run cannot use up what init needs."""
BACKOFF_FIRST_S: Final = 0.1
BACKOFF_MAX_S: Final = 5.0
FAILURES_MAX: Final = 5
STABLE_NS: Final = 10_000_000_000
READY_TIMEOUT_S: Final = 10.0
CALL_TIMEOUT_MS: Final = 30_000

_log: Final = logging.getLogger("lithox.node")


class InitProcess:
    """Keeps init running and carries the node's calls to it."""

    def __init__(
        self, *, programs: Programs, code: CodeStores, clock: Clock, keeps_services: bool = True
    ) -> None:
        self._keeps_services = keeps_services
        self._programs = programs
        self._code = code
        self._clock = clock
        self._frame: ProgramProcess | None = None
        self._context: int | None = None
        self._native: NativeContext | None = None
        self._ready: asyncio.Event = asyncio.Event()
        self._calls: dict[int, asyncio.Future[list[Any]]] = {}
        self._failures = 0
        self._version: int | None = None
        """Of init in the store, when it was last started."""
        self._started_ns = 0
        self._restart: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self.is_closing = False

    @property
    def pid(self) -> int | None:
        """Its process, or None while there is none."""
        return None if self._frame is None else self._frame.pid

    @property
    def is_ready(self) -> bool:
        """Whether it takes the node's calls now."""
        return self._ready.is_set()

    def start(self) -> None:
        """Starts init unless it runs. Blocks while it is compiled."""
        if self._frame is not None or self.is_closing:
            return
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        self._started_ns = self._clock.monotonic_ns()
        try:
            self._frame = self._programs.run(self._order())
        except LithoxError as error:
            _log.error("init does not start: %s", error.message)
            self._over()
        else:
            loop = asyncio.get_running_loop()
            self._watch = loop.call_later(READY_TIMEOUT_S, self._check_ready, self._frame)

    def _order(self) -> ProgramOrder:
        text, info = self._code.get("program", INIT)
        if info["version"] != self._version:
            # What another version did is no reason to set this one aside.
            self._version, self._failures = info["version"], 0
        is_set_aside = self._failures >= FAILURES_MAX
        if is_set_aside:
            text, info = self._code.get("program", INIT, BOOT_VERSION)
            _log.error("init fails; the package's own is started, on the package's own libraries")
        self._native = NativeContext(
            Grant(names=("*",), caller=LOCAL_OPERATOR, is_boot_only=is_set_aside)
        )
        wanted = info.get("runtime")
        runtime = runtime_of([wanted] if wanted else None)
        return ProgramOrder(
            name=INIT,
            text=text,
            engine=runtime.engine,
            preludes=runtime.preludes,
            runtime=runtime.name,
            caller=INIT_CALLER,
            args=msgspec.msgpack.encode([{"services": self._keeps_services}]),
            priority=PRIORITY_HIGHEST,
            grant=self._native,
            on_exit=self._on_exit,
        )

    def _check_ready(self, frame: ProgramProcess) -> None:
        """Ends an init that has not taken the node's calls in time: nobody could use it."""
        if frame is self._frame and not self.is_ready:
            _log.error("init does not take the node's calls; it is ended")
            self._programs.kill(frame.pid, "request.cancelled")

    def _on_exit(self, frame: ProgramProcess, exit_: Exit) -> None:
        if frame is not self._frame:
            return
        if not self.is_closing:
            _log.error("init has ended: %s", exit_.message or f"status {exit_.status}")
        self._over()

    def _over(self) -> None:
        was_ready = self.is_ready
        self._frame = self._context = None
        self._ready.clear()
        if self._watch is not None:
            self._watch.cancel()
        for future in self._calls.values():
            if not future.done():
                future.set_exception(NotAvailable("init has ended; try again"))
        self._calls.clear()
        if self.is_closing:
            return
        now_ns = self._clock.monotonic_ns()
        is_stable = was_ready and now_ns - self._started_ns > STABLE_NS
        self._failures = 1 if is_stable else self._failures + 1
        delay_s = min(BACKOFF_FIRST_S * 2 ** min(self._failures - 1, 10), BACKOFF_MAX_S)
        loop = asyncio.get_running_loop()
        self._restart = loop.call_later(delay_s, self.start)

    def serve(self, pid: int, number: int) -> None:
        """Init says which of its contexts takes the node's calls."""
        if self._frame is None or pid != self._frame.pid:
            raise NotAvailable("only init takes the node's calls")
        if not self._programs.kernel.interactions.owns(pid, number):
            raise NotOwner(f"init.serve: context {number} is not this process's own")
        self._context = number
        self._ready.set()

    async def wait_ready(self) -> None:
        """Waits until init takes the node's calls; for ever if it never does."""
        await self._ready.wait()

    async def call(self, name: str, *args: Any, timeout_ms: int = CALL_TIMEOUT_MS) -> list[Any]:
        """Calls a name of init; returns the values of its answer.

        Raises:
            NotAvailable: init does not run, does not serve, or has ended meanwhile.
            LithoxError: what init answered, rebuilt.
        """
        self.start()
        try:
            await asyncio.wait_for(self.wait_ready(), READY_TIMEOUT_S)
        except TimeoutError:
            raise NotAvailable("init does not take the node's calls") from None
        if self._frame is None or self._context is None:
            raise NotAvailable("init has ended; try again")
        now_ns = self._clock.monotonic_ns()
        cid = self._programs.kernel.interactions.call_from_node(
            self._frame.pid,
            self._context,
            name,
            msgspec.msgpack.encode(list(args)),
            now_ns + timeout_ms * 1_000_000,
            now_ns,
        )
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._calls[cid] = future
        self._programs.wake()
        try:
            return await future
        finally:
            self._calls.pop(cid, None)

    def tell(self, queue: str, *args: Any) -> None:
        """Pushes a message to init's context 0; nothing happens unless init listens."""
        if self._frame is None or self._native is None:
            return
        interactions = self._programs.kernel.interactions
        data = msgspec.msgpack.encode(list(args))
        interactions.push_from_node(self._native, queue, data, self._clock.monotonic_ns())
        self._programs.wake()

    def take_answer(self, cid: int, status: int, args: bytes) -> None:
        """The kernel says how a call of the node was answered."""
        future = self._calls.get(cid)
        if future is None or future.done():
            return
        values: list[Any] = msgspec.msgpack.decode(args)
        if status == 0:
            future.set_result(values)
            return
        code = str(values[0]) if values else "internal"
        message = str(values[1]) if len(values) > 1 else code
        error = rebuild(code, {"message": message})
        if not isinstance(error, LithoxError):
            error = (
                DeadlinePassed(message)
                if code == "request.deadline_passed"
                else NotAvailable(f"init answered {status}: {message}")
            )
        future.set_exception(error)

    def close(self) -> None:
        """Starts no new one."""
        self.is_closing = True
        if self._watch is not None:
            self._watch.cancel()
        if self._restart is not None:
            self._restart.cancel()
