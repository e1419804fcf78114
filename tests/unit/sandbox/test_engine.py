"""Tests of `lithox.sandbox.engine`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import wasmtime

from lithox.errors import (
    CompileFailed,
    ConfigError,
    GuestProtocolError,
    GuestTrapped,
    InternalError,
    LimitExceeded,
    Overloaded,
)
from lithox.sandbox import engines as languages
from lithox.sandbox import pool
from lithox.sandbox.cell import Cell
from lithox.sandbox.contract import StepKind
from lithox.sandbox.engine import EngineOptions, WasmEngine
from lithox.sandbox.guest import WasmGuest
from tests.unit.sandbox import stand_in
from tests.unit.sandbox.conftest import LIMITS, make_source


def test_engine_hides_names_that_begin_with_an_underscore(engine: WasmEngine) -> None:
    """The handlers of a module are those its author shows."""
    assert engine.load(make_source(), LIMITS).handler_names == ("a",)


def test_engine_reports_where_source_is_wrong(engine: WasmEngine) -> None:
    """A module that cannot be compiled names file, line, what was expected and where it was."""
    with pytest.raises(CompileFailed) as caught:
        engine.load(make_source(b"x"), LIMITS)
    assert caught.value.message == "f:7: '=' expected"
    assert caught.value.fields == {"file": "f", "line": 7, "expected": "=", "traceback": "tb"}


def test_engine_ends_a_module_that_loops_while_it_loads(engine: WasmEngine) -> None:
    """Top-level code has the fuel of the deploy and no more."""
    with pytest.raises(LimitExceeded) as caught:
        engine.load(make_source(b"l"), replace(LIMITS, fuel=10_000))
    assert caught.value.code == "guest.out_of_fuel"
    assert caught.value.fields == {"limit": "fuel", "used": 10_000, "allowed": 10_000, "file": "f"}


def test_engine_ends_a_module_that_takes_all_memory(engine: WasmEngine) -> None:
    """A memory bomb at top level meets the limit of the deploy."""
    with pytest.raises(LimitExceeded) as caught:
        engine.load(make_source(b"m"), LIMITS)
    assert caught.value.code == "guest.out_of_memory"
    assert caught.value.fields["allowed"] == LIMITS.memory_bytes


def test_engine_reports_a_trap_while_loading(engine: WasmEngine) -> None:
    """An interpreter that fails is named with the file it failed on."""
    with pytest.raises(GuestTrapped) as caught:
        engine.load(make_source(b"u"), LIMITS)
    assert caught.value.message == "f cannot be loaded: unreachable code reached"


def test_engine_reports_an_answer_it_cannot_read(engine: WasmEngine) -> None:
    """An interpreter that answers nonsense is a protocol error, not a crash."""
    with pytest.raises(GuestProtocolError):
        engine.load(make_source(b"z"), LIMITS)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (b"\x92\x00\xa3loga", b"\x91\x00"),
        (b"\x92\x00\xa3geta", b"\x94\x15\xb5request.not_available"),
        (b"garbagea", b"\x94\x15\xb5request.not_available"),
    ],
)
def test_engine_refuses_system_calls_while_loading(
    make_engine: Callable[[], WasmEngine], text: bytes, answer: bytes
) -> None:
    """All system calls but `log` are refused, so an image depends on module code alone."""
    program = make_engine().load(make_source(text), LIMITS)
    guest = program.start(b"w" + bytes([len(answer)]), LIMITS)
    step = guest.step(10_000, frees_lock=False)
    guest.close()
    assert step.data == answer


def test_engine_finds_what_it_has_loaded(engine: WasmEngine) -> None:
    """A program is loaded once for each digest."""
    source = make_source()
    assert engine.find(source.digest) is None
    program = engine.load(source, LIMITS)
    assert engine.find(source.digest) is program
    assert engine.load(source, LIMITS) is program


def test_engine_forgets_the_program_used_longest_ago(
    make_engine: Callable[..., WasmEngine],
) -> None:
    """Images are bounded by bytes; a program that left still runs for those who hold it."""
    engine = make_engine(EngineOptions(programs_bytes_max=2 * stand_in.PAGES * 65536))
    first, second, third = (make_source(text) for text in (b"1", b"2", b"3"))
    engine.load(first, LIMITS)
    gone = engine.load(second, LIMITS)
    engine.find(first.digest)
    engine.load(third, LIMITS)
    assert engine.find(second.digest) is None
    assert engine.find(first.digest) is not None
    assert engine.statistics()["programs"] == 2
    guest = gone.start(b"e", LIMITS)
    assert guest.step(10_000, frees_lock=False).kind is StepKind.FINISHED
    guest.close()


def test_engine_gives_a_grown_image_its_own_size(engine: WasmEngine) -> None:
    """A program whose loading grew the memory starts with that memory, used cell or new."""
    grown = engine.load(make_source(b"g"), LIMITS)
    plain = engine.load(make_source(), LIMITS)
    sizes = []
    for program in (grown, plain, grown, plain, grown):
        guest = program.start(b"e", LIMITS)
        guest.step(10_000, frees_lock=False)
        sizes.append(guest.memory_bytes)
        guest.close()
    assert sizes == [grown.image_bytes, plain.image_bytes] * 2 + [grown.image_bytes]
    assert grown.image_bytes == plain.image_bytes + 65536


def test_engine_reuses_cells_of_ordinary_ends_only(engine: WasmEngine) -> None:
    """A cell that trapped, was killed or grew is dropped; one that finished is used again."""
    program = engine.load(make_source(), LIMITS)
    before = engine.statistics()
    for message in (b"u", b"l", b"g", b"m", b"G", b"y"):
        guest = program.start(message, LIMITS)
        guest.step(10_000, frees_lock=False)
        guest.close()
    for _ in range(10):
        guest = program.start(b"e", LIMITS)
        guest.step(10_000, frees_lock=False)
        guest.close()
    after = engine.statistics()
    assert after["live_guests"] == 0
    assert after["idle_guests"] == 1
    assert after["recycled_guests"] - before["recycled_guests"] == 10


def test_engine_keeps_a_bounded_number_of_idle_cells(
    make_engine: Callable[..., WasmEngine],
) -> None:
    """Cells beyond the bound are closed when their guests end."""
    engine = make_engine(EngineOptions(idle_max=3))
    program = engine.load(make_source(), LIMITS)
    guests = [program.start(b"e", LIMITS) for _ in range(8)]
    for guest in guests:
        guest.step(10_000, frees_lock=False)
        guest.close()
    statistics = engine.statistics()
    assert (statistics["idle_guests"], statistics["live_guests"]) == (3, 0)


@pytest.mark.patches_source
@pytest.mark.parametrize(
    ("name", "bound", "kept"), [("IDLE_BYTES_MAX", 0, 3), ("IDLE_CELL_BYTES_MAX", -1, 0)]
)
def test_engine_bounds_idle_cells_in_bytes(
    make_engine: Callable[..., WasmEngine],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    bound: int,
    kept: int,
) -> None:
    """Idle cells have a bound in bytes, all together and each; what is taken again is uncounted."""
    engine = make_engine()
    program = engine.load(make_source(), LIMITS)
    size_bytes = program.image_bytes
    monkeypatch.setattr(pool, name, 3 * size_bytes + bound if kept else size_bytes + bound)
    for _ in range(2):
        guests = [program.start(b"e", LIMITS) for _ in range(8)]
        for guest in guests:
            guest.step(10_000, frees_lock=False)
            guest.close()
        statistics = engine.statistics()
        assert statistics["idle_guests"] == kept
        assert statistics["idle_bytes"] == kept * size_bytes
    assert statistics["live_guests"] == 0


@pytest.mark.patches_source
def test_engine_calls_it_overload_when_the_machine_has_no_room(
    engine: WasmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance the machine cannot make is an answer a caller can wait on, and leaks nothing."""
    program = engine.load(make_source(), LIMITS)
    held = program.start(b"l", LIMITS)

    def refuse(*_args: object) -> None:
        raise InternalError("instantiation: mmap failed")

    monkeypatch.setattr(Cell, "_run", refuse)
    with pytest.raises(Overloaded) as caught:
        program.start(b"e", LIMITS)
    assert caught.value.message == "no room for another guest: instantiation: mmap failed"
    assert engine.statistics()["live_guests"] == 1
    held.close()


