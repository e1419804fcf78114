"""A dispatcher that does the same each time: one thread, one queue, time that stands still.

Everything between `submit` and the answer is what a node has (kernel, dispatch, the visible store,
Lua's own guest in WebAssembly); left out is what differs from one time to the next: the event
loop, the writer's thread, clocks and chance. Its disk is memory, and takes what waits each time
the queue comes to it.

Invariant: two houses that are given the same requests make the same calls in the same order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lithox.dispatch.catalog import Catalog
from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.lanes import OnStep
from lithox.dispatch.records import (
    MODULES_ENTITY,
    TEMPLATES_ENTITY,
    ModuleRecord,
    TemplateRecord,
    encode_record,
)
from lithox.kernel.kernel import Kernel
from lithox.model.ids import AccountName, EntityPath, HandlerName, Identity, Pid
from lithox.model.limits import NODE_DEFAULT_LIMITS
from lithox.model.request import Answer, Caller, Request
from lithox.modules.digest import digest_of
from lithox.sandbox.contract import Engine, Guest
from lithox.sandbox.engine import WasmEngine
from lithox.sandbox.engines import LUA, LUA_WASM_PATH
from lithox.store.contract import Commit
from lithox.store.memory import MemoryStore
from lithox.testing.clock import FakeClock

SOURCE: Final = Path(__file__).parent.parent / "bundles" / "transfers" / "purse.lua"
CALLER: Final = Caller(identity=Identity("alice"), account=AccountName("alice"))
ENTITIES: Final = 128
IN_FLIGHT: Final = 64
"""Requests submitted before the queue is run: as many as row 1 of `make bench` has callers."""
START_NS: Final = 1_000_000_000
TURNS_MAX: Final = 10_000_000

Ask = tuple[str, str, list[Any]]
"""Entity, handler, arguments."""


class _NoLong:
    """Where long slices would go: no work of the guard outlives its first quantum."""

    on_step: OnStep | None = None

    def submit(self, pid: Pid, guest: Guest, quantum_fuel: int) -> None:
        raise SystemExit(f"process {pid} needs more than its first quantum: {guest, quantum_fuel}")

    def stop(self) -> None:
        """Has nothing to stop."""


class House:
    """Everything a request meets between submit and answer.

    Args:
        engine: Lua's, or one that listens to it; it stays the caller's to close.

    Attributes:
        turns: calls taken from the queue; a node's event loop makes as many.
        syncs: of the disk.
    """

    def __init__(self, engine: Engine) -> None:
        self.turns = 0
        self._queue: deque[Callable[[], object]] = deque()
        self._bugs: list[Exception] = []
        self._answered = 0
        self._seed = 0
        self._store = MemoryStore(post=self._queue.append)
        self.dispatcher = Dispatcher(
            store=self._store,
            kernel=Kernel(),
            catalog=Catalog(
                engines={LUA: engine},
                node_limits=NODE_DEFAULT_LIMITS,
                open_snapshot=self._store.open_snapshot,
            ),
            clock=FakeClock(monotonic_ns=START_NS),
            seeds=self._next_seed,
            schedule=self._queue.append,
            post=self._queue.append,
            log=lambda *_: None,
            on_bug=self._bugs.append,
            native_entity="~node",
            long=_NoLong(),
        )
        self._publish()

    @property
    def syncs(self) -> int:
        return self._store.disk.statistics()["syncs"]

    def _next_seed(self) -> int:
        self._seed += 1
        return self._seed

    def _publish(self) -> None:
        """Deploys the work for every entity `purse/NAME`."""
        text = SOURCE.read_bytes()
        digest = digest_of(LUA, text)
        template = TemplateRecord(
            match="purse/*",
            language=LUA,
            module=digest,
            owner=CALLER.identity,
            limits={},
            handlers={},
            access=["entity:purse/**"],
            owned_by="deployer",
            pin=False,
        )
        module = ModuleRecord(language=LUA, name=SOURCE.name, text=text)
        writes: dict[tuple[str, str], bytes | None] = {
            (TEMPLATES_ENTITY, template.match): encode_record(template),
            (MODULES_ENTITY, digest): encode_record(module),
        }
        commit = Commit(self._store.visible_version, (), (), writes)
        if self._store.submit(commit, lambda _: None) is None:
            raise SystemExit("nothing else writes to this store")
        self._drain()
        self.dispatcher.catalog.adopt([template])

    def run(self, asks: list[Ask]) -> None:
        """Has all of `asks` answered, `IN_FLIGHT` at a time; raises SystemExit for a refusal."""
        for begin in range(0, len(asks), IN_FLIGHT):
            self._answered = 0
            part = asks[begin : begin + IN_FLIGHT]
            for entity, handler, args in part:
                request = Request(
                    entity=EntityPath(entity),
                    handler=HandlerName(handler),
                    args=args,
                    caller=CALLER,
                )
                self.dispatcher.submit(request, self._take)
            self._drain()
            if self._answered != len(part) or self._bugs:
                raise SystemExit(f"{self._answered} of {len(part)} answered: {self._bugs}")

    def _take(self, answer: Answer) -> None:
        if answer.error is not None:
            raise SystemExit(f"the guard's own work failed: {answer.error!r}")
        self._answered += 1

    def _drain(self) -> None:
        """Runs the queue until it is empty."""
        queue = self._queue
        for _ in range(TURNS_MAX):
            if not queue:
                return
            self.turns += 1
            queue.popleft()()
        raise SystemExit("the queue does not get empty")

    def close(self) -> None:
        """Ends it; the engine stays open."""
        self.dispatcher.stop()
        self._store.close()


def open_lua(cache: Path) -> WasmEngine:
    """Returns Lua's engine. Blocks: seconds without a compiled interpreter in `cache`."""
    return WasmEngine(language=LUA, wasm_path=LUA_WASM_PATH, cache_dir=cache)


def spread(count: int, handler: str, *args: Any) -> list[Ask]:
    """Returns `count` calls over all entities in turn."""
    return [(f"purse/e{number % ENTITIES}", handler, [*args]) for number in range(count)]


def transfers(count: int) -> list[Ask]:
    """Returns `count` transfers, none of which has an entity in common with its neighbours."""
    half = ENTITIES // 2
    return [
        (f"purse/e{number % half}", "give", [f"purse/e{half + number % half}", 1])
        for number in range(count)
    ]
