"""Many guests started, stepped, answered and closed in any order behave as each would alone."""

from __future__ import annotations

import atexit
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lithox.sandbox.contract import StepKind
from lithox.sandbox.engine import EngineOptions, WasmEngine
from lithox.sandbox.guest import INBOX_BYTES, WasmGuest
from tests.unit.sandbox import stand_in
from tests.unit.sandbox.conftest import LIMITS, make_source

ENDS = {
    b"e": (StepKind.FINISHED, ""),
    b"a": (StepKind.FINISHED, ""),
    b"r": (StepKind.FINISHED, ""),
    b"s": (StepKind.FINISHED, ""),
    b"y": (StepKind.FINISHED, ""),
    b"u": (StepKind.ENDED, "guest.trapped"),
    b"p": (StepKind.ENDED, "guest.protocol"),
    b"l": (StepKind.ENDED, "guest.out_of_fuel"),
    b"m": (StepKind.ENDED, "guest.out_of_calls"),
}
"""How a guest ends that is stepped and answered for as long as it wants."""
GUESTS_MAX = 12

_directory = tempfile.TemporaryDirectory()
atexit.register(_directory.cleanup)
_wasm_path = stand_in.write_wasm(Path(_directory.name))


class GuestMachine(RuleBasedStateMachine):
    """Holds up to a dozen guests of two programs whose images have different sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = WasmEngine(
            language="x",
            wasm_path=_wasm_path,
            cache_dir=Path(_directory.name) / "cache",
            options=EngineOptions(idle_max=3),
        )
        self.programs = [self.engine.load(make_source(text), LIMITS) for text in (b"", b"g")]
        self.guests: list[tuple[bytes, WasmGuest]] = []
        self.asking: set[int] = set()

    def pick(self, data: st.DataObject) -> tuple[bytes, WasmGuest]:
        """Chooses one of the live guests."""
        return data.draw(st.sampled_from(self.guests))

    @precondition(lambda self: len(self.guests) < GUESTS_MAX)
    @rule(
        program=st.integers(0, 1),
        op=st.sampled_from(sorted(ENDS)),
        size=st.integers(1, INBOX_BYTES),
    )
    def start(self, program: int, op: bytes, size: int) -> None:
        """Starts a guest with a message of any length the inbox takes."""
        message = op + b"." * (size - 1)
        self.guests.append((message, self.programs[program].start(message, LIMITS)))

    @precondition(lambda self: self.guests)
    @rule(data=st.data(), quantum=st.integers(1, 2_000_000), frees_lock=st.booleans())
    def step(self, data: st.DataObject, quantum: int, frees_lock: Any) -> None:
        """Steps one guest, answering it first if it waits."""
        message, guest = self.pick(data)
        if id(guest) in self.asking:
            guest.answer(b"answer")
            self.asking.discard(id(guest))
        before = guest.fuel_used
        step = guest.step(quantum, frees_lock=frees_lock)
        assert guest.fuel_used <= LIMITS.fuel
        if step.kind is StepKind.YIELDED:
            assert guest.fuel_used - before >= quantum
            return
        if step.kind is StepKind.ASKED:
            assert step.data == message
            self.asking.add(id(guest))
            return
        assert (step.kind, step.code) == ENDS[message[:1]]
        if message[:1] == b"r":
            assert step.data == b"\1"
        elif message[:1] in b"esy":
            assert step.data == message
        self.close_guest(message, guest)

    @precondition(lambda self: self.guests)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        """Closes one guest wherever it is."""
        self.close_guest(*self.pick(data))

    def close_guest(self, message: bytes, guest: WasmGuest) -> None:
        """Closes `guest` and forgets it."""
        guest.close()
        self.asking.discard(id(guest))
        self.guests.remove((message, guest))

    @invariant()
    def cells_are_counted(self) -> None:
        """Live cells are those of the guests held, idle ones within their bound."""
        statistics = self.engine.statistics()
        assert statistics["live_guests"] == len(self.guests)
        assert statistics["idle_guests"] <= 3

    def teardown(self) -> None:
        for _, guest in self.guests:
            guest.close()
        self.engine.close()


TestGuestMachine = GuestMachine.TestCase
TestGuestMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestGuestMachine.pytestmark = [pytest.mark.slow]
