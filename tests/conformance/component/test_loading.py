"""A component is asked for its handlers where that holds up nobody, and only once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread, get_ident

import pytest

from lithox.errors import LimitExceeded, StoreUnavailable
from lithox.model.limits import Limits
from lithox.sandbox.cache import ModuleCache
from lithox.sandbox.component import asking
from lithox.sandbox.component.engine import PREPARED_MAX, ComponentEngine
from lithox.sandbox.component.guest import ComponentGuest
from lithox.sandbox.contract import Step
from lithox.sandbox.core.compiling import Compilation
from tests.conformance.component.conftest import LIMITS, drive, make_run, make_source
from tests.wat_components import MEMORY, NAMES, RUN, make_component

PLAIN = f"{MEMORY} {NAMES} {RUN} (call $null))"
LOOP = PLAIN.replace(
    '(func (export "handlers") (result i32)', '(func (export "handlers") (result i32) (loop (br 0))'
)


@contextmanager
def opened(directory: Path, **fields: object) -> Iterator[ComponentEngine]:
    """Gives an engine with a cache in `directory`, for machine code and names."""
    caches = {"cache": ModuleCache(directory), "names": ModuleCache(directory)}
    engine = ComponentEngine(language="wasm", **(caches | fields))  # type: ignore[arg-type]
    try:
        yield engine
        assert engine.statistics()["live_guests"] == 0
    finally:
        engine.close()


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Every step of a guest: (thread, whether the lock was free)."""
    found: list[tuple[int, bool]] = []
    step = ComponentGuest.step

    def note(guest: ComponentGuest, quantum_fuel: int, *, frees_lock: bool) -> Step:
        found.append((get_ident(), frees_lock))
        return step(guest, quantum_fuel, frees_lock=frees_lock)

    monkeypatch.setattr(ComponentGuest, "step", note)
    return found


def test_nothing_of_a_component_runs_in_load(
    tmp_path: Path, stepped: list[tuple[int, bool]]
) -> None:
    """Its code runs in the thread of `prepare`, with the lock free; `load` takes the result."""
    source = make_source(make_component(PLAIN))
    with opened(tmp_path) as engine:
        thread = Thread(target=engine.prepare, args=(source,))
        thread.start()
        ident = thread.ident
        thread.join()
        assert stepped == [(ident, True)]
        stepped.clear()
        program = engine.load(source, LIMITS)
        assert stepped == []
        assert program.handler_names == ("run",)
        assert drive(program, make_run()).value is None


def test_load_without_prepare_keeps_the_lock_free(
    tmp_path: Path, stepped: list[tuple[int, bool]]
) -> None:
    """Where nobody has prepared, other threads go on while a component is asked."""
    with opened(tmp_path) as engine:
        engine.load(make_source(make_component(PLAIN)), LIMITS)
    assert stepped == [(get_ident(), True)]


def test_names_are_kept_with_the_machine_code(
    tmp_path: Path, stepped: list[tuple[int, bool]]
) -> None:
    """After a restart nobody asks a component again; how many memories it has is kept, too."""
    more = "(core module $m (memory 1)) (core instance (instantiate $m))"
    source = make_source(make_component(PLAIN, before=more))
    with opened(tmp_path) as engine:
        assert engine.load(source, LIMITS).memories == 2
    stepped.clear()
    with opened(tmp_path) as engine:
        engine.prepare(source)
        program = engine.load(source, LIMITS)
        assert (program.handler_names, program.memories, program.made) == (("run",), 2, 0)
        assert stepped == []
        assert drive(program, make_run()).value is None


def test_names_that_cannot_be_read_are_asked_again(tmp_path: Path) -> None:
    """Of an entry of another form nothing is believed."""
    names = ModuleCache(tmp_path)
    names.save(asking._key_of("k"), b"\x93nonsense")
    assert asking.find_said(names, "k") is None
    assert names.refused == 1
    said = asking.Said(names=["a"], memories=1, fuel=5, calls=0)
    asking.keep_said(names, "k", said)
    assert asking.find_said(names, "k") == said


def test_loop_in_handlers_ends_by_fuel(tmp_path: Path) -> None:
    """A component that never says its handlers is refused by `prepare`, for its fuel."""
    with opened(tmp_path, clock=lambda: 0) as engine, pytest.raises(LimitExceeded) as caught:
        engine.prepare(make_source(make_component(LOOP)))
    assert (caught.value.code, caught.value.fields["limit"]) == ("guest.out_of_fuel", "fuel")


def test_loop_in_handlers_ends_by_processor_time(tmp_path: Path) -> None:
    """Fuel is not time: however much of it is left, processor time is bounded."""
    times = iter(range(0, 1_000 * asking.CPU_NS_MAX, asking.CPU_NS_MAX // 2))
    with opened(tmp_path, clock=lambda: next(times)) as engine:
        with pytest.raises(LimitExceeded) as caught:
            engine.load(make_source(make_component(LOOP)), Limits(fuel=10**15, calls=1))
        assert (caught.value.code, caught.value.fields["limit"]) == ("guest.out_of_wall", "wall")
        assert next(times) == 4 * asking.CPU_NS_MAX // 2


def test_load_of_a_component_looks_at_its_own_limits(tmp_path: Path) -> None:
    """What was prepared under a deploy's limits is refused to a load that allows less."""
    source = make_source(make_component(PLAIN))
    with opened(tmp_path) as engine:
        engine.prepare(source)
        with pytest.raises(LimitExceeded) as caught:
            engine.load(source, Limits(fuel=10, calls=1))
        assert caught.value.fields["limit"] == "fuel"
        assert engine.find(source.digest) is None


def test_components_that_nobody_loads_are_let_go(tmp_path: Path) -> None:
    """Those prepared and not loaded are few; one that was let go is made again by `load`."""
    sources = [
        make_source(make_component(f"{PLAIN} (global i32 (i32.const {number}))"))
        for number in range(PREPARED_MAX + 2)
    ]
    with opened(tmp_path) as engine:
        for source in sources:
            engine.prepare(source)
        assert [engine.load(source, LIMITS).handler_names for source in sources] == [
            ("run",)
        ] * len(sources)


def test_an_engine_may_be_closed_while_a_component_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes it is told that the node closes, and frees what it still needed."""
    source = make_source(make_component(PLAIN))
    begun, go_on, errors = Event(), Event(), []
    compile_it = Compilation.compile

    def wait(self: Compilation, *args: object, **fields: object) -> bytes:
        code = compile_it(self, *args, **fields)  # type: ignore[arg-type]
        begun.set()
        assert go_on.wait(30)
        return code

    def prepare(engine: ComponentEngine) -> None:
        try:
            engine.prepare(source)
        except StoreUnavailable as error:
            errors.append(error)

    monkeypatch.setattr(Compilation, "compile", wait)
    with opened(tmp_path) as engine:
        thread = Thread(target=prepare, args=(engine,))
        thread.start()
        assert begun.wait(30)
    assert engine._engine, "the engine was freed under whoever used it"
    go_on.set()
    thread.join()
    assert [error.code for error in errors] == ["store.unavailable"]
    assert not engine._engine
    with pytest.raises(StoreUnavailable):
        engine.prepare(source)
