"""A whole node on one thread: the real dispatcher, kernel and store core over simulated parts.

What is real: admission, ids, transactions, joined calls, turns, lanes, scheduling, validation,
versions, withdrawal, recorded results. What is simulated: guests (scripts), the disk, the second
thread, time, and the order in which the node's thread hears of things (`channels`).

One `WholeNode` is one life, from a start to a crash or close; the disk outlives it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lithox.dispatch.catalog import Catalog
from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.elsewhere import Elsewhere
from lithox.dispatch.job import Frame
from lithox.dispatch.lanes import OnStep
from lithox.dispatch.messages.bounds import DEFAULT_BOUNDS, MessageBounds
from lithox.dispatch.records import (
    MODULES_ENTITY,
    TEMPLATES_ENTITY,
    ModuleRecord,
    TemplateRecord,
    encode_record,
)
from lithox.dispatch.schedules.bounds import DEFAULT_TIMER_BOUNDS, TimerBounds
from lithox.kernel import Kernel, Policy
from lithox.model.ids import Pid
from lithox.model.limits import Limits
from lithox.model.patterns import is_match
from lithox.model.request import Answer, Request
from lithox.node.closing import free_guests
from lithox.sandbox.contract import Guest
from lithox.store.contract import Cell, Post
from lithox.store.visible import Options, VisibleStore
from lithox.testing.channels import Channels
from lithox.testing.clock import Timer
from lithox.testing.script import Module
from lithox.testing.scripted import ScriptedEngine
from lithox.testing.simulated_disk import SimulatedDisk
from lithox.testing.world import InvariantBroken, World

OWNER: Final = "simulated"
"""Owns every entity, so that they may call each other."""
PUMP_DELAY_NS: Final = 1_000
WRITER_DELAY_NS: Final = 5_000
LONG_DELAY_NS: Final = 20_000
NETWORK_DELAY_NS: Final = 10_000
HISTORY_CELLS_MAX: Final = 1_000_000


@dataclass(slots=True, kw_only=True)
class NodeHabits:
    """What a life of the node is made with; small bounds make rare paths common.

    Attributes:
        policy: of the kernel; short quanta make runs overlap.
        fuel_per_us: how fast guests burn.
        cache_bytes_max: of the store's cache of entities.
        history_cells_max: modified cells the store remembers; older snapshots must run again.
        pending_commits_max: commits that may wait for the disk.
        results_per_account_max: recorded results of one account.
        messages: how messages are tried again, and how many may wait.
        timers: how many may be armed, and how they are moved.
        node_limits: above everything any run may use.
    """

    policy: Policy
    fuel_per_us: int = 1_000
    cache_bytes_max: int = 1 << 20
    history_cells_max: int = HISTORY_CELLS_MAX
    pending_commits_max: int = 10_000
    results_per_account_max: int = 1_000_000
    messages: MessageBounds = DEFAULT_BOUNDS
    timers: TimerBounds = DEFAULT_TIMER_BOUNDS
    node_limits: Limits = field(default_factory=lambda: Limits(fuel=1_000_000))


class NodeClock:
    """The clocks as the node's thread sees them: its own work makes it late, never early."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._now_ns = 0
        self._cpu_ns = 0

    def monotonic_ns(self) -> int:
        """Returns the world's time, or later while the thread is behind its work."""
        self._now_ns = max(self._now_ns, self._world.clock.monotonic_ns())
        return self._now_ns

    def wall_ns(self) -> int:
        """Returns nanoseconds since 1970, as the world has them."""
        return self._world.clock.wall_ns()

    def thread_cpu_ns(self) -> int:
        """Returns processor time; only `burn` uses any."""
        return self._cpu_ns

    def burn(self, duration_ns: int) -> None:
        """Uses processor time of the node's thread; fires nothing."""
        self._now_ns = self.monotonic_ns() + duration_ns
        self._cpu_ns += duration_ns


