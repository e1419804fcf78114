"""Tests of `lithox.sandbox.mappings`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lithox.errors import Overloaded
from lithox.model.limits import Limits
from lithox.sandbox import mappings
from lithox.sandbox.contract import StepKind
from lithox.sandbox.engine import EngineOptions, WasmEngine
from lithox.sandbox.mappings import MAPPINGS_PER_CELL, MAPPINGS_RESERVE, MappingBudget
from tests.unit.sandbox.conftest import LIMITS, make_source


def make_budget(*, cells: int, base: int = 100) -> MappingBudget:
    """Returns a budget with room for `cells` cells."""
    room = base + MAPPINGS_RESERVE + cells * MAPPINGS_PER_CELL
    budget: list[MappingBudget] = []

    def count() -> int:
        return base + (budget[0].held * MAPPINGS_PER_CELL if budget else 0)

    budget.append(MappingBudget(maximum=room, count=count))
    return budget[0]


def test_mappings_are_refused_before_the_limit() -> None:
    """The cell that would leave too little for others is refused, with when to try again."""
    budget = make_budget(cells=3)
    for _ in range(3):
        budget.take()
    with pytest.raises(Overloaded) as caught:
        budget.take()
    assert caught.value.retry_after_ms == mappings.RETRY_AFTER_MS
    assert caught.value.fields == {"guests": 3}
    assert budget.held == 3


def test_mappings_given_back_can_be_taken() -> None:
    """One that ends makes room for one."""
    budget = make_budget(cells=1)
    budget.take()
    budget.give()
    budget.take()
    assert budget.held == 1


def test_mappings_are_counted_again_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others in the process mapped is noticed after at most `RECOUNT_EVERY` cells."""
    monkeypatch.setattr(mappings, "RECOUNT_EVERY", 5)
    real = [100]
    budget = MappingBudget(maximum=1 << 20, count=lambda: real[0])
    real[0] = 900_000
    for _ in range(5):
        budget.take()
    assert budget.estimate >= 900_000


def test_mappings_are_counted_again_before_refusing() -> None:
    """An estimate that was too high refuses nobody."""
    real = [10_000]
    budget = MappingBudget(maximum=10_000 + MAPPINGS_RESERVE, count=lambda: real[0])
    real[0] = 500
    budget.take()
    assert budget.held == 1


def test_mappings_of_this_process_are_counted() -> None:
    """The real count is at least that of the libraries loaded, the limit a positive number."""
    assert mappings.count_mappings() >= 0
    assert mappings.read_limit() > 0


def test_engine_refuses_guests_when_mappings_run_out(
    make_engine: Callable[[EngineOptions], WasmEngine],
) -> None:
    """`start` is refused at the bound and works again when a guest has ended."""
    engine = make_engine(EngineOptions(mappings=make_budget(cells=4), idle_max=2))
    program = engine.load(make_source(), Limits())
    guests = [program.start(b"l", LIMITS) for _ in range(4)]
    with pytest.raises(Overloaded):
        program.start(b"e", LIMITS)
    guests.pop().close()
    guest = program.start(b"e", LIMITS)
    assert guest.step(1000, frees_lock=False).kind is StepKind.FINISHED
    guest.close()
    for guest in guests:
        guest.close()


def test_engine_uses_idle_cells_of_another_size_up(
    make_engine: Callable[[EngineOptions], WasmEngine],
) -> None:
    """Cells that wait for a memory size nobody wants give their mappings to those who come."""
    engine = make_engine(EngineOptions(mappings=make_budget(cells=2), idle_max=8))
    small = engine.load(make_source(), Limits())
    for guest in [small.start(b"e", LIMITS) for _ in range(2)]:
        guest.step(1000, frees_lock=False)
        guest.close()
    grown = engine.load(make_source(b"g"), Limits())
    assert grown.image_bytes > small.image_bytes
    guests = [grown.start(b"l", LIMITS) for _ in range(2)]
    for guest in guests:
        guest.close()
