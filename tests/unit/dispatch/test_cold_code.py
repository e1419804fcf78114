"""Runs whose program is not loaded wait for it while others run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from lithox.dispatch import cold_code
from lithox.dispatch.module_cells import CHUNK_BYTES, INLINE_BYTES_MAX, ModuleReading, module_cells
from lithox.dispatch.records import MODULES_ENTITY, ModuleRecord, encode_record
from lithox.errors import (
    CompileFailed,
    DeadlinePassed,
    LithoxError,
    NotFound,
    Overloaded,
    StoreCorrupt,
)
from lithox.model.ids import Pid
from lithox.model.limits import Limits
from lithox.sandbox.contract import Program, Source
from lithox.testing.script import Module, ScriptedSelf
from tests.unit.dispatch.house import House


def increment(_self: ScriptedSelf) -> Any:
    count = (yield ("get", "count")) or 0
    yield ("set", "count", count + 1)
    return count + 1


def outer(_self: ScriptedSelf) -> Any:
    inner = yield ("call", "cold/inner", "increment")
    return ["outer", inner]


COUNTER: Module = {"increment": increment}
OUTER: Module = {"outer": outer}


class HeldWorkers:
    """Workers whose work is done when the test says so."""

    def __init__(self, post: Callable[[Callable[[], None]], None]) -> None:
        self._post = post
        self.held: list[tuple[Callable[[], None], Callable[[Exception | None], None]]] = []

    def submit(self, work: Callable[[], None], on_done: Callable[[Exception | None], None]) -> None:
        self.held.append((work, on_done))

    def do_all(self) -> None:
        while self.held:
            work, on_done = self.held.pop(0)
            error: Exception | None = None
            try:
                work()
            except Exception as failure:  # noqa: BLE001 - as the real ones
                error = failure
            self._post(lambda done=on_done, error=error: done(error))


class ColdHouse(House):
    """A house with workers and an engine that counts what is prepared and loaded."""

    def __init__(self, **options: Any) -> None:
        self.prepared: list[str] = []
        self.loaded: list[str] = []
        self.failure: Exception | None = None
        # The house makes its queue itself, later.
        self.workers = HeldWorkers(lambda call: self.queue.append(call))  # noqa: PLW0108
        super().__init__(workers=self.workers, **options)
        load = self.engine.load

        def prepare(source: Source) -> None:
            self.prepared.append(source.digest)
            if self.failure is not None:
                raise self.failure

        def counted(source: Source, limits: Limits) -> Program:
            self.loaded.append(source.digest)
            return load(source, limits)

        self.engine.prepare = prepare  # type: ignore[method-assign]
        self.engine.load = counted  # type: ignore[method-assign]

    def finish(self) -> None:
        """Runs everything to its end, workers included."""
        self.run()
        while self.workers.held:
            self.workers.do_all()
            self.run()


def test_many_runs_wait_for_one_prepare_while_others_run() -> None:
    """A hundred first calls prepare and load a module once; a loaded one is served meanwhile."""
    house = ColdHouse()
    warm = house.publish("warm/*", COUNTER)
    assert house.send("warm/a", "increment") == []
    house.finish()
    cold = house.publish("cold/*", COUNTER)
    answers = [house.send(f"cold/{number}", "increment") for number in range(100)]
    house.run()
    assert [one for one in answers if one] == []
    assert house.call("warm/a", "increment") == 2
    assert house.loaded == [warm]
    house.finish()
    assert [one[0].value for one in answers] == [1] * 100
    assert (house.prepared, house.loaded) == ([warm, cold], [warm, cold])
    assert not house.bugs


def publish_other(house: ColdHouse) -> str:
    """Publishes the counter in a language of its own, `other`, under `other/*`; its digest."""
    house.publish("other/*", COUNTER)
    kept = house.dispatcher.catalog.templates
    text = b"other module"
    digest = hashlib.sha256(b"other\0" + text).hexdigest()
    record = ModuleRecord(language="other", name="other", text=text)
    house.put({(MODULES_ENTITY, digest): encode_record(record)})
    template = msgspec.structs.replace(kept[-1], language="other", module=digest)
    house.dispatcher.catalog.adopt([*kept[:-1], template])
    house.dispatcher.catalog.engines["other"] = house.engine
    return digest


def test_slow_modules_of_one_language_hold_up_no_other() -> None:
    """Of one language so many are prepared at once as are named; another's begins beside them."""
    house = ColdHouse()
    count = cold_code.BEGUN_LANGUAGE_MAX + 1
    slow = [house.publish(f"slow{number}/*", COUNTER) for number in range(count)]
    answers = [house.send(f"slow{number}/a", "increment") for number in range(count)]
    house.run()
    other = publish_other(house)
    house.send("other/a", "increment")
    house.run()
    begun = [work.__self__.source.digest for work, _ in house.workers.held]  # type: ignore[attr-defined]
    assert begun == [*slow[:-1], other]
    house.finish()
    assert sorted(house.prepared) == sorted([*slow, other])
    assert [one[0].value for one in answers] == [1] * count


