"""`lithox top` on a terminal: the process table as a living tree, with keys to sort and to end.

The view is a state machine without a terminal: keys and rows go in, a picture comes out. Around it
stands the one loop that waits for a key or for the time to look again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

from lithox.cli.console import make_cells
from lithox.cli.process_table import (
    ORDER_BY_LETTER,
    ORDER_BY_NAME,
    ORDERS,
    TOP_COLUMNS,
    add_load,
    arrange,
)
from lithox.cli.terminal import escape_line
from lithox.errors import LithoxError
from lithox.model.quantities import format_duration

if TYPE_CHECKING:
    from lithox.cli.backend import Backend

KEY_BYTES_MAX: Final = 64
FRAME_LINES: Final = 4
"""Lines around the rows: two of the head, the titles, and the line of keys."""
_LOCAL_FLAGS: Final = 3
"""Place of the local flags in what termios gives."""
_UP, _DOWN, _QUIT = "up", "down", "quit"
_SPECIAL: Final = {
    b"\x1b[A": _UP,
    b"\x1bOA": _UP,
    b"\x1b[B": _DOWN,
    b"\x1bOB": _DOWN,
    b"\x03": _QUIT,
    b"\x1b": _QUIT,
}
_ALIASES: Final = {"q": _QUIT, "j": _DOWN, "k": _UP}
_HELP: Final = (
    "sort: "
    + " ".join(f"{order.letter}={order.name}" for order in ORDERS)
    + "  r=reverse t=tree  arrows=choose x=end it  q=quit"
)


class TopView:
    """What `top` shows and what its keys do.

    Attributes:
        wants_end: PID to end, set by a confirmed key; whoever ends it sets it back to None.
        is_over: the user has asked to leave.
    """

    def __init__(self, *, order: str = "fuel", is_tree: bool = True) -> None:
        self.wants_end: int | None = None
        self.is_over = False
        self._order = ORDER_BY_NAME[order]
        self._is_tree = is_tree
        self._is_reversed = False
        self._rows: list[dict[str, Any]] = []
        self._shown: list[dict[str, Any]] = []
        self._info: dict[str, Any] = {}
        self._chosen: int | None = None
        self._asks_to_end: int | None = None
        self._said = ""

    def take(self, info: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        """Takes a fresh look at the node."""
        self._info, self._rows = info, rows
        self._arrange()

    def say(self, text: str) -> None:
        """Shows a line of news until the next key."""
        self._said = text

    def press(self, key: str) -> None:
        """Does what a key means; keys that mean nothing do nothing."""
        self._said = ""
        asked, self._asks_to_end = self._asks_to_end, None
        if asked is not None:
            if key == "y":
                self.wants_end = asked
            return
        if key == _QUIT:
            self.is_over = True
        elif key in (_UP, _DOWN):
            self._move(-1 if key == _UP else 1)
        elif key == "r":
            self._is_reversed = not self._is_reversed
        elif key == "t":
            self._is_tree = not self._is_tree
        elif key == "x":
            self._asks_to_end = self._chosen
        elif key in ORDER_BY_LETTER:
            self._order = ORDER_BY_LETTER[key]
        self._arrange()

    def _arrange(self) -> None:
        self._shown = arrange(
            self._rows, self._order, is_tree=self._is_tree, is_reversed=self._is_reversed
        )
        pids = [row["pid"] for row in self._shown]
        if self._chosen not in pids:
            self._chosen = pids[0] if pids else None

    def _move(self, step: int) -> None:
        pids = [row["pid"] for row in self._shown]
        if self._chosen in pids:
            place = pids.index(self._chosen) + step
            self._chosen = pids[max(0, min(place, len(pids) - 1))]

    @property
    def footer(self) -> str:
        """The last line: a question, news, or what the keys do."""
        if self._asks_to_end is not None:
            return f"end process {self._asks_to_end}? y ends it, any other key does not"
        return self._said or _HELP

    def window(self, lines: int) -> list[dict[str, Any]]:
        """Returns the rows that fit, the chosen one among them."""
        pids = [row["pid"] for row in self._shown]
        place = pids.index(self._chosen) if self._chosen in pids else 0
        count = max(1, lines - FRAME_LINES)
        first = max(0, min(place - count // 2, len(pids) - count))
        return self._shown[first : first + count]

    def draw(self, lines: int) -> Any:
        """Returns a picture at most `lines` high, for rich."""
        from rich.console import Group
        from rich.text import Text

        uptime = format_duration(int(self._info.get("uptime_ms", 0)) * 1_000_000)
        way = "tree, " if self._is_tree else ""
        way += self._order.name + (" reversed" if self._is_reversed else "")
        head = f"lithox {self._info.get('version', '')}  up {uptime}  "
        head += f"{len(self._rows)} processes  by {way}"
        table = make_cells(
            self.window(lines),
            TOP_COLUMNS,
            shrinks="RUNS",
            is_chosen=lambda row: row["pid"] == self._chosen,
        )
        return Group(
            Text(escape_line(head), style="bold", no_wrap=True),
            Text(""),
            table,
            Text(escape_line(self.footer), style="dim", no_wrap=True, overflow="ellipsis"),
        )


def read_keys(data: bytes) -> list[str]:
    """Returns the keys in what a terminal sent at once."""
    special = _SPECIAL.get(data)
    if special is not None:
        return [special]
    found: list[str] = []
    rest = data
    while rest:
        for code, name in _SPECIAL.items():
            if len(code) > 1 and rest.startswith(code):
                found.append(name)
                rest = rest[len(code) :]
                break
        else:
            letter = chr(rest[0])
            found.append(_QUIT if rest[0] == 3 else _ALIASES.get(letter, letter))
            rest = rest[1:]
    return found


@contextlib.contextmanager
def _single_keys(file: int) -> Generator[asyncio.Queue[str]]:
    """Gives the keys pressed on terminal `file`, each at once and unseen."""
    before = termios.tcgetattr(file)
    keys: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def on_key() -> None:
        data = os.read(file, KEY_BYTES_MAX)
        for key in read_keys(data) if data else [_QUIT]:
            keys.put_nowait(key)

    # Without signals from the keyboard: Ctrl-C is a key like `q`, also inside the shell.
    mode = termios.tcgetattr(file)
    mode[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)
    termios.tcsetattr(file, termios.TCSADRAIN, mode)
    loop.add_reader(file, on_key)
    try:
        yield keys
    finally:
        loop.remove_reader(file)
        termios.tcsetattr(file, termios.TCSADRAIN, before)


async def watch(
    node: Backend, *, order: str, is_tree: bool, interval_s: float, rounds: int | None
) -> None:
    """Shows the table until a key, Ctrl-C or `rounds` looks end it."""
    from rich.console import Console
    from rich.live import Live

    view = TopView(order=order, is_tree=is_tree)
    loop = asyncio.get_running_loop()
    before: dict[int, int] = {}
    looked_s = loop.time()
    looks = 0
    console = Console()
    with (
        _single_keys(sys.stdin.fileno()) as keys,
        Live(screen=rounds is None, auto_refresh=False, console=console) as live,
    ):
        while not view.is_over and (rounds is None or looks < rounds):
            info, rows = await node.node_info(), await node.processes()
            now_s = loop.time()
            before = add_load(rows, before, int((now_s - looked_s) * 1e6) if looks else 0)
            looked_s = now_s
            looks += 1
            view.take(info, rows)
            live.update(view.draw(console.size.height), refresh=True)
            if rounds is not None and looks >= rounds:
                return
            await _take_keys(view, keys, live, node, until_s=now_s + interval_s)


async def _take_keys(
    view: TopView, keys: asyncio.Queue[str], live: Any, node: Backend, *, until_s: float
) -> None:
    """Does what keys say until it is time to look again."""
    loop = asyncio.get_running_loop()
    while not view.is_over:
        try:
            key = await asyncio.wait_for(keys.get(), max(0.0, until_s - loop.time()))
        except TimeoutError:
            return
        view.press(key)
        pid, view.wants_end = view.wants_end, None
        if pid is not None:
            try:
                await node.kill(pid)
                view.say(f"ended {pid}")
            except LithoxError as error:
                view.say(error.message)
        live.update(view.draw(live.console.size.height), refresh=True)
