"""Nothing in a guest can catch its end, wherever it is; a kill ends it running or waiting."""

from __future__ import annotations

import pytest

from lithox.errors import LithoxError
from lithox.model.limits import Limits
from lithox.model.request import Answer
from lithox.security.identities import LOCAL_OPERATOR
from tests.conformance.languages.world import World

ENDLESS = ("loop", "loop_caught", "loop_asking")


@pytest.mark.parametrize("handler", ENDLESS)
def test_end_by_fuel_cannot_be_caught(world: World, handler: str) -> None:
    """Loops inside all that catches end when the fuel is used up."""
    entity = world.fresh()
    limits = Limits(fuel=world.language.expected("fuel_small"))
    error = world.fail(entity, handler, limits=limits)
    assert error.code == "guest.out_of_fuel", error
    assert world.call(entity, "increment") == 1


def test_recursion_ends(world: World) -> None:
    """Recursion without end is an error or an end of this run and nothing else."""
    entity = world.fresh()
    error = world.fail(entity, "recurse")
    assert error.code in world.language.expected("end_by_recursion"), error
    assert world.call(entity, "increment") == 1


def test_swallowed_refusals_of_memory_end(world: World) -> None:
    """Who swallows each refusal of memory is ended by a limit all the same."""
    entity = world.fresh()
    limits = Limits(
        memory_bytes=world.language.expected("memory_small_bytes"),
        fuel=world.language.expected("fuel_small"),
        wall_ns=20_000_000_000,
    )
    error = world.fail(entity, "eat_caught", limits=limits)
    assert error.code in world.language.expected("end_by_memory_caught"), error
    assert world.call(entity, "increment") == 1


async def kill_when_running(world: World, answer: object, entity: str, handler: str) -> None:
    """Kills the run of a handler once it has burned fuel."""
    row = await world.until_running(entity, handler)
    world.node.kill(row["pid"], LOCAL_OPERATOR)


def check_killed(answer: Answer) -> None:
    """Checks that the run was ended by the operator."""
    assert isinstance(answer.error, LithoxError), answer
    assert answer.error.code == "request.cancelled", answer.error


@pytest.mark.parametrize("handler", ENDLESS)
def test_kill_while_running(world: World, handler: str) -> None:
    """A run that is killed in a loop or at its system calls is gone, and its caller told."""
    entity = world.fresh()

    async def body() -> Answer:
        future = world.begin(entity, handler)
        await kill_when_running(world, future, entity, handler)
        return await future

    check_killed(world.run(body()))
    assert world.state(entity) == {}
    assert world.call(entity, "increment") == 1


@pytest.mark.parametrize("how", ["call", "put_call"])
def test_kill_while_waiting_for_a_callee(world: World, how: str) -> None:
    """A run that waits for a call is killed with its callee; nothing of either remains."""
    entity, other = world.fresh(), world.fresh()
    arguments = [other, "loop", []] if how == "call" else ["key", 1, other, "loop", []]

    async def body() -> Answer:
        future = world.begin(entity, how, *arguments)
        row = await world.until_running(other, "loop")
        own = [
            one["pid"]
            for one in world.node.processes(LOCAL_OPERATOR)
            if one.get("entity") == entity
        ]
        world.node.kill(own[0] if own else row["pid"], LOCAL_OPERATOR)
        return await future

    check_killed(world.run(body()))
    assert (world.state(entity), world.state(other)) == ({}, {})
    assert world.call(entity, "increment") == 1
    assert world.call(other, "increment") == 1


def test_kill_while_waiting_for_a_request(world: World) -> None:
    """A run that waits for a request is killed without it."""
    entity, other = world.fresh(), world.fresh()

    async def body() -> Answer:
        future = world.begin(entity, "request", other, "loop", [])
        await world.until_running(other, "loop")
        (own,) = [
            one["pid"]
            for one in world.node.processes(LOCAL_OPERATOR)
            if one.get("entity") == entity
        ]
        world.node.kill(own, LOCAL_OPERATOR)
        answer = await future
        world.kill_all(other)
        return answer

    check_killed(world.run(body()))
    assert world.call(entity, "increment") == 1
    assert world.call(other, "increment") == 1


def test_many_kills_leave_no_guest(world: World) -> None:
    """After killed and ended runs in a row all is as at first."""

    async def body() -> None:
        for _ in range(10):
            entity = world.fresh()
            future = world.begin(entity, "loop_caught")
            await kill_when_running(world, future, entity, "loop_caught")
            check_killed(await future)

    world.run(body())
    live = f"sandbox_{world.language.language}_live_guests"
    assert world.node.statistics().get(live, 0) == 0
    assert world.call(world.fresh(), "bump") == world.call(world.fresh(), "bump")


@pytest.mark.parametrize("handler", [*ENDLESS, "eat_caught"])
def test_endless_runs_do_not_stop_others(world: World, handler: str) -> None:
    """While three runs do not end, a neighbour is answered again and again."""
    busy = [world.fresh() for _ in range(3)]
    good = world.fresh()

    async def body() -> None:
        futures = [world.begin(entity, handler) for entity in busy]
        await world.until_running(busy[0], handler)
        for count in range(1, 21):
            assert await world.node.call(good, "increment") == count
            running = [future for future in futures if not future.done()]
            assert running or handler == "eat_caught"
        for entity in busy:
            world.kill_all(entity)
        for future in futures:
            answer = await future
            assert answer.error is not None

    world.run(body())
    assert world.state(good) == {"count": 20}