@pytest.mark.parametrize(
    ("export", "name"), [("_initialize", "_initialize"), ("lx_boot", "lx_boot")]
)
def test_engine_refuses_an_interpreter_that_asks_at_its_start(
    tmp_path: Path, export: str, name: str
) -> None:
    """A system call before there is a run to answer it ends the start, instead of waiting."""
    result = "(result i32)" if export == "lx_boot" else ""
    drop = "" if result else "drop"
    wat = stand_in.WAT.replace(
        f'(func (export "{export}")',
        f'(func (export "{export}") {result} (i32.const 1024) (i32.const 1) (i32.const 0)'
        f' (i32.const 0) (call $sys) {drop}) (func (export "{export}_unused")',
    )
    path = stand_in.write_wasm(tmp_path, wat=wat)
    with pytest.raises(InternalError, match=f"^{name} made a system call$"):
        WasmEngine(language="x", wasm_path=path, cache_dir=tmp_path)


def test_engine_refuses_to_close_over_open_guests(engine: WasmEngine) -> None:
    """Freeing an engine under its guests is our bug, and is said so instead of crashing."""
    guest = engine.load(make_source(), LIMITS).start(b"l", LIMITS)
    with pytest.raises(AssertionError, match="guests are still open"):
        engine.close()
    guest.close()


