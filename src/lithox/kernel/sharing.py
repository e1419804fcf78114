"""Contexts handed from process to process: making, binding, granting, and who hears of it.

The owner hears `open` when somebody else shares its context, and `close` when somebody else gives
a number for it up. Nobody hears of the owner's own acts. So, for each context:
its owner's grants + open events - close events = numbers that others hold.

Invariants: room for the close event of each number others hold is set aside in the owner's mailbox
before the number is given, so no close is ever lost for want of room.
"""

from __future__ import annotations

from typing import Any, Final

from lithox.errors import BadArguments, NoSuchName, NotFound, NotOwner, Overloaded, TooManyContexts
from lithox.kernel.contexts import Context, Holding, NativeContext
from lithox.kernel.events import EVENT_BYTES, CloseEvent, OpenEvent
from lithox.kernel.parties import AccountUse, Parties, Party
from lithox.kernel.queues import check_name

PREFIX_MARK: Final = "*"
"""A binding that ends in it takes every name that begins with the rest."""


class Sharing(Parties):
    """The part of `Interactions` that makes and grants contexts."""

    def make_context(self, pid: int) -> int:
        """Makes a context that `pid` owns; returns its number.

        Raises:
            TooManyContexts: the process or its account has as many numbers as it may.
        """
        party = self._party(pid)
        self._check_numbers(party)
        return self._give(party, Context(party, party.number_next)).number

    def make_native(self, pid: int, grant: Any) -> int:
        """Gives `pid` a number that leads to a native context; returns it.

        Args:
            grant: what the context may do, opaque; or a `NativeContext`, to give several
                processes one context (the node can then push into it).

        Raises:
            TooManyContexts: the process or its account has as many numbers as it may.
        """
        party = self._party(pid)
        self._check_numbers(party)
        return self._give_native(party, grant)

    def find_grant(self, pid: int, number: int) -> Any:
        """Returns the grant behind a native context; None when a process owns the context.

        Raises:
            ContextInvalid, ContextClosed: the number leads nowhere.
        """
        context = self._use(self._party(pid), number).context
        return context.grant if type(context) is NativeContext else None

    def owns(self, pid: int, number: int) -> bool:
        """Says whether `number` leads to a living context that `pid` owns."""
        party = self._party(pid)
        holding = party.holdings.get(number)
        return holding is not None and not holding.is_dead() and holding.context.owner is party

    def bind(self, pid: int, number: int, name: str) -> None:
        """Takes calls of `name`, or of every name with a prefix (`prefix*`); idempotent.

        Raises:
            ContextInvalid, ContextClosed: the number leads nowhere.
            NotOwner: the context is another's.
            BadArguments: `name` is not 1 to `name_bytes_max` bytes.
            TooManyContexts: the process has bound as many names as it may.
        """
        party = self._party(pid)
        context = self._own(party, number).context
        check_name(name, self._policy.name_bytes_max, "a name")
        is_prefix = name.endswith(PREFIX_MARK)
        stem = name[:-1] if is_prefix else name
        if stem in (context.prefixes if is_prefix else context.names):
            return
        if party.bindings >= self._policy.bindings_max:
            raise TooManyContexts(
                f"this process has bound {party.bindings} names and may bind no more; unbind some",
                limit="bindings",
                allowed=self._policy.bindings_max,
            )
        party.bindings += 1
        if is_prefix:
            context.prefixes = (*context.prefixes, stem)
        else:
            context.names[stem] = None

    def unbind(self, pid: int, number: int, name: str) -> None:
        """Takes calls of `name` no more; those already made stay.

        Raises:
            ContextInvalid, ContextClosed: the number leads nowhere.
            NotOwner: the context is another's.
            NoSuchName: it is not bound, or bound by another pattern.
        """
        party = self._party(pid)
        context = self._own(party, number).context
        is_prefix = name.endswith(PREFIX_MARK)
        stem = name[:-1] if is_prefix else name
        if stem not in (context.prefixes if is_prefix else context.names):
            raise NoSuchName(f"context {number} has no binding {name[:80]!r}")
        party.bindings -= 1
        if is_prefix:
            context.prefixes = tuple(other for other in context.prefixes if other != stem)
        else:
            del context.names[stem]

    def grant(self, pid: int, number: int, to_pid: int) -> int:
        """Shares a context with a process that is about to start; returns the new number.

        Raises:
            ContextInvalid, ContextClosed: the number leads nowhere.
            NotFound: there is no process `to_pid` (any more).
            TooManyContexts: the taker, its account, or the sharing owner's mailbox is full.
            Overloaded: the owner's mailbox has no room for the events of it.
        """
        party = self._party(pid)
        context = self._use(party, number).context
        taker = self._table.get(to_pid)
        if taker is None:
            raise NotFound(f"process {to_pid} has ended; nothing can be shared with it")
        self._check_numbers(taker)
        self._check_owners(party, [context], taker.pid)
        return self._hand_on(party, context, taker)

    # Below: how.

    def _own(self, party: Party, number: int) -> Holding:
        holding = self._use(party, number)
        if holding.context.owner is not party:
            raise NotOwner(f"context {number} is another's; only its owner may do this")
        return holding

    def _has_numbers(self, party: Party, count: int) -> bool:
        policy = self._policy
        return (
            len(party.holdings) + count <= policy.contexts_max
            and party.account.contexts + count <= policy.contexts_per_account_max
        )

    def _check_numbers(self, party: Party) -> None:
        if not self._has_numbers(party, 1):
            policy = self._policy
            raise TooManyContexts(
                f"process {party.pid} has {len(party.holdings)} contexts "
                f"(at most {policy.contexts_max}) and its account {party.account.contexts} "
                f"(at most {policy.contexts_per_account_max}); close some",
                limit="contexts",
                allowed=policy.contexts_max,
            )

    def _check_owners(
        self, giver: Party, contexts: list[Context], taker_pid: int
    ) -> dict[AccountUse, int]:
        """Checks that each owner's mailbox has room for what sharing `contexts` may bring it.

        Returns:
            Bytes it may bring to each account; owners of one account share its bound.

        Raises:
            TooManyContexts: the giver's own mailbox is full.
            Overloaded: another owner's is.
        """
        needed: dict[Party, int] = {}
        totals: dict[AccountUse, int] = {}
        for context in contexts:
            owner = context.owner
            if owner is None or owner.pid == taker_pid:
                continue
            more = EVENT_BYTES if owner is giver else 2 * EVENT_BYTES
            size = needed[owner] = needed.get(owner, 0) + more
            total = totals[owner.account] = totals.get(owner.account, 0) + more
            if self._has_room(owner, size, total - size):
                continue
            if owner is giver:
                raise TooManyContexts(
                    "the mailbox has no room for the close events of more shared contexts; "
                    "pull events, close or revoke contexts first",
                    limit="mailbox_bytes",
                    allowed=self._mailbox_bytes_max,
                )
            raise Overloaded("the owner of the context has a full mailbox; try again later")
        return totals

    def _give(self, party: Party, context: Context) -> Holding:
        """Enters a new number into the table of `party`."""
        number = party.number_next
        party.number_next = number + 1
        holding = party.holdings[number] = Holding(party, number, context)
        party.account.contexts += 1
        return holding

    def _give_native(self, party: Party, grant: Any) -> int:
        context = grant if type(grant) is NativeContext else NativeContext(grant)
        context.foreign_count += 1
        return self._give(party, context).number

    def _hand_on(self, giver: Party, context: Context, taker: Party) -> int:
        """Grants, after all checks; returns the taker's number."""
        owner = context.owner
        if owner is None:
            context.foreign_count += 1
        elif owner is not taker:
            context.foreign_count += 1
            self._charge(owner, EVENT_BYTES)
            if owner is not giver:
                self._charge(owner, EVENT_BYTES)
                self._post(owner, OpenEvent(context.number, taker.pid))
        return self._give(taker, context).number

    def _waste(self, giver: Party, contexts: list[Context], taker_pid: int) -> None:
        """Contexts on their way to somebody who cannot take them: opened and closed at once."""
        for context in contexts:
            owner = context.owner
            if owner is None or owner.pid == taker_pid:
                continue
            if owner is not giver:
                self._charge(owner, EVENT_BYTES)
                self._post(owner, OpenEvent(context.number, taker_pid))
            self._charge(owner, EVENT_BYTES)
            self._post(owner, CloseEvent(context.number, taker_pid))

    def _give_up(self, party: Party, holding: Holding) -> None:
        """Takes a number out of its holder's table; tells the context's owner."""
        del party.holdings[holding.number]
        party.account.contexts -= 1
        context = holding.context
        if holding.is_dead() or context.owner is party:
            return
        context.foreign_count -= 1
        if context.owner is not None:
            # The room was set aside when the number was given.
            self._post(context.owner, CloseEvent(context.number, party.pid))


def check_context_count(count: int, allowed: int) -> None:
    """Checks how many contexts travel at once; raises BadArguments beyond `allowed`."""
    if count > allowed:
        raise BadArguments(f"an answer carries at most {allowed} contexts; found {count}")
