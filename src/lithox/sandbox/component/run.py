"""What belongs to one run of a component, beside its machine?

Its message, its view of the state, and the small world that WASI shows it: randomness from the
run's seed, a clock that begins at the run's start and moves when the run sleeps, what it has
printed of a line that is not finished, and how many handles it holds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import msgspec

from lithox.sandbox.component.state import StateView
from lithox.sandbox.messages import RunMessage

HANDLES_MAX: Final = 1024
"""Handles of ours that one run may hold at a time."""
LINE_BYTES_MAX: Final = 8192
"""A longer line of standard output is written in parts; the log keeps as much of a text."""

_decode_run: Final = msgspec.msgpack.Decoder(RunMessage).decode
_LOADING: Final = RunMessage(
    handler="",
    args=msgspec.Raw(b"\x90"),
    entity="",
    caller="",
    request_id=None,
    attempt=1,
    now_ms=0,
    seed=0,
    state={},
    complete=True,
)


class Run:
    """One run, or one load.

    Attributes:
        message: what it begins with.
        state: what it sees of its entity's state.
        is_loading: the component is asked for its handlers; nothing else is there.
        slept_ns: by how much the run's clock is ahead of its start.
        handles: handles of ours that it holds.
        pollables: what it waits for, by the number of the handle: the clock's time when it is due.
        open_handle: makes a handle of (number, number of its type); set by the guest.
        lines: output stream -> bytes printed there since the last end of a line.
    """

    __slots__ = (
        "_next_rep",
        "_random",
        "handles",
        "is_loading",
        "lines",
        "message",
        "open_handle",
        "pollables",
        "slept_ns",
        "state",
    )

    def __init__(self, message: bytes | None) -> None:
        """Begins with a `RunMessage`, or a load when there is none."""
        self.message = _LOADING if message is None else _decode_run(message)
        self.is_loading = message is None
        self.state = StateView(self.message)
        self._random: random.Random | None = None
        self.slept_ns = 0
        self.handles = 0
        self.pollables: dict[int, int] = {}
        self.open_handle: Callable[[int, int], int] | None = None
        self._next_rep = 1
        self.lines: dict[int, bytes] = {}

    @property
    def random(self) -> random.Random:
        """The generator of this run; its numbers are those of the run's seed."""
        if self._random is None:
            self._random = random.Random(self.message.seed)  # noqa: S311 - it is to be repeatable
        return self._random

    @property
    def now_ns(self) -> int:
        """The run's clock, nanoseconds since 1970."""
        return self.message.now_ms * 1_000_000 + self.slept_ns

    def add_pollable(self, due_ns: int) -> int:
        """Returns the number of something that is ready when the clock shows `due_ns`."""
        rep = self._next_rep
        self._next_rep += 1
        self.pollables[rep] = due_ns
        return rep

    def sleep_until(self, due_ns: int) -> None:
        """Sets the clock forward; no real time passes."""
        self.slept_ns = max(self.slept_ns, due_ns - self.message.now_ms * 1_000_000)
