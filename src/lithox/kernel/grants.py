"""What programs may still give to their children, and what those have used of it.

A grant is reserved from the parent's remainder when it is made; when the child ends, what it (with
all *its* children) did not use returns. Memory returns whole, since it is only occupied; wall time
passes for both at once and is not taken at all. See `limits` for the arithmetic.

Invariants: for each spent field, of any process at any time: own limit >= what its finished
children used + what its living children were granted; a grant returns once, whatever the order in
which parents and children are settled.
"""

from __future__ import annotations

from lithox.errors import InternalError
from lithox.kernel.limits import (
    HELD_FIELDS,
    SPENT_FIELDS,
    Used,
    give_back,
    remaining,
    reserve,
    smallest,
    used_of,
)
from lithox.model.ids import Pid
from lithox.model.limits import UNBOUNDED, Limits


class _Entry:
    """One program: its limits, and what of them is not given away. Own use is not in `left`."""

    __slots__ = ("children", "left", "limits", "parent", "usage")

    def __init__(self, limits: Limits, parent: Pid | None) -> None:
        self.limits = limits
        self.left = limits
        self.parent = parent
        self.children = 0
        """Grants that have not returned."""
        self.usage: Used | None = None
        """What it used itself, once it has ended; it stays until its children are settled."""


class Grants:
    """The ledger of a node; entries are the programs whose limits were not returned yet."""

    def __init__(self) -> None:
        self._entries: dict[Pid, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def enter(self, pid: Pid, limits: Limits, parent: Pid | None) -> None:
        """Notes a program's limits."""
        self._entries[pid] = _Entry(limits, parent)

    def left(self, pid: Pid, usage: Used) -> Limits:
        """Returns what `pid` may still use or give away, when it has used `usage` itself.

        Raises:
            InternalError: `pid` has no entry.
        """
        return remaining(self._get(pid).left, usage)

    def grant(self, pid: Pid, asked: Limits, usage: Used) -> Limits:
        """Reserves what a child of `pid` asks for, at most what is left."""
        entry = self._get(pid)
        if entry.left is UNBOUNDED:
            entry.children += 1
            return asked
        granted = smallest(remaining(entry.left, usage), asked)
        entry.left = reserve(entry.left, granted)[1]
        entry.children += 1
        return granted

    def cancel(self, pid: Pid, granted: Limits) -> None:
        """Gives a whole grant back: the child was not made after all."""
        entry = self._entries.get(pid)
        if entry is not None:
            if entry.left is not UNBOUNDED:
                entry.left = give_back(entry.left, granted, UNBOUNDED)
            entry.children -= 1
            self._close(pid, entry)

    def settle(self, pid: Pid, usage: Used) -> None:
        """Notes that a program has ended; what it did not use returns to its parent.

        What its own children used counts as its use, so its grant returns when theirs have.
        """
        entry = self._get(pid)
        entry.usage = usage
        self._close(pid, entry)

    def _close(self, pid: Pid, entry: _Entry) -> None:
        """Forgets an entry that is over with all its children, and so on upwards."""
        while entry.usage is not None and not entry.children:
            del self._entries[pid]
            parent = None if entry.parent is None else self._entries.get(entry.parent)
            if parent is None or entry.parent is None:
                return
            if parent.left is not UNBOUNDED:
                parent.left = give_back(parent.left, entry.limits, _total(entry, entry.usage))
            parent.children -= 1
            pid, entry = entry.parent, parent

    def _get(self, pid: Pid) -> _Entry:
        entry = self._entries.get(pid)
        if entry is None or entry.usage is not None:
            raise InternalError(f"process {pid} has no limits to grant from")
        return entry


def _total(entry: _Entry, usage: Used) -> Limits:
    """Returns what a program and its children have used together, as spent fields."""
    total: dict[str, int] = {}
    for name in SPENT_FIELDS:
        allowed, left = getattr(entry.limits, name), getattr(entry.left, name)
        given = 0 if allowed is None else allowed - left
        total[name] = used_of(usage, name) + given
    return Limits(**total, **dict.fromkeys(HELD_FIELDS, 0))
