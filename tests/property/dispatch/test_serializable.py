"""Whatever runs at the same time, what commits is what some order of single runs would have done.

Scripts read keys, absent keys and ranges, are suspended, and write what depends on what they saw.
Each run records what it saw and wrote in its value; the runs that committed must fit one order.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lithox.dispatch.turns import Turn
from lithox.kernel.retry import DEFAULT_RETRY
from lithox.model.ids import EntityPath, HandlerName
from lithox.model.request import Answer, Request
from lithox.testing.script import ScriptedSelf
from tests.unit.dispatch.house import ALICE, House

BURN = 5_000_000
"""More than a first slice: the run suspends where it burns this."""
KEYS = ("a", "b", "c")
RUNS_MAX = 4

Step = tuple[str, str]


def work(_self: ScriptedSelf, name: str, steps: list[list[str]]) -> Any:
    """Does `steps`; writes its name under keys, deletes keys, reads keys and ranges."""
    seen: list[Any] = []
    for kind, key in steps:
        match kind:
            case "read":
                seen.append((yield ("get", key)))
            case "scan":
                seen.append([item for item, _ in (yield ("scan", ""))])
            case "write":
                yield ("set", key, f"{name}{len(seen)}")
            case "delete":
                yield ("set", key, None)
            case _:
                yield ("burn", BURN)
    return seen


steps = st.lists(
    st.tuples(st.sampled_from(("read", "scan", "write", "delete", "pause")), st.sampled_from(KEYS)),
    min_size=1,
    max_size=6,
)


def replay(
    order: tuple[int, ...], runs: list[list[Step]]
) -> tuple[list[list[Any]], dict[str, str]]:
    """Returns what each run sees, and the state at the end, when they run one after another."""
    state: dict[str, str] = {}
    seen: list[list[Any]] = [[] for _ in runs]
    for index in order:
        own = seen[index]
        for kind, key in runs[index]:
            if kind == "read":
                own.append(state.get(key))
            elif kind == "scan":
                own.append(sorted(state))
            elif kind == "write":
                state[key] = f"r{index}{len(own)}"
            elif kind == "delete":
                state.pop(key, None)
    return seen, state


def open_house() -> House:
    house = House()
    house.publish("one/*", {"work": work})
    return house


@given(st.lists(steps, min_size=2, max_size=RUNS_MAX), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_concurrent_runs_fit_one_order(runs: list[list[Step]], draw: Any) -> None:
    """Slices of suspended runs are let go in any order; some order of whole runs explains all."""
    house = open_house()
    house.long.is_held = True
    answers = [
        house.send("one/x", "work", f"r{index}", [list(step) for step in run])
        for index, run in enumerate(runs)
    ]
    house.run()
    while house.long.held:
        house.long.held.pop(draw.randrange(len(house.long.held)))()
        house.run()
    assert not house.bugs
    got = [answer[0].value for answer in answers]
    state = {key: value for key in KEYS if (value := house.get("one/x", key)) is not None}
    fits = [replay(order, runs) for order in permutations(range(len(runs)))]
    assert (got, state) in fits
    assert not house.dispatcher.runs.table.turns


def write_if_absent(_self: ScriptedSelf, other: str, own: str) -> Any:
    """Reads one key, writes another: the two sides of a write skew."""
    found = yield ("get", other)
    yield ("burn", BURN)
    if found is None:
        yield ("set", own, True)
    return found is None


def add_if_few(_self: ScriptedSelf, name: str) -> Any:
    """Counts a range and adds to it: a phantom for whoever counted too."""
    found = yield ("scan", "seat/")
    yield ("burn", BURN)
    if not found:
        yield ("set", f"seat/{name}", True)
    return not found


def slow_count(_self: ScriptedSelf) -> Any:
    found = yield ("scan", "")
    yield ("burn", BURN)
    return len(found)


def add(_self: ScriptedSelf, by: int) -> Any:
    count = ((yield ("get", "count")) or 0) + by
    yield ("set", "count", count)
    return count


MODULE = {
    "write_if_absent": write_if_absent,
    "add_if_few": add_if_few,
    "slow_count": slow_count,
    "add": add,
}


def crowd() -> House:
    house = House()
    house.publish("hot/*", MODULE)
    house.call("hot/a", "add", 1)
    return house


def let_go(house: House) -> None:
    house.long.is_held = False
    held, house.long.held = house.long.held, []
    for work_on in held:
        work_on()
    house.run()


def test_write_skew_over_absent_keys_is_impossible() -> None:
    """Two runs that each saw the other's key absent: one of them runs again and writes nothing."""
    house = crowd()
    house.long.is_held = True
    answers = [
        house.send("hot/a", "write_if_absent", "x", "y"),
        house.send("hot/a", "write_if_absent", "y", "x"),
    ]
    house.run()
    let_go(house)
    assert sorted(answer[0].value for answer in answers) == [False, True]
    assert [house.get("hot/a", key) for key in "xy"].count(True) == 1


