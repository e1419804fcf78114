"""Each limit ends a run with a code and fields that name it; nothing of the run remains."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.model.limits import Limits
from tests.conformance.languages.world import World


def check_end(world: World, error: Any, entity: str, limit: str, allowed: int) -> None:
    """Checks that `error` names the limit, and that the entity is as if nothing had been."""
    assert error.code == f"guest.out_of_{limit}", error
    assert error.fields["limit"] == limit
    assert error.fields["allowed"] == allowed
    assert error.fields["used"] >= 1
    assert world.state(entity) == {}
    assert world.call(entity, "increment") == 1


def test_fuel(world: World) -> None:
    """An endless loop ends when its fuel is used up."""
    entity = world.fresh()
    fuel = world.language.expected("fuel_small")
    error = world.fail(entity, "loop", limits=Limits(fuel=fuel))
    check_end(world, error, entity, "fuel", fuel)


def test_fuel_of_a_callee_is_its_callers(world: World) -> None:
    """A callee that loops uses up the run's fuel, and its caller cannot catch that."""
    entity, other = world.fresh(), world.fresh()
    fuel = world.language.expected("fuel_small")
    error = world.fail(entity, "try_call", other, "loop", limits=Limits(fuel=fuel))
    assert error.code == "guest.out_of_fuel"
    assert world.state(entity) == {}
    assert world.call(other, "increment") == 1


def test_memory(world: World) -> None:
    """Memory without end is refused at the limit and ends the run."""
    entity = world.fresh()
    memory = world.language.expected("memory_small_bytes")
    error = world.fail(entity, "eat", limits=Limits(memory_bytes=memory))
    assert error.code in world.language.expected("end_by_memory"), error
    if error.code == "guest.out_of_memory":
        check_end(world, error, entity, "memory", memory)


def test_run_fits_into_little_memory(world: World) -> None:
    """A plain run needs no more than is said."""
    memory = world.language.expected("memory_small_bytes")
    assert world.call(world.fresh(), "increment", limits=Limits(memory_bytes=memory)) == 1


def test_calls(world: World) -> None:
    """System calls are counted, and swallowing errors does not help."""
    entity = world.fresh()
    error = world.fail(entity, "ask_often", 100_000, limits=Limits(calls=50))
    check_end(world, error, entity, "calls", 50)


def test_output_by_result(world: World) -> None:
    """A result longer than the output that is allowed ends the run."""
    entity = world.fresh()
    error = world.fail(entity, "text", 100_000, limits=Limits(output_bytes=10_000))
    check_end(world, error, entity, "output", 10_000)


def test_output_by_log(world: World) -> None:
    """Log lines count as output."""
    entity = world.fresh()
    error = world.fail(entity, "log_often", 1_000, 100, limits=Limits(output_bytes=10_000))
    check_end(world, error, entity, "output", 10_000)


def test_state(world: World) -> None:
    """Writing more state than is allowed ends the run."""
    entity = world.fresh()
    error = world.fail(entity, "fill", "k", 100, 1_000, limits=Limits(state_bytes=10_000))
    check_end(world, error, entity, "state", 10_000)


@pytest.mark.needs("big_values")
def test_big(world: World) -> None:
    """Writing more of big values than is allowed ends the run."""
    entity = world.fresh()
    error = world.fail(entity, "write_big", "f", 10, 50_000, limits=Limits(big_bytes=100_000))
    check_end(world, error, entity, "big", 100_000)


@pytest.mark.parametrize("handler", ["loop", "loop_asking"])
def test_wall(world: World, handler: str) -> None:
    """A run that lasts longer than it may is ended, whatever fuel it has left."""
    entity = world.fresh()
    error = world.fail(entity, handler, limits=Limits(wall_ns=50_000_000))
    assert error.code == "guest.out_of_wall"
    assert error.fields["limit"] == "wall"
    assert world.state(entity) == {}
    assert world.call(entity, "increment") == 1


def test_deadline(world: World) -> None:
    """A caller's deadline ends the run, and is told as the caller's."""
    entity = world.fresh()
    assert world.fail(entity, "loop", deadline_ms=50).code == "request.deadline_passed"
    assert world.call(entity, "increment") == 1


def test_limits_are_never_raised(world: World) -> None:
    """A request that asks for more than the handler may have is refused."""
    error = world.fail(world.fresh(), "echo", limits=Limits(fuel=10**15))
    assert error.code == "request.limit_too_high"


def test_usage_tells_what_is_left(world: World) -> None:
    """A handler sees what it has used and what it may."""
    usage = world.call(world.fresh(), "usage", limits=Limits(fuel=1_500_000_000, calls=77))
    assert usage["allowed"]["fuel"] == 1_500_000_000
    assert usage["allowed"]["calls"] == 77
    assert 0 <= usage["used"]["fuel"] <= 1_500_000_000
    assert 0 < usage["used"]["memory"] <= usage["allowed"]["memory"]
    answer = world.answer(world.fresh(), "spin", 1000)
    assert answer.error is None
    assert answer.usage.fuel > 0
