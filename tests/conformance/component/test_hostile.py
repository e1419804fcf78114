"""Hostile components: each ends in a clear error of its own deploy or run, felt by nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from wasmtime import wat2wasm

from lithox.errors import CompileFailed, LimitExceeded
from lithox.model.limits import Limits
from lithox.sandbox import messages
from lithox.sandbox.component import guest as component_guest
from lithox.sandbox.component import shapes
from lithox.sandbox.component.engine import ComponentEngine
from lithox.sandbox.component.guest import NAMES_BYTES_MAX
from lithox.sandbox.component.linking import EXPORTS
from lithox.sandbox.component.program import ComponentProgram
from lithox.sandbox.component.shapes import TYPES_MAX, TypeReader
from lithox.sandbox.contract import StepKind
from lithox.sandbox.core.guest import LONG_STEP_NS_MAX, PART_FUEL, STEP_NS_MAX
from tests.conformance.component.conftest import LIMITS, drive, make_run, make_source
from tests.wat_components import MEMORY, NAMES, RUN, Plan, make_component, write_component

Load = Callable[..., ComponentProgram]

PLAIN = f"{MEMORY} {NAMES} {RUN} (call $null))"
STREAMS = """
  (import "wasi:io/error@0.2.3" (instance $errors (export "error" (type (sub resource)))))
  (alias export $errors "error" (type $io-error))
  (import "wasi:io/streams@0.2.3" (instance $streams
    (export "output-stream" (type $stream (sub resource)))
    (alias outer 1 $io-error (type $error-body)) (export "error" (type $error (eq $error-body)))
    (type $failed-body (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $failed (eq $failed-body)))
    (export "[method]output-stream.write"
      (func (param "self" (borrow $stream)) (param "contents" (list u8))
        (result (result (error $failed)))))))
  (alias export $streams "output-stream" (type $stream))
  (import "wasi:cli/stdout@0.2.3" (instance $stdout
    (alias outer 1 $stream (type $stream-body))
    (export "output-stream" (type $out (eq $stream-body)))
    (export "get-stdout" (func (result (own $out))))))
  (alias export $stdout "get-stdout" (func $get-stdout))
  (core func $get-stdout (canon lower (func $get-stdout)))
  (alias export $streams "[method]output-stream.write" (func $write))
  (core func $write (canon lower (func $write) (memory $memory)))
  (core func $drop (canon resource.drop $stream))
