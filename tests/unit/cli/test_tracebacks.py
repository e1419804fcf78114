"""Where a handler failed is shown below its error."""

from __future__ import annotations

import sys

import pytest

from lithox.cli.failures import show_error
from lithox.cli.tracebacks import find_place
from lithox.errors import GuestRaised, LithoxError, NotFound

JAVASCRIPT = """\
    at LithoxError (lithox:6:13)
    at map (native)
    at vote (poll.js:25:9)
    at m.js:1:2"""
LUA = """\
stack traceback:
\t[C]: in function 'error'
\tpoll.lua:4: in upvalue 'deep'
\tpoll.lua:7: in x"""
PYTHON = """\
  File "poll.py", line 7, in plain
    return deep(1)
  File "poll.py", line 3, in deep
    raise 1"""


@pytest.mark.parametrize(
    ("traceback", "place"),
    [
        (JAVASCRIPT, "poll.js:25"),
        ("    at poll.js:3:4", "poll.js:3"),
        (LUA, "poll.lua:4"),
        (PYTHON, "poll.py:3"),
        ("", None),
        ("no traceback: at all\n    at call (native)", None),
        (7, None),
        ("    at " + "(" * 1_000_000, None),
        ("x" * 100_000 + "\n\tpoll.lua:4: in x", None),
    ],
)
def test_the_innermost_line_of_a_handler_is_found(traceback: object, place: str | None) -> None:
    """In every language's own way of writing it, behind what is not the handler's."""
    assert find_place(GuestRaised("no", traceback=traceback)) == place


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (GuestRaised("no", traceback=LUA), ["lithox: no [guest.raised]", "  at poll.lua:4"]),
        (
            GuestRaised("none", code="app.request.not_found", traceback=LUA),
            ["lithox: none [app.request.not_found]", "  at poll.lua:4"],
        ),
        (
            GuestRaised("poll.lua:4: no", traceback=LUA),
            ["lithox: poll.lua:4: no [guest.raised]"],
        ),
        (
            GuestRaised("poll.lua:40: no", traceback=LUA),
            ["lithox: poll.lua:40: no [guest.raised]", "  at poll.lua:4"],
        ),
        (
            GuestRaised("gone", code="app.sold_out", traceback=LUA),
            ["lithox: gone [app.sold_out]"],
        ),
        (NotFound("none", traceback=LUA), ["lithox: none [request.not_found]"]),
        (
            GuestRaised("no", traceback="\ta\x1bb:4: in x"),
            ["lithox: no [guest.raised]", "  at a\\x1bb:4"],
        ),
    ],
)
def test_it_is_shown_once_and_not_of_errors_that_were_meant(
    capsys: pytest.CaptureFixture[str], error: LithoxError, lines: list[str]
) -> None:
    """A message that names the place itself is enough; a code of the handler's own is an answer."""
    show_error(error)
    assert capsys.readouterr().err.splitlines() == lines


def test_it_is_dim_where_a_person_looks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal, unless colours are not wanted there."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    show_error(GuestRaised("no", traceback=LUA))
    assert capsys.readouterr().err.splitlines()[1] == "\x1b[2m  at poll.lua:4\x1b[22m"
    monkeypatch.setenv("NO_COLOR", "1")
    show_error(GuestRaised("no", traceback=LUA))
    assert capsys.readouterr().err.splitlines()[1] == "  at poll.lua:4"
