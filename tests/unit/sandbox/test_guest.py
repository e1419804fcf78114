"""Tests of `lithox.sandbox.guest` with a guest that does as told, and believes nothing it says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from lithox.sandbox.contract import Step, StepKind
from lithox.sandbox.engine import WasmProgram
from lithox.sandbox.guest import WasmGuest
from tests.unit.sandbox.conftest import LIMITS, QUANTUM_FUEL

Run = Callable[..., tuple[Step, WasmGuest]]


def test_guest_returns_the_outcome_message(run: Run) -> None:
    """A run that returns gives the bytes its result points at."""
    step, _ = run(b"e hello")
    assert step == Step(StepKind.FINISHED, b"e hello")


def test_guest_yields_when_its_quantum_is_used_up(program: WasmProgram) -> None:
    """A loop comes back after each quantum, having burned about that much."""
    guest = program.start(b"l", LIMITS)
    for slices in range(1, 4):
        assert guest.step(QUANTUM_FUEL, frees_lock=False) == Step(StepKind.YIELDED)
        assert slices * QUANTUM_FUEL <= guest.fuel_used < slices * QUANTUM_FUEL + 100
    guest.close()


def test_guest_follows_a_quantum_that_changes(program: WasmProgram) -> None:
    """Each step obeys the quantum it was given, whatever the one before was."""
    guest = program.start(b"l", LIMITS)
    used = []
    for quantum_fuel in (1000, 50_000, 10):
        before = guest.fuel_used
        guest.step(quantum_fuel, frees_lock=False)
        used.append(guest.fuel_used - before)
    guest.close()
    for quantum_fuel, burned in zip((1000, 50_000, 10), used, strict=True):
        assert quantum_fuel <= burned < quantum_fuel + 100


def test_guest_has_a_whole_quantum_after_an_answer(program: WasmProgram) -> None:
    """What it burned before it asked does not shorten the step after the answer."""
    guest = program.start(b"v", LIMITS)
    assert guest.step(1000, frees_lock=False).kind is StepKind.ASKED
    before = guest.fuel_used
    guest.answer(b"")
    assert guest.step(1000, frees_lock=False).kind is StepKind.YIELDED
    guest.close()
    assert 1000 <= guest.fuel_used - before < 1100


def test_guest_computes_one_nan_on_every_machine(run: Run) -> None:
    """A NaN that comes out of arithmetic has the canonical bits, whatever went in."""
    step, _ = run(b"f")
    assert step.data == (0x7FF8_0000_0000_0000).to_bytes(8, "little")


@pytest.mark.parametrize("quantum_fuel", [7, 1000, 99_999, 10**9])
def test_guest_ends_after_exactly_its_fuel(run: Run, quantum_fuel: int) -> None:
    """An endless loop burns its allowance to the last unit, however it is sliced."""
    limits = replace(LIMITS, fuel=20_011)
    step, guest = run(b"l", limits=limits, quantum_fuel=quantum_fuel)
    assert (step.kind, step.code, guest.fuel_used) == (
        StepKind.ENDED,
        "guest.out_of_fuel",
        20_011,
    )


def test_guest_without_any_fuel_ends_at_once(run: Run) -> None:
    """An allowance of nothing is used up before the first instruction that counts."""
    step, guest = run(b"l", limits=replace(LIMITS, fuel=0))
    assert (step.code, guest.fuel_used) == ("guest.out_of_fuel", 0)


def test_guest_burns_the_same_fuel_however_it_is_sliced(run: Run) -> None:
    """Fuel is a function of the run alone: not of quanta, threads' locks or recycling."""
    used = {
        run(b"t\x05", quantum_fuel=quantum_fuel, frees_lock=frees_lock)[1].fuel_used
        for quantum_fuel in (13, 1000, 10**6)
        for frees_lock in (False, True)
    }
    assert len(used) == 1


@pytest.mark.parametrize("quantum_fuel", [0, -5, 1 << 70])
def test_guest_survives_a_quantum_out_of_range(run: Run, quantum_fuel: int) -> None:
    """A quantum that makes no sense is taken as the nearest one that does."""
    step, _ = run(b"e", quantum_fuel=quantum_fuel, limits=replace(LIMITS, fuel=500))
    assert step.kind is StepKind.FINISHED


