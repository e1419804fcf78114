"""What a call is, and the one table of how it moves.

    QUEUED  stands in the mailbox of the context's owner
    TAKEN   the owner has pulled its event and owes the answer
    NODE    a call in a native context: the node owes the answer
    OVER    answered: by its owner or the node, or by the kernel in their stead

Every call gets exactly one answer: the move to OVER, which happens once, gives it. A caller that
ends leaves its calls with their owners (what was sent was sent) for `call_timeout_ns` at most, so
that they do not fill what an owner may owe (`calls_in_max`); the answer then goes nowhere.

Invariants: `CALL_MOVES` is total over (fact, phase); None is a refusal (`call.not_found`) when a
guest asks for it, and a bug of ours otherwise. The diagram in docs/explanation/processes.md is
drawn from it.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lithox.kernel.contexts import Context
    from lithox.kernel.parties import Party
    from lithox.model.ids import AccountName


class CallPhase(IntEnum):
    """Where a call is; also the index into a row of CALL_MOVES."""

    QUEUED = 0
    TAKEN = 1
    NODE = 2
    OVER = 3


class CallFact(Enum):
    """What can happen to a call after it was made."""

    PULLED = "pulled"
    ANSWERED = "answered"
    ABANDONED = "abandoned"
    EXPIRED = "deadline passed"
    CALLER_ENDED = "caller ended"


CallRow = tuple[CallPhase | None, CallPhase | None, CallPhase | None, CallPhase | None]

CALL_MOVES: Final[dict[CallFact, CallRow]] = {
    # fact               QUEUED            TAKEN            NODE            OVER
    CallFact.PULLED: (CallPhase.TAKEN, None, None, None),
    CallFact.ANSWERED: (None, CallPhase.OVER, CallPhase.OVER, None),
    CallFact.ABANDONED: (CallPhase.OVER, CallPhase.OVER, None, None),
    CallFact.EXPIRED: (CallPhase.OVER, CallPhase.OVER, CallPhase.OVER, None),
    CallFact.CALLER_ENDED: (CallPhase.QUEUED, CallPhase.TAKEN, CallPhase.OVER, CallPhase.OVER),
}
"""fact -> the next phase for each phase."""


class CallShare:
    """What calls of one account wait for one owner's answers.

    It outlives its callers and even their account, because their calls may: whoever ends and
    comes again under the same name has no more than before.

    Attributes:
        calls: in `calls_in` of the owner; 0 ends the share.
        queued_bytes: what those not pulled yet count in the owner's mailbox.
    """

    __slots__ = ("account", "calls", "queued_bytes")

    def __init__(self, account: AccountName) -> None:
        self.account = account
        self.calls = 0
        self.queued_bytes = 0


class Call:
    """One call, from its making to its answer.

    Attributes:
        caller: who hears the answer; None for the node, and once the caller has ended.
        caller_pid: who made it; 0 is the node.
        is_blocking: the caller waits for this answer alone, so it comes as no event.
        owner: who owes the answer; None for the node.
        share: what the caller's account has waiting at the owner, this call included; None for
            calls of the node, and of the owner's own account.
        deadline_ns: when the kernel answers in the owner's stead; unused without an owner.
        charged_bytes: what it counts in the owner's mailbox, 0 once it was pulled or is over.
    """

    __slots__ = (
        "args",
        "caller",
        "caller_pid",
        "charged_bytes",
        "cid",
        "context",
        "deadline_ns",
        "is_blocking",
        "is_from_node",
        "name",
        "owner",
        "phase",
        "share",
        "timer",
    )

    def __init__(
        self,
        cid: int,
        caller: Party | None,
        owner: Party | None,
        *,
        phase: CallPhase,
        is_blocking: bool,
    ) -> None:
        self.cid = cid
        self.caller = caller
        self.caller_pid = 0 if caller is None else caller.pid
        self.owner = owner
        self.phase: CallPhase = phase
        self.is_blocking = is_blocking
        self.is_from_node = False
        self.context: Context | None = None
        self.name = ""
        self.args = b""
        self.charged_bytes = 0
        self.share: CallShare | None = None
        self.deadline_ns = 0
        self.timer = 0


def draw_call_life() -> str:
    """Returns CALL_MOVES as the text of a Mermaid state diagram, edges in the table's order."""
    lines = [
        "stateDiagram-v2",
        "    [*] --> QUEUED: called in a process's context",
        "    [*] --> NODE: called in a native context",
    ]
    edges: dict[tuple[CallPhase, CallPhase], list[str]] = {}
    for fact, row in CALL_MOVES.items():
        for before, after in zip(CallPhase, row, strict=True):
            if after is not None and after is not before:
                edges.setdefault((before, after), []).append(fact.value)
    for (before, after), facts in edges.items():
        target = "[*]" if after is CallPhase.OVER else after.name
        lines.append(f"    {before.name} --> {target}: {', '.join(facts)}")
    return "\n".join(lines) + "\n"
