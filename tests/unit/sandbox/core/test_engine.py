"""Programs of strangers' modules: every run begins alike, whatever the last one left, and ends."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from lithox.errors import (
    CompileFailed,
    GuestProtocolError,
    GuestTrapped,
    LimitExceeded,
    LithoxError,
    Overloaded,
)
from lithox.model.limits import Limits
from lithox.sandbox.cache import ModuleCache
from lithox.sandbox.contract import StepKind
from lithox.sandbox.core import guest as core_guest
from lithox.sandbox.core.engine import PREPARED_MAX, CoreEngine
from lithox.sandbox.core.guest import LONG_STEP_NS_MAX, PART_FUEL, STEP_NS_MAX
from lithox.sandbox.mappings import MAPPINGS_RESERVE, MappingBudget
from lithox.sandbox.wasm_engine import WebAssemblyEngine
from tests.unit.sandbox.core.modules import (
    GOOD,
    LIMITS,
    MEMORY,
    QUANTUM_FUEL,
    assemble,
    open_engine,
    run,
    source_of,
)

IMPORT = '(import "lithox" "syscall" (func $ask (param i32 i32 i32 i32) (result i32)))'
COUNTERS = f"""(module {MEMORY}
  {{declared}}
  (global $count (mut i32) (i32.const 5)) (global $wide (mut v128) (v128.const i64x2 1 2))
  (global $far (mut f64) (f64.const 0.5))
  (func $begin (global.set $count (i32.const 40)) (i32.store (i32.const 2048) (i32.const 7)))
  (start $begin)
  (func (export "_initialize") (global.set $count (i32.add (global.get $count) (i32.const 2))))
  (func (export "lx_reserve") (param i32) (result i32) (i32.const 4096))
  (func (export "lx_run") (param i32) (result i64)
    (i32.store (i32.const 0) (global.get $count))
    (i32.store (i32.const 4) (i32.load (i32.const 2048)))
    (v128.store (i32.const 8) (global.get $wide))
    (f64.store (i32.const 24) (global.get $far))
    (i32.store (i32.const 32) {{read}})
    (global.set $count (i32.const 99)) (global.set $far (f64.const 9))
    (global.set $wide (v128.const i64x2 9 9)) (i32.store (i32.const 2048) (i32.const 99))
    {{change}}
    (i64.const 36)))"""
KINDS = {
    "restored": ("", "(i32.const 0)", ""),
    "table": (
        "(table 1 funcref) (func $f) (elem declare func $f)",
        "(i32.eqz (ref.is_null (table.get (i32.const 0))))",
        "(table.set (i32.const 0) (ref.func $f))",
    ),
    "table size": (
        "(table 1 funcref)",
        "(i32.sub (table.size) (i32.const 1))",
        "(drop (table.grow (ref.null func) (i32.const 5)))",
    ),
    "segment": (
        '(data $d "\\00\\00\\00\\00")',
        (
            "(block (result i32) (memory.init $d (i32.const 64) (i32.const 0) (i32.const 4))"
            "(i32.load (i32.const 64)))"
        ),
        "(data.drop $d)",
    ),
    "memory size": (
        "",
        "(i32.sub (memory.size) (i32.const 1))",
        "(drop (memory.grow (i32.const 1)))",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_a_run_survives(tmp_path: Path, kind: str) -> None:
    """Memory, globals of every type, tables and segments are as after loading in every run."""
    declared, read, change = KINDS[kind]
    engine = open_engine(tmp_path)
    wat = COUNTERS.format(declared=declared, read=read, change=change)
    program = engine.load(source_of(assemble(wat)), LIMITS)
    expected = (42).to_bytes(4, "little") + (7).to_bytes(4, "little")
    expected += (1).to_bytes(8, "little") + (2).to_bytes(8, "little")
    expected += b"\0\0\0\0\0\0\xe0\x3f" + bytes(4)
    assert [run(program).data for _ in range(4)] == [expected] * 4
    statistics = engine.statistics()
    assert statistics["recycled_guests"] == (3 if kind == "restored" else 0)
    engine.close()


def test_endless_code_ends_wherever_it_is(tmp_path: Path) -> None:
    """Start function, `_initialize` and `lx_reserve` have the meter of a deploy like all else."""
    engine = open_engine(tmp_path)
    loop = "(loop (br 0))"
    endless = (
        GOOD[:-1] + f"(func $begin {loop}) (start $begin))",
        GOOD[:-1] + f'(func (export "_initialize") {loop}))',
        GOOD.replace("(i32.const 1024)", f"{loop} (i32.const 1024)"),
    )
    for wat in endless:
        with pytest.raises(LimitExceeded) as caught:
            engine.load(source_of(assemble(wat)), LIMITS)
        assert (caught.value.code, caught.value.fields["file"]) == ("guest.out_of_fuel", "m.wasm")
    assert engine.statistics()["live_guests"] == 0
    engine.close()


SETUPS: dict[str, tuple[str, type[LithoxError], str]] = {
    "trap": (
        GOOD[:-1] + "(func $begin unreachable) (start $begin))",
        GuestTrapped,
        "m.wasm cannot be loaded: unreachable code reached",
    ),
    "inbox outside": (
        GOOD.replace("(i32.const 1024)", "(i32.const 60000)"),
        GuestProtocolError,
        (
            "m.wasm cannot be loaded: lx_reserve(16384) gave 60000, which is no address for as "
            "many bytes inside the memory"
        ),
    ),
    "no inbox": (
        GOOD.replace("(i32.const 1024)", "(i32.const 0)"),
        GuestProtocolError,
        (
            "m.wasm cannot be loaded: lx_reserve(16384) gave 0, which is no address for as many "
            "bytes inside the memory"
        ),
    ),
    "data outside": (
        GOOD[:-1] + '(data (i32.const 65535) "ab"))',
        CompileFailed,
        "m.wasm has a segment that does not fit: instantiation: memory out of bounds",
    ),
    "elements outside": (
        GOOD[:-1] + "(table 1 funcref) (elem (i32.const 1) 0))",
        CompileFailed,
        "m.wasm has a segment that does not fit: instantiation: table out of bounds",
    ),
    "memory above the deploy's": (
        GOOD.replace('"memory") 1', '"memory") 300'),
        LimitExceeded,
        (
            "m.wasm cannot be loaded: the module alone takes 19660800 bytes of memory; "
            "16777216 are allowed"
        ),
    ),
}


@pytest.mark.parametrize("name", SETUPS)
def test_setup_that_fails_is_told(tmp_path: Path, name: str) -> None:
    """What goes wrong when a module is set up names the file and the reason, and leaves nothing."""
    wat, kind, message = SETUPS[name]
    engine = open_engine(tmp_path)
    with pytest.raises(kind) as caught:
        engine.load(source_of(assemble(wat)), LIMITS)
    assert caught.value.message == message
    assert engine.statistics()["live_guests"] == 0
    engine.close()


def test_reserve_of_a_long_message_is_sliced(tmp_path: Path) -> None:
    """A message beyond the inbox asks `lx_reserve`, which may yield, lie and loop like all else."""
    wat = f"""(module {IMPORT} (memory (export "memory") 2)
      (func (export "lx_reserve") (param $n i32) (result i32) (local $i i32)
        (if (i32.le_u (local.get $n) (i32.const 16384)) (then (return (i32.const 1024))))
        (if (i32.eq (local.get $n) (i32.const 20001)) (then (return (i32.const 0))))
        (if (i32.eq (local.get $n) (i32.const 20002)) (then (return (i32.const 131000))))
        (if (i32.eq (local.get $n) (i32.const 20003)) (then (unreachable)))
        (if (i32.eq (local.get $n) (i32.const 20004)) (then (drop (call $ask (i32.const 0)
          (i32.const 1) (i32.const 0) (i32.const 0)))))
        (if (i32.eq (local.get $n) (i32.const 20005)) (then (loop (br 0))))
        (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
          (i32.const 20000))))
        (i32.const 65536))
      (func (export "lx_run") (param $n i32) (result i64)
        (i64.or (i64.shl (i64.const 65536) (i64.const 32)) (i64.extend_i32_u (local.get $n)))))"""
    engine = open_engine(tmp_path)
    program = engine.load(source_of(assemble(wat)), LIMITS)
    assert run(program, b"y" * 20_000).data == b"y" * 20_000
    guest = program.start(b"y" * 20_000, LIMITS)
    assert guest.step(QUANTUM_FUEL, frees_lock=False).kind is StepKind.YIELDED
    guest.close()
    ends = {
        20_001: "guest.out_of_memory",
        20_002: "guest.protocol",
        20_003: "guest.trapped",
        20_004: "guest.protocol",
        20_005: "guest.out_of_fuel",
    }
    assert {length: run(program, bytes(length)).code for length in ends} == ends
    assert run(program, b"short").kind is StepKind.FINISHED
    assert engine.statistics()["live_guests"] == 0
    engine.close()


@pytest.mark.parametrize("frees_lock", [False, True])
def test_quantum_that_lasts_too_long_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, frees_lock: bool
) -> None:
    """Fuel is not time: a quantum is burned in parts, and the clock is looked at between them."""
    engine = open_engine(tmp_path)
    wat = GOOD.replace("(i64.const 0)", "(loop (br 0)) (i64.const 0)")
    program = engine.load(source_of(assemble(wat)), LIMITS)
    bound = LONG_STEP_NS_MAX if frees_lock else STEP_NS_MAX
    times = iter(range(0, 100 * bound, bound // 2))
    monkeypatch.setattr(core_guest, "monotonic_ns", lambda: next(times))
    guest = program.start(b"", LIMITS)
    assert guest.step(2_000_000, frees_lock=frees_lock).kind is StepKind.YIELDED
    assert 2 * PART_FUEL <= guest.fuel_used < 3 * PART_FUEL
    monkeypatch.setattr(core_guest, "monotonic_ns", lambda: 0)
    before = guest.fuel_used
    assert guest.step(1_000_000, frees_lock=frees_lock).kind is StepKind.YIELDED
    assert 1_000_000 <= guest.fuel_used - before < 1_000_000 + PART_FUEL
    guest.close()
    engine.close()


def test_load_looks_at_its_own_limits(tmp_path: Path) -> None:
    """What was prepared under a deploy's limits is refused to a load that allows less."""
    engine = open_engine(tmp_path)
    wat = GOOD[:-1] + '(func (export "_initialize") (local i32) (loop (br_if 0 (i32.ne (i32.const'
    wat += " 10000) (local.tee 0 (i32.add (local.get 0) (i32.const 1)))))))) "
    source = source_of(assemble(wat))
    for limits, limit in (
        (Limits(fuel=1000, memory_bytes=1 << 20, calls=1), "fuel"),
        (Limits(fuel=10**6, memory_bytes=1000, calls=1), "memory"),
    ):
        engine.prepare(source)
        with pytest.raises(LimitExceeded) as caught:
            engine.load(source, limits)
        assert caught.value.fields["limit"] == limit
        assert caught.value.fields["used"] > caught.value.fields["allowed"]
    engine.close()


