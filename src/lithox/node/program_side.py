"""The node's side of programs: puts driver, stores, init and watched runs together.

`Node` has one of these; everything about programs that is not dispatch's own goes through it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.job import Clock
from lithox.dispatch.programs.process import Terminal
from lithox.dispatch.programs.programs import Programs
from lithox.errors import BadArguments, LithoxError
from lithox.kernel.kernel import Kernel
from lithox.model.ids import Pid
from lithox.model.limits import UNBOUNDED, Limits
from lithox.node.code_stores import CodeStores
from lithox.node.device import Device
from lithox.node.init_process import InitProcess
from lithox.node.native_calls import NodeCalls
from lithox.node.registry import SERVICE_PREFIX, Registry
from lithox.node.runs_from_outside import RunsFromOutside
from lithox.node.service_logs import ServiceLogs
from lithox.node.services import Services
from lithox.sandbox.contract import Engine
from lithox.store.contract import Store

OpenTerminal = Callable[[str], Terminal]
_log: Final = logging.getLogger("lithox.node")


@dataclass(slots=True, kw_only=True)
class ProgramSide:
    """Programs of one node.

    Attributes:
        data: the node's data directory, for the logs of services.
        limits: the most a program may use that init starts.
        terminals: kind -> how `output.open` gets a terminal of that kind by name.
    """

    data: Path
    store: Store
    kernel: Kernel
    dispatcher: Dispatcher
    engines: Mapping[str, Engine]
    clock: Clock
    seeds: Callable[[], int]
    on_bug: Callable[[Exception], object]
    info: Callable[[], dict[str, Any]]
    limits: Limits = UNBOUNDED
    is_cooperative: bool = False
    keeps_services: bool = True
    programs: Programs = field(init=False)
    code: CodeStores = field(init=False)
    registry: Registry = field(init=False)
    device: Device = field(init=False)
    init: InitProcess = field(init=False)
    runs: RunsFromOutside = field(init=False)
    logs: ServiceLogs = field(init=False)
    services: Services = field(init=False)
    terminals: dict[str, OpenTerminal] = field(default_factory=dict[str, OpenTerminal])

    def __post_init__(self) -> None:
        dispatcher = self.dispatcher
        self.programs = Programs(
            kernel=self.kernel,
            by_pid=dispatcher.runs.table.by_pid,
            engines=self.engines,
            clock=self.clock,
            seeds=self.seeds,
            wake=dispatcher.lanes.wake,
            on_bug=self.on_bug,
            limits=self.limits,
            is_cooperative=self.is_cooperative,
        )
        self.code = CodeStores(
            self.store, lambda: self.clock.wall_ns() // 1_000_000, dispatcher.record_act
        )
        self.registry = Registry(self.store, self._registry_changed)
        self.device = Device(self.store)
        self.init = InitProcess(
            programs=self.programs,
            code=self.code,
            clock=self.clock,
            keeps_services=self.keeps_services,
        )
        self.runs = RunsFromOutside(init=self.init, clock=self.clock)
        self.logs = ServiceLogs(
            self.data, self.clock, lambda name: self.registry.find(SERVICE_PREFIX + name)
        )
        self.services = Services(
            init=self.init,
            registry=self.registry,
            logs=self.logs,
            record_act=dispatcher.record_act,
        )
        self.terminals["session"] = self.runs.open_session
        self.terminals["log"] = self.logs.open
        NodeCalls(
            programs=self.programs,
            dispatcher=dispatcher,
            code=self.code,
            registry=self.registry,
            device=self.device,
            clock=self.clock,
            info=self.info,
            open_terminal=self._open_terminal,
            serve=self.init.serve,
        ).register(self.programs.natives)
        dispatcher.lanes.on_node_answered = self.init.take_answer

    def _open_terminal(self, kind: str, name: str) -> Terminal:
        opener = self.terminals.get(kind)
        if opener is None:
            kinds = ", ".join(sorted(self.terminals))
            raise BadArguments(f"output.open: kind is one of {kinds}; found {kind!r:.40}")
        return opener(name)

    def _registry_changed(self, key: str) -> None:
        """Tells init, which listens to the queue `registry` of its context 0."""
        self.init.tell("registry", key)

    def kill(self, pid: int) -> bool:
        """Ends a program; False when there is none with that PID."""
        if self.programs.find(pid) is None:
            return False
        return self.programs.kill(Pid(pid), "request.cancelled")

    def start(self) -> None:
        """Starts init if services are defined; without any it starts at the first need."""
        if self.keeps_services and self.services.has_any():
            self.init.start()

    async def stop_services(self, deadline_ms: int) -> None:
        """Ends all services in order; never raises, since the node closes in any case."""
        try:
            await self.services.shutdown(deadline_ms)
        except LithoxError as error:
            _log.warning("services were not ended in order: %s", error.message)

    def release_waiting(self) -> None:
        """Lets go who waits for output or for news of services: the node stops."""
        self.runs.finish_all()
        self.services.release_waiting()

    def close(self) -> None:
        """Starts nothing more; who waits for output or news is let go."""
        self.init.close()
        self.release_waiting()
        self.logs.close()
