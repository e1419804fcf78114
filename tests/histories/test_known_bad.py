"""The checker refuses every known kind of bad history, and says which kind it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.histories.check import assert_accepted, find_problems
from tests.histories.records import Append, Outcome, Recorder, save
from tests.histories.spelled import spell

BAD = {
    "duplicate append": (
        "duplicate",
        """
        A 0-1: append x 1
        A 2-3: read x 1 1
        """,
    ),
    "lost append": (
        "G-single-realtime",
        """
        A 0-1: append x 1
        A 2-3: read x
        """,
    ),
    "an append lost between others": (
        "G0-realtime",
        """
        A 0-1: append x 1
        B 2-3: append x 2
        B 4-5: read x 2
        """,
    ),
    "lost update": (
        "G-single",
        """
        A 0-9: read x; append x 1
        B 0-9: read x; append x 2
        B 10-11: read x 1 2
        """,
    ),
    "stale read": (
        "G-single-realtime",
        """
        A 0-1: append x 1
        A 2-3: append x 2
        B 4-5: read x 1
        A 6-7: read x 1 2
        """,
    ),
    "reads that go back": (
        "G-single-realtime",
        """
        A 0-9: append x 1
        B 1-2: read x 1
        B 3-4: read x
        """,
    ),
    "write skew": (
        "G2",
        """
        A 0-9: read y; append x 1
        B 0-9: read x; append y 2
        C 10-11: read x 1; read y 2
        """,
    ),
    "fractured read": (
        "G-single",
        """
        A 0-9: append x 1; append y 1
        B 0-9: read x 1; read y
        C 10-11: read x 1; read y 1
        """,
    ),
    "two readers who disagree about the order": (
        "G2",
        """
        A 0-9: append x 1
        B 0-9: append y 1
        C 0-9: read x 1; read y
        D 0-9: read x; read y 1
        """,
    ),
    "G0": (
        "G0",
        """
        A 0-9: append x 1; append y 1
        B 0-9: append x 2; append y 2
        C 10-11: read x 1 2; read y 2 1
        """,
    ),
    "G1a": (
        "G1a",
        """
        A 0-1 fail: append x 1
        B 2-3: read x 1
        """,
    ),
    "G1b": (
        "G1b",
        """
        A 0-9: append x 1; append x 2
        B 0-9: read x 1
        C 10-11: read x 1 2
        """,
    ),
    "G1c": (
        "G1c",
        """
        A 0-9: append x 1; read y 1
        B 0-9: append y 1; read x 1
        """,
    ),
    "real time turned round": (
        "G0-realtime",
        """
        A 0-1: append x 1
        B 2-3: append x 2
        C 4-5: read x 2 1
        """,
    ),
    "an unknown append before it was asked for": (
        "G1c-realtime",
        """
        A 0-1: read x 7
        B 2-? unknown: append x 7
        """,
    ),
    "reads that are no beginnings of one list": (
        "incompatible order",
        """
        A 0-9: append x 1
        B 0-9: append x 2
        C 0-9: read x 1
        D 0-9: read x 2
        """,
    ),
    "a value from nowhere": (
        "garbage",
        """
        A 0-1: read x 5
        """,
    ),
    "an append that does not see itself": (
        "internal",
        """
        A 0-1: append x 1; read x
        """,
    ),
    "two reads of one transaction that differ": (
        "internal",
        """
        A 0-9: read x; read x 1
        B 0-9: append x 1
        """,
    ),
    "lost update of a register": (
        "lost update",
        """
        A 0-9: write r 1=5
        B 0-9: write r 1=6
        """,
    ),
    "stale look": (
        "G-single-realtime",
        """
        A 0-1: write r 1=5
        A 2-3: write r 2=6
        B 4-5: look r 1=5
        """,
    ),
    "looks that go back": (
        "G-single-realtime",
        """
        A 0-9: write r 1=5
        B 1-2: look r 1=5
        B 3-4: look r
        """,
    ),
    "a register written twice by one request": (
        "duplicate",
        """
        A 0-1: write r 1=5
        B 2-3: look r 2=5
        """,
    ),
    "a register whose versions nobody made": (
        "lost write",
        """
        A 0-1: write r 1=5
        B 2-3: write r 3=6
        """,
    ),
    "a register showing what was refused": (
        "G1a",
        """
        A 0-1 fail: write r =5
        B 2-3: look r 1=5
        """,
    ),
    "write skew between registers": (
        "G2",
        """
        A 0-9: look s; write r 1=5
        B 0-9: look r; write s 1=6
        """,
    ),
    "a list and a register read apart": (
        "G-single",
        """
        A 0-9: append x 1; write r 1=5
        B 0-9: read x 1; look r
        """,
    ),
}
GOOD = {
    "nothing": "A 0-1: read x",
    "an unknown append that was never seen": """
        A 0-? unknown: append x 1
        B 2-3: read x
        """,
    "an unknown append seen late": """
        A 0-? unknown: append x 1
        B 2-3: read x
        B 90-91: read x 1
        """,
    "overlapping appends in either order": """
        A 0-9: append x 1
        B 0-9: append x 2
        C 10-11: read x 2 1
        """,
    "a refused append that left nothing": """
        A 0-1 fail: append x 1
        B 2-3: read x
        """,
    "an unknown write between two known versions": """
        A 0-1: write r 1=5
        B 0-? unknown: write r =6
        C 4-5: write r 3=7
        """,
    "an answer and a question at the same moment": """
        A 0-5: append x 1
        B 5-6: read x
        """,
    "a group seen whole": """
        A 0-9: append x 1; append y 1; read x 1
        B 0-9: read x 1; read y 1
        C 0-9: read x; read y
        """,
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_refused(name: str) -> None:
    """It is refused under its name."""
    anomaly, text = BAD[name]
    assert anomaly in {problem.name for problem in find_problems(spell(text))}


@pytest.mark.parametrize("name", GOOD)
def test_a_possible_history_is_accepted(name: str) -> None:
    """What some serial order explains is accepted, however odd it looks."""
    assert find_problems(spell(GOOD[name])) == []


def test_a_refusal_shows_the_operations() -> None:
    """Who reads the failure sees what contradicts what."""
    with pytest.raises(AssertionError) as caught:
        assert_accepted(spell(BAD["stale read"][1]))
    assert "(client 1, ok): read x = [1]" in str(caught.value)
    assert "append 2 to x" in str(caught.value)


def test_the_recorder_keeps_what_it_was_told(tmp_path: Path) -> None:
    """An operation that nobody ended is of unknown outcome; a history can be kept as text."""
    moments = iter(range(10))
    recorder = Recorder(lambda: next(moments))
    first = recorder.invoke(0, [Append(key="x", value=1)])
    second = recorder.invoke(1, [Append(key="x", value=2)])
    third = recorder.invoke(2, [Append(key="x", value=3)])
    recorder.succeed(second, [Append(key="x", value=2)])
    recorder.fail(third)
    history = recorder.history()
    assert [one.outcome for one in history] == [Outcome.UNKNOWN, Outcome.OK, Outcome.FAIL]
    assert [(one.invoked_ns, one.ended_ns) for one in history] == [(0, None), (1, 3), (2, 4)]
    assert history[first] == replace(history[first], number=0)
    save(history, tmp_path / "history.jsonl")
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 3
