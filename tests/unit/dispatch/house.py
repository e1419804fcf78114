"""A whole dispatcher on one thread: memory store, scripted guests, a clock that stands still."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from lithox.dispatch.catalog import Catalog
from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.lanes import OnStep
from lithox.dispatch.records import (
    MODULES_ENTITY,
    TEMPLATES_ENTITY,
    HandlerOverride,
    ModuleRecord,
    TemplateRecord,
    encode_record,
)
from lithox.kernel.kernel import Kernel
from lithox.kernel.policy import Policy
from lithox.model.ids import AccountName, EntityPath, HandlerName, Identity, Pid, RequestId
from lithox.model.limits import NODE_DEFAULT_LIMITS, Limits
from lithox.model.request import Answer, Caller, Request
from lithox.model.values import decode_value
from lithox.sandbox.contract import Guest
from lithox.store.contract import Commit
from lithox.store.memory import MemoryDisk, MemoryStore
from lithox.testing.clock import WALL_START_NS, FakeClock
from lithox.testing.script import Module
from lithox.testing.scripted import ScriptedEngine

ALICE = Caller(identity=Identity("alice"), account=AccountName("alice"))
BOB = Caller(identity=Identity("bob"), account=AccountName("bob"))
ADMIN = Caller(identity=Identity("root"), account=AccountName("root"), is_admin=True)


class InlineLong:
    """Steps long slices in the house's own queue, so order is the same each time."""

    def __init__(self, post: Callable[[Callable[[], None]], None]) -> None:
        self._post = post
        self.on_step: OnStep | None = None
        self.is_held = False
        self.held: list[Callable[[], None]] = []

    def submit(self, pid: Pid, guest: Guest, quantum_fuel: int) -> None:
        def work() -> None:
            before = guest.fuel_used
            step = guest.step(quantum_fuel, frees_lock=True)
            assert self.on_step is not None
            self.on_step(pid, step, guest.fuel_used - before, 0)

        if self.is_held:
            self.held.append(work)
        else:
            self._post(work)

    def stop(self) -> None:
        self.held.clear()


class House:
    """Everything a request meets between submit and answer."""

    def __init__(self, *, policy: Policy | None = None, **options: Any) -> None:
        self.queue: deque[Callable[[], None]] = deque()
        self.clock = FakeClock(
            monotonic_ns=1_000_000_000, wall_ns=options.pop("wall_ns", WALL_START_NS)
        )
        self.disk: MemoryDisk = options.pop("disk", None) or MemoryDisk()
        self.store = MemoryStore(post=self.queue.append, disk=self.disk)
        self.engine = ScriptedEngine()
        self.logs: list[tuple[str, str, dict[str, Any]]] = []
        self.bugs: list[Exception] = []
        self.long = InlineLong(self.queue.append)
        self._seed = 0
        self.dispatcher = Dispatcher(
            store=self.store,
            kernel=Kernel(policy or Policy()),
            catalog=Catalog(
                engines={"scripted": self.engine},
                node_limits=options.pop("node_limits", NODE_DEFAULT_LIMITS),
                open_snapshot=self.store.open_snapshot,
            ),
            clock=self.clock,
            seeds=self._next_seed,
            schedule=self.queue.append,
            post=self.queue.append,
            log=lambda frame, level, text, fields: self.logs.append((level, text, fields)),
            on_bug=self.bugs.append,
            native_entity="~node",
            long=self.long,
            **options,
        )

    def _next_seed(self) -> int:
        self._seed += 1
        return self._seed

    def publish(  # noqa: PLR0913 - a test's template, all by keyword
        self,
        match: str,
        module: Module,
        *,
        owner: str = "alice",
        access: list[Any] | None = None,
        owned_by: str = "deployer",
        limits: dict[str, int] | None = None,
        handlers: dict[str, HandlerOverride] | None = None,
        pin: bool = False,
    ) -> str:
        """Deploys one template; returns its module's digest."""
        source = self.engine.publish(f"{match} {len(self.dispatcher.catalog.templates)}", module)
        template = TemplateRecord(
            match=match,
            language="scripted",
            module=source.digest,
            owner=owner,
            limits=limits or {},
            handlers=handlers or {},
            access=access,
            owned_by=owned_by,
            pin=pin,
        )
        record = ModuleRecord(language="scripted", name=source.name, text=source.text)
        writes = {
            (TEMPLATES_ENTITY, match): encode_record(template),
            (MODULES_ENTITY, source.digest): encode_record(record),
        }
        self.put(writes)
        kept = [one for one in self.dispatcher.catalog.templates if one.match != match]
        self.dispatcher.catalog.adopt([*kept, template])
        return source.digest

    def put(self, writes: dict[tuple[str, str], bytes | None]) -> None:
        """Commits `writes` behind everybody's back and makes them durable."""
        version = self.store.submit(
            Commit(self.store.visible_version, (), (), writes), lambda _: None
        )
        assert version is not None
        self.run()

    def get(self, entity: str, key: str) -> Any:
        """Returns the newest visible value, or None."""
        snapshot = self.store.open_snapshot()
        item = snapshot.find(entity, key)
        snapshot.release()
        return None if item is None else decode_value(item.value)

    def send(  # noqa: PLR0913 - a test's request, all by keyword
        self,
        entity: str,
        handler: str,
        *args: Any,
        caller: Caller = ALICE,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ns: int | None = None,
    ) -> list[Answer]:
        """Submits; the list holds the answer once it has left."""
        answers: list[Answer] = []
        self.dispatcher.submit(
            Request(
                entity=EntityPath(entity),
                handler=HandlerName(handler),
                args=list(args),
                caller=caller,
                limits=limits,
                request_id=None if request_id is None else RequestId(request_id),
                deadline_ns=deadline_ns,
            ),
            answers.append,
        )
        return answers

    def run(self, rounds_max: int = 100_000) -> None:
        """Runs the queue until it is empty."""
        for _ in range(rounds_max):
            if not self.queue:
                return
            self.queue.popleft()()
        raise AssertionError("the queue does not get empty")

    def call(self, entity: str, handler: str, *args: Any, **options: Any) -> Any:
        """Submits, runs, and returns the value or raises the error."""
        answers = self.send(entity, handler, *args, **options)
        self.run()
        assert len(answers) == 1, "one answer for each request"
        assert not self.bugs, self.bugs
        if answers[0].error is not None:
            raise answers[0].error
        return answers[0].value