def test_prepare_compiles_and_load_does_not(tmp_path: Path) -> None:
    """After `prepare`, from any thread, `load` finds everything in memory; else in the cache."""
    engine = open_engine(tmp_path)
    source = source_of(assemble(GOOD))
    threads = [Thread(target=engine.prepare, args=(source,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    before = engine.statistics()["cache_misses"]
    program = engine.load(source, LIMITS)
    assert engine.load(source, LIMITS) is program is engine.find(source.digest)
    assert engine.statistics()["cache_misses"] == before
    engine.close()
    again = open_engine(tmp_path)
    again.load(source, LIMITS)
    assert (again.statistics()["cache_hits"], again.statistics()["cache_misses"]) == (1, 0)
    again.close()


def test_prepared_and_never_loaded_is_bounded(tmp_path: Path) -> None:
    """What is prepared and not loaded is forgotten in the end."""
    engine = open_engine(tmp_path)
    for number in range(PREPARED_MAX + 2):
        engine.prepare(source_of(assemble(GOOD), f"m{number}.wasm"))
    assert len(engine._prepared) == PREPARED_MAX  # pyright: ignore[reportPrivateUsage]
    engine.close()


def test_cache_entry_that_is_no_code_is_made_again(tmp_path: Path) -> None:
    """Whatever stands under a module's name in the cache, code of ours runs or none."""
    source = source_of(assemble(GOOD))
    first = open_engine(tmp_path)
    first.load(source, LIMITS)
    first.close()
    cache = ModuleCache(tmp_path / "cache")
    (entry,) = (tmp_path / "cache").glob("*.lxmod")
    cache.save(entry.stem, b"not machine code at all")
    second = open_engine(tmp_path)
    assert run(second.load(source, LIMITS)).kind is StepKind.FINISHED
    assert second.statistics()["cache_refused"] == 1
    second.close()


def test_programs_are_bounded_while_their_runs_go_on(tmp_path: Path) -> None:
    """A program that is dropped serves the runs that have begun, and no cell of it waits then."""
    engine = open_engine(tmp_path, programs_bytes_max=1)
    first = engine.load(source_of(assemble(GOOD), "a.wasm"), LIMITS)
    run(first)
    assert engine.statistics()["idle_guests"] == 1
    guest = first.start(b"", LIMITS)
    engine.load(source_of(assemble(GOOD), "b.wasm"), LIMITS)
    assert engine.statistics()["programs"] == 1
    assert guest.step(QUANTUM_FUEL, frees_lock=False).kind is StepKind.FINISHED
    guest.close()
    assert run(first).kind is StepKind.FINISHED
    assert engine.statistics()["idle_guests"] == 0
    engine.close()


def test_idle_cells_make_room(tmp_path: Path) -> None:
    """Where mappings are short, cells that wait for other programs go first; then it is told."""
    budget = MappingBudget(maximum=MAPPINGS_RESERVE + 12, count=lambda: 0)
    engine = CoreEngine(language="wasm", cache=ModuleCache(tmp_path), mappings=budget)
    first = engine.load(source_of(assemble(GOOD), "a.wasm"), LIMITS)
    second = engine.load(source_of(assemble(GOOD), "b.wasm"), LIMITS)
    run(first)
    guests = [second.start(b"", LIMITS) for _ in range(3)]
    with pytest.raises(Overloaded):
        second.start(b"", LIMITS)
    for guest in guests:
        guest.close()
    assert run(first).kind is StepKind.FINISHED
    assert budget.held == engine.statistics()["idle_guests"] == 1
    engine.close()
    assert budget.held == 0


def test_less_memory_than_the_image_is_the_runs_end(tmp_path: Path) -> None:
    """A run that may have less memory than its module ends by that, before its first step."""
    engine = open_engine(tmp_path)
    program = engine.load(source_of(assemble(GOOD)), LIMITS)
    step = run(program, limits=Limits(fuel=1000, memory_bytes=1000, calls=1))
    assert step.code == "guest.out_of_memory"
    engine.close()


def test_kinds_are_told_apart_by_their_first_bytes(tmp_path: Path) -> None:
    """`wasm` is one language; what is neither kind is refused with what was found."""
    engine = WebAssemblyEngine(language="wasm", cache_dir=tmp_path, mappings=MappingBudget())
    source = source_of(assemble(GOOD))
    engine.prepare(source)
    program = engine.load(source, LIMITS)
    assert engine.find(source.digest) is program
    assert engine.find("other") is None
    assert engine.statistics()["programs"] == 1
    for text in (b"", b"return {}", b"\0asm\2\0\0\0"):
        with pytest.raises(CompileFailed) as caught:
            engine.prepare(source_of(text))
        assert caught.value.fields["offset"] == 0
        assert (text[:8].hex(" ") or "nothing") in caught.value.message
    engine.close()