def test_phantom_in_a_range_is_seen() -> None:
    """Of ten runs that each found the range empty, one adds to it."""
    house = crowd()
    house.long.is_held = True
    answers = [house.send("hot/a", "add_if_few", f"n{number}") for number in range(10)]
    house.run()
    let_go(house)
    assert [answer[0].value for answer in answers].count(True) == 1


def test_reading_run_makes_nobody_run_again_and_is_never_made_to() -> None:
    """A long scan beside fifty commits answers for its snapshot in one attempt; so do they."""
    house = crowd()
    house.long.is_held = True
    reader = house.send("hot/a", "slow_count")
    house.run()
    writers = [house.send("hot/a", "add", 1) for _ in range(50)]
    house.run()
    assert {answer[0].usage.attempts for answer in writers} == {1}
    let_go(house)
    assert (reader[0].value, reader[0].usage.attempts) == (1, 1)
    assert house.dispatcher.counters.conflicts == 0


def test_reader_neither_waits_for_a_turn_nor_holds_one() -> None:
    """While somebody holds the entity's turn, a handler that has never written goes on at once."""
    house = crowd()
    house.call("hot/a", "slow_count")
    turns = house.dispatcher.runs.table.turns
    holder = Turn({"hot/a"}, lambda: None)
    turns.ask(holder)
    assert house.call("hot/a", "slow_count") == 1
    writer = house.send("hot/a", "add", 1)
    house.run()
    assert not writer, "a handler that is known to write waits"
    turns.give_back(holder)
    house.dispatcher.lanes.wake()
    house.run()
    assert writer[0].value == 2
    assert not turns


def test_hot_entity_is_serial_and_storms_nobody() -> None:
    """Sixty-four callers of one key, twenty times each: at most 1.2 attempts for each run."""
    house = crowd()
    answers = [house.send("hot/a", "add", 1) for _ in range(64 * 20)]
    house.run()
    attempts = [answer[0].usage.attempts for answer in answers]
    assert sum(attempts) <= 1.2 * len(attempts)
    assert house.get("hot/a", "count") == 1 + len(attempts)


def slow_add(_self: ScriptedSelf, by: int) -> Any:
    count = (yield ("get", "count")) or 0
    yield ("burn", BURN)
    yield ("set", "count", count + by)
    return count + by


def test_hot_entity_of_long_handlers_queues_instead_of_retrying() -> None:
    """Callers that come back wait for each other: few attempts are lost, and none starves."""
    house = House()
    house.publish("hot/*", {"slow_add": slow_add})
    attempts: list[int] = []
    callers, calls = 32, 20

    def call(left: int) -> None:
        def answered(answer: Answer) -> None:
            assert answer.error is None
            attempts.append(answer.usage.attempts)
            if left > 1:
                call(left - 1)

        house.dispatcher.submit(
            Request(
                entity=EntityPath("hot/a"), handler=HandlerName("slow_add"), args=[1], caller=ALICE
            ),
            answered,
        )

    for _ in range(callers):
        call(calls)
    house.run()
    assert len(attempts) == callers * calls == house.get("hot/a", "count")
    assert sum(attempts) <= 1.2 * len(attempts)
    assert max(attempts) <= DEFAULT_RETRY.free_conflicts + 2
