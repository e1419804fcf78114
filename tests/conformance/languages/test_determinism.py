"""A run is a function of its module, arguments, state, answers, time and seed: also its fuel."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from lithox.sandbox.contract import StepKind
from lithox.sandbox.messages import decode_outcome
from lithox.security.identities import LOCAL_OPERATOR
from tests.conformance.languages import engine_runs
from tests.conformance.languages.engine_runs import NOW_MS, Ran
from tests.conformance.languages.world import World


def value_of(ran: Ran) -> object:
    """Returns what the handler returned."""
    assert ran.step.kind is StepKind.FINISHED, ran.step
    outcome = decode_outcome(ran.step.data)
    assert outcome.kind == 0, outcome
    value: object = msgspec.msgpack.decode(outcome.body)
    return value


def test_same_run_has_the_same_outcome(world: World) -> None:
    """Order, randomness, identities and formats are the same whenever a run is made again."""
    first = engine_runs.run(world, "mixed", 30)
    assert value_of(first)
    for _ in range(3):
        engine_runs.run(world, "mixed", 7, seed=5)
        assert engine_runs.run(world, "mixed", 30).step.data == first.step.data


def test_slices_do_not_show(world: World) -> None:
    """How often a run was stopped meanwhile cannot be told from its outcome."""
    seen = {
        engine_runs.run(world, "mixed", 20, quantum_fuel=quantum).step.data
        for quantum in (30_000, 777_777, 1 << 40)
    }
    assert len(seen) == 1


@pytest.mark.needs("same_fuel")
def test_same_run_burns_the_same_fuel(world: World) -> None:
    """Fuel follows from the run, not from slices or from what ran before."""
    seen = set()
    for quantum in (20_000, 333_333, 1 << 40):
        engine_runs.run(world, "mixed", 3, seed=9)
        seen.add(engine_runs.run(world, "mixed", 20, quantum_fuel=quantum).fuel_used)
    assert len(seen) == 1


@pytest.mark.needs("has_randomness")
def test_randomness_is_the_seeds(world: World) -> None:
    """The same seed gives the same numbers, another seed others."""
    values = [value_of(engine_runs.run(world, "random", 5, seed=seed)) for seed in (1, 2, 1, 2)]
    assert values[0] == values[2] != values[1] == values[3]
    assert isinstance(values[0], list)
    assert len({str(number) for number in values[0]}) == 5


@pytest.mark.needs("has_randomness")
def test_each_request_has_its_own_seed(world: World) -> None:
    """Two requests see different randomness."""
    entity = world.fresh()
    assert world.call(entity, "random", 5) != world.call(entity, "random", 5)


def test_time_is_the_runs_start(world: World) -> None:
    """`now` and every clock of the language stand at the moment the node said."""
    assert value_of(engine_runs.run(world, "now")) == NOW_MS
    clocks = value_of(engine_runs.run(world, "clocks"))
    assert isinstance(clocks, list)
    assert len(clocks) >= world.language.expected("clocks")
    assert all(abs(clock - NOW_MS) <= 1000 for clock in clocks), clocks


def test_time_is_the_nodes(world: World) -> None:
    """A node's clock, not the machine's, is what a handler sees."""
    before_ms = world.clock.wall_ns() // 1_000_000
    now_ms = world.call(world.fresh(), "now")
    assert before_ms <= now_ms <= world.clock.wall_ns() // 1_000_000


def test_run_that_is_made_again_begins_when_it_began(world: World) -> None:
    """After a lost race the handler sees the same time as before, and that it is made again."""
    entity, busy = world.fresh(), world.fresh()
    rounds = world.language.expected("spin_long")
    group = [(entity, "increment"), (busy, "spin", rounds), (busy, "now"), (busy, "who")]

    async def body() -> tuple[int, list[Any]]:
        work = asyncio.ensure_future(world.node.atomic(group))
        await world.until_running(entity, "increment")  # A group bears the name of its first call.
        running_ms = world.clock.wall_ns() // 1_000_000
        await world.node.admin_put_state(entity, "count", 100, LOCAL_OPERATOR)
        return running_ms, await work

    running_ms, (count, _, now_ms, who) = world.run(body())
    assert (count, who["attempt"]) == (101, 2)
    assert now_ms <= running_ms


def test_arithmetic_is_the_same_everywhere(world: World) -> None:
    """A loop over integers comes to the same number in every language."""
    total = 0
    for place in range(1, 10_001):
        total = (total * 31 + place) % 1_000_003
    assert world.call(world.fresh(), "spin", 10_000) == total


def test_nothing_outlives_a_run(world: World) -> None:
    """A hundred runs in a row find the module as it was loaded."""
    entity = world.fresh()
    first = world.call(entity, "bump")
    assert first == [1] * len(first)
    assert len(first) >= world.language.expected("bump")
    for _ in range(100):
        assert world.call(entity, "bump") == first


@pytest.mark.parametrize("handler", ["fail", "loop", "eat", "recurse"])
def test_nothing_outlives_a_failed_run(world: World, handler: str) -> None:
    """A run that failed or was ended leaves the next one the same module."""
    from lithox.model.limits import Limits

    entity = world.fresh()
    first = world.call(entity, "bump")
    limits = Limits(fuel=world.language.expected("fuel_small"))
    world.fail(entity, handler, limits=limits)
    assert world.call(entity, "bump") == first


@pytest.mark.needs("same_fuel")
def test_first_run_is_like_the_hundredth(world: World) -> None:
    """Outcome and fuel stay the same from run to run."""
    seen = {
        (ran.step.data, ran.fuel_used)
        for ran in (engine_runs.run(world, "increment", state={"count": 1}) for _ in range(100))
    }
    assert len(seen) == 1
