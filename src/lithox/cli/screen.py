"""Where the output of programs goes: as it is into pipes and files, filtered onto a terminal.

A terminal obeys what is written to it: titles, the clipboard, answers typed in the user's name. The
programs that run here may be anybody's, so on a terminal only text, line ends, tabs, backspaces
and colours get through; everything else is shown as its escape. `--raw` turns that off for
programs one trusts. Nothing is filtered where no terminal is.

Invariants: writing never blocks the loop (an embedded node lives on it, and Ctrl-C must work while
a reader is slow); one write at a time, in the order of the calls.
"""

from __future__ import annotations

import asyncio
import codecs
import re
import sys
from typing import Final, TextIO

from lithox.cli.terminal import escape_character

_COLOUR: Final = r"\x1b\[[0-9;]{0,32}m"
_ODD: Final = re.compile(rf"{_COLOUR}|[^ -~\n\t\r\b]")
_UNFINISHED: Final = re.compile(r"\x1b(?:\[[0-9;]{0,32})?\Z")
COLOURS_OFF: Final = "\x1b[0m"


class OutputFilter:
    """Turns a stream of bytes into text a terminal may have. One for each stream."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")
        self._held = ""
        self._has_coloured = False

    def feed(self, data: bytes, *, is_end: bool = False) -> str:
        """Returns what may be shown now; the beginning of a colour or character waits for more."""
        text = self._held + self._decoder.decode(data, is_end)
        found = None if is_end else _UNFINISHED.search(text)
        self._held = "" if found is None else found[0]
        shown = _ODD.sub(self._replace, text[: len(text) - len(self._held)])
        if is_end and self._has_coloured:
            shown += COLOURS_OFF
        return shown

    def _replace(self, found: re.Match[str]) -> str:
        one = found[0]
        if len(one) > 1:
            self._has_coloured = True
            return one
        return escape_character(one)


class Screen:
    """Standard output and standard error of this command.

    Args:
        is_raw: terminals get what programs write, whatever it is.
    """

    def __init__(self, *, is_raw: bool = False) -> None:
        self._lock = asyncio.Lock()
        self._filters = {
            name: OutputFilter()
            for name, file in (("out", sys.stdout), ("err", sys.stderr))
            if file.isatty() and not is_raw
        }

    async def write(self, stream: str, data: bytes) -> None:
        """Writes output of a program to "out" or "err".

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        found = self._filters.get(stream)
        await self._put(stream, data if found is None else found.feed(data))

    async def write_text(self, stream: str, text: str) -> None:
        """Writes words of ours, or what has been made safe already."""
        await self._put(stream, text)

    async def finish(self) -> None:
        """Shows what was held back and turns colours off, at the end of a program."""
        for stream, found in self._filters.items():
            rest = found.feed(b"", is_end=True)
            self._filters[stream] = OutputFilter()
            if rest:
                await self._put(stream, rest)

    async def _put(self, stream: str, data: bytes | str) -> None:
        if not data:
            return
        async with self._lock:
            # Looked up now: while a prompt is shown, the streams are replaced.
            file = sys.stdout if stream == "out" else sys.stderr
            await asyncio.to_thread(_put, file, data)


def _put(file: TextIO, data: bytes | str) -> None:
    if isinstance(data, str):
        file.write(data)
    else:
        file.flush()
        file.buffer.write(data)
    file.flush()


class LinePrefixer:
    """Cuts output into lines that begin with who wrote them.

    Args:
        prefix: such as `[1] `.
    """

    LINE_CHARACTERS_MAX: Final = 65_536

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._filter = OutputFilter()
        self._line = ""

    def feed(self, data: bytes, *, is_end: bool = False) -> str:
        """Returns the lines that are whole now, each with its prefix and its end."""
        self._line += self._filter.feed(data, is_end=is_end)
        *whole, self._line = self._line.split("\n")
        if self._line and (is_end or len(self._line) > self.LINE_CHARACTERS_MAX):
            whole.append(self._line)
            self._line = ""
        return "".join(f"{self._prefix}{line}\n" for line in whole)
