"""Pages of output become one result; its status on the command line is the documented one."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.errors import GuestRaised, InternalError, LimitExceeded, ProgramExited
from lithox.model.program_result import OutputCollector, ProgramResult, exit_status_of

WELL = {"status": 0, "code": "", "message": "", "values": [1]}


def page(*chunks: tuple[str, bytes], end: int, missed: int = 0, ended: Any = None) -> dict:
    """Returns a page as `read_output` gives it."""
    return {
        "chunks": [{"offset": 0, "stream": stream, "data": data} for stream, data in chunks],
        "next": end,
        "missed": missed,
        "exit": ended,
    }


def test_pages_are_joined_by_stream():
    """Output and errors apart, the end last."""
    collector = OutputCollector(5)
    collector.take(page(("out", b"a"), ("err", b"x"), ("out", b"b"), end=3))
    assert (collector.after, collector.result) == (3, None)
    collector.take(page(end=3, ended=WELL))
    assert collector.result == ProgramResult(
        pid=5, status=0, code="", message="", values=[1], output=b"ab", errors=b"x"
    )


def test_what_is_kept_is_bounded_and_says_so():
    """The beginning of each stream is kept; dropped bytes are counted apart."""
    collector = OutputCollector(5, kept_bytes_max=3)
    collector.take(page(("out", b"ab"), ("out", b"cd"), ("err", b"xyz"), end=7, missed=2))
    collector.take(page(("out", b"ef"), end=9, missed=1))
    collector.take(page(end=9, ended=WELL))
    result = collector.result
    assert result is not None
    assert (result.output, result.errors, result.is_cut) == (b"abc", b"xyz", True)
    assert result.missed_bytes == 3


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (0, "", 0),
        (1, "process.exited", 1),
        (125, "process.exited", 125),
        (126, "process.exited", 1),
        (1000, "process.exited", 1),
        (30, "guest.raised", 1),
        (30, "app.sold_out", 1),
        (34, "guest.out_of_fuel", 1),
        (20, "request.cancelled", 4),
        (42, "process.parent_ended", 4),
        (90, "internal", 5),
        (99, "guest.from_the_future", 1),
    ],
)
def test_an_end_has_one_exit_status(status, code, expected):
    """Its own status where a shell can tell it, else the table's."""
    assert exit_status_of(status, code) == expected


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("process.exited", ProgramExited),
        ("guest.raised", GuestRaised),
        ("app.sold_out", GuestRaised),
        ("guest.out_of_fuel", LimitExceeded),
        ("internal", InternalError),
    ],
)
def test_check_raises_what_ended_the_program(code, kind):
    """The class of its code, with the message."""
    result = ProgramResult(
        pid=1, status=7, code=code, message="why", values=[], output=b"", errors=b""
    )
    with pytest.raises(kind) as caught:
        result.check()
    assert "why" in str(caught.value)
    if kind is ProgramExited:
        assert caught.value.fields == {"status": 7}


def test_check_lets_a_good_end_pass():
    """It returns the result, so that it can stand in one line."""
    result = ProgramResult(pid=1, status=0, code="", message="", values=[], output=b"", errors=b"")
    assert result.check() is result