"""
WITH_STREAMS = """(with "wasi" (instance (export "get-stdout" (func $get-stdout))
  (export "write" (func $write)) (export "drop" (func $drop))))"""
OUT = '(import "wasi" "get-stdout" (func $out (result i32)))'
WRITE = '(import "wasi" "write" (func $write (param i32 i32 i32 i32)))'
DROP = '(import "wasi" "drop" (func $drop (param i32)))'


def refuse(engine: ComponentEngine, wasm: bytes) -> CompileFailed | LimitExceeded:
    """Returns the error with which a component is refused."""
    with pytest.raises((CompileFailed, LimitExceeded)) as caught:
        engine.load(make_source(wasm), LIMITS)
    assert caught.value.fields["file"] == "app.wasm"
    assert engine.statistics()["live_guests"] == 0
    return caught.value


def test_import_of_something_else_is_named(engine: ComponentEngine) -> None:
    """An import the world does not have is refused by its name, before anything runs."""
    wasm = make_component(
        PLAIN, before='(import "evil:host/shell@1.0.0" (instance (export "run" (func))))'
    )
    assert refuse(engine, wasm).message == (
        "app.wasm imports evil:host/shell@1.0.0, which the world lithox:handler/handler@1.0.0 "
        "(docs/reference/wit.md) does not have"
    )


@pytest.mark.parametrize(
    "text",
    [
        '(import "run" (func))',
        '(import "m" (core module))',
        '(import "wasi:cli/stdout@0.3.0" (instance (export "get-stdout" (func))))',
        '(import "lithox:handler/host@2.0.0" (instance (export "get" (func))))',
        '(import "lithox:handler/host@1.0.1" (instance (export "more" (func))))',
    ],
)
def test_import_outside_the_world_is_refused(engine: ComponentEngine, text: str) -> None:
    """Bare functions, core modules, other versions and unknown functions are refused."""
    error = refuse(engine, make_component(PLAIN, before=text))
    assert "does not have" in error.message


@pytest.mark.parametrize(
    "parameter", ["(list string)", "(list (list u8))", "u64", "(tuple string string)"]
)
def test_import_with_other_types_is_refused(engine: ComponentEngine, parameter: str) -> None:
    """A function of the host with another type is refused when it is deployed."""
    text = (
        '(import "lithox:handler/host@1.0.2" (instance'
        f' (export "cancel" (func (param "id" {parameter})'
        " (result (result bool (error string)))))))"
    )
    error = refuse(engine, make_component(PLAIN, before=text))
    assert "imports lithox:handler/host@1.0.2#cancel as cancel: func(" in error.message
    assert error.fields["expected"].startswith("cancel: func(string) -> result<bool,record{")


def test_export_that_is_missing_is_named(engine: ComponentEngine) -> None:
    """A component that is no handler is refused with what it lacks."""
    error = refuse(engine, bytes(wat2wasm("(component)")))
    assert "it exports no handlers: func() -> list<string>" in error.message


def test_export_of_another_type_is_refused(engine: ComponentEngine) -> None:
    """An export with the right name and another type is refused with both."""
    text = write_component(PLAIN, Plan()).replace(
        '(param "handler" string)', '(param "handler" (list u8))'
    )
    error = refuse(engine, bytes(wat2wasm(text)))
    assert "exports no run: func(string, string)" in error.message
    assert "it has run: func(list<u8>, string)" in error.message


@pytest.mark.parametrize("size", [0, 8, 9, 60, 300])
def test_truncated_is_refused(engine: ComponentEngine, size: int) -> None:
    """A component that is cut short anywhere is refused."""
    assert isinstance(refuse(engine, make_component(PLAIN)[:size]), CompileFailed)


def test_start_function_that_loops_ends(engine: ComponentEngine) -> None:
    """Code that runs when an instance is made burns the deploy's fuel and ends."""
    error = refuse(engine, make_component(f"{PLAIN} (func $s (loop $l (br $l))) (start $s)"))
    assert (error.code, error.fields["limit"]) == ("guest.out_of_fuel", "fuel")


def test_realloc_that_loops_ends(engine: ComponentEngine) -> None:
    """The allocator, which runs while arguments are handed over, is metered like all else."""
    text = write_component(PLAIN, Plan()).replace(
        "(local $at i32) (local $pages i32)",
        "(local $at i32) (local $pages i32) (loop $l (br $l))",
    )
    program = engine.load(make_source(bytes(wat2wasm(text))), LIMITS)
    assert drive(program, make_run()).step.code == "guest.out_of_fuel"


def test_post_return_that_loops_ends(load: Load) -> None:
    """Code that runs after the result was read is metered, too."""
    main = f'{PLAIN} (func (export "pr") (param i32) (loop $l (br $l)))'
    assert drive(load(main, post_return="pr"), make_run()).step.code == "guest.out_of_fuel"


@pytest.mark.parametrize("pages", [1_025, 65_536])
def test_large_initial_memory_is_refused(engine: ComponentEngine, pages: int) -> None:
    """A component that begins with more than a load may have, 4 GiB included, is refused."""
    error = refuse(engine, make_component(PLAIN, pages=pages))
    assert (error.code, error.fields["limit"]) == ("guest.out_of_memory", "memory")


def test_memory_grows_to_the_limit(load: Load) -> None:
    """Growing is refused at the limit of the run, whatever the component asks for."""
    main = f"""{MEMORY} {NAMES} {RUN} (local $n i32)
      (loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
      (i32.store8 (i32.const 140) (i32.add (i32.const 48) (i32.div_u (memory.size) (i32.const 16))))
      (i32.store (i32.const 141) (i32.const 0x20202020)) (call $null))"""
    limits = Limits(fuel=1_000_000, memory_bytes=4 << 20)
    assert drive(load(main), make_run(), limits=limits).value == 4


