"""Reading one line of the shell: words, quotes, `$?`, and what ends a command. Pure.

The language is small on purpose: commands separated by `;` or `&`, words with '...', "..." and
backslashes, `$?` and `$!` outside single quotes, and `#` before a comment. What other shells would
take for pipes, redirection or conditions is refused, never passed on as an argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from lithox.errors import BadArguments

LINE_CHARACTERS_MAX: Final = 65_536
_SEPARATORS: Final = ";&"
_REFUSED: Final = {
    "|": "pipes are not there; a program can run others with os.run",
    "<": "input cannot be redirected here; `lithox run` takes it from a pipe or a file",
    ">": "output cannot be redirected here; `lithox run PROGRAM > FILE` does that",
    "(": "there are no subshells; put the text in quotes",
    ")": "there are no subshells; put the text in quotes",
    "`": "there is no command substitution; put the text in single quotes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a line.

    Attributes:
        words: its name and arguments, unquoted.
        text: as it was typed, for `jobs`.
        is_background: it ends with `&`.
    """

    words: tuple[str, ...]
    text: str
    is_background: bool = False


class _Reader:
    """Goes through one line, character by character."""

    def __init__(self, line: str, variables: Mapping[str, str]) -> None:
        self._line = line
        self._variables = variables
        self._place = 0
        self._words: list[str] = []
        self._word: list[str] | None = None
        self._begin = 0

    def read(self) -> Iterator[Command]:
        """Gives the commands of the line, each once it is wanted."""
        line = self._line
        while self._place < len(line):
            one = line[self._place]
            if one.isspace():
                self._end_word()
            elif one == "#" and self._word is None:
                break
            elif one in _SEPARATORS:
                yield from self._separate(one)
            elif one in _REFUSED:
                raise BadArguments(f"{one!r}: {_REFUSED[one]}")
            elif one == "'":
                self._read_plain()
            elif one == '"':
                self._read_quoted()
            elif one == "$":
                self._add(self._read_variable())
            elif one == "\\":
                self._place += 1
                if self._place >= len(line):
                    raise BadArguments("a backslash stands before the character it protects")
                self._add(line[self._place])
            else:
                self._add(one)
            self._place += 1
        yield from self._end_command(is_background=False)

    def _add(self, text: str) -> None:
        if self._word is None:
            self._word = []
        self._word.append(text)

    def _end_word(self) -> None:
        if self._word is not None:
            self._words.append("".join(self._word))
            self._word = None

    def _separate(self, one: str) -> Iterator[Command]:
        if self._line.startswith("&&", self._place):
            raise BadArguments("'&&': conditions are not there; one command a line, or `;`")
        self._end_word()
        if one == "&" and not self._words:
            raise BadArguments("'&' stands behind the command that is to run in the background")
        yield from self._end_command(is_background=one == "&")

    def _end_command(self, *, is_background: bool) -> Iterator[Command]:
        self._end_word()
        if self._words:
            text = self._line[self._begin : self._place].strip()
            yield Command(words=tuple(self._words), text=text, is_background=is_background)
        self._words = []
        self._begin = self._place + 1

    def _read_plain(self) -> None:
        end = self._line.find("'", self._place + 1)
        if end < 0:
            raise BadArguments("a ' is not closed")
        self._add(self._line[self._place + 1 : end])
        self._place = end

    def _read_quoted(self) -> None:
        self._add("")
        self._place += 1
        while self._place < len(self._line):
            one = self._line[self._place]
            if one == '"':
                return
            if one == "\\" and self._line[self._place + 1 : self._place + 2] in ("\\", '"', "$"):
                self._place += 1
                one = self._line[self._place]
            elif one == "$":
                one = self._read_variable()
            self._add(one)
            self._place += 1
        raise BadArguments('a " is not closed')

    def _read_variable(self) -> str:
        """Returns what `$?` or `$!` stands for; any other `$` stands for itself."""
        name = self._line[self._place + 1 : self._place + 2]
        if name and name in self._variables:
            self._place += 1
            return self._variables[name]
        return "$"


def read_line(line: str, variables: Mapping[str, str]) -> Iterator[Command]:
    """Gives the commands of one line, in order; the whole line is checked before the first.

    Args:
        variables: `?` (status of the last command) and `!` (PID of the last job); looked up when
            a command is taken, so that it may speak of the one before it.

    Raises:
        BadArguments: a quote that is not closed, or what this shell does not have.
    """
    if len(line) > LINE_CHARACTERS_MAX:
        raise BadArguments(f"a line has at most {LINE_CHARACTERS_MAX} characters")
    for _ in _Reader(line, variables).read():
        pass
    return _Reader(line, variables).read()
