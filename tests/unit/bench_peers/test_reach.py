"""Whether goals are reached is worked out from the figures, and never from what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from bench.peers.reach import Row, evaluate, is_durable
from tests.unit.bench_peers.canned import make_beside, make_load, make_result


def find(result: dict[str, Any], against: str, work: str) -> Row:
    return next(
        row for row in evaluate(result) if row.against == against and row.work.startswith(work)
    )


def test_a_ratio_is_the_median_of_rounds() -> None:
    """A slow minute meets both sides and changes no verdict."""
    row = find(make_result(), "workerd", "durable counter, 64")
    assert (row.ratio, row.is_reached, row.ours) == (4.4, True, "lithox-1, HTTP")


def test_a_goal_that_is_missed_is_said() -> None:
    """0.8 of Redis is not 1."""
    row = find(make_result(), "redis", "durable counter, 64")
    assert (row.ratio, row.is_reached, row.ours) == (0.8, False, "lithox-1, RESP, pipelined")


def test_a_peer_that_is_missing_gives_no_verdict() -> None:
    """Its reason stands there instead of a figure."""
    row = find(make_result(), "restate", "durable counter, 64")
    assert (row.yardstick, row.ratio, row.is_reached, row.note) == (None, None, None, "npm failed")


def test_only_the_same_wire_is_compared() -> None:
    """A fast road of ours over RESP says nothing about HTTP."""
    result = make_result()
    result["loads"][0]["rounds"] = result["loads"][0]["rounds"][:1]
    assert find(result, "workerd", "durable counter, 64").figure == 4000.0


def test_latency_is_judged_against_peers_that_were_seen_to_be_durable() -> None:
    """Without a sync, or with a lost answer, a lower latency is no yardstick."""
    result = make_result()
    assert find(result, "workerd, HTTP", "p99").is_reached is True
    result["alone"]["kill"]["workerd"]["lost"] = 1
    row = find(result, "workerd, HTTP", "p99")
    assert (row.is_reached, row.note) == (None, "its durability was not shown in this run")
    assert not is_durable(result, "redis")


@pytest.mark.parametrize(
    "kill",
    [
        {"failed_with": "it did not come back"},
        {"acknowledged": 0, "entities": 0, "lost": 0, "first_answer_s": 0.5},
        None,
    ],
)
def test_a_kill_that_showed_nothing_shows_no_durability(kill: dict[str, Any] | None) -> None:
    """Nothing lost of nothing answered, a failed test, and none: no peer is durable by that."""
    result = make_result()
    assert is_durable(result, "workerd")
    result["alone"]["kill"].pop("workerd")
    if kill is not None:
        result["alone"]["kill"]["workerd"] = kill
    assert not is_durable(result, "workerd")


def test_a_loop_beside_is_a_goal_for_us_and_a_figure_for_others() -> None:
    """Ours must keep 0.9."""
    result = make_result()
    assert find_loop(result, "lithox-1").is_reached is True
    assert find_loop(result, "redis").is_reached is None
    result["alone"]["loop"]["lithox-1"] = make_beside(0.89)
    assert find_loop(result, "lithox-1").is_reached is False


def find_loop(result: dict[str, Any], peer: str) -> Row:
    return next(row for row in evaluate(result) if row.ours == peer and "loop" in row.work)


def test_the_raw_log_is_shared_by_processes() -> None:
    """Two processes must reach the share of one each."""
    result = make_result()
    result["loads"] += [
        make_load("lithox-1", [9600.0], workload="flight", callers=128),
        make_load("lithox-2", [12_000.0], workload="flight", callers=128),
    ]
    rows = [row for row in evaluate(result) if row.against == "raw log, 128 in flight"]
    assert [(row.figure, row.is_reached) for row in rows] == [(9600.0, True), (6000.0, False)]


def test_memory_is_judged_when_all_entities_were_made() -> None:
    """A node that made fewer has shown nothing."""
    result = make_result()
    assert find(result, "memory", "100,000").is_reached is True
    result["alone"]["idle"]["lithox-1"] |= {"entities": 90_000, "is_whole": False}
    row = find(result, "memory", "90,000")
    assert (row.is_reached, row.note) == (None, "not all entities were made")


def test_an_empty_result_reaches_nothing() -> None:
    """No figure, no verdict."""
    rows = evaluate({"loads": [], "peers": {}})
    assert rows
    assert {row.is_reached for row in rows} == {None}