def test_memories_share_the_limit(load: Load, engine: ComponentEngine) -> None:
    """Two memories have half of the limit each; five are too many."""
    more = "(core module $m{0} (memory 1)) (core instance (instantiate $m{0}))"
    main = f"""{MEMORY} {NAMES} {RUN}
      (loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
      (i32.store8 (i32.const 140) (i32.add (i32.const 48) (i32.div_u (memory.size) (i32.const 16))))
      (i32.store (i32.const 141) (i32.const 0x20202020)) (call $null))"""
    program = load(main, before=more.format(0))
    assert program.memories == 2
    limits = Limits(fuel=1_000_000, memory_bytes=4 << 20)
    assert drive(program, make_run(), limits=limits).value == 2
    wasm = make_component(PLAIN, before="".join(map(more.format, range(4))))
    assert "memory count too high at 5" in refuse(engine, wasm).message


def test_table_bomb_is_refused(engine: ComponentEngine) -> None:
    """A table of ten million entries is refused; growing one is refused to the component."""
    wasm = make_component(f"{MEMORY} (table 10000000 funcref) {NAMES} {RUN} (call $null))")
    assert "table" in refuse(engine, wasm).message


def test_table_growth_is_bounded(load: Load) -> None:
    """A table cannot grow past its bound; the component is told."""
    main = f"""{MEMORY} (table $t 1 funcref) {NAMES} {RUN}
      (if (i32.eq (table.grow $t (ref.null func) (i32.const 1000000)) (i32.const -1))
        (then (return (call $null)))) unreachable)"""
    assert drive(load(main), make_run()).value is None


def test_instance_bomb_is_refused(engine: ComponentEngine) -> None:
    """Hundreds of instances are refused."""
    bomb = "(core module $m)" + "(core instance (instantiate $m))" * 300
    assert (
        "resource limit exceeded: instance count"
        in refuse(engine, make_component(PLAIN, before=bomb)).message
    )


def test_nested_components_are_bounded(engine: ComponentEngine) -> None:
    """Components inside components end at a depth."""
    bomb = "(component)"
    for _ in range(20):
        bomb = f"(component {bomb})"
    assert "nest deeper" in refuse(engine, make_component(PLAIN, before=bomb)).message


@pytest.mark.parametrize(
    ("function", "arguments", "parameters"),
    [
        ("cancel", "(i32.const 1000) (i32.const 9000000)", "i32 i32"),
        (
            "big-write",
            "(i32.const 128) (i32.const 3) (i32.const 1) (i32.const 1000) (i32.const 65537)",
            "i32 i32 i32 i32 i32",
        ),
    ],
)
def test_huge_arguments_end_the_run(
    load: Load, function: str, arguments: str, parameters: str
) -> None:
    """More in one call than is read ends the run; nothing of it is copied."""
    main = f"""(import "host" "{function}" (func $f (param {parameters} i32))) {MEMORY} {NAMES}
      {RUN} (drop (memory.grow (i32.const 200))) (call $f {arguments} (i32.const 300))
      unreachable)"""
    ran = drive(
        load(main, imports=(function,)),
        make_run(),
        limits=Limits(fuel=50_000_000, memory_bytes=32 << 20),
    )
    assert (ran.step.code, ran.asked) == ("guest.protocol", [])
    assert f"host@1.0.0#{function} was called with more than" in ran.step.detail


def test_text_that_is_no_text_traps(load: Load) -> None:
    """Bytes that are not UTF-8, or lie outside the memory, trap before we see them."""
    for arguments in ("(i32.const 200) (i32.const 3)", "(i32.const 70000) (i32.const 1000000)"):
        main = f"""(import "host" "cancel" (func $f (param i32 i32 i32))) {MEMORY} {NAMES} {RUN}
          (i32.store (i32.const 200) (i32.const -1)) (call $f {arguments} (i32.const 300))
          unreachable)"""
        ran = drive(load(main, imports=("cancel",)), make_run())
        assert (ran.step.code, ran.asked) == ("guest.trapped", [])


