"""Components run: what they ask, what they are told, how they are sliced and ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from lithox.model.limits import Limits
from lithox.sandbox import messages
from lithox.sandbox.component.engine import ComponentEngine
from lithox.sandbox.component.guest import HOST_CALL_FUEL
from lithox.sandbox.component.program import ComponentProgram
from lithox.sandbox.contract import StepKind
from tests.conformance.component.conftest import LIMITS, drive, make_run
from tests.wat_components import MEMORY, NAMES, RUN

Load = Callable[..., ComponentProgram]

GET = '(import "host" "get" (func $get (param i32 i32 i32)))'
PUT = '(import "host" "put" (func $put (param i32 i32 i32 i32 i32)))'
USAGE = '(import "host" "usage" (func $usage (param i32)))'
CALL_GET = "(call $get (i32.const 128) (i32.const 3) (i32.const 300))"
"""Gets the key `run`; the result is at 300: is error, is there, address, length."""
CALL_PUT = "(call $put (i32.const 128) (i32.const 3) (i32.const 140) (i32.const 4) (i32.const 400))"
"""Puts null under the key `run`."""
RETURN_GOT = """
  (i32.store8 (i32.const 200) (i32.const 0))
  (i32.store (i32.const 204) (i32.load (i32.const 308)))
  (i32.store (i32.const 208) (i32.load (i32.const 312)))
  (i32.const 200)"""


def test_component_names_its_handlers(load: Load) -> None:
    """A component is asked for its handlers when it is loaded."""
    assert load(f"{MEMORY} {NAMES} {RUN} (call $null))").handler_names == ("run",)


def test_component_returns(load: Load) -> None:
    """What it returns is its outcome, as stored values are written."""
    program = load(f"{MEMORY} {NAMES} {RUN} (call $null))")
    assert drive(program, make_run()).outcome == [messages.OUTCOME_RETURNED, None, [], [], {}]


def test_component_gets_what_was_sent_along(load: Load) -> None:
    """A key of the run message is answered without the node, and is in the read set."""
    program = load(f"{GET} {MEMORY} {NAMES} {RUN} {CALL_GET} {RETURN_GOT})", imports=("get",))
    ran = drive(program, make_run(state={"run": {"a": [1, 2.5, b"x", "\U0001f600"]}}))
    assert ran.outcome == [0, {"a": [1, 2.5, b"x", "\U0001f600"]}, ["run"], [], {}]
    assert ran.asked == []


def test_component_gets_what_the_node_has(load: Load) -> None:
    """Any other key is asked of the node, and its reply arrives while the guest waits."""
    program = load(f"{GET} {MEMORY} {NAMES} {RUN} {CALL_GET} {RETURN_GOT})", imports=("get",))
    ran = drive(
        program, make_run(complete=False), answer=lambda _call: messages.encode_answer("there")
    )
    assert ran.asked == [[0, "get", "run"]]
    assert ran.outcome == [0, "there", [], [], {}]


def test_component_refusal_is_a_result(load: Load) -> None:
    """What the node refuses is the call's error result; the guest goes on."""
    program = load(
        f"{GET} {MEMORY} {NAMES} {RUN} {CALL_GET} (i32.store8 (i32.const 140)"
        " (i32.add (i32.const 48) (i32.load8_u (i32.const 300))))"
        " (call $null))",
        imports=("get",),
    )
    refused = messages.encode_refusal(13, "request.not_permitted", "no", {"why": 1})
    ran = drive(program, make_run(complete=False), answer=lambda _call: refused)
    assert ran.step.kind is StepKind.FINISHED
    assert "malformed JSON" in ran.outcome[1][1], "the call's first byte stands over null's"


def test_component_puts(load: Load) -> None:
    """What it puts is among the writes of its outcome."""
    program = load(f"{PUT} {MEMORY} {NAMES} {RUN} {CALL_PUT} (call $null))", imports=("put",))
    assert drive(program, make_run(state={"run": 1})).outcome == [0, None, [], [], {"run": None}]


