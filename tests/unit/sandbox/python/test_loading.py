"""What of a text looks like a handler, and what a module must be to be read at all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from lithox.errors import CompileFailed, LimitExceeded
from lithox.sandbox.contract import Source
from lithox.sandbox.python import loading
from lithox.sandbox.python.loading import (
    LOAD_WALL_S,
    LoadBounds,
    Loading,
    find_names,
    format_frames,
    read_text,
)
from lithox.sandbox.python.meters import TURN_FUEL
from lithox.sandbox.python.wire import Event, EventKind, Frame


def test_handlers_are_functions_at_the_top() -> None:
    """Plain and asynchronous ones, each once, without hidden ones and those inside others."""
    text = (
        "def add(self):\n    def inner():\n        pass\n\nasync  def get (self):\n    pass\n"
        "def _hidden(self):\n    pass\nclass C:\n    def method(self):\n        pass\n"
        "def add(self):\n    pass\n# def no(self):\nx = 'def no(self)'\n"
        "def größe(self):\n    pass\n"
    )
    assert find_names(text) == ["add", "get", "größe"]


def test_bytes_that_are_no_text_are_told_with_their_line() -> None:
    """The byte and the line it stands on."""
    source = Source(language="python", name="a.py", text=b"a = 1\nb = '\xff'\n", digest="")
    with pytest.raises(CompileFailed) as caught:
        read_text(source)
    assert caught.value.message == "a.py:2: a Python module is UTF-8 text; found the byte 0xff"
    assert caught.value.fields == {"file": "a.py", "line": 2, "expected": "UTF-8 text"}


def test_traceback_has_the_modules_own_lines() -> None:
    """Lines of what the node puts around a module are left out."""
    frames = (
        Frame("<python-input-2>", 1, 1, "<module>", "await main()"),
        Frame("<python-input-0>", 9, 9, "main", "handler(me)"),
        Frame("<python-input-1>", 3, 5, "add", "    return 1 // 0\n    more"),
    )
    assert format_frames(frames, "shop.py") == [
        '  File "shop.py", line 3, in add',
        "    return 1 // 0",
    ]


SAID = {"fuel": "used up the 8000000 units of fuel", "wall": "took longer than the 20 s"}


class Talker:
    """A worker whose module prints without end, and takes a microsecond for each line."""

    def __init__(self) -> None:
        self.lines = 0

    def cpu_ns(self) -> int:
        """Says how long all lines took."""
        return self.lines * 1000

    def take_event(self) -> Event:
        """Is one more line."""
        self.lines += 1
        return Event(EventKind.PRINT, text="x\n")

    def send(self, request: bytes) -> None:
        """Is not interested."""


@pytest.mark.parametrize("limit", ["fuel", "wall"])
def test_module_that_talks_is_bounded(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """Each turn is looked at and paid for, and the message says which limit it was."""
    worker = Talker()
    fuel = 100 * TURN_FUEL if limit == "fuel" else 1 << 60
    monkeypatch.setattr(loading.time, "monotonic", lambda: worker.lines * LOAD_WALL_S / 1000)
    source = Source(language="python", name="a.py", text=b"", digest="")
    bounds = LoadBounds(fuel=fuel, memory_bytes=1 << 20, is_checked=False)
    one = Loading(cast("Any", None), source, bounds)
    with pytest.raises(LimitExceeded, match=SAID[limit]) as caught:
        one._next(cast("Any", SimpleNamespace(worker=worker)))
    assert caught.value.code == f"guest.out_of_{limit}"
    assert worker.lines == (96 if limit == "fuel" else 1001)


class Used(Talker):
    """A worker that has worked for others before and still answers two of their requests."""

    def __init__(self) -> None:
        super().__init__()
        self.spent_ns = 10_000_000_000

    def cpu_ns(self) -> int:
        """Says what it has used in all its life."""
        return self.spent_ns + super().cpu_ns()

    def take_event(self) -> Any:
        """Answers every other time it is asked."""
        self.lines += 1
        return Event(EventKind.OK) if self.lines % 2 == 0 else None

    def exchange(self, timeout_ms: float) -> bool:
        """Takes a while."""
        self.spent_ns += 1_000_000_000
        return False


class OnePool:
    """Gives one worker and notes what comes back."""

    def __init__(self, held: Any) -> None:
        self.held = held
        self.problem = ""
        self.dropped: list[Any] = []

    def take(self, image: object) -> Any:
        """Is at hand."""
        return self.held

    def drop(self, held: Any) -> None:
        """Is dropped."""
        self.dropped.append(held)


def test_what_a_worker_did_before_is_not_the_modules() -> None:
    """Neither its age nor what it answers late is paid by the module that is loaded now."""
    held = SimpleNamespace(worker=Used(), owed=2, image=None)
    source = Source(language="python", name="a.py", text=b"", digest="")
    bounds = LoadBounds(fuel=8_000_000_000, memory_bytes=1 << 20, is_checked=False)
    one = Loading(cast("Any", OnePool(held)), source, bounds)
    assert one._in_worker(lambda given: given.owed) == 0


def test_worker_that_answers_too_late_is_dropped() -> None:
    """One that does not come to an end with what it owes is not forgotten while it runs."""
    held = SimpleNamespace(worker=Talker(), owed=1, image=None)
    pool = OnePool(held)
    source = Source(language="python", name="a.py", text=b"", digest="")
    bounds = LoadBounds(fuel=100 * TURN_FUEL, memory_bytes=1 << 20, is_checked=False)
    with pytest.raises(LimitExceeded):
        Loading(cast("Any", pool), source, bounds)._in_worker(lambda given: given.owed)
    assert pool.dropped == [held]
