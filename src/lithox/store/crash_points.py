"""Named places where a test ends the process, and how a test asks for one.

A store calls its `Reach` with the name of each place it passes. By default nothing happens;
`LITHOX_CRASH_AT=name:count` (read by the node) ends the process with SIGKILL when the named place
is passed for the count-th time, so that nothing can tidy up.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Final

from lithox.errors import ConfigError

Reach = Callable[[str], None]
"""Called with the name of the place that was reached, on whichever thread reached it."""

COMMIT_POINTS: Final = (
    "commit.before_begin",
    "commit.after_begin",
    "commit.after_rows",
    "commit.before_sync",
    "commit.after_sync",
    "commit.before_answer",
    "commit.after_answer",
)
"""Of the commit path, in the order a batch passes them. `before_sync` is the last moment before
COMMIT, whose log write and sync SQLite does in one step; answers are the calls of `on_done`."""

OTHER_POINTS: Final = ("checkpoint.before", "checkpoint.after", "close.before_checkpoint")

CRASH_POINTS: Final = COMMIT_POINTS + OTHER_POINTS
CRASH_VARIABLE: Final = "LITHOX_CRASH_AT"


def reach_nothing(name: str) -> None:
    """The default: passes every place."""
    del name


def parse_crash_at(text: str) -> Reach:
    """Returns the `Reach` that `name:count` (or `name`, for the first time) asks for.

    Raises:
        ConfigError: no such place, or a count below 1.
    """
    name, _, count_text = text.partition(":")
    if name not in CRASH_POINTS:
        known = ", ".join(CRASH_POINTS)
        raise ConfigError(f"{CRASH_VARIABLE} names one of {known}; found {name[:80]!r}")
    if count_text and not (count_text.isascii() and count_text.isdigit()):
        count = 0
    else:
        count = int(count_text or 1)
    if count < 1:
        raise ConfigError(
            f"{CRASH_VARIABLE} is name:count with a count from 1; found {text[:80]!r}"
        )
    return CountedCrash(name, count=count)


class CountedCrash:
    """Ends the process without warning when `name` is reached for the `count`-th time."""

    __slots__ = ("_left", "_name")

    def __init__(self, name: str, *, count: int) -> None:
        self._name = name
        self._left = count

    def __call__(self, name: str) -> None:
        if name == self._name:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