def test_component_result_that_is_no_json_is_an_error(load: Load) -> None:
    """A result that is not JSON is the handler's error, not the node's."""
    program = load(
        f"{MEMORY} {NAMES} {RUN} (i32.store8 (i32.const 140) (i32.const 33)) (call $null))"
    )
    kind, error, *_ = drive(program, make_run()).outcome
    assert (kind, error[0]) == (messages.OUTCOME_RAISED, "")
    assert error[1].startswith("the result of run: malformed JSON")


def test_component_fuel_does_not_depend_on_slices(load: Load) -> None:
    """The same run burns the same fuel, however it is sliced; host calls have a price."""
    program = load(
        f"{GET} {PUT} {MEMORY} {NAMES} {RUN} (local $n i32)"
        f" (loop $l {CALL_GET} {CALL_PUT}"
        " (local.set $n (i32.add (local.get $n) (i32.const 1)))"
        " (br_if $l (i32.lt_u (local.get $n) (i32.const 50)))) (call $null))",
        imports=("get", "put"),
    )
    runs = [
        drive(program, make_run(state={"run": 1}), quantum_fuel=quantum)
        for quantum in (1_000, 100_000, 10_000_000)
    ]
    assert len({ran.fuel for ran in runs}) == 1
    assert runs[0].fuel > 100 * HOST_CALL_FUEL
    assert runs[0].slices > runs[1].slices > runs[2].slices


@pytest.mark.parametrize(
    ("body", "imports", "code", "detail"),
    [
        ("(loop $l (br $l))", (), "guest.out_of_fuel", "the fuel allowance is used up"),
        (f"(loop $l {CALL_GET} (br $l))", ("get",), "guest.out_of_fuel", "the fuel allowance"),
        ("(loop $l (call $usage (i32.const 300)) (br $l))", ("usage",), "guest.out_of_calls", ""),
        ("unreachable", (), "guest.trapped", "unreachable code reached"),
        ("(call $deep) ", (), "guest.trapped", "stack overflow"),
        ("(drop (i32.load (i32.const -4)))", (), "guest.trapped", "out of bounds memory access"),
        (
            "(drop (i32.div_s (i32.const 1) (i32.const 0)))",
            (),
            "guest.trapped",
            "integer divide by zero",
        ),
    ],
)
def test_component_ends(
    load: Load, body: str, imports: tuple[str, ...], code: str, detail: str
) -> None:
    """An end from outside has a code and says what it was; no export is asked again."""
    known = {"get": GET, "usage": USAGE}
    main = (
        f"{' '.join(known[name] for name in imports)} {MEMORY} {NAMES}"
        f" (func $deep (call $deep) (call $deep)) {RUN} {body} (call $null))"
    )
    ran = drive(load(main, imports=imports), make_run())
    assert (ran.step.kind, ran.step.code) == (StepKind.ENDED, code)
    assert detail in ran.step.detail


def test_component_keeps_nothing(load: Load) -> None:
    """Globals, tables and memory begin anew in each run, also after one that failed."""
    program = load(
        f"{MEMORY} (global $count (mut i32) (i32.const 48)) (table $t 4 funcref)"
        f" {NAMES} {RUN} (local $n i32)"
        " (local.set $n (table.grow $t (ref.null func) (i32.const 1)))"
        " (global.set $count (i32.add (global.get $count) (i32.const 1)))"
        " (i32.store8 (i32.const 300) (i32.add (i32.load8_u (i32.const 300)) (i32.const 1)))"
        " (i32.store8 (i32.const 140) (global.get $count))"
        " (i32.store8 (i32.const 141) (i32.add (i32.load8_u (i32.const 300)) (i32.const 48)))"
        " (i32.store8 (i32.const 142) (i32.add (local.get $n) (i32.const 48)))"
        " (i32.store8 (i32.const 143) (i32.const 32))"
        " (if (i32.eqz (local.get 3)) (then unreachable)) (call $null))"
    )
    assert [drive(program, make_run()).value for _ in range(3)] == [114, 114, 114]