class SimulatedLong:
    """The second thread: one slice after the other, each told of in the node's own time."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self.on_step: OnStep | None = None
        self._is_stopped = False

    def submit(self, pid: Pid, guest: Guest, quantum_fuel: int) -> None:
        """Queues one slice."""

        def work() -> None:
            if self._is_stopped:
                return
            before = guest.fuel_used
            step = guest.step(quantum_fuel, frees_lock=True)
            assert self.on_step is not None, "the lanes listen before they submit"
            self.on_step(pid, step, guest.fuel_used - before, 0)

        self._channels.post("long", work, LONG_DELAY_NS)

    def stop(self) -> None:
        """Takes no more."""
        self._is_stopped = True


class SimulatedStore(VisibleStore):
    """The core over a simulated disk, with the bounds of `habits`."""

    def __init__(self, disk: SimulatedDisk, post: Post, habits: NodeHabits) -> None:
        disk.attach(self, post)
        super().__init__(
            engine=disk,
            post=post,
            version=disk.version,
            audit_sequence=disk.audit_sequence + 1,
            options=Options(
                cache_bytes_max=habits.cache_bytes_max,
                pending_commits_max=habits.pending_commits_max,
            ),
        )
        self._cells.recent._cells_max = habits.history_cells_max


class WholeNode:
    """One life of a node over `disk`.

    Args:
        world: the stage.
        disk: what earlier lives left.
        modules: template pattern -> handlers; on the disk already, by `deploy`.
        habits: bounds and speed.
        elsewhere: the way to nodes that own other entities; None: all are here.
    """

    def __init__(
        self,
        world: World,
        disk: SimulatedDisk,
        modules: Mapping[str, Module],
        habits: NodeHabits,
        *,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._world = world
        self.channels = Channels(world)
        self.clock = NodeClock(world)
        self.bugs: list[Exception] = []
        self.modules = modules
        self.store = SimulatedStore(disk, self._post_written, habits)
        self.engine = ScriptedEngine(clock=self.clock, fuel_per_us=habits.fuel_per_us)
        self.kernel = Kernel(habits.policy)
        self.dispatcher = Dispatcher(
            store=self.store,
            kernel=self.kernel,
            catalog=Catalog(
                engines={"scripted": self.engine},
                node_limits=habits.node_limits,
                open_snapshot=self.store.open_snapshot,
            ),
            clock=self.clock,
            seeds=lambda: world.random.getrandbits(63),
            schedule=lambda action: self.channels.post("pump", action, PUMP_DELAY_NS),
            post=lambda action: self.channels.post("long", action, LONG_DELAY_NS),
            log=_ignore_log,
            on_bug=self.bugs.append,
            native_entity="~node",
            results_per_account_max=habits.results_per_account_max,
            long=SimulatedLong(self.channels),
            messages=habits.messages,
            timers=habits.timers,
            elsewhere=elsewhere,
        )
        delivery = self.dispatcher.mail.delivery
        self.dispatcher.lanes.on_deadline = self._make_alarm(self.dispatcher.notify_time)
        delivery.on_deadline = self._make_alarm(delivery.notify_time)
        timers = self.dispatcher.timers
        timers.on_deadline = self._make_alarm(timers.notify_time)
        delivery.on_started = timers.start
        delivery.start()
        self.dispatcher.catalog.adopt(deploy(self.engine, modules)[0])

    def _post_written(self, action: Callable[[], None]) -> None:
        self.channels.post("writer", action, WRITER_DELAY_NS)

    def _make_alarm(self, on_due: Callable[[], None]) -> Callable[[int], None]:
        """Returns what sees to it that `on_due` is called at a given time or earlier."""
        armed: tuple[int, Timer] | None = None

        def fire() -> None:
            nonlocal armed
            armed = None
            on_due()

        def arm(due_ns: int) -> None:
            nonlocal armed
            if armed is not None:
                if armed[0] <= due_ns:
                    return
                armed[1].cancel()
            armed = (due_ns, self.channels.call_at(due_ns, fire))

        return arm

    # What callers use.

    def send(self, request: Request, on_answer: Callable[[Answer], None]) -> None:
        """Hands over a request at once; `on_answer` is called when its answer leaves."""
        self.dispatcher.submit(request, on_answer)

    def crash(self) -> None:
        """Ends this life at once: nothing that was posted to it is heard any more."""
        self.channels.close()

    # What checkers ask.

    def check(self) -> None:
        """Raises InvariantBroken when the node has met a bug of its own."""
        if self.bugs and isinstance(self.bugs[0], InvariantBroken):
            # A law was found broken while an answer left, so the node took it for its own bug.
            raise self.bugs[0]
        if self.bugs:
            raise InvariantBroken(f"a bug of the node: {self.bugs[0]!r}") from self.bugs[0]

    def close(self) -> None:
        """Ends this life as an operator does: what is visible becomes durable first."""
        self.dispatcher.lanes.stop()
        self.store.close()
        free_guests(self.dispatcher)
        self.channels.close()

    def check_at_rest(self) -> None:
        """Raises InvariantBroken when anything is left of any request."""
        self.check()
        table = self.dispatcher.runs.table
        self._check_nothing(
            processes=len(self.kernel.table()),
            frames=len(table.by_pid),
            turns=int(bool(table.turns)),
            snapshots=self.store.statistics()["snapshots_open"],
        )
        self.check_closed()

    def check_closed(self) -> None:
        """Raises InvariantBroken when a closed node still holds something.

        Processes may be left: a slice that was out when the lanes stopped comes back to nobody.
        """
        self.check()
        self._check_nothing(
            requests=self.dispatcher.open_count,
            guests=self.engine.guests_live,
            commits=self.store.statistics()["pending_commits"],
            versions=self.store.visible_version - self.store.durable_version,
        )

    @staticmethod
    def _check_nothing(**left: int) -> None:
        if any(left.values()):
            raise InvariantBroken(f"nothing happens any more, and left are {left}")


def _ignore_log(frame: Frame, level: str, text: str, fields: dict[str, Any]) -> None:
    del frame, level, text, fields


def deploy(
    engine: ScriptedEngine, modules: Mapping[str, Module]
) -> tuple[list[TemplateRecord], dict[Cell, bytes | None]]:
    """Publishes `modules`; returns their templates and the cells in which a node keeps them."""
    writes: dict[Cell, bytes | None] = {}
    templates: list[TemplateRecord] = []
    for match, module in modules.items():
        source = engine.publish(match, module)
        template = TemplateRecord(
            match=match, language="scripted", module=source.digest, owner=OWNER, access=["*"]
        )
        record = ModuleRecord(language="scripted", name=source.name, text=source.text)
        templates.append(template)
        writes[(TEMPLATES_ENTITY, match)] = encode_record(template)
        writes[(MODULES_ENTITY, source.digest)] = encode_record(record)
    return templates, writes


def find_module(modules: Mapping[str, Module], entity: str) -> Module | None:
    """Returns the handlers that serve `entity`; the patterns of a simulation do not overlap."""
    for match, module in modules.items():
        if is_match(match, entity):
            return module
    return None
