"""What guests say reaches a terminal as text only."""

from __future__ import annotations

import json

import pytest

from lithox.cli.console import print_json, print_value
from lithox.cli.failures import show_error, show_json_error
from lithox.cli.terminal import escape_json, escape_line, escape_lines
from lithox.errors import CompileFailed, GuestRaised

HOSTILE = "a\x1b]0;pwned\x07\x9b31m\x7f\u202eb\r\n\tc ü 中 \U0001f600"


def test_line_keeps_what_is_printable() -> None:
    """Control, deletion and direction characters are told by their numbers, letters stay."""
    shown = escape_line(HOSTILE)
    assert shown == r"a\x1b]0;pwned\x07\x9b31m\x7f\u202eb\r\n\tc ü 中 " + "\U0001f600"
    assert shown.isprintable()
    assert escape_lines("a\n\tb\x1b") == "a\n\tb\\x1b"


def test_json_reads_the_same() -> None:
    """Only the spelling changes: the document still has the same value."""
    text = escape_json(json.dumps({HOSTILE: [HOSTILE]}, ensure_ascii=False, indent=2))
    assert json.loads(text) == {HOSTILE: [HOSTILE]}
    assert text.replace("\n", "").isprintable()


def test_errors_and_values_of_guests_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """Every way in which the command line shows them prints no control character."""
    show_error(GuestRaised(HOSTILE, code="app.x\x1b"))
    show_error(CompileFailed(HOSTILE, file="a\x1b.lua", line=1, excerpt="\tx\x1b[2J"))
    show_json_error(GuestRaised(HOSTILE))
    print_json({HOSTILE: 1}, is_indented=True)
    print_value({HOSTILE: HOSTILE})
    out, err = capsys.readouterr()
    assert "pwned" in out
    assert "pwned" in err
    for text in (out, err):
        assert text.replace("\n", "").replace("\t", "").isprintable()


def test_listed_names_are_escaped(run, node) -> None:
    """A state key with control characters is one line of plain text."""
    node.state = {"a": {"k\x1b[2J\nforged": 1}}
    assert run("entity", "ls", "a:").out == "k\\x1b[2J\\nforged\n"
