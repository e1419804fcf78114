"""The keys of `lithox top`: sort, choose, end, leave."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from lithox.cli.top import FRAME_LINES, TopView, read_keys

ROWS = [
    {"pid": 1, "parent": None, "fuel": 1, "memory": 9, "kind": "program", "program": "init"},
    {"pid": 2, "parent": 1, "fuel": 9, "memory": 1, "kind": "program", "program": "a\x1b[2J"},
    {"pid": 3, "parent": 1, "fuel": 5, "memory": 5, "kind": "program", "program": "b"},
]


def view(**options: Any) -> TopView:
    """Returns a view that has looked once."""
    one = TopView(**options)
    one.take({"version": "1", "uptime_ms": 1000}, [dict(row) for row in ROWS])
    return one


def pids(one: TopView) -> list[int]:
    """Returns the processes shown, in order."""
    return [row["pid"] for row in one.window(50)]


def test_keys_sort_reverse_and_flatten():
    """Each letter sorts by what it stands for."""
    one = view()
    assert pids(one) == [1, 2, 3]
    one.press("m")
    assert pids(one) == [1, 3, 2]
    one.press("t")
    one.press("f")
    assert pids(one) == [2, 3, 1]
    one.press("r")
    assert pids(one) == [1, 3, 2]


def test_a_process_is_ended_only_after_a_yes():
    """X asks, y does it, any other key does not."""
    one = view()
    one.press("down")
    one.press("x")
    assert one.footer == "end process 2? y ends it, any other key does not"
    one.press("q")
    assert (one.wants_end, one.is_over) == (None, False)
    one.press("x")
    one.press("y")
    assert one.wants_end == 2


def test_the_choice_stays_with_its_process():
    """Sorting moves the row, not the choice; a process that is gone gives it to the first."""
    one = view()
    one.press("down")
    one.press("down")
    one.press("down")
    one.press("r")
    one.press("x")
    assert "process 3?" in one.footer
    one.press("n")
    one.take({}, [dict(ROWS[0])])
    one.press("x")
    assert "process 1?" in one.footer


def test_leaving_and_news():
    """Q leaves; news stay until the next key."""
    one = view()
    one.say("ended 2")
    assert one.footer == "ended 2"
    one.press("quit")
    assert one.footer.startswith("sort: f=fuel")
    assert one.is_over


def test_the_picture_fits_and_obeys_nobody():
    """As many lines as there are; a name with an escape sequence is shown, not obeyed."""
    one = view()
    console = Console(width=80, height=24, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(one.draw(24))
    lines = captured.get().splitlines()
    assert len(lines) == FRAME_LINES + 3
    assert lines[0].startswith("lithox 1  up 1s  3 processes  by tree, fuel")
    assert "\\x1b[2J" in lines[4]
    assert all(len(line) <= 80 for line in lines)


def test_a_long_table_shows_the_chosen_row():
    """What does not fit scrolls with the choice."""
    one = TopView(order="pid", is_tree=False)
    one.take({}, [{"pid": pid, "parent": None} for pid in range(1, 101)])
    for _ in range(60):
        one.press("down")
    shown = [row["pid"] for row in one.window(FRAME_LINES + 10)]
    assert len(shown) == 10
    assert 61 in shown


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["quit"]),
        (b"\x1b", ["quit"]),
        (b"\x03", ["quit"]),
        (b"\x1b[A", ["up"]),
        (b"\x1bOB", ["down"]),
        (b"jk", ["down", "up"]),
        (b"fm\x1b[B", ["f", "m", "down"]),
    ],
)
def test_keys_are_read_from_what_a_terminal_sends(data, keys):
    """Letters, arrows in both forms, Escape and Ctrl-C."""
    assert read_keys(data) == keys