def test_each_waiter_is_told_why_there_is_no_program() -> None:
    """A module that cannot be prepared is an error of every run, kept a while, then tried again."""
    house = ColdHouse()
    house.publish("cold/*", COUNTER)
    house.failure = CompileFailed("it does not compile", file="x.wasm", line=3)
    answers = [house.send(f"cold/{number}", "increment") for number in range(3)]
    house.finish()
    errors = [one[0].error for one in answers]
    assert [type(one) for one in errors] == [CompileFailed] * 3
    assert isinstance(errors[0], CompileFailed)
    assert errors[0].fields == {"file": "x.wasm", "line": 3}
    house.failure = None
    again = house.send("cold/9", "increment")
    house.finish()
    assert isinstance(again[0].error, CompileFailed)
    assert len(house.prepared) == 1
    house.clock.advance(cold_code.FAILED_KEPT_NS + 1)
    later = house.send("cold/9", "increment")
    house.finish()
    assert later[0].value == 1


def test_a_bug_in_prepare_ends_the_runs_that_wait_and_is_reported() -> None:
    """What nobody expected is an internal error of each waiter, and the next call tries again."""
    house = ColdHouse()
    house.publish("cold/*", COUNTER)
    house.failure = ZeroDivisionError("ours")
    answers = house.send("cold/a", "increment")
    house.finish()
    assert type(answers[0].error).__name__ == "InternalError"
    assert ZeroDivisionError in {type(one) for one in house.bugs}
    house.failure = None
    answers = house.send("cold/a", "increment")
    house.finish()
    assert answers[0].value == 1


def test_deadline_and_kill_work_while_code_is_waited_for() -> None:
    """Who is out of time or killed is answered at once, and what comes later is dropped."""
    house = ColdHouse()
    house.publish("cold/*", COUNTER)
    late = house.send("cold/a", "increment", deadline_ns=house.clock.monotonic_ns() + 1_000_000)
    killed = house.send("cold/b", "increment")
    kept = house.send("cold/c", "increment")
    house.run()
    house.clock.advance(2_000_000)
    house.dispatcher.notify_time()
    pid = next(one.pid for one in house.dispatcher.processes() if one.name.startswith("cold/b"))
    assert house.dispatcher.kill(Pid(pid))
    house.run()
    assert isinstance(late[0].error, DeadlinePassed)
    assert isinstance(killed[0].error, LithoxError)
    assert killed[0].error.code == "request.cancelled"
    house.finish()
    assert kept[0].value == 1
    assert (house.get("cold/a", "count"), house.get("cold/b", "count")) == (None, None)
    assert house.dispatcher.processes() == []
    assert not house.bugs


def test_a_run_whose_time_passes_while_it_compiles_may_be_tried_again() -> None:
    """Its own limit of wall time ends it, as the node's matter: no handler was at fault."""
    house = ColdHouse()
    house.publish("cold/*", COUNTER)
    answers = house.send("cold/a", "increment", limits=Limits(wall_ns=1_000_000))
    house.run()
    house.clock.advance(2_000_000)
    house.dispatcher.notify_time()
    house.run()
    assert isinstance(answers[0].error, Overloaded)
    assert answers[0].error.retry_after_ms is not None
    house.finish()
    assert house.call("cold/a", "increment") == 1


def test_a_joined_call_waits_for_the_code_of_its_callee() -> None:
    """A callee that is not loaded makes its caller wait, in the caller's own transaction."""
    house = ColdHouse()
    house.publish("warm/*", OUTER)
    house.publish("cold/*", COUNTER, access=["*"])
    answers = house.send("warm/a", "outer")
    house.finish()
    assert answers[0].value == ["outer", 1]
    assert house.get("cold/inner", "count") == 1


def test_a_deploy_while_code_is_waited_for_is_served() -> None:
    """A run that waited for a module its entity no longer has goes on with the one it has."""
    house = ColdHouse()
    house.publish("cold/*", COUNTER)
    answers = house.send("cold/a", "increment")
    house.run()

    def fixed(_self: ScriptedSelf) -> Any:
        return "new"
        yield

    house.publish("cold/*", {"increment": fixed})
    house.finish()
    assert answers[0].value == "new"