def test_guest_is_answered(run: Run) -> None:
    """A system call suspends the guest with its message and resumes it with the answer."""
    step, guest = run(b"a question", answer=b"because")
    assert (step, guest.calls) == (Step(StepKind.FINISHED, b"because"), 1)


def test_guest_asks_with_its_message(program: WasmProgram) -> None:
    """The step that asks carries exactly what the guest sent."""
    guest = program.start(b"a question", LIMITS)
    assert guest.step(QUANTUM_FUEL, frees_lock=False) == Step(StepKind.ASKED, b"a question")
    guest.close()


def test_guest_collects_an_answer_that_did_not_fit(run: Run) -> None:
    """A long answer is kept by the host until the guest has made room for it."""
    step, guest = run(b"b", answer=b"x" * 5000)
    assert (step, guest.calls) == (Step(StepKind.FINISHED, b"x" * 5000), 1)


def test_guest_takes_an_empty_answer(run: Run) -> None:
    """An answer of no bytes is an answer."""
    step, _ = run(b"a", answer=b"")
    assert step == Step(StepKind.FINISHED, b"")


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        (b"p", "the outcome lies outside the guest's memory"),
        (b"q", "a system call with an address outside the memory"),
        (b"n", "a system call with an address outside the memory"),
        (b"k", "there is no answer to collect"),
    ],
)
def test_guest_that_forges_a_pointer_ends(run: Run, message: bytes, detail: str) -> None:
    """A pointer outside the memory ends the guest, and nothing is read or written there."""
    step, _ = run(message)
    assert step == Step(StepKind.ENDED, b"", "guest.protocol", detail)


def test_guest_that_asks_too_much_ends(run: Run) -> None:
    """A system-call message beyond the bound is not copied."""
    step, _ = run(b"G", limits=replace(LIMITS, memory_bytes=64 << 20, fuel=10**8))
    assert (step.code, step.detail) == (
        "guest.protocol",
        "a system call of 8388609 bytes; at most 8388608 are read",
    )


def test_guest_that_asks_too_often_ends(run: Run) -> None:
    """System calls are counted here, where the guest has no say."""
    step, guest = run(b"m", limits=replace(LIMITS, calls=17))
    assert (step, guest.calls) == (
        Step(StepKind.ENDED, b"", "guest.out_of_calls", "more than 17 system calls"),
        17,
    )


@pytest.mark.parametrize(
    ("message", "code", "detail"),
    [
        (b"u", "guest.trapped", "unreachable code reached"),
        (b"o", "guest.trapped", "stack overflow"),
        (b"d", "guest.trapped", "integer division by zero"),
        (b"x", "guest.trapped", "memory out of bounds"),
    ],
)
def test_guest_that_traps_ends_with_the_name(
    run: Run, message: bytes, code: str, detail: str
) -> None:
    """A trap ends the guest and says which it was."""
    step, _ = run(message)
    assert step == Step(StepKind.ENDED, b"", code, detail)


def test_guest_that_aborts_at_its_memory_limit_is_out_of_memory(run: Run) -> None:
    """Growth stops at the limit, and an abort there counts as out of memory."""
    step, guest = run(b"g")
    assert (step.code, guest.memory_bytes) == ("guest.out_of_memory", LIMITS.memory_bytes)


def test_guest_smaller_than_its_image_never_starts(run: Run) -> None:
    """A memory limit below the module's own size is an end, not a crash."""
    step, guest = run(b"e", limits=replace(LIMITS, memory_bytes=65536))
    assert (step.code, guest.fuel_used) == ("guest.out_of_memory", 0)


def test_guest_that_ended_stays_ended(program: WasmProgram) -> None:
    """Stepping an ended guest gives the same end again."""
    guest = program.start(b"u", LIMITS)
    first = guest.step(QUANTUM_FUEL, frees_lock=False)
    assert guest.step(QUANTUM_FUEL, frees_lock=False) is first
    guest.close()


@pytest.mark.parametrize("length", [16 << 10, (16 << 10) + 1, 40_000])
def test_guest_receives_a_message_of_any_length(run: Run, length: int) -> None:
    """A message longer than the inbox goes where the guest made room for it."""
    step, _ = run(b"e" * length)
    assert step.kind is StepKind.FINISHED


