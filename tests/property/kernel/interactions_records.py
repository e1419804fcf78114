"""What the model of interactions is made of: processes, contexts, numbers, listeners, calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lithox.kernel.calls import CallPhase
from lithox.kernel.contexts import NumberPhase


class Refused(Exception):
    """The kernel must raise an error of this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(eq=False)
class Ctx:
    """A context; `owner` is None for the node's."""

    owner: Proc | None
    number: int
    grant: str = ""
    names: list[str] = field(default_factory=list)
    opens: int = 0
    closes: int = 0
    given_by_owner: int = 0
    taken_back: int = 0


@dataclass(eq=False)
class Num:
    """A number of a process."""

    proc: Proc
    number: int
    ctx: Ctx
    phase: NumberPhase = NumberPhase.OPEN

    @property
    def is_main(self) -> bool:
        return self.ctx.owner is self.proc and self.ctx.number == self.number


@dataclass(eq=False)
class Ear:
    """A listener."""

    num: Num
    queue: str
    limit: int = 0
    drops_newest: bool = False
    missed: int = 0
    born: int = 0


@dataclass(eq=False)
class Post:
    """A queued message."""

    ear: Ear
    sender: int
    args: bytes


@dataclass(eq=False)
class Deed:
    """A call; `account` is its caller's and stays when the caller ends, "" is the node's."""

    cid: int
    caller: Proc | None
    caller_pid: int
    owner: Proc | None
    ctx: Ctx | None
    name: str
    args: bytes
    phase: CallPhase
    is_blocking: bool = False
    account: str = ""
    answers: int = 0


@dataclass(eq=False)
class Proc:
    """A process; `where` is running, about (waits, slice still out), waiting, ready or zombie."""

    pid: int
    account: str
    parent: Proc | None
    where: str = "ready"
    numbers: dict[int, Num] = field(default_factory=dict)
    number_next: int = 0
    mailbox: list[Any] = field(default_factory=list)
    ears: list[Ear] = field(default_factory=list)
    exits_due: list[int] = field(default_factory=list)
    wait: str = ""
    outcome: Any = None
    blocked_on: Deed | None = None