def test_a_program_that_left_the_cache_again_is_not_waited_for_twice() -> None:
    """A waiter runs with the program in its hand, whatever the engine has dropped meanwhile."""
    house = ColdHouse()
    house.publish("cold/*", COUNTER)
    house.engine.find = lambda digest: None  # type: ignore[method-assign]
    answers = [house.send(f"cold/{number}", "increment") for number in range(5)]
    house.finish()
    assert [one[0].value for one in answers] == [1] * 5
    assert len(house.loaded) == 1


@pytest.mark.patches_source
def test_too_many_modules_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its bound a run that needs another module is told to try again."""
    monkeypatch.setattr(cold_code, "FETCHES_MAX", 2)
    house = ColdHouse()
    for name in ("a", "b", "c"):
        house.publish(f"{name}/*", COUNTER)
    answers = [house.send(f"{name}/1", "increment") for name in ("a", "b", "c")]
    house.run()
    assert isinstance(answers[2][0].error, Overloaded)
    house.finish()
    assert [one[0].value for one in answers[:2]] == [1, 1]


def test_runs_that_were_killed_do_not_pile_up_while_a_module_compiles() -> None:
    """A caller who starts and ends runs of a slow module holds no more than what lives."""
    house = ColdHouse()
    house.publish("cold/*", COUNTER)
    for _ in range(500):
        house.send("cold/a", "increment")
        house.run()
        (view,) = house.dispatcher.processes()
        house.dispatcher.kill(view.pid)
        house.run()
    (fetch,) = house.dispatcher.runs.code._fetches.values()
    assert len(fetch.waiters) <= cold_code._PRUNE_FIRST
    house.finish()


def _put_module(house: House, source: Source) -> dict[tuple[str, str], bytes | None]:
    cells: dict[tuple[str, str], bytes | None] = dict(module_cells(source, ["increment", "_no"]))
    house.put(cells)
    return cells


def _source(size: int) -> Source:
    text = bytes(number % 251 for number in range(1009)) * (size // 1009 + 1)
    return Source(language="scripted", name="big", text=text[:size], digest="d" * 64)


@pytest.mark.parametrize(
    "size",
    [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 2 << 20, (3 << 20) + 7 * CHUNK_BYTES - 1],
)
def test_modules_of_every_size_come_out_as_they_went_in(size: int) -> None:
    """Inline or in chunks, whole or with a last chunk of any length, step by step."""
    house = House()
    source = _source(size)
    cells = _put_module(house, source)
    assert max(len(one) for one in cells.values() if one) <= INLINE_BYTES_MAX + 200
    assert ModuleReading(house.store.open_snapshot, source.digest).read() == source
    assert house.dispatcher.catalog.read_source(source.digest) == source


@pytest.mark.parametrize("damage", ["first", "middle", "last", "short", "all"])
def test_a_module_that_is_not_whole_is_told(damage: str) -> None:
    """A chunk that is gone or cut is an error of the store, never a shorter module."""
    house = House()
    source = _source(2 << 20)
    chunks = [cell for cell in _put_module(house, source) if cell[0] != MODULES_ENTITY]
    where = {"first": chunks[:1], "middle": chunks[9:10], "last": chunks[-1:], "all": chunks}
    house.put(dict.fromkeys(where.get(damage, ()), None))
    if damage == "short":
        house.put({chunks[3]: b"x"})
    with pytest.raises(StoreCorrupt, match="not whole"):
        ModuleReading(house.store.open_snapshot, source.digest).read()


def test_a_module_changed_in_the_store_is_never_compiled() -> None:
    """Code is looked at by its digest before anything is made of it."""
    house = ColdHouse()
    digest = house.publish("cold/*", COUNTER)
    house.put(
        {(MODULES_ENTITY, digest): b"\x83\xa8language\xa8scripted\xa4name\xa1n\xa4text\xc4\x01x"}
    )
    answers = house.send("cold/a", "increment")
    house.finish()
    assert isinstance(answers[0].error, StoreCorrupt)
    assert house.prepared == []


def test_a_module_that_is_not_kept_is_told() -> None:
    """An entity pinned to what nobody has gets an error, and the run ends."""
    house = ColdHouse()
    digest = house.publish("cold/*", COUNTER)
    house.put({(MODULES_ENTITY, digest): None})
    answers = house.send("cold/a", "increment")
    house.finish()
    assert isinstance(answers[0].error, NotFound)
