"""Following a program from its start to its end: output to somebody, input on demand, signals.

`lithox run` follows one program, the shell several at once. Reading again after a broken
connection loses nothing, because the node keeps what has not been confirmed.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from lithox.cli.standard_input import InputSource, TakesInput
from lithox.errors import BadArguments, LithoxError, NotFound, PeerUnreachable, TooLarge

WAIT_MS: Final = 25_000
"""Of one read; below what a node allows and what proxies commonly endure."""
ALIVE_S: Final = 10.0
"""How often a slow reader says that it is there; a node takes it for gone after 30 s."""
RETRIES_MAX: Final = 5
RETRY_FIRST_S: Final = 0.2
CODE_BYTES_MAX: Final = 1 << 20
"""Of a program given as a file; the node's own bound."""
CODE_SUFFIX: Final = ".lua"
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class RunsPrograms(TakesInput, Protocol):
    """What following needs of a node."""

    async def read_output(
        self, pid: int, *, after: int = 0, wait_ms: int = 0
    ) -> dict[str, Any]: ...

    async def kill(self, pid: int) -> None: ...


class TakesOutput(Protocol):
    """Where output goes. `missed` bytes were dropped because nobody read them."""

    async def take(self, stream: str, data: bytes) -> None: ...

    async def note_missed(self, missed: int) -> None: ...


def read_program(said: str) -> dict[str, Any]:
    """Returns what `[RUNTIME#]PROGRAM` or `[RUNTIME#]FILE` asks for: arguments of `run_program`.

    A file is meant when there is one of that name, or when the name ends in `.lua`; anything else
    is a name in the store.

    Raises:
        NotFound: a file is meant and is not there.
        BadArguments, TooLarge: it cannot be read, or it is above 1 MiB.

    Blocks: for reading the file.
    """
    if Path(said).is_file():
        return _read_code(said)
    runtime, mark, name = said.partition("#")
    if not mark:
        runtime, name = "", said
    elif not runtime or not name:
        raise BadArguments(f"a program is NAME, FILE.lua or RUNTIME#either; found {said[:80]!r}")
    chosen = {"runtime": runtime} if runtime else {}
    if name.endswith(CODE_SUFFIX) or Path(name).is_file():
        return {**_read_code(name), **chosen}
    return {"program": name, **chosen}


def _read_code(name: str) -> dict[str, Any]:
    path = Path(name)
    try:
        with path.open("rb") as file:
            code = file.read(CODE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise NotFound(f"no file {name}") from None
    except OSError as error:
        raise BadArguments(f"{name}: cannot be read: {error.strerror}") from None
    if len(code) > CODE_BYTES_MAX:
        raise TooLarge(f"{name}: a program has at most {CODE_BYTES_MAX} bytes")
    return {"code": code, "name": path.name}


async def follow(
    node: RunsPrograms, pid: int, sink: TakesOutput, source: InputSource
) -> dict[str, Any]:
    """Passes on what process `pid` writes until it ends; returns how: {"status", "code", ...}.

    Raises:
        LithoxError: the node is out of reach, or has forgotten the process.
    """
    after = 0
    try:
        while True:
            page = await _read(node, pid, after)
            await _pass_on(node, pid, page, sink, after=after)
            if page["exit"] is not None:
                return page["exit"]
            after = page["next"]
            if page["reading"]:
                source.want()
    finally:
        source.close()


async def _pass_on(
    node: RunsPrograms, pid: int, page: dict[str, Any], sink: TakesOutput, *, after: int
) -> None:
    """Gives a page to `sink`; while that takes its time, tells the node that it is being read.

    Else a pager that shows one screen for minutes would count as a reader that has left, and the
    program would go on without it.
    """
    giving = asyncio.ensure_future(_give(page, sink))
    try:
        while not (await asyncio.wait({giving}, timeout=ALIVE_S))[0]:
            await node.read_output(pid, after=after)
    except LithoxError:
        # What has been read is shown all the same; the next read tells what is wrong.
        await giving
    except BaseException:
        giving.cancel()
        raise
    giving.result()


async def _give(page: dict[str, Any], sink: TakesOutput) -> None:
    if page["missed"]:
        await sink.note_missed(page["missed"])
    for chunk in page["chunks"]:
        await sink.take(chunk["stream"], chunk["data"])


async def _read(node: RunsPrograms, pid: int, after: int) -> dict[str, Any]:
    """Reads one page, again when the connection breaks."""
    delay_s = RETRY_FIRST_S
    for _ in range(RETRIES_MAX):
        try:
            return await node.read_output(pid, after=after, wait_ms=WAIT_MS)
        except PeerUnreachable:
            await asyncio.sleep(delay_s)
            delay_s *= 2
    return await node.read_output(pid, after=after, wait_ms=WAIT_MS)


class Interrupts:
    """Catches the first signal that asks to stop, for as long as it is entered.

    The second one has its usual meaning: this command ends at once.

    Args:
        on_signal: told once, of the first.
        also: further signals that are told each time they come, with what to do then.

    Attributes:
        number: the signal that came, or None.
    """

    def __init__(
        self,
        on_signal: Callable[[], None],
        *,
        signals: Sequence[signal.Signals] = SIGNALS,
        also: dict[signal.Signals, Callable[[], None]] | None = None,
    ) -> None:
        self.number: int | None = None
        self._on_signal = on_signal
        self._signals = tuple(signals)
        self._also = also or {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        # What stood before is not what `remove_signal_handler` puts back, so it is kept here.
        self._before = {one: signal.getsignal(one) for one in (*self._signals, *self._also)}
        for one in self._signals:
            self._loop.add_signal_handler(one, self._take, one)
        for one, then in self._also.items():
            self._loop.add_signal_handler(one, then)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        for one, handler in self._before.items():
            self._loop.remove_signal_handler(one)
            signal.signal(one, handler)

    def _take(self, number: signal.Signals) -> None:
        self.number = number
        assert self._loop is not None
        for one in self._signals:
            self._loop.remove_signal_handler(one)
            signal.signal(one, signal.SIG_DFL)
        self._on_signal()


def input_of_command() -> int | None:
    """Returns the descriptor of standard input, or None where it is closed."""
    try:
        os.fstat(0)
    except OSError:
        return None
    return 0


async def kill_quietly(node: RunsPrograms, pid: int) -> None:
    """Ends a process; that it has ended already is what was wanted."""
    try:
        await node.kill(pid)
    except LithoxError:
        return