def test_component_can_be_dropped_at_any_point(load: Load) -> None:
    """A guest that waits, runs or has not begun is closed; the next one is like the first."""
    program = load(
        f"{GET} {MEMORY} {NAMES} {RUN} {CALL_GET} (loop $l (br $l)) unreachable)", imports=("get",)
    )
    for steps in range(4):
        guest = program.start(make_run(complete=False), LIMITS)
        for _ in range(steps):
            if guest.step(1_000, frees_lock=False).kind is StepKind.ASKED:
                guest.answer(messages.encode_answer(None))
        guest.close()
        guest.close()
    assert program.live == 0


def test_component_waits_without_its_fuel_changing(load: Load) -> None:
    """While it waits, a callee's fuel and calls can be charged to it and given back."""
    program = load(f"{GET} {MEMORY} {NAMES} {RUN} {CALL_GET} (call $null))", imports=("get",))
    guest = program.start(make_run(complete=False), LIMITS)
    assert guest.step(400_000, frees_lock=False).kind is StepKind.ASKED
    before = guest.fuel_used
    guest.charge(1_000_000, 5)
    assert (guest.fuel_used, guest.calls) == (before + 1_000_000, 6)
    guest.credit(999_000, 5)
    assert (guest.fuel_used, guest.calls) == (before + 1_000, 1)
    guest.bound_memory(1 << 20)
    guest.answer(messages.encode_answer(None))
    assert guest.step(400_000, frees_lock=False).kind is StepKind.FINISHED
    guest.close()


def test_component_without_fuel_or_memory_ends(load: Load) -> None:
    """With nothing to burn, or less memory than it begins with, it ends before it begins."""
    program = load(f"{MEMORY} {NAMES} {RUN} (call $null))", pages=20)
    assert drive(program, make_run(), limits=Limits(fuel=0)).step.code == "guest.out_of_fuel"
    ran = drive(program, make_run(), limits=Limits(fuel=1_000_000, memory_bytes=1 << 20))
    assert ran.step.code == "guest.out_of_memory"


def test_component_arguments_arrive_as_json(load: Load) -> None:
    """The arguments are one JSON list; the handler's name comes with it."""
    program = load(
        f"{MEMORY} {NAMES} {RUN}"
        " (i32.store8 (i32.const 200) (i32.const 0))"
        " (i32.store (i32.const 204) (local.get 2)) (i32.store (i32.const 208) (local.get 3))"
        " (i32.const 200))"
    )
    values: list[Any] = [None, True, -(1 << 63), (1 << 63) - 1, 1.0, -0.0, b"\0\xff", [], {}]
    values += [{"$a": {"$b": 1}}, "a\0\U0001f600", [[[1]]]]
    got = drive(program, make_run("run", *values)).value
    assert msgspec.msgpack.encode(got) == msgspec.msgpack.encode(values)
    assert json.dumps(repr(got)) == json.dumps(repr(values))


def test_engine_counts(engine: ComponentEngine, load: Load) -> None:
    """Statistics tell of guests and programs; a program is found by its digest."""
    program = load(f"{MEMORY} {NAMES} {RUN} (call $null) (nop))")
    guest = program.start(make_run(), LIMITS)
    assert engine.statistics()["live_guests"] == 1
    guest.close()
    assert engine.statistics()["live_guests"] == 0
    assert engine.find(program.digest) is program
    assert engine.find("other") is None


def test_program_outlives_its_place_in_the_engine(
    engine: ComponentEngine, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that gave way to newer ones still runs for whoever has it; the engine forgot it."""
    monkeypatch.setattr("lithox.sandbox.component.engine.CODE_BYTES_MAX", 1)
    old = load(f"{MEMORY} {NAMES} {RUN} (nop) (nop) (call $null))")
    guest = old.start(make_run(), LIMITS)
    load(f"{MEMORY} {NAMES} {RUN} (nop) (nop) (nop) (call $null))")
    assert engine.find(old.digest) is None
    assert guest.step(400_000, frees_lock=False).kind is StepKind.FINISHED
    guest.close()
    assert drive(old, make_run()).value is None