def test_handle_that_does_not_exist_traps(load: Load) -> None:
    """A number that is no handle is refused by the machine."""
    main = f"""{WRITE} {MEMORY} {NAMES} {RUN}
      (call $write (i32.const 77) (i32.const 128) (i32.const 3) (i32.const 300)) unreachable)"""
    ran = drive(load(main, before=STREAMS, more_with=WITH_STREAMS), make_run())
    assert ran.step.code == "guest.trapped"
    assert "handle index" in ran.step.detail


def test_handle_flood_ends(load: Load) -> None:
    """Taking handles without end ends the run; giving them back does not."""
    plan: dict[str, Any] = {"before": STREAMS, "more_with": WITH_STREAMS}
    flood = load(
        f"{OUT} {MEMORY} {NAMES} {RUN} (loop $l (drop (call $out)) (br $l)) unreachable)", **plan
    )
    ran = drive(flood, make_run(), limits=Limits(fuel=1_000_000_000))
    assert (ran.step.code, ran.step.detail) == (
        "guest.protocol",
        "it holds more than 1024 handles at a time",
    )
    tidy = load(
        f"""{OUT} {DROP} {MEMORY} {NAMES} {RUN} (local $n i32)
          (loop $l (call $drop (call $out)) (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $n) (i32.const 2000)))) (call $null))""",
        **plan,
    )
    assert drive(tidy, make_run(), limits=Limits(fuel=1_000_000_000)).value is None


def test_output_flood_ends(load: Load) -> None:
    """Printing without end is as many log lines, each a system call, and ends by a limit."""
    main = f"""{OUT} {WRITE} {MEMORY} (data (i32.const 400) "hello\\n") {NAMES} {RUN}
      (local $s i32) (local.set $s (call $out))
      (loop $l (call $write (local.get $s) (i32.const 400) (i32.const 6) (i32.const 300)) (br $l))
      unreachable)"""
    ran = drive(
        load(main, before=STREAMS, more_with=WITH_STREAMS),
        make_run(),
        answer=lambda _call: messages.encode_answer(),
    )
    assert ran.step.code == "guest.out_of_calls"
    assert ran.asked[0] == [0, "log", "info", "hello", None]


def test_last_line_is_logged(load: Load) -> None:
    """What was printed without an end of line is logged when the run ends well."""
    main = f"""{OUT} {WRITE} {MEMORY} {NAMES} {RUN}
      (call $write (call $out) (i32.const 128) (i32.const 3) (i32.const 300)) (call $null))"""
    ran = drive(
        load(main, before=STREAMS, more_with=WITH_STREAMS),
        make_run(),
        answer=lambda _call: messages.encode_answer(),
    )
    assert ran.asked == [[0, "log", "info", "run", None]]
    assert ran.value is None


def test_unanswered_import_traps_with_its_name(load: Load) -> None:
    """A function of WASI that nobody answers may be imported; calling it ends the run."""
    main = f"""(import "x" "f" (func $f)) {MEMORY} {NAMES} {RUN} (call $f) (call $null))"""
    program = load(
        main,
        before='(import "wasi:http/thing@0.2.1" (instance $x (export "f" (func))))'
        '(alias export $x "f" (func $xf)) (core func $xf (canon lower (func $xf)))',
        more_with='(with "x" (instance (export "f" (func $xf))))',
    )
    ran = drive(program, make_run())
    assert (ran.step.kind, ran.step.detail) == (
        StepKind.ENDED,
        "wasi:http/thing@0.2.1#f is not available to handlers",
    )


