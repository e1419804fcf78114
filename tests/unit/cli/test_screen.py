"""What programs write reaches a terminal as text and colours, never as commands."""

from __future__ import annotations

import pytest

from lithox.cli.screen import COLOURS_OFF, LinePrefixer, OutputFilter


def filtered(*pieces: bytes) -> str:
    """Returns what a terminal gets of a stream that comes in these pieces."""
    one = OutputFilter()
    return "".join(one.feed(piece) for piece in pieces) + one.feed(b"", is_end=True)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"plain text\n\tand tabs\r\n", "plain text\n\tand tabs\r\n"),
        (b"50%\b\b\b60%", "50%\b\b\b60%"),
        ("grün ☺".encode(), "grün ☺"),
        (b"\x1b[2J", "\\x1b[2J"),
        (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        (b"\x1b[6n", "\\x1b[6n"),
        (b"\x9b2J", "\\x9b2J"),
        ("\u202etxt".encode(), "\\u202etxt"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"\x1b", "\\x1b"),
        (b"\x00", "\\x00"),
    ],
)
def test_only_text_gets_through(data, shown):
    """Everything a terminal would obey is shown as its number."""
    assert filtered(data) == shown


def test_colours_get_through_and_end_with_the_program():
    """What a program leaves switched on is switched off."""
    assert filtered(b"\x1b[1;31mred") == "\x1b[1;31mred" + COLOURS_OFF


@pytest.mark.parametrize(
    "data", ["\x1b[38;5;12mü\x1b[0m☺\x1b[2J\x1b]x".encode(), b"a\x1b[3", b"\xe2\x98", b"\x1b[1mx"]
)
def test_pieces_do_not_matter(data):
    """Byte by byte or at once: the same is shown."""
    assert filtered(*(data[place : place + 1] for place in range(len(data)))) == filtered(data)


def test_lines_of_a_job_say_whose_they_are():
    """Each whole line has its prefix; what is left at the end is a line, too."""
    lines = LinePrefixer("[1] ")
    assert lines.feed(b"one\ntw") == "[1] one\n"
    assert lines.feed(b"o\n\nthree") == "[1] two\n[1] \n"
    assert lines.feed(b"", is_end=True) == "[1] three\n"
    assert lines.feed(b"", is_end=True) == ""


def test_a_line_without_an_end_is_cut():
    """A job that never ends its line does not fill the shell's memory."""
    lines = LinePrefixer("[1] ")
    shown = lines.feed(b"x" * (LinePrefixer.LINE_CHARACTERS_MAX + 1))
    assert len(shown) > LinePrefixer.LINE_CHARACTERS_MAX
