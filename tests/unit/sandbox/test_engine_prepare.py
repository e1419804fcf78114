"""Tests of `WasmEngine.prepare`: loading beside the node's thread, and a close meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event, Thread, get_ident

import pytest

from lithox.dispatch.catalog import DEPLOY_LIMITS
from lithox.errors import CompileFailed, LimitExceeded, LithoxError, StoreUnavailable
from lithox.model.limits import Limits
from lithox.sandbox import engine as engine_module
from lithox.sandbox.allowance import LoadAllowance
from lithox.sandbox.contract import Step, StepKind
from lithox.sandbox.engine import PREPARE_LIMITS, PREPARED_MAX, EngineOptions, WasmEngine
from lithox.sandbox.guest import WasmGuest
from lithox.sandbox.lazy import LazyEngine
from tests.unit.sandbox import stand_in
from tests.unit.sandbox.conftest import LIMITS, make_source

WAIT_S = 30
IMAGE_BYTES = stand_in.PAGES * 65536


def in_thread(work: Callable[[], object]) -> tuple[Thread, list[LithoxError]]:
    """Begins `work` in another thread; returns it and what it raises."""
    errors: list[LithoxError] = []

    def run() -> None:
        try:
            work()
        except LithoxError as error:
            errors.append(error)

    thread = Thread(target=run)
    thread.start()
    return thread, errors


class Gate:
    """Holds the first step of every load until it is opened; notes who stepped, and how."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.opened = Event(), Event()
        self.steps: list[tuple[int, bool]] = []
        step = WasmGuest.step

        def held(guest: WasmGuest, quantum_fuel: int, *, frees_lock: bool) -> Step:
            self.steps.append((get_ident(), frees_lock))
            self.reached.set()
            assert self.opened.wait(WAIT_S)
            return step(guest, quantum_fuel, frees_lock=frees_lock)

        monkeypatch.setattr(WasmGuest, "step", held)


