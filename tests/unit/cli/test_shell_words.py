"""A line of the shell: words, quotes, variables, separators, and what is refused."""

from __future__ import annotations

import pytest

from lithox.cli.shell_words import LINE_CHARACTERS_MAX, Command, read_line
from lithox.errors import BadArguments

VARIABLES = {"?": "3", "!": "17"}


def words(line: str) -> list[tuple[str, ...]]:
    """Returns the words of each command of a line."""
    return [command.words for command in read_line(line, VARIABLES)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", []),
        ("   # nothing", []),
        ("a b  c", [("a", "b", "c")]),
        ("a 'b c' \"d e\"f", [("a", "b c", "d ef")]),
        ("a '' \"\"", [("a", "", "")]),
        (r"a\ b \' \\", [("a b", "'", "\\")]),
        (r'"\" \\ \$? \n"', [('" \\ $? \\n',)]),
        ("cc#shell x # and no more", [("cc#shell", "x")]),
        ("echo $? \"$!\" '$?' $x $", [("echo", "3", "17", "$?", "$x", "$")]),
        ("a; b ;c", [("a",), ("b",), ("c",)]),
        (";;", []),
        ("a\tb\n", [("a", "b")]),
    ],
)
def test_a_line_is_cut_into_words(line, expected):
    """As a person who knows other shells expects."""
    assert words(line) == expected


def test_an_ampersand_sends_its_command_to_the_background():
    """Only the one before it; the text of a command is kept as typed."""
    assert list(read_line("a 'x y' & b& c", {})) == [
        Command(words=("a", "x y"), text="a 'x y'", is_background=True),
        Command(words=("b",), text="b", is_background=True),
        Command(words=("c",), text="c"),
    ]


def test_a_variable_is_looked_up_when_its_command_is_taken():
    """`a; echo $?` tells how a ended."""
    variables = {"?": "0"}
    commands = read_line("a; echo $?", variables)
    next(commands)
    variables["?"] = "9"
    assert next(commands).words == ("echo", "9")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a 'b", "a ' is not closed"),
        ('a "b', 'a " is not closed'),
        ("a \\", "a backslash stands before the character it protects"),
        ("& a", "'&' stands behind the command that is to run in the background"),
        ("a && b", "'&&': conditions are not there; one command a line, or `;`"),
        ("a | b", "'|': pipes are not there; a program can run others with os.run"),
        (
            "a > b",
            "'>': output cannot be redirected here; `lithox run PROGRAM > FILE` does that",
        ),
        ("$(a)", "'(': there are no subshells; put the text in quotes"),
        ("x" * (LINE_CHARACTERS_MAX + 1), "a line has at most 65536 characters"),
    ],
)
def test_what_this_shell_does_not_have_is_refused(line, message):
    """Before anything of the line is run, and never taken for an argument."""
    with pytest.raises(BadArguments) as caught:
        read_line(f"first; {line}" if len(line) < 100 else line, {})
    assert caught.value.message == message
