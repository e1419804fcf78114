"""The scripted guest keeps the sandbox's contract to the last unit of fuel."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lithox.errors import CompileFailed, InternalError, Overloaded
from lithox.model.limits import Limits
from lithox.model.values import decode_value, encode_value
from lithox.sandbox import messages
from lithox.sandbox.contract import Engine, Guest, Source, Step, StepKind
from lithox.testing import FakeClock, Refused, ScriptedEngine, ScriptError
from lithox.testing.script import ACTION_FUEL, Script, ScriptedSelf


def start(
    handler: Any,
    *args: Any,
    limits: Limits = Limits(fuel=1_000_000),  # noqa: B008 - frozen
    state: dict[str, Any] | None = None,
    complete: bool = True,
    engine: ScriptedEngine | None = None,
) -> Guest:
    """Returns a guest that will run `handler(self, *args)`."""
    chosen: Engine = engine or ScriptedEngine()
    assert isinstance(chosen, ScriptedEngine)
    program = chosen.load(chosen.publish("m", {"handler": handler}), Limits())
    run = messages.RunMessage(
        handler="handler",
        args=msgspec.Raw(encode_value(list(args))),
        entity="e/1",
        caller="alice",
        request_id=None,
        attempt=1,
        now_ms=5,
        seed=7,
        state={key: msgspec.Raw(encode_value(value)) for key, value in (state or {}).items()},
        complete=complete,
    )
    return program.start(messages.encode_run(run), limits)


def outcome(step: Step) -> tuple[int, Any, list[str], list[str], dict[str, Any]]:
    """Returns a decoded outcome: (kind, value, reads, scans, writes)."""
    assert step.kind is StepKind.FINISHED
    found = messages.decode_outcome(step.data)
    body = messages.decode_error(found.body) if found.kind else decode_value(bytes(found.body))
    writes = {key: decode_value(bytes(value)) for key, value in found.writes.items()}
    return found.kind, body, found.reads, found.scans, writes


def burning(self: ScriptedSelf, fuel: int) -> Script:
    del self
    yield ("burn", fuel)
    return fuel


def test_a_step_burns_at_most_its_quantum_and_goes_on_where_it_was() -> None:
    """100 fuel and the action's own cost take eleven quanta of 10."""
    guest = start(burning, 100)
    kinds = []
    while True:
        step = guest.step(10, frees_lock=False)
        kinds.append(step.kind)
        if step.kind is StepKind.FINISHED:
            break
    assert guest.fuel_used == 100 + ACTION_FUEL
    assert len(kinds) == 11
    assert outcome(step)[1] == 100


def test_fuel_does_not_depend_on_how_a_run_was_sliced() -> None:
    """The same run burns the same fuel under every quantum."""
    used = set()
    for quantum_fuel in (1, 7, 1_000):
        guest = start(burning, 100)
        while guest.step(quantum_fuel, frees_lock=False).kind is StepKind.YIELDED:
            pass
        used.add(guest.fuel_used)
    assert used == {100 + ACTION_FUEL}


def test_a_guest_ends_at_exactly_its_fuel_limit() -> None:
    """One unit more than the run needs lets it finish; one less ends it with all of it used."""
    enough = start(burning, 90, limits=Limits(fuel=100))
    assert enough.step(1_000, frees_lock=False).kind is StepKind.FINISHED
    short = start(burning, 91, limits=Limits(fuel=100))
    step = short.step(1_000, frees_lock=False)
    assert (step.kind, step.code, short.fuel_used) == (StepKind.ENDED, "guest.out_of_fuel", 100)


def test_a_guest_that_swallows_everything_still_ends() -> None:
    """Nothing in a script can catch the end of its fuel."""

    def swallowing(self: ScriptedSelf) -> Script:
        del self
        while True:
            try:
                yield ("burn", 10)
            except ScriptError:
                continue

    guest = start(swallowing, limits=Limits(fuel=1_000))
    assert guest.step(10_000, frees_lock=False).code == "guest.out_of_fuel"
    guest.close()