def test_load_after_prepare_steps_nothing(
    engine: WasmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module runs in the thread that prepares, with the lock released; `load` takes it."""
    gate = Gate(monkeypatch)
    gate.opened.set()
    source = make_source(b"g")
    thread, errors = in_thread(lambda: engine.prepare(source))
    thread.join()
    assert errors == []
    assert gate.steps
    assert all(one != get_ident() and frees_lock for one, frees_lock in gate.steps)
    before = list(gate.steps)
    program = engine.load(source, LIMITS)
    assert gate.steps == before
    assert program.handler_names == ("a",)
    assert program.image_bytes == IMAGE_BYTES + 65536
    guest = program.start(b"e", LIMITS)
    assert guest.step(10_000, frees_lock=False).kind is StepKind.FINISHED
    guest.close()
    engine.prepare(source)
    assert engine.load(source, LIMITS) is program


def test_runs_go_on_while_a_module_is_prepared(
    engine: WasmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preparation has cells of its own: guests of the node's thread neither meet nor count it."""
    program = engine.load(make_source(), LIMITS)
    gate = Gate(monkeypatch)
    thread, errors = in_thread(lambda: engine.prepare(make_source(b"g")))
    assert gate.reached.wait(WAIT_S)
    monkeypatch.undo()
    for _ in range(10):
        guest = program.start(b"e", LIMITS)
        assert guest.step(10_000, frees_lock=False).kind is StepKind.FINISHED
        guest.close()
    assert engine.statistics()["live_guests"] == 0
    gate.opened.set()
    thread.join()
    assert errors == []


@pytest.mark.parametrize("is_lazy", [False, True])
def test_close_during_a_preparation_frees_nothing_it_uses(
    make_engine: Callable[[], WasmEngine], monkeypatch: pytest.MonkeyPatch, *, is_lazy: bool
) -> None:
    """What a preparation stands on goes when it has ended, which is at its next quantum."""
    engine = make_engine()
    opened = LazyEngine("stand_in", lambda: engine) if is_lazy else engine
    host = engine._host  # pyright: ignore[reportPrivateUsage]
    gate = Gate(monkeypatch)
    threads = [
        in_thread(lambda number=number: opened.prepare(make_source(b"%dl" % number)))
        for number in range(2)
    ]
    while len(gate.steps) < len(threads):
        assert gate.reached.wait(WAIT_S)
    opened.close()
    assert host.engine != 0
    gate.opened.set()
    for thread, errors in threads:
        thread.join()
        assert [type(error) for error in errors] == [StoreUnavailable]
    assert len(gate.steps) == len(threads)
    assert host.engine == 0
    with pytest.raises(StoreUnavailable, match="closing"):
        opened.prepare(make_source())


def test_module_that_was_ready_as_the_engine_closed_is_let_go(
    make_engine: Callable[[], WasmEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preparation whose last step ends after the close leaves nothing on the shelf."""
    engine = make_engine()
    gate = Gate(monkeypatch)
    thread, errors = in_thread(lambda: engine.prepare(make_source()))
    assert gate.reached.wait(WAIT_S)
    engine.close()
    gate.opened.set()
    thread.join()
    assert [type(error) for error in errors] == [StoreUnavailable]
    assert not engine._prepared  # pyright: ignore[reportPrivateUsage]


def test_prepare_refuses_what_load_would(engine: WasmEngine) -> None:
    """A module that is wrong, loops or takes all memory is found before the node's thread."""
    with pytest.raises(CompileFailed):
        engine.prepare(make_source(b"x"))
    for text, limit in ((b"l", "fuel"), (b"m", "memory")):
        with pytest.raises(LimitExceeded) as caught:
            engine.prepare(make_source(text))
        assert caught.value.fields["limit"] == limit
    assert engine.statistics()["programs"] == 0


def test_prepare_has_the_limits_of_a_deploy() -> None:
    """Nothing is prepared for seconds that `load` then refuses."""
    for name in ("fuel", "memory_bytes", "calls"):
        assert getattr(PREPARE_LIMITS, name) == getattr(DEPLOY_LIMITS, name)


def test_load_looks_at_its_own_limits(engine: WasmEngine) -> None:
    """What was prepared under a deploy's limits is refused to a load that allows less."""
    source = make_source(b"g")
    for limits, limit in (
        (replace(LIMITS, fuel=3), "fuel"),
        (replace(LIMITS, memory_bytes=IMAGE_BYTES - 1), "memory"),
    ):
        engine.prepare(source)
        with pytest.raises(LimitExceeded) as caught:
            engine.load(source, limits)
        assert caught.value.fields["limit"] == limit


def test_prepared_and_never_loaded_is_bounded(
    engine: WasmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shelf has a bound in modules and one in bytes; the newest stays."""
    for number in range(PREPARED_MAX + 2):
        engine.prepare(make_source(b"%d" % number))
    prepared = engine._prepared  # pyright: ignore[reportPrivateUsage]
    assert len(prepared) == PREPARED_MAX
    monkeypatch.setattr(engine_module, "PREPARED_BYTES_MAX", 3 * IMAGE_BYTES)
    engine.prepare(make_source(b"last"))
    assert len(prepared) == 3
    assert next(reversed(prepared)) == make_source(b"last").digest
    for _ in range(3):
        engine.load(make_source(b"last"), LIMITS)
        engine.prepare(make_source(b"more"))
    assert len(prepared) == 3


def test_longer_source_may_use_more_while_it_loads(
    make_engine: Callable[..., WasmEngine],
) -> None:
    """Fuel and memory of a load grow with the source; beyond them it is told size and remedy."""
    allowance = LoadAllowance(fuel_per_byte=100, memory_per_byte=1000)
    engine = make_engine(EngineOptions(allowance=allowance))
    limits = Limits(fuel=1_000, memory_bytes=200_000, calls=1)
    for length in (1, 1000):
        with pytest.raises(LimitExceeded) as caught:
            engine.load(make_source(b"l".rjust(length)), limits)
        allowed = 1_000 + 100 * length
        assert caught.value.fields["allowed"] == caught.value.fields["used"] == allowed
        assert caught.value.message == (
            "f cannot be loaded: the fuel allowance is used up; a source of "
            f"{length} bytes may use {allowed} of fuel and {200_000 + 1000 * length} bytes of "
            "memory while it loads: do less at the top level, keep thousands of names in a "
            "function of their own, or split the module"
        )
    with pytest.raises(LimitExceeded) as caught:
        engine.load(make_source(b"m".rjust(1000)), limits)
    assert caught.value.fields["allowed"] == 1_200_000