def test_host_is_not_there_while_it_is_loaded(engine: ComponentEngine) -> None:
    """The state and others are out of reach while a component is asked for its handlers."""
    main = (
        f"""(import "host" "info" (func $info (param i32))) {MEMORY} {NAMES} {RUN} (call $null))"""
    )
    main = main.replace(
        "(i32.store (i32.const 20)", "(call $info (i32.const 300)) (i32.store (i32.const 20)"
    )
    error = refuse(engine, make_component(main, imports=("info",)))
    assert "info is not available while a component is loaded" in error.message


def test_names_of_handlers_are_bounded(engine: ComponentEngine) -> None:
    """Thousands of handlers, and names that are none, are refused."""
    many = f"{MEMORY} {NAMES} {RUN} (call $null))".replace(
        "(i32.store (i32.const 20) (i32.const 1))",
        "(i32.store (i32.const 16) (i32.const 4096)) (i32.store (i32.const 20) (i32.const 2000))",
    )
    assert "gives more than 1024 handlers" in refuse(engine, make_component(many)).message
    empty = many.replace("(i32.const 2000)", "(i32.const 2)")
    assert "a name of 0 letters" in refuse(engine, make_component(empty)).message


def test_json_bomb_is_paid_before_it_is_read(load: Load) -> None:
    """A text of a million items costs fuel by its items, before anybody looks at them."""
    main = f"""(import "host" "put" (func $put (param i32 i32 i32 i32 i32))) {MEMORY} {NAMES} {RUN}
      (local $at i32) (drop (memory.grow (i32.const 40))) (local.set $at (i32.const 70000))
      (i32.store8 (local.get $at) (i32.const 91))
      (loop $l
        (i32.store16 (i32.add (local.get $at) (i32.const 1)) (i32.const 0x2c31))
        (local.set $at (i32.add (local.get $at) (i32.const 2)))
        (br_if $l (i32.lt_u (local.get $at) (i32.const 2070000))))
      (i32.store16 (local.get $at) (i32.const 0x5d31))
      (call $put (i32.const 128) (i32.const 3) (i32.const 70000) (i32.const 2000001)
        (i32.const 400))
      (call $null))"""
    ran = drive(
        load(main, imports=("put",)), make_run(), limits=Limits(fuel=500_000_000, calls=100)
    )
    assert ran.step.code == "guest.out_of_fuel"
    assert ran.fuel == 500_000_000


def _nest_tuples(depth: int, *, width: int = 30) -> str:
    """Returns types `$t0` to `$t<depth>`; the last stands for `width ** (depth + 1)` numbers."""
    lines = [f"(type $t0 (tuple {'u8 ' * width}))"]
    lines += [f"(type $t{at + 1} (tuple {f'$t{at} ' * width}))" for at in range(depth)]
    return "\n".join(lines)


def test_type_bomb_in_a_known_function_is_refused(engine: ComponentEngine) -> None:
    """Types that stand for a million others are refused for their number, and not written out."""
    bomb = f"""{_nest_tuples(3)} (import "wasi:random/random@0.2.0" (instance
      (alias outer 1 $t3 (type $b))
      (export "get-random-u64" (func (param "p" $b) (result u64)))))"""
    error = refuse(engine, make_component(PLAIN, before=bomb))
    assert f"more than {TYPES_MAX} types" in error.message