def test_state_is_read_and_written_through_the_outcome() -> None:
    """Preloaded keys need no system call; what was used and changed is in the outcome."""

    def counting(self: ScriptedSelf) -> Script:
        del self
        count = yield ("get", "count")
        absent = yield ("get", "other")
        yield ("set", "count", count + 1)
        yield ("set", "old", None)
        return [(yield ("get", "count")), absent]

    step = start(counting, state={"count": 1}).step(1_000, frees_lock=False)
    assert outcome(step) == (0, [2, None], ["count", "other"], [], {"count": 2, "old": None})


def test_a_key_that_was_not_sent_along_is_asked_for() -> None:
    """With incomplete state an unknown key is a system call, asked once."""

    def reading(self: ScriptedSelf) -> Script:
        del self
        first = yield ("get", "k")
        return [first, (yield ("get", "k"))]

    guest = start(reading, complete=False)
    step = guest.step(1_000, frees_lock=False)
    assert step.kind is StepKind.ASKED
    assert msgspec.msgpack.decode(step.data) == [0, "get", "k"]
    guest.answer(messages.encode_answer("v"))
    assert outcome(guest.step(1_000, frees_lock=False))[1] == ["v", "v"]


def test_a_scan_collects_its_pages_and_sends_its_writes_once() -> None:
    """Pages are asked for after the last key; writes told by a system call are not told again."""

    def scanning(self: ScriptedSelf) -> Script:
        del self
        yield ("set", "a1", 1)
        return [list(pair) for pair in (yield ("scan", "a"))]

    guest = start(scanning)
    step = guest.step(1_000, frees_lock=False)
    assert msgspec.msgpack.decode(step.data) == [0, "scan", "a", None, 100, {"a1": 1}]
    guest.answer(messages.encode_answer([["a1", 1]], True))
    step = guest.step(1_000, frees_lock=False)
    assert msgspec.msgpack.decode(step.data) == [0, "scan", "a", "a1", 100, {}]
    guest.answer(messages.encode_answer([["a2", 2]], False))
    step = guest.step(1_000, frees_lock=False)
    assert outcome(step) == (0, [["a1", 1], ["a2", 2]], [], ["a"], {})


def test_a_call_tells_reads_and_writes_and_drops_what_a_cycle_changed() -> None:
    """After an answer that says `changed`, own state is asked for again."""

    def calling(self: ScriptedSelf) -> Script:
        del self
        yield ("get", "k")
        yield ("set", "w", 5)
        value = yield ("call", "e/2", "other", 1, "x")
        return [value, (yield ("get", "k"))]

    guest = start(calling, state={"k": 1})
    step = guest.step(1_000, frees_lock=False)
    assert msgspec.msgpack.decode(step.data) == [
        0, "call", "e/2", "other", [1, "x"], ["k"], [], {"w": 5},
    ]  # fmt: skip
    guest.answer(messages.encode_answer("done", True))
    step = guest.step(1_000, frees_lock=False)
    assert msgspec.msgpack.decode(step.data) == [0, "get", "k"]
    guest.answer(messages.encode_answer(9))
    assert outcome(guest.step(1_000, frees_lock=False))[1] == ["done", 9]


def test_a_refusal_is_an_exception_the_script_may_catch() -> None:
    """It carries status, code and fields; uncaught, it is the run's error."""

    def catching(self: ScriptedSelf, is_caught: bool) -> Script:
        del self
        try:
            yield ("ask", "request", "e", "h")
        except Refused as refused:
            if not is_caught:
                raise
            return [refused.status, refused.code, refused.fields["left"]]

    refusal = messages.encode_refusal(21, "request.not_available", "not yet", {"left": 3})
    for is_caught in (True, False):
        guest = start(catching, is_caught)
        assert guest.step(1_000, frees_lock=False).kind is StepKind.ASKED
        guest.answer(refusal)
        kind, body, *_ = outcome(guest.step(1_000, frees_lock=False))
        if is_caught:
            assert (kind, body) == (0, [21, "request.not_available", 3])
        else:
            assert (kind, body.code, body.message) == (1, "request.not_available", "not yet")


