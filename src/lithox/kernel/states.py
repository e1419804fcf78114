"""Where a process can be in its life, and the one table of how it moves.

Theory of operation. Outside, a process has one of three states: RUNNING, WAITING or ZOMBIE. Inside,
the kernel must also know whether a RUNNING process stands in a queue or is on a processor, because
a process on a processor cannot be ended: its thread is inside the guest. So there are five phases:

    READY         stands in a queue of its lane                         RUNNING
    ON_PROCESSOR  a slice of it was handed out and is not back yet      RUNNING
    WAITING       asked for something, or was parked by dispatch        WAITING
    ZOMBIE        killed on a processor; its slice is still out         ZOMBIE
    GONE          removed; its PID is never given again                 (no state)

A kill of a process on a processor is noted (ZOMBIE) and takes effect when the slice comes back,
whatever the slice came to. That is the whole reason why ZOMBIE exists.

Invariants: `MOVES` is total over (fact, phase); None marks a move that only a bug of ours can ask
for. The kernel takes every step through this table, and the diagram in
docs/explanation/scheduling.md is drawn from it (a test compares them).
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final


class ProcessState(Enum):
    """What operators see in `lithox ps`."""

    RUNNING = "running"
    WAITING = "waiting"
    ZOMBIE = "zombie"


class Phase(IntEnum):
    """What the kernel knows; also the index into a row of `MOVES`."""

    READY = 0
    ON_PROCESSOR = 1
    WAITING = 2
    ZOMBIE = 3
    GONE = 4


class Fact(Enum):
    """What can happen to a process after it was spawned."""

    PICKED = "picked"
    YIELDED = "yielded"
    SWITCHED = "switched"
    RERUN = "rerun"
    ASKED = "asked"
    OVER = "over"
    WOKEN = "woken"
    PARKED = "parked"
    GIVEN_UP = "given up"
    KILLED = "killed"


Row = tuple[Phase | None, Phase | None, Phase | None, Phase | None]

MOVES: Final[dict[Fact, Row]] = {
    # fact          READY               ON_PROCESSOR    WAITING        ZOMBIE
    Fact.PICKED: (Phase.ON_PROCESSOR, None, None, None),
    Fact.YIELDED: (None, Phase.READY, None, Phase.GONE),
    Fact.SWITCHED: (None, Phase.READY, None, Phase.GONE),
    Fact.RERUN: (None, Phase.READY, None, Phase.GONE),
    Fact.ASKED: (None, Phase.WAITING, None, Phase.GONE),
    Fact.OVER: (None, Phase.GONE, None, Phase.GONE),
    Fact.WOKEN: (None, None, Phase.READY, None),
    Fact.PARKED: (Phase.WAITING, None, None, None),
    Fact.GIVEN_UP: (Phase.GONE, None, Phase.GONE, None),
    Fact.KILLED: (Phase.GONE, Phase.ZOMBIE, Phase.GONE, Phase.ZOMBIE),
}
"""fact -> the next phase for each phase but GONE, in the order of `Phase`."""

STATE_OF: Final[tuple[ProcessState, ...]] = (
    ProcessState.RUNNING,
    ProcessState.RUNNING,
    ProcessState.WAITING,
    ProcessState.ZOMBIE,
)
"""The outside state of each phase but GONE, in the order of `Phase`."""


def draw_mermaid() -> str:
    """Returns the table as the text of a Mermaid state diagram, edges in the table's order."""
    lines = ["stateDiagram-v2", "    [*] --> READY: spawned"]
    edges: dict[tuple[Phase, Phase], list[str]] = {}
    for fact, row in MOVES.items():
        for before, after in zip(Phase, row, strict=False):
            if after is not None and after is not before:
                edges.setdefault((before, after), []).append(fact.value)
    for (before, after), facts in edges.items():
        target = "[*]" if after is Phase.GONE else after.name
        lines.append(f"    {before.name} --> {target}: {', '.join(facts)}")
    return "\n".join(lines) + "\n"
