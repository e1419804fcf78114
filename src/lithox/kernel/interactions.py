"""Contexts, calls and queues of processes: who may talk to whom, and what each one hears.

`Interactions` is one object with one state, told in layers, each a module of its own because each
has its own rules: `parties` (mailboxes and waits), `sharing` (contexts and their numbers),
`listening` (queues), `calling` (calls and answers), and here: what happens when a number, a
context or a process goes. Records and tables stand in `contexts`, `calls`, `queues`, `events`.

The driver tells each system call as a fact with its time and gets the result at once, or one of
`errors`; events wait in mailboxes; a process that waits is made ready by the kernel itself.

Invariants (tests/property/kernel/test_interactions_machine.py): each number of a living process
leads to one living context or says `context.closed`; every call gets exactly one answer; nobody
hears of a context it does not own or listen in; events between two processes keep their order; no
bound of `Policy` is ever exceeded; when all processes are gone every table is empty.
"""

from __future__ import annotations

from lithox.kernel.calling import Calling
from lithox.kernel.contexts import REVOKED, Context, NativeContext
from lithox.kernel.events import EVENT_BYTES
from lithox.kernel.parties import AccountUse, Counts, Party, WaitKind

__all__ = ["Counts", "Interactions", "NativeContext", "WaitKind"]


class Interactions(Calling):
    """All interactions of one node; made by its `Kernel`."""

    def close(self, pid: int, number: int, now_ns: int) -> None:
        """Gives a number up. Of the owner's own first number: ends the context for everybody.

        Calls in an ended context that wait for an answer are answered `call.abandoned`. A number
        that says `context.closed` is given up without a word.

        Raises:
            ContextInvalid, ContextClosed: never given, or given up before.
        """
        self._advance(now_ns)
        party = self._party(pid)
        holding = party.holdings.get(number)
        if holding is None:
            self._use(party, number)
            return
        self._end_listeners_of(holding, drops=True)
        context = holding.context
        if context.owner is party and context.number == number and not context.is_closed:
            self._end_context(party, context)
        self._give_up(party, holding)

    def revoke(self, pid: int, number: int, holder: int | None, now_ns: int) -> int:
        """Takes a context back from one holder or from all others; returns how many numbers.

        Those numbers say `context.closed` from now on; calls their holders have made in the
        context are answered `call.abandoned`. The owner's own numbers stay.

        Args:
            holder: a PID, or None for everybody.

        Raises:
            ContextInvalid, ContextClosed: the number leads nowhere.
            NotOwner: the context is another's.
        """
        self._advance(now_ns)
        owner = self._party(pid)
        context = self._own(owner, number).context
        if holder is None:
            return self._revoke_all(owner, context)
        other = self._table.get(holder)
        if other is None or other is owner:
            return 0
        count = 0
        for holding in other.holdings.values():
            if holding.context is context and not holding.is_dead():
                self._end_listeners_of(holding, drops=False)
                holding.generation = REVOKED
                count += 1
        if count:
            self._lose_holders(owner, context, count)
            self._abandon(
                owner,
                [
                    call
                    for call in owner.calls_in.values()
                    if call.context is context and call.caller is other
                ],
            )
        return count

    def leave(self, pid: int) -> None:
        """All that follows from the end of a process; the kernel calls it when it is gone.

        Its contexts end; calls it has not answered are abandoned; the owners of contexts it held
        hear `close`; its waits, queues and mailbox are forgotten.
        """
        party = self._table.pop(pid, None)
        if party is None:
            return
        party.wait = WaitKind.NONE
        if party.timer:
            self._timers.cancel(party)
        self._leave_account(party)
        self._orphan_calls(party)
        for holding in tuple(party.holdings.values()):
            self._end_listeners_of(holding, drops=False)
            context = holding.context
            if context.owner is party and context.number == holding.number:
                self._end_context(party, context)
            self._give_up(party, holding)

    # Below: how.

    def _end_context(self, owner: Party, context: Context) -> None:
        """A context is over for everybody; its owner's first number is about to go."""
        self._end_listeners_in(context.listeners)
        self._end_listeners_in(context.inbox)
        owner.bindings -= len(context.names) + len(context.prefixes)
        self._lose_holders(owner, context, context.foreign_count)
        context.is_closed = True
        self._abandon(owner, [call for call in owner.calls_in.values() if call.context is context])

    def _revoke_all(self, owner: Party, context: Context) -> int:
        count = context.foreign_count
        self._end_listeners_in(context.listeners)
        context.generation += 1
        self._lose_holders(owner, context, count)
        self._abandon(
            owner,
            [
                call
                for call in owner.calls_in.values()
                if call.context is context and call.caller not in {None, owner}
            ],
        )
        return count

    def _lose_holders(self, owner: Party, context: Context, count: int) -> None:
        """Numbers end without a close event: the room set aside for those is free again."""
        context.foreign_count -= count
        self._charge(owner, -count * EVENT_BYTES)

    def _leave_account(self, party: Party) -> None:
        """Takes all a party counts off its account; what follows is counted for nobody."""
        use = party.account
        use.mailbox_bytes -= party.mailbox_bytes + party.answer_bytes
        use.contexts -= len(party.holdings)
        use.parties -= 1
        if not use.parties:
            del self._accounts[use.name]
        party.account = AccountUse(use.name)