def test_errors_of_a_script_are_the_guests_errors_and_leave_no_writes() -> None:
    """A raised error ends the run with its code and data; its writes are not in the outcome."""

    def failing(self: ScriptedSelf) -> Script:
        del self
        yield ("set", "k", 1)
        raise ScriptError("no", code="sold_out", data={"left": 0})

    kind, body, _, _, writes = outcome(start(failing).step(1_000, frees_lock=False))
    assert (kind, body.code, body.message, decode_value(bytes(body.data)), writes) == (
        1, "sold_out", "no", {"left": 0}, {},
    )  # fmt: skip


def test_memory_calls_and_traps_end_a_guest() -> None:
    """Each end from outside has its own code."""

    def ending(self: ScriptedSelf, *action: Any) -> Script:
        del self
        while True:
            yield action

    limits = Limits(fuel=1_000, memory_bytes=100_000, calls=1)
    grown = start(ending, "grow", 200_000, limits=limits)
    assert grown.step(1_000, frees_lock=False).code == "guest.out_of_memory"
    assert start(ending, "trap", "oops").step(100, frees_lock=False).detail == "oops"
    calling = start(ending, "usage", limits=limits)
    assert calling.step(1_000, frees_lock=False).kind is StepKind.ASKED
    calling.answer(messages.encode_answer({}))
    assert calling.step(1_000, frees_lock=False).code == "guest.out_of_calls"


def test_raw_messages_pass_through_unchecked() -> None:
    """A dispatcher can be given any bytes as a system call or as an outcome."""

    def lying(self: ScriptedSelf) -> Script:
        del self
        answer = yield ("say", b"\xc1")
        yield ("finish", answer + b"\xc1")

    guest = start(lying)
    assert guest.step(100, frees_lock=False) == Step(StepKind.ASKED, b"\xc1")
    guest.answer(b"x")
    assert guest.step(100, frees_lock=False) == Step(StepKind.FINISHED, b"x\xc1")


def test_misuse_by_the_host_is_our_bug() -> None:
    """Stepping a guest that waits, is over or is closed raises InternalError."""
    guest = start(burning, 1)
    with pytest.raises(InternalError):
        guest.answer(b"")
    assert guest.step(100, frees_lock=False).kind is StepKind.FINISHED
    with pytest.raises(InternalError):
        guest.step(100, frees_lock=False)
    guest.close()
    guest.close()


def test_the_engine_counts_its_guests_and_refuses_beyond_its_bound() -> None:
    """Too many live guests are Overloaded; closing one makes room; leaks are found at the end."""
    engine = ScriptedEngine(guests_max=1)
    guest = start(burning, 1, engine=engine)
    with pytest.raises(Overloaded):
        start(burning, 1, engine=engine)
    with pytest.raises(InternalError, match="1 guests were not closed"):
        engine.close()
    guest.close()
    assert engine.statistics() == {"guests_live": 0, "guests_started": 1, "programs": 0}


def test_an_unpublished_source_does_not_compile() -> None:
    """Only what was published can be loaded; loaded programs are found by their digest."""
    engine = ScriptedEngine()
    with pytest.raises(CompileFailed) as caught:
        engine.load(Source(language="scripted", name="x", text=b"?", digest="d"), Limits())
    assert caught.value.fields == {"file": "x"}
    source = engine.publish("m", {"b": burning, "a": burning, "_hidden": burning})
    assert engine.find(source.digest) is None
    program = engine.load(source, Limits())
    assert engine.find(source.digest) is program
    assert program.handler_names == ("a", "b")


def test_fuel_takes_time_on_the_fake_clock() -> None:
    """With a clock, a step burns as much of it as its fuel costs."""
    clock = FakeClock()
    guest = start(burning, 3_990, engine=ScriptedEngine(clock=clock, fuel_per_us=4_000))
    assert guest.step(10_000, frees_lock=False).kind is StepKind.FINISHED
    assert clock.thread_cpu_ns() == clock.monotonic_ns() == 1_000


def test_a_callees_fuel_can_be_charged_to_the_caller() -> None:
    """The charge counts against the limit and never above it."""
    guest = start(burning, 50, limits=Limits(fuel=100))
    guest.charge(80, 0)
    step = guest.step(1_000, frees_lock=False)
    assert (step.code, guest.fuel_used) == ("guest.out_of_fuel", 100)