def test_types_of_all_functions_count_together(
    engine: ComponentEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is of the whole component, not of each function: the exports have 11 types."""
    monkeypatch.setattr(shapes, "TYPES_MAX", 11)
    assert engine.load(make_source(make_component(f"{PLAIN} (global i32 (i32.const 77))")), LIMITS)
    more = make_component(
        PLAIN,
        before='(import "wasi:cli/stdin@0.2.0" (instance '
        '(export "input-stream" (type $s (sub resource))) '
        '(export "get-stdin" (func (result (own $s))))))',
    )
    assert "types in all" in refuse(engine, more).message


def test_type_bomb_in_an_unknown_function_is_not_read(
    engine: ComponentEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function nothing answers to may have any types: nobody looks at them."""
    described: list[int] = []
    describe = TypeReader.describe_function

    def note(reader: TypeReader, function: int) -> Any:
        described.append(function)
        return describe(reader, function)

    monkeypatch.setattr(TypeReader, "describe_function", note)
    bomb = f"""{_nest_tuples(3)} (import "wasi:cli/bomb@0.2.0" (instance
      (alias outer 1 $t3 (type $b)) (export "f" (func (param "p" $b)))))"""
    program = engine.load(make_source(make_component(PLAIN, before=bomb)), LIMITS)
    assert program.handler_names == ("run",)
    assert len(described) == len(EXPORTS)


def test_parts_of_one_interface_are_bounded(engine: ComponentEngine) -> None:
    """Thousands of types in one interface are refused before they are looked at."""
    parts = " ".join(f'(export "r{number}" (type (sub resource)))' for number in range(1025))
    wasm = make_component(PLAIN, before=f'(import "wasi:cli/bomb@0.2.0" (instance {parts}))')
    assert "imports 1025 parts of wasi:cli/bomb@0.2.0" in refuse(engine, wasm).message


def test_names_of_handlers_are_bounded_in_bytes(engine: ComponentEngine) -> None:
    """A thousand names of a hundred kilobytes are refused by their bytes, and not copied."""
    long = f"{MEMORY} {NAMES} {RUN} (call $null))".replace(
        "(i32.store (i32.const 20) (i32.const 1))",
        """(drop (memory.grow (i32.const 4)))
        (memory.fill (i32.const 65536) (i32.const 97) (i32.const 100000))
        (loop $l
          (i32.store (i32.add (i32.const 4096) (i32.shl (local.get $i) (i32.const 3)))
            (i32.const 65536))
          (i32.store (i32.add (i32.const 4100) (i32.shl (local.get $i) (i32.const 3)))
            (i32.const 100000))
          (br_if $l (i32.lt_u
            (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))
        (i32.store (i32.const 16) (i32.const 4096)) (i32.store (i32.const 20) (i32.const 1000))""",
    ).replace('(export "handlers") (result i32)', '(export "handlers") (result i32) (local $i i32)')
    error = refuse(engine, make_component(long))
    assert f"names of more than {NAMES_BYTES_MAX} bytes together" in error.message


@pytest.mark.parametrize("frees_lock", [False, True])
def test_quantum_of_a_component_that_lasts_too_long_ends_early(
    load: Load, monkeypatch: pytest.MonkeyPatch, *, frees_lock: bool
) -> None:
    """Fuel is not time: a quantum is burned in parts, and the clock is looked at between them."""
    program = load(f"{MEMORY} {NAMES} {RUN} (loop $l (br $l)) (call $null))")
    bound = LONG_STEP_NS_MAX if frees_lock else STEP_NS_MAX
    guest = program.start(make_run(), LIMITS)
    monkeypatch.setattr(component_guest, "monotonic_ns", lambda: 0)
    assert guest.step(1_000_000, frees_lock=frees_lock).kind is StepKind.YIELDED
    before = guest.fuel_used
    assert 1_000_000 <= before < 1_000_000 + PART_FUEL
    times = iter(range(0, 100 * bound, bound // 2))
    monkeypatch.setattr(component_guest, "monotonic_ns", lambda: next(times))
    assert guest.step(2_000_000, frees_lock=frees_lock).kind is StepKind.YIELDED
    assert 2 * PART_FUEL <= guest.fuel_used - before < 3 * PART_FUEL
    guest.close()


def test_list_that_is_far_too_long_is_not_lifted(load: Load) -> None:
    """Wasmtime itself bounds what it copies out of a guest for one call: 128 MiB in its form."""
    main = f"""(import "host" "big-write" (func $f (param i32 i32 i32 i32 i32 i32)))
      {MEMORY} {NAMES} {RUN} (drop (memory.grow (i32.const 70)))
      (call $f (i32.const 128) (i32.const 3) (i32.const 1) (i32.const 1000) (i32.const 4300000)
        (i32.const 300)) (call $null))"""
    step = drive(load(main, imports=("big-write",)), make_run()).step
    assert step.code == "guest.trapped"
    assert "too much data is being copied" in step.detail
