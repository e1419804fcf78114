"""THIS NODE: wires the rooms together, starts and ends them; `lithox.Node`.

The only place that knows which engine stands behind each contract. Everything of a node happens on
one asyncio loop, but for the store's writer and the thread of long runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from lithox.cluster.volumes_file import check_alone
from lithox.dispatch.catalog import Catalog
from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.job import Clock
from lithox.errors import ConfigError, InternalError, NotFound, NotPermitted, Unauthenticated
from lithox.kernel.kernel import Kernel
from lithox.model.ids import Pid
from lithox.model.limits import Limits
from lithox.model.request import Answer, Caller
from lithox.modules.bundle import Bundle
from lithox.node.admin import Admin
from lithox.node.big_values import BigAdmin
from lithox.node.builtin import add_builtins
from lithox.node.clock import RealClock
from lithox.node.closing import answer_rest, drain, free_guests
from lithox.node.code_sync import CodeSync
from lithox.node.code_workers import CodeWorkers
from lithox.node.config import NodeConfig, read_config
from lithox.node.deploy import DeployReport
from lithox.node.deploying import Deploys
from lithox.node.lock import DirectoryLock
from lithox.node.logs import log_bug, log_guest
from lithox.node.member import Member
from lithox.node.message_admin import MessageAdmin
from lithox.node.message_methods import MessageMethods
from lithox.node.messages_side import MessagesSide
from lithox.node.moving import Moves
from lithox.node.moving_entities import EntityExports
from lithox.node.moving_imports import EntityImports
from lithox.node.moving_methods import MovingMethods
from lithox.node.natives import read_pid
from lithox.node.opening import open_store
from lithox.node.program_methods import ProgramMethods
from lithox.node.program_side import ProgramSide
from lithox.node.request_methods import RequestMethods
from lithox.node.request_side import RequestSide
from lithox.node.seeds import SeedSource
from lithox.node.service_methods import ServiceMethods
from lithox.node.store_admin import StoreAdmin
from lithox.node.store_methods import StoreMethods
from lithox.node.strangers import Strangers
from lithox.node.template_watch import CHECK_INTERVAL_S, TemplateWatch
from lithox.node.timers import DeadlineTimer, every, run_guarded
from lithox.node.value_methods import ValueMethods
from lithox.node.views import collect_statistics, list_processes
from lithox.sandbox.cache import forget_bounds, set_bounds
from lithox.sandbox.contract import Engine
from lithox.sandbox.engines import open_engines
from lithox.security.identities import LOCAL_OPERATOR, Identities
from lithox.store.contract import Store
from lithox.store.crash_points import CRASH_VARIABLE, Reach, parse_crash_at, reach_nothing

CACHE_NAME: Final = "cache"
SWITCH_INTERVAL_S: Final = 0.001
"""How long a busy thread may keep Python's lock while the store's writer waits for it. Source:
docs/decisions/0003-store-writer.md, "What a node sets"."""
CLOSE_GRACE_S: Final = 10.0
"""How long `close` lets running requests end by themselves before it ends them."""
SWEEP_INTERVAL_S: Final = 60.0
SWEEP_RESULTS_MAX: Final = 10_000

_log: Final = logging.getLogger("lithox.node")


class Node(
    MessageMethods,
    MovingMethods,
    ProgramMethods,
    RequestMethods,
    ServiceMethods,
    StoreMethods,
    ValueMethods,
):
    """One lithox node, embedded in this process.

    Use it as an async context manager:

        async with lithox.Node("data") as node:
            await node.deploy("examples/counter")
            value = await node.call("counter/alice", "increment", 5)

    Args:
        data: its data directory; made if it is not there. One node at a time may hold it.
        config: a `NodeConfig`, the path of a TOML file, or None for defaults.
        engines: language engines instead of the built-in ones (for tests).
        clock: where time comes from (for tests).
        keeps_services: whether defined services are started; False for a node that is opened
            for a moment. Then they can be defined and looked at only.
        member: its part of a server of several processes; None: it is alone.
    """

    def __init__(  # noqa: PLR0913 - the public constructor; all but one by keyword
        self,
        data: str | os.PathLike[str],
        *,
        config: NodeConfig | str | os.PathLike[str] | None = None,
        engines: dict[str, Engine] | None = None,
        clock: Clock | None = None,
        keeps_services: bool = True,
        member: Member | None = None,
    ) -> None:
        self._keeps_services = keeps_services
        self._member = member
        self.data = Path(data)
        if config is None:
            config = NodeConfig()
        elif not isinstance(config, NodeConfig):
            config = read_config(Path(config))
        self.config = config
        self._given_engines = engines
        self._clock: Clock = clock or RealClock()
        self._identities = Identities(config.identities)
        self._waiting: set[asyncio.Future[Answer]] = set()
        self._resources = ExitStack()
        self._closing: asyncio.Task[None] | None = None
        self._is_open = False

    # -- life -------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Starts the node. Blocks the loop for the opening of the store (milliseconds).

        Raises:
            StoreInUse: another node holds the data directory.
            StoreCorrupt: the store is damaged, not ours, or of a newer version.
            ConfigError: the sandbox cannot work on this machine, or the data directory's entities
                are spread over several processes and this node is alone.
        """
        if __debug__ is False:  # pragma: no cover - only under python -O
            raise InternalError("lithox needs its assertions: run without -O")
        loop = asyncio.get_running_loop()
        self._loop = loop
        # For the whole process, which is why it is told in `docs/how-to/embed-in-python.md`.
        if sys.getswitchinterval() > SWITCH_INTERVAL_S:
            sys.setswitchinterval(SWITCH_INTERVAL_S)
        # What is open is released in the opposite order, at the end or when something here fails.
        with ExitStack() as opened:
            member = self._member
            opened.callback(self._take_folder().close)
            self._store: Store = open_store(
                self.data, self.config, post=loop.call_soon_threadsafe, reach=_crash_point()
            )
            opened.callback(self._store.close)
            # Processes of one server share what one of them has compiled.
            cache = (self.data if member is None else member.sharing.data) / CACHE_NAME
            opened.callback(forget_bounds, cache)
            set_bounds(cache, self.config.code_cache)
            self._engines = self._given_engines or open_engines(cache)
            if self._given_engines is None:
                for engine in self._engines.values():
                    opened.callback(engine.close)
            self._workers = CodeWorkers(loop.call_soon_threadsafe)
            opened.callback(self._workers.stop)
            self._wire(loop)
            opened.callback(free_guests, self.dispatcher)
            opened.callback(self.dispatcher.stop)
            opened.callback(self._timer.cancel)
            opened.callback(self.program_side.close)
            opened.callback(self._moves.close)
            opened.callback(self._deploys.stop)
            self._templates.adopt()
            if member is not None:
                opened.callback(self.code_sync.stop)
                await member.before_start(self)
            opened.callback(self.messages_side.stop)
            self.messages_side.start()
            opened.callback(self.request_side.stop)
            self.request_side.start()
            sweeper = loop.create_task(every(SWEEP_INTERVAL_S, self._sweep))
            opened.callback(sweeper.cancel)
            if self.config.store is not None:
                watcher = loop.create_task(every(CHECK_INTERVAL_S, self._templates.check))
                opened.callback(watcher.cancel)
            self._resources = opened.pop_all()
        self._opened_ns = self._clock.monotonic_ns()
        self._closing = None
        self._is_open = True
        self.program_side.start()

    def _take_folder(self) -> DirectoryLock:
        """Returns the lock of the data directory; see `open` for what it raises."""
        member = self._member
        lock = member.lock if member is not None else None
        if lock is None:
            lock = DirectoryLock.open(self.data)
        if member is None:
            try:
                check_alone(self.data)
            except ConfigError:
                lock.close()
                raise
        return lock

    def _make_kernel(self) -> Kernel:
        kernel = Kernel(self.config.policy)
        if self._member is not None:
            kernel.share_pids(*self._member.pids)
        return kernel

    def _wire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Puts the rooms together over an open store and its engines."""
        self._kernel = self._make_kernel()
        catalog = Catalog(
            engines=self._engines,
            node_limits=self.config.limits,
            default_limits=self.config.handler_limits,
            open_snapshot=self._store.open_snapshot,
        )
        add_builtins(catalog)
        self.dispatcher = Dispatcher(
            store=self._store,
            kernel=self._kernel,
            catalog=catalog,
            clock=self._clock,
            seeds=SeedSource(),
            schedule=loop.call_soon,
            post=loop.call_soon_threadsafe,
            log=log_guest,
            on_bug=log_bug,
            native_entity=self.config.node_entity,
            results_per_account_max=self.config.results_per_account_max,
            messages=self.config.messages,
            timers=self.config.timers,
            results=self.config.results,
            workers=self._workers,
            elsewhere=None if self._member is None else self._member.sharing,
        )
        self._wire_sides(loop)
        self._templates = TemplateWatch(store=self._store, catalog=catalog)
        self.code_sync = CodeSync(
            store=self._store,
            templates=self._templates,
            wall_ms=lambda: self._clock.wall_ns() // 1_000_000,
        )
        self._deploys = Deploys(
            store=self._store,
            catalog=catalog,
            templates=self._templates,
            workers=self._workers,
            node_entity=self.config.node_entity,
            wall_ms=lambda: self._clock.wall_ns() // 1_000_000,
            record=self._record,
            registry=self.registry,
        )
        self._moves = Moves(store=self._store, dispatcher=self.dispatcher, clock=self._clock)
        self._exports = EntityExports(store=self._store, catalog=catalog, moves=self._moves)
        self._imports = EntityImports(
            store=self._store, dispatcher=self.dispatcher, moves=self._moves, folder=self.data
        )
        self._stores = StoreAdmin(self.code, self._engines, self.dispatcher.record_act)
        self._timer = DeadlineTimer(loop, self._clock, self.dispatcher.notify_time)
        self.dispatcher.lanes.on_deadline = self._timer.arm
        self.dispatcher.natives = {
            "info": lambda _: self.info(),
            "statistics": lambda _: self.statistics(),
            "processes": lambda request: self.processes(request.caller),
            "kill": lambda request: self.kill(read_pid(request.args), request.caller),
        }
        self._strangers = Strangers(self.dispatcher)

    def _wire_sides(self, loop: asyncio.AbstractEventLoop) -> None:
        """Puts what stands beside the dispatcher over it."""
        self.admin = Admin(
            store=self._store,
            dispatcher=self.dispatcher,
            wall_ms=lambda: self._clock.wall_ns() // 1_000_000,
        )
        self._big_values = BigAdmin(
            admin=self.admin, store=self._store, value_bytes_max=self.config.big_value_bytes_max
        )
        self.dispatcher.runs.endpoints.big.value_bytes_max = self.config.big_value_bytes_max
        self.program_side = ProgramSide(
            data=self.data,
            store=self._store,
            kernel=self._kernel,
            dispatcher=self.dispatcher,
            engines=self._engines,
            clock=self._clock,
            seeds=SeedSource(),
            on_bug=log_bug,
            info=self.info,
            limits=self.config.program_limits,
            is_cooperative=self.config.is_cooperative,
            keeps_services=self._keeps_services,
        )
        self.messages_side = MessagesSide(
            loop=loop,
            clock=self._clock,
            dispatcher=self.dispatcher,
            is_shared=self.config.store is not None,
        )
        self._messages = MessageAdmin(
            store=self._store, dispatcher=self.dispatcher, admin=self.admin
        )
        self.request_side = RequestSide(
            loop=loop,
            clock=self._clock,
            store=self._store,
            dispatcher=self.dispatcher,
            settings=self.config.callbacks,
            is_shared=self.config.store is not None,
        )
        self.code = self.program_side.code
        self.registry = self.program_side.registry
        self._services = self.program_side.services

    async def close(self) -> None:
        """Ends the node: running requests get ten seconds, what is visible becomes durable.

        Loses nothing that was acknowledged. Idempotent. Cancelling it does not stop the closing:
        that goes on, and another `close` waits for its end.
        """
        if self._closing is None:
            if not self._is_open:
                return
            self._is_open = False
            self._closing = self._loop.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            # While requests are still taken: a service that ends well may have something to store.
            await self.program_side.stop_services(int(CLOSE_GRACE_S * 1000))
            self.messages_side.stop()
            self.request_side.stop()
            self.dispatcher.is_closing = True
            await drain(self.dispatcher, CLOSE_GRACE_S)
        finally:
            # Also when the loop itself is being ended and no grace is left.
            try:
                await self.request_side.close()
                self._resources.close()
                await asyncio.sleep(0)  # The last call-backs of the writer arrive.
            finally:
                answer_rest(self._waiting)

    # -- callers ----------------------------------------------------------------------------

    def identify(self, token: str | None, *, is_loopback: bool) -> Caller:
        """Returns who holds `token`; raises Unauthenticated, which leaves an audit record."""
        try:
            return self._identities.identify(token, is_loopback=is_loopback)
        except Unauthenticated as error:
            self._strangers.note(self._clock.wall_ns(), error)
            raise

    # -- code -------------------------------------------------------------------------------

    async def deploy(
        self,
        bundle: Bundle | str | os.PathLike[str],
        caller: Caller | None = None,
        *,
        check: bool = False,
    ) -> DeployReport:
        """Publishes a bundle, or the one in a folder, all or nothing. Waits until durable.

        Args:
            check: only says what a deploy would come to: everything is compiled, nothing stored.

        Raises:
            NotPermitted: the caller is not an administrator.
            Overloaded: other deploys are being done.
            ConfigError, CompileFailed, NotAvailable, NotFound: what is wrong with it, and where.
        """
        given = bundle if isinstance(bundle, Bundle) else Path(bundle)
        return await self._deploys.deploy(given, caller or LOCAL_OPERATOR, check=check)

    def check_deployer(self, caller: Caller) -> None:
        """Raises NotPermitted, with an audit record, unless `caller` may deploy."""
        self._deploys.check_deployer(caller)

    def _record(self, caller: Caller, act: str, error: Exception | None, detail: str = "") -> None:
        """Leaves an audit record of an act that is no entity's."""
        self.dispatcher.record_act(
            identity=caller.identity,
            act=act,
            entity="",
            outcome="ok" if error is None else getattr(error, "code", "internal"),
            detail=detail if error is None else str(error),
        )

    # -- programs ---------------------------------------------------------------------------

    async def run_program(  # noqa: PLR0913 - the public call; all by keyword
        self,
        *,
        program: str | None = None,
        code: str | bytes | None = None,
        name: str | None = None,
        runtime: str | None = None,
        args: Sequence[Any] = (),
        limits: Limits | None = None,
        priority: int | None = None,
        mode: str | None = None,
        caller: Caller | None = None,
    ) -> int:
        """Starts a program and returns its PID; `read_output` follows it.

        Args:
            program: a name in the program store, or `runtime#name`.
            code: source text instead, known under `name`.
            args: plain data, given to the main code as `...`.
            limits: lowers what it may use.
            priority: 0 to 9.
            mode: "preemptive" or "cooperative".

        Raises:
            LithoxError: why it does not start.
        """
        order = {
            "program": program,
            "code": code,
            "name": name,
            "runtime": runtime,
            "args": list(args),
            "priority": priority,
            "mode": mode,
        }
        return await self.program_side.runs.run(order, limits, caller or LOCAL_OPERATOR)

    async def read_output(
        self, pid: int, *, after: int = 0, wait_ms: int = 0, caller: Caller | None = None
    ) -> dict[str, Any]:
        """Returns output of a run from offset `after` on, waiting up to `wait_ms` for some.

        Returns:
            {"chunks": [{"offset", "stream", "data"}], "next": offset to ask for next, "missed":
            bytes that were dropped, "reading": it waits for input, "exit": None or {"status",
            "code", "message", "values"}}.
        """
        self._check_operator(caller, f"read_output:{pid}")
        return await self.program_side.runs.read(pid, after, wait_ms)

    async def write_input(
        self, pid: int, data: bytes, *, is_end: bool = False, caller: Caller | None = None
    ) -> None:
        """Feeds a run's input; waits while its buffer is full."""
        self._check_operator(caller, f"write_input:{pid}")
        await self.program_side.runs.write(pid, data, is_end=is_end)

    def _check_operator(self, caller: Caller | None, act: str) -> None:
        """Raises NotPermitted, with an audit record, unless `caller` is an administrator."""
        if caller is not None and not caller.is_admin:
            error = NotPermitted(f"{caller.identity} may not do this: it takes an administrator")
            self._record(caller, act, error)
            raise error

    # -- administration ---------------------------------------------------------------------

    async def admin_show(self, entity: str, caller: Caller) -> dict[str, Any]:
        return await self.admin.show(entity, caller)

    async def admin_delete(self, entity: str, caller: Caller) -> None:
        await self.admin.delete_entity(entity, caller)

    def admin_get_state(self, entity: str, key: str, caller: Caller) -> Any:
        return self.admin.get_state(entity, key, caller)

    async def admin_put_state(self, entity: str, key: str, value: Any, caller: Caller) -> None:
        await self.admin.put_state(entity, key, value, caller)

    async def admin_delete_state(self, entity: str, key: str, caller: Caller) -> None:
        await self.admin.delete_state(entity, key, caller)

    def admin_list_state(
        self, entity: str, prefix: str, after: str, limit: int, caller: Caller, **within: Any
    ) -> dict[str, Any]:
        return self.admin.list_state(entity, prefix, after, limit, caller, **within)

    def admin_get_handlers(self, entity: str, caller: Caller) -> dict[str, Any]:
        return self.admin.get_handlers(entity, caller)

    async def admin_put_handlers(self, entity: str, handlers: Any, caller: Caller) -> None:
        await self.admin.put_handlers(entity, handlers, caller)

    def list_entities(self, prefix: str, after: str, limit: int, caller: Caller) -> dict[str, Any]:
        return self.admin.list_entities(prefix, after, limit, caller)

    def processes(self, caller: Caller) -> list[dict[str, Any]]:
        """Returns one row a process; of its own account only, unless the caller is an admin."""
        return list_processes(self.dispatcher, self._kernel, caller, self._clock.monotonic_ns())

    def kill(self, pid: int, caller: Caller) -> None:
        """Ends a process and its request; raises NotFound for one that is not the caller's."""
        account = self.dispatcher.account_of(Pid(pid))
        if account is None or (not caller.is_admin and account != caller.account):
            error = NotFound(f"no process {pid}")
            self._record(caller, f"kill:{pid}", error)
            raise error
        if not self.program_side.kill(pid):
            self.dispatcher.kill(Pid(pid))
        self._record(caller, f"kill:{pid}", None)

    def read_audit(self, limit: int, caller: Caller) -> list[dict[str, Any]]:
        """Returns the newest audit records, newest first; administrators only."""
        if not caller.is_admin:
            error = NotPermitted(f"{caller.identity} may not read the audit records")
            self._record(caller, "read_audit", error)
            raise error
        return [
            {
                "at_ms": record.at_ns // 1_000_000,
                "identity": record.identity,
                "act": record.act,
                "entity": record.entity,
                "outcome": record.outcome,
                "detail": record.detail,
            }
            for record in self._store.read_audit(limit)
        ]

    def info(self) -> dict[str, Any]:
        """Returns what this node is."""
        from lithox import __version__

        return {
            "version": __version__,
            "node_entity": self.config.node_entity,
            "languages": sorted(self._engines),
            "templates": [one.match for one in self.dispatcher.catalog.templates],
            "uptime_ms": (self._clock.monotonic_ns() - self._opened_ns) // 1_000_000,
            "processes": len(self.dispatcher.processes()),
            "visible_version": self._store.visible_version,
            "durable_version": self._store.durable_version,
        }

    def statistics(self) -> dict[str, float]:
        """Returns flat counters and gauges for metrics, by name."""
        return collect_statistics(
            dispatcher=self.dispatcher,
            kernel=self._kernel,
            store=self._store,
            engines=self._engines,
        )

    def is_ready(self) -> bool:
        """Returns whether requests are taken, by the newest code, and the store can be written."""
        if not self._is_open or self.code_sync.is_behind:
            return False
        return bool(self._store.statistics().get("is_writable", True))

    def _sweep(self) -> None:
        """Drops results whose day has passed, and runs nobody watches any more."""
        run_guarded(
            self.program_side.runs.sweep,
            self.request_side.sweep,
            self.messages_side.sweep,
            lambda: self._store.drop_expired_results(self._clock.wall_ns(), SWEEP_RESULTS_MAX),
        )


def _crash_point() -> Reach:
    """Returns where this process is to die, for tests of recovery; nowhere by default."""
    wanted = os.environ.get(CRASH_VARIABLE)
    return parse_crash_at(wanted) if wanted else reach_nothing
