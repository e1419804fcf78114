"""What a context is, and what becomes of the numbers that lead to it.

A context belongs to one owner: a process, or the node (`NativeContext`). A process reaches it by a
number of its own table; every grant is a new number. A number is in one of three phases:

    OPEN   leads to a living context
    DEAD   stays in its holder's table, and every use of it says `context.closed`
    GONE   given up; never given again

Whether a number is DEAD is not written into it when it dies: it is read off the context (closed,
or of an older generation), so closing or revoking a context that ten thousand hold costs the same
as one that nobody holds.

Invariants: `NUMBER_MOVES` is total over (fact, phase); the diagram in
docs/explanation/processes.md is drawn from it.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lithox.kernel.parties import Party
    from lithox.kernel.queues import Listener

REVOKED: Final = -1
"""Generation of a number that was taken back by itself; no context ever has it."""


class NumberPhase(IntEnum):
    """What a context number of a living process is; also the index into a row of NUMBER_MOVES."""

    OPEN = 0
    DEAD = 1
    GONE = 2


class NumberFact(Enum):
    """What can happen to a number after it was given."""

    CLOSED = "its process closes it or ends"
    OWNER_CLOSED = "the owner closes the context or ends"
    REVOKED = "the owner takes it back"


NumberRow = tuple[NumberPhase, NumberPhase]

NUMBER_MOVES: Final[dict[NumberFact, NumberRow]] = {
    # fact                  OPEN              DEAD
    NumberFact.CLOSED: (NumberPhase.GONE, NumberPhase.GONE),
    NumberFact.OWNER_CLOSED: (NumberPhase.DEAD, NumberPhase.DEAD),
    NumberFact.REVOKED: (NumberPhase.DEAD, NumberPhase.DEAD),
}
"""fact -> the next phase of a holder's number. The owner's own first number goes from OPEN to GONE
and takes the context with it; revoking never touches the owner's numbers."""


class Context:
    """One context of a process; `NativeContext` is one of the node.

    Attributes:
        owner: who owns it; None for the node.
        number: the owner's own number for it, under which the owner hears events.
        generation: grows when all holders lose it at once.
        foreign_count: open numbers of others than the owner.
        inbox: queue -> where the owner listens, by its numbers.
        listeners: queue -> where holders listen, in the order in which they began.
    """

    __slots__ = (
        "foreign_count",
        "generation",
        "inbox",
        "is_closed",
        "listeners",
        "names",
        "number",
        "owner",
        "prefixes",
    )

    def __init__(self, owner: Party | None, number: int) -> None:
        self.owner = owner
        self.number = number
        self.names: dict[str, None] = {}
        self.prefixes: tuple[str, ...] = ()
        self.generation = 0
        self.foreign_count = 0
        self.is_closed = False
        self.inbox: Side = {}
        self.listeners: Side = {}

    def has_name(self, name: str) -> bool:
        """Says whether the owner takes calls of `name`: bound as it is, or by a prefix."""
        return name in self.names or name.startswith(self.prefixes)


class NativeContext(Context):
    """A context of the node, which may be held by many processes.

    Args:
        grant: what it may do; opaque to the kernel.
    """

    __slots__ = ("grant",)

    def __init__(self, grant: Any) -> None:
        super().__init__(None, 0)
        self.grant = grant


class Holding:
    """One number of one process."""

    __slots__ = ("context", "generation", "listeners", "number", "party")

    def __init__(self, party: Party, number: int, context: Context) -> None:
        self.party = party
        self.number = number
        self.context = context
        self.generation = context.generation
        self.listeners: dict[str, Listener] | None = None

    def is_dead(self) -> bool:
        """Says whether the number says `context.closed`."""
        context = self.context
        return context.is_closed or (
            self.generation != context.generation and context.owner is not self.party
        )


Side = dict[str, dict[Holding, "Listener"]]
"""Who listens on one side of a context: queue -> number -> listener."""


def draw_number_life() -> str:
    """Returns NUMBER_MOVES as the text of a Mermaid state diagram, edges in the table's order."""
    lines = ["stateDiagram-v2", "    [*] --> OPEN: made, or given by a start or an answer"]
    for fact, row in NUMBER_MOVES.items():
        for before, after in zip(NumberPhase, row, strict=False):
            if after is not before:
                target = "[*]" if after is NumberPhase.GONE else after.name
                lines.append(f"    {before.name} --> {target}: {fact.value}")
    return "\n".join(lines) + "\n"
