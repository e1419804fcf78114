"""Figures are compared as far as they can be, and what cannot be is said."""

from __future__ import annotations

from typing import Any

from bench.guard.comparing import compare, find_moves, find_ratio_moves, why_not_compared


def make_section(made: dict[str, Any], **figures: Any) -> dict[str, Any]:
    return {"made": made, "figures": figures}


def test_what_moves_within_its_tolerance_is_not_told() -> None:
    """A share of the old figure, and a little absolute room for figures near nothing."""
    then = make_section({}, calls=100.0, turns=0.0)
    assert find_moves(then, make_section({}, calls=101.0, turns=0.016), share=0.01) == []
    (move,) = find_moves(then, make_section({}, calls=100.0, turns=0.1), share=0.01)
    assert (move.name, move.kind) == ("turns", "worse")


def test_a_figure_of_two_threads_has_more_room() -> None:
    """Its noise is no news; twice its noise is."""
    then = make_section({}, **{"sqlite.instructions": 64_000.0, "write.instructions": 64_000.0})
    now = make_section({}, **{"sqlite.instructions": 68_000.0, "write.instructions": 68_000.0})
    assert [move.name for move in find_moves(then, now, share=0.02)] == ["write.instructions"]
    much = make_section({}, **{"sqlite.instructions": 74_000.0, "write.instructions": 64_000.0})
    assert [move.name for move in find_moves(then, much, share=0.02)] == ["sqlite.instructions"]


def test_the_worst_comes_first_and_better_last() -> None:
    """Worse by how much, then what is gone or new, then what is better."""
    then = make_section({}, a=100.0, b=100.0, c=100.0, old=1.0)
    now = make_section({}, a=110.0, b=150.0, c=50.0, fresh=1.0)
    moves = find_moves(then, now, share=0.01)
    assert [(move.name, move.kind) for move in moves] == [
        ("b", "worse"),
        ("a", "worse"),
        ("old", "gone"),
        ("fresh", "new"),
        ("c", "better"),
    ]


def test_counts_ask_for_the_same_minor_version_alone() -> None:
    """A patch of Python changes no count; a minor version does, and modules that are compiled."""
    then = make_section({"python": "3.11.7", "uvloop": "1"})
    assert not why_not_compared("counts", then, make_section({"python": "3.11.9", "uvloop": "2"}))
    words = why_not_compared("counts", then, make_section({"python": "3.12.1"}))
    assert words == "counts: not compared: python 3.11 then, 3.12 now"
    then["made"]["compiled"] = "none"
    now = make_section({"python": "3.11.7", "compiled": "kernel.kernel"})
    words = why_not_compared("counts", then, now)
    assert words == "counts: not compared: compiled none then, kernel.kernel now"


def test_instructions_ask_for_the_same_builds() -> None:
    """One other build is enough, and it is named."""
    then = make_section({"python": "3.11.7", "valgrind": "valgrind-3.19.0"})
    now = make_section({"python": "3.11.7", "valgrind": "valgrind-3.22.0"})
    words = why_not_compared("instructions", then, now)
    assert words == (
        "instructions: not compared: valgrind valgrind-3.19.0 then, valgrind-3.22.0 now"
    )
    assert why_not_compared("instructions", then, {}) == "instructions: not measured now"
    assert why_not_compared("instructions", {}, now) == "instructions: not measured then"


def test_a_ratio_is_judged_by_what_its_goal_calls_better() -> None:
    """Half the throughput is worse, half the latency is better, and a tenth is noise."""
    then = make_section(
        {},
        rate={"ratio": 1.0, "better": "more"},
        latency={"ratio": 1.0, "better": "less"},
        calm={"ratio": 1.0, "better": "more"},
    )
    now = make_section(
        {},
        rate={"ratio": 0.5, "better": "more"},
        latency={"ratio": 0.5, "better": "less"},
        calm={"ratio": 0.9, "better": "more"},
        fresh={"ratio": 9.0, "better": "more"},
    )
    moves = find_ratio_moves(then, now)
    assert [(move.name, move.kind) for move in moves] == [
        ("ratio of latency", "better"),
        ("ratio of rate", "worse"),
    ]


def test_whole_files_are_compared_section_by_section() -> None:
    """Counts that fit are compared although instructions and ratios are missing."""
    then = {"counts": make_section({"python": "3.11.7"}, calls=100.0)}
    now = {"counts": make_section({"python": "3.11.7"}, calls=120.0)}
    moves, notes = compare(then, now)
    assert [str(move) for move in moves] == ["worse  calls: 100 -> 120 (+20.0%)"]
    assert notes == ["instructions: not measured then", "ratios: not measured then"]