def test_guest_without_room_for_its_message_is_out_of_memory(run: Run) -> None:
    """A refused reservation ends the guest before its first instruction."""
    step, _ = run(b"e" * 40_001)
    assert step == Step(
        StepKind.ENDED, b"", "guest.out_of_memory", "no memory for a message of 40001 bytes"
    )


def test_guest_finds_nothing_of_the_one_before(run: Run) -> None:
    """Every run starts from the same bytes, also after one that scribbled over all its memory."""
    first, _ = run(b"h")
    for _ in range(3):
        run(b"s" + b"z" * 2000)
        run(b"r")
        assert run(b"h")[0] == first


def test_guest_variables_do_not_survive_a_run(run: Run) -> None:
    """A counter in memory is 1 in every run."""
    assert [run(b"r")[0].data for _ in range(3)] == [b"\1"] * 3


@pytest.mark.parametrize(
    ("message", "steps"), [(b"l", 0), (b"l", 2), (b"m", 1), (b"m", 0), (b"e", 1), (b"u", 1)]
)
def test_guest_can_be_closed_at_any_point(program: WasmProgram, message: bytes, steps: int) -> None:
    """Never stepped, yielded, asking, finished or trapped: close frees it, and again is nothing."""
    guest = program.start(message, LIMITS)
    for _ in range(steps):
        guest.step(1000, frees_lock=False)
    guest.close()
    guest.close()


def test_guest_pays_for_its_callee(program: WasmProgram) -> None:
    """A charge while it waits is burned like its own fuel."""
    guest = program.start(b"a", LIMITS)
    guest.step(QUANTUM_FUEL, frees_lock=False)
    own = guest.fuel_used
    guest.charge(1234, 0)
    guest.answer(b"x")
    step = guest.step(QUANTUM_FUEL, frees_lock=False)
    guest.close()
    assert step.kind is StepKind.FINISHED
    assert 1234 < guest.fuel_used - own < 1234 + 100


def test_guest_charged_all_its_fuel_ends(program: WasmProgram) -> None:
    """A callee that burned everything leaves its caller without fuel."""
    guest = program.start(b"m", LIMITS)
    guest.step(QUANTUM_FUEL, frees_lock=False)
    guest.charge(10**12, 0)
    guest.answer(b"x")
    step = guest.step(QUANTUM_FUEL, frees_lock=False)
    guest.close()
    assert (step.code, guest.fuel_used) == ("guest.out_of_fuel", LIMITS.fuel)


def test_guests_on_two_threads_do_not_touch_each_other(program: WasmProgram) -> None:
    """Two threads step a guest each, with system calls, traps and answers of their own."""
    seen: dict[int, list[object]] = {0: [], 1: []}
    barrier = threading.Barrier(2)
    guests = [
        [program.start(op, LIMITS) for _ in range(100) for op in ops]
        for ops in ((b"a0", b"u", b"t\x01"), (b"a1", b"p", b"t\x02"))
    ]

    def drive(number: int) -> None:
        barrier.wait()
        for guest in guests[number]:
            step = guest.step(500, frees_lock=True)
            while step.kind in (StepKind.YIELDED, StepKind.ASKED):
                if step.kind is StepKind.ASKED:
                    guest.answer(step.data + b"!")
                step = guest.step(500, frees_lock=True)
            seen[number].append(step.code or step.data)

    threads = [threading.Thread(target=drive, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for guest in guests[0] + guests[1]:
        guest.close()
    assert seen[0] == [b"a0!", "guest.trapped", b"t\x01"] * 100
    assert seen[1] == [b"a1!", "guest.protocol", b"t\x02"] * 100


def test_guest_refuses_to_be_closed_while_it_is_stepped(program: WasmProgram) -> None:
    """Closing under another thread's feet is our bug, and is said so instead of crashing."""
    guest = program.start(b"l", LIMITS)
    guest._is_stepping = True
    with pytest.raises(AssertionError, match="close while another thread steps it"):
        guest.close()
    guest._is_stepping = False
    guest.close()