def test_engine_without_its_interpreter_says_how_to_get_it(tmp_path: Path) -> None:
    """A missing file is the operator's to mend, with the command that does."""
    with pytest.raises(ConfigError) as caught:
        WasmEngine(language="lua", wasm_path=tmp_path / "no.wasm", cache_dir=tmp_path)
    assert caught.value.message == (
        "the lua guest no.wasm cannot be read (No such file or directory); "
        "build it with guests/build.py"
    )


@pytest.mark.parametrize(
    ("wat", "reason"),
    [
        ("(module)", "does not export memory"),
        ('(module (memory (export "memory") 1))', "does not export lx_run"),
        ('(module (func (export "memory")))', "does not export memory"),
        ("(module (func i32.add))", "cannot be a guest"),
        (
            "(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))",
            "threads support is not enabled",
        ),
        (
            "(module (func (param v128) (drop (i32x4.relaxed_trunc_f32x4_s (local.get 0)))))",
            "relaxed SIMD",
        ),
    ],
)
def test_engine_refuses_a_module_that_is_no_guest(tmp_path: Path, wat: str, reason: str) -> None:
    """A module without the guest interface is refused by name."""
    path = tmp_path / "m.wasm"
    try:
        path.write_bytes(bytes(wasmtime.wat2wasm(wat)))
    except wasmtime.WasmtimeError:
        path.write_bytes(b"\0asm\1\0\0\0\x0a\x05\1\3\0\x6a\x0b")
    with pytest.raises(ConfigError) as caught:
        WasmEngine(language="x", wasm_path=path, cache_dir=tmp_path)
    assert reason in caught.value.message


def test_open_engines_needs_the_lua_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node without the built interpreter is told so when it opens its engines."""
    monkeypatch.setattr(languages, "LUA_WASM_PATH", tmp_path / "lua54.wasm")
    with pytest.raises(ConfigError) as caught:
        languages.open_engines(tmp_path)
    assert caught.value.fields == {"file": "lua54.wasm"}


def test_open_engines_lists_languages_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wasm_path: Path
) -> None:
    """The node room gets its engines by the names templates use."""
    monkeypatch.setattr(languages, "LUA_WASM_PATH", wasm_path)
    engines = languages.open_engines(tmp_path)
    assert {name: engine.language for name, engine in engines.items()} == dict(
        zip(engines, engines, strict=True)
    )
    assert {"lua", "wasm", *languages.PROGRAM_WASM_PATHS} <= set(engines)
    for engine in engines.values():
        engine.close()


def test_engine_of_programs_loads_main_onto_its_preludes(
    monkeypatch: pytest.MonkeyPatch, make_engine: Callable[..., WasmEngine]
) -> None:
    """Preludes are run once for all programs that share them; handlers are [name, text]."""
    sent: list[bytes] = []
    begin = WasmGuest.begin

    def keep(guest: WasmGuest, function: bytes, message: bytes, inbox: int) -> None:
        sent.append(message)
        begin(guest, function, message, inbox)

    monkeypatch.setattr(WasmGuest, "begin", keep)
    preludes = (("native", b"a"), ("rt", b"b"))
    programs = make_engine(EngineOptions(has_preludes=True))
    for name in ("f", "g"):
        programs.load(replace(make_source(name=name), preludes=preludes), LIMITS)
    make_engine().load(make_source(), LIMITS)
    assert [msgspec.msgpack.decode(message) for message in sent] == [
        ["rt", b"", [["native", b"a"], ["rt", b"b"]]],
        ["f", b"", []],
        ["g", b"", []],
        ["f", b""],
    ]
