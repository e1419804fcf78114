"""Counts that need no tool and that no machine changes: what Python itself was asked to do.

    python_calls  functions of Python entered (a coroutine or generator counts at each resumption)
    c_calls       functions of C called from Python
    bytecodes     instructions of Python's virtual machine

What the guard, its fakes and the simulated disk do themselves is left out, by the file it is
written in. Every function here makes the work it is given happen once, under one kind of glass.
"""

from __future__ import annotations

import gc
import re
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final

Work = Callable[[], object]

_ROOM: Final = re.compile(r"[/\\]lithox[/\\](\w+)")
_PACKAGE: Final = re.compile(r"site-packages[/\\](\w+)")
_OWN: Final = re.compile(
    r"[/\\]bench[/\\]guard[/\\]|[/\\]lithox[/\\]testing[/\\]|[/\\](lossy_vfs|threading)\.py$"
)
"""`threading` belongs to how the guard holds its disk; whether somebody waits there is chance."""
OWN: Final = "(the guard)"


def room_of(file: str) -> str:
    """Returns the room of lithox or the package that `file` belongs to; OWN for the guard's."""
    if _OWN.search(file):
        return OWN
    found = _ROOM.search(file) or _PACKAGE.search(file)
    return found[1] if found else "python"


class Calls:
    """What was called while `count` ran its work.

    Attributes:
        python: entered functions of Python by room.
        c: calls of C functions by the room that made them.
    """

    def __init__(self) -> None:
        self.python: Counter[str] = Counter()
        self.c: Counter[str] = Counter()
        self._rooms: dict[CodeType, str] = {}
        self._thread = 0

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        room = self._rooms.get(code)
        if room is None:
            room = self._rooms[code] = room_of(code.co_filename)
        if event == "call":
            self.python[room] += 1
        elif event == "c_call":
            self.c[room] += 1

    def count(self, work: Work) -> None:
        """Runs `work` on this thread and adds what it called."""
        sys.setprofile(self._note)
        try:
            work()
        finally:
            sys.setprofile(None)

    def count_elsewhere(self) -> None:
        """Adds what every thread calls that is started from now on, until `stop_elsewhere`."""
        threading.setprofile(self._note)

    @staticmethod
    def stop_elsewhere() -> None:
        """Threads started from now on are not counted; those that are go on."""
        threading.setprofile(None)

    def clear(self) -> None:
        """Forgets what was counted."""
        self.python.clear()
        self.c.clear()


def total(counts: Counter[str]) -> int:
    """Returns the sum over all rooms but the guard's own."""
    return counts.total() - counts[OWN]


def count_bytecodes(work: Work) -> Counter[str]:
    """Returns the instructions of Python's machine that `work` executes, by room."""
    found: Counter[str] = Counter()
    rooms: dict[CodeType, str] = {}

    def enter(frame: FrameType, _event: str, _argument: Any) -> Any:
        code = frame.f_code
        room = rooms.get(code)
        if room is None:
            room = rooms[code] = room_of(code.co_filename)
        if room == OWN:
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True

        def step(_frame: FrameType, event: str, _argument: Any) -> Any:
            if event == "opcode":
                found[room] += 1
            return step

        return step

    sys.settrace(enter)
    try:
        work()
    finally:
        sys.settrace(None)
    return found


def count_cyclic_garbage(work: Work) -> int:
    """Returns how many objects `work` leaves that only the cycle collector can free.

    Each is paid for twice: made, and looked for among all that lives.
    """
    gc.collect()
    gc.disable()
    try:
        work()
        return gc.collect()
    finally:
        gc.enable()


def measure_peak_bytes(work: Work) -> int:
    """Returns by how many bytes Python's memory is larger at its peak while `work` runs."""
    gc.collect()
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before


def count_kept_blocks(work: Work) -> int:
    """Returns by how many blocks Python's memory has grown after `work`, garbage collected."""
    gc.collect()
    before = sys.getallocatedblocks()
    work()
    gc.collect()
    return sys.getallocatedblocks() - before
