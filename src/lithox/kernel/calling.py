"""What happens to calls: made, answered, abandoned, expired. See `calls` for their phases.

Every call gets exactly one answer. An answer its caller cannot take (its numbers or its account's
mailboxes are full) reaches it as `context.too_many` or `request.overloaded`, and the answerer is
none the wiser: a service does not fail because of its clients.

The module is long because each door says all it may refuse; a third of its lines are promises.

Invariants: a call that is QUEUED or TAKEN is in its owner's `calls_in`, one at the NODE in
`_native_calls`, each under its number; `calls_out` of the caller has every call whose answer it
has not taken; numbers of calls are never given twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lithox.errors import (
    CallDeadlock,
    CallNotFound,
    InternalError,
    NoSuchName,
    Overloaded,
    TooManyContexts,
)
from lithox.kernel.calls import CALL_MOVES, Call, CallFact, CallPhase, CallShare
from lithox.kernel.contexts import Context
from lithox.kernel.effects import NodeAnswered
from lithox.kernel.events import (
    ABANDONED,
    DEADLINE_PASSED,
    EVENT_BYTES,
    NO_ROOM_FOR_ANSWER,
    NO_ROOM_FOR_CONTEXTS,
    Answered,
    AnswerEvent,
    Refusal,
    count_answer,
)
from lithox.kernel.listening import Listening
from lithox.kernel.parties import AccountUse, Party, WaitKind
from lithox.kernel.sharing import check_context_count
from lithox.kernel.timers import NEVER_NS

if TYPE_CHECKING:
    from lithox.kernel.kernel import Kernel
    from lithox.model.ids import AccountName

_ANSWERED: Final = CALL_MOVES[CallFact.ANSWERED]
_ABANDONED: Final = CALL_MOVES[CallFact.ABANDONED]
_EXPIRED: Final = CALL_MOVES[CallFact.EXPIRED]
_CALLER_ENDED: Final = CALL_MOVES[CallFact.CALLER_ENDED]
_QUEUED: Final = CallPhase.QUEUED
_NODE: Final = CallPhase.NODE
_OVER: Final = CallPhase.OVER
_ANSWER: Final = WaitKind.ANSWER


class Calling(Listening):
    """The part of `Interactions` that knows calls."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self._cid_last = 0
        self._native_calls: dict[int, Call] = {}

    def call(  # noqa: PLR0913, PLR0917 - the busiest door of all: no record is made for it
        self,
        pid: int,
        number: int,
        name: str,
        args: bytes,
        deadline_ns: int | None,
        now_ns: int,
        is_blocking: bool = False,  # noqa: FBT001, FBT002 - see above
    ) -> int:
        """Calls `name` in a context that a process owns; returns the call's number.

        Args:
            args: MessagePack array.
            deadline_ns: when the kernel answers in the owner's stead; None: after
                `call_timeout_ns`; never later than `call_timeout_max_ns` from now.
            is_blocking: the caller goes on to wait for this answer alone (a request).

        Raises:
            ContextInvalid, ContextClosed: the number leads nowhere.
            NoSuchName: the owner takes no calls of this name.
            TooLarge: `args` is longer than `message_bytes_max`.
            TooManyContexts: the caller has as many calls open as it may.
            Overloaded: the owner or the caller's account can take no more.
            CallDeadlock: the owner waits, directly or in a chain, for the caller.
        """
        self._advance(now_ns)
        party = self._table.get(pid) or self._party(pid)
        context = self._use(party, number).context
        owner = context.owner
        if owner is None:
            raise InternalError(f"context {number} of process {pid} is native")
        if name not in context.names and not name.startswith(context.prefixes):
            raise NoSuchName(f"nothing is bound to {name[:80]!r} in context {number}")
        self._check_size(args)
        self._check_caller(party)
        beside = EVENT_BYTES if party.account is owner.account else 0
        size = self._check_callee(owner, name, args, beside)
        if party.account is not owner.account:
            self._check_share(owner, party.account.name, size)
        if is_blocking:
            self._check_chain(party, owner)
        call = self._make(party, owner, _QUEUED, is_blocking)
        self._enter_mailbox(call, context, name, args, size)
        policy = self._policy
        if deadline_ns is None:
            deadline_ns = now_ns + policy.call_timeout_ns
        call.deadline_ns = deadline_ns = min(deadline_ns, now_ns + policy.call_timeout_max_ns)
        self._timers.add(call, deadline_ns)
        return call.cid

    def call_native(
        self,
        pid: int,
        deadline_ns: int | None,
        now_ns: int,
        is_blocking: bool = False,  # noqa: FBT001, FBT002 - see `call`
    ) -> int:
        """Notes a call the node will answer with `answer_native`; returns its number.

        Args:
            deadline_ns: None: after `call_timeout_ns`; NEVER_NS: only the node ends it.

        Raises:
            TooManyContexts: the caller has as many calls open as it may.
            Overloaded: the caller's account can take no more.
        """
        self._advance(now_ns)
        party = self._party(pid)
        self._check_caller(party)
        call = self._make(party, None, _NODE, is_blocking)
        self._native_calls[call.cid] = call
        if deadline_ns is None:
            deadline_ns = now_ns + self._policy.call_timeout_ns
        if deadline_ns < NEVER_NS:
            self._timers.add(call, deadline_ns)
        return call.cid

    def call_from_node(  # noqa: PLR0913, PLR0917 - the fields of a call
        self,
        owner_pid: int,
        number: int,
        name: str,
        args: bytes,
        deadline_ns: int | None,
        now_ns: int,
    ) -> int:
        """The node calls `name` in a context `owner_pid` owns; the answer is `NodeAnswered`.

        The event's `pid` is 0. Contexts in the answer are closed, and their owners told.

        Raises:
            ContextInvalid, ContextClosed, NotOwner: no living context of that process.
            NoSuchName: the owner takes no calls of this name.
            TooLarge, Overloaded: as in `call`.
        """
        self._advance(now_ns)
        owner = self._party(owner_pid)
        context = self._own(owner, number).context
        if not context.has_name(name):
            raise NoSuchName(f"process {owner_pid} has bound nothing to {name[:80]!r}")
        self._check_size(args)
        size = self._check_callee(owner, name, args, 0)
        self._cid_last += 1
        call = Call(self._cid_last, None, owner, phase=_QUEUED, is_blocking=False)
        call.is_from_node = True
        self._enter_mailbox(call, context, name, args, size)
        if deadline_ns is None:
            deadline_ns = now_ns + self._policy.call_timeout_ns
        self._timers.add(call, deadline_ns)
        return call.cid

    def answer(  # noqa: PLR0913, PLR0917 - see `call`
        self, pid: int, cid: int, status: int, args: bytes, shared: list[int], now_ns: int
    ) -> None:
        """Answers a call that `pid` has pulled.

        An answer to a caller that has ended is accepted; contexts in it are closed.

        Args:
            status: 0 or an error's number.
            args: MessagePack array.
            shared: the answerer's numbers of contexts that travel with it.

        Raises:
            CallNotFound: no such call waits for an answer of `pid`: answered before, too late,
                another's, or never made.
            TooLarge: `args` is longer than `message_bytes_max`.
            ContextInvalid, ContextClosed: one of `shared` leads nowhere; the call stays open.
            BadArguments, TooManyContexts, Overloaded: too many contexts, or no room for their
                events; the call stays open.
        """
        self._advance(now_ns)
        party = self._table.get(pid) or self._party(pid)
        call = party.calls_in.get(cid)
        after = None if call is None else _ANSWERED[call.phase]
        if call is None or after is None:
            raise CallNotFound(
                f"no call {cid} waits for an answer of this process: it was answered, was too "
                "late, or is another's"
            )
        self._check_size(args)
        contexts: list[Context] = []
        beside: dict[AccountUse, int] = {}
        if shared:
            check_context_count(len(shared), self._policy.contexts_max)
            contexts = [self._use(party, number).context for number in shared]
            beside = self._check_owners(party, contexts, call.caller_pid)
        self._leave_owner(party, call)
        call.phase = after
        caller = call.caller
        numbers: list[int] = []
        refusal = None
        if caller is not None:
            refusal = self._refusal(
                caller, args, len(contexts), beside.get(caller.account, 0) if beside else 0
            )
        if caller is None or refusal is not None:
            self._waste(party, contexts, call.caller_pid)
        else:
            numbers = [self._hand_on(party, context, caller) for context in contexts]
        if refusal is not None:
            status, args = refusal
        self._finish(call, status, args, numbers)

    def answer_native(
        self, cid: int, status: int, args: bytes, grants: list[Any], now_ns: int
    ) -> bool:
        """Gives the node's answer to a native call.

        Args:
            grants: what is behind the contexts that travel with it; see `make_native`.

        Returns:
            False when nobody waits for it any more.
        """
        self._advance(now_ns)
        call = self._native_calls.pop(cid, None)
        if call is None:
            return False
        after = _ANSWERED[call.phase]
        caller = call.caller
        assert after is not None
        assert caller is not None
        call.phase = after
        refusal = self._refusal(caller, args, len(grants), 0)
        numbers: list[int] = []
        if refusal is None:
            numbers = [self._give_native(caller, grant) for grant in grants]
        else:
            status, args = refusal
        self._finish(call, status, args, numbers)
        return True

    def is_open(self, cid: int) -> bool:
        """Says whether a native call still waits for the node's answer."""
        return cid in self._native_calls

    def statistics(self) -> dict[str, int]:
        """Returns counts of the whole node, for the metrics page."""
        return {**super().statistics(), "native_calls": len(self._native_calls)}

    # Below: how.

    def _check_caller(self, party: Party) -> None:
        if len(party.calls_out) >= self._policy.calls_out_max:
            raise TooManyContexts(
                f"this process has {len(party.calls_out)} calls whose answers it has not taken, "
                "and may make no more; pull events first",
                limit="calls_out",
                allowed=self._policy.calls_out_max,
            )
        if party.account.mailbox_bytes + EVENT_BYTES > self._account_bytes_max:
            raise Overloaded("the mailboxes of this account are full; try again later")

    def _check_callee(self, owner: Party, name: str, args: bytes, beside: int) -> int:
        """Returns what the call will count in the owner's mailbox."""
        size = EVENT_BYTES + len(name) + len(args)
        if len(owner.calls_in) >= self._policy.calls_in_max:
            raise Overloaded(
                f"process {owner.pid} has {len(owner.calls_in)} calls to answer and takes no more "
                "now; try again later"
            )
        if not self._has_room(owner, size, beside):
            raise Overloaded(
                f"the mailbox of process {owner.pid}, or all of its account, has no room for "
                f"{size} bytes and takes no more now; try again later"
            )
        return size

    def _check_share(self, owner: Party, account: AccountName, size: int) -> None:
        """Bounds what one account has waiting at an owner, so that it keeps nobody else out."""
        share = owner.call_shares.get(account)
        if share is not None and share.calls >= self._policy.calls_in_per_account_max:
            raise Overloaded(
                f"process {owner.pid} has {share.calls} calls of this account to answer and takes "
                "no more of them now; try again later"
            )
        queued_bytes = 0 if share is None else share.queued_bytes
        if queued_bytes + size > self._mailbox_bytes_max // 2:
            raise Overloaded(
                f"the calls of this account fill half of the mailbox of process {owner.pid}; "
                "try again later"
            )

    def _check_chain(self, party: Party, owner: Party) -> None:
        """Follows who waits for whose answer, from the owner on."""
        for _ in range(self._policy.chain_max):
            if owner is party:
                raise CallDeadlock(
                    "this request would wait for ever: who is to answer it waits for this process"
                )
            call = owner.blocked_on
            if call is None or call.owner is None:
                return
            owner = call.owner
        raise Overloaded(
            f"a chain of {self._policy.chain_max} processes waits for each other; try again later"
        )

    def _make(self, party: Party, owner: Party | None, phase: CallPhase, is_blocking: bool) -> Call:  # noqa: FBT001
        if is_blocking and (party.blocked_on is not None or party.outcome is not None):
            raise InternalError(f"process {party.pid} makes a request while it waits for another")
        self._cid_last = cid = self._cid_last + 1
        call = Call(cid, party, owner, phase=phase, is_blocking=is_blocking)
        party.calls_out[cid] = call
        # The event of the answer; its payload is charged when it comes.
        self._charge_answer(party, EVENT_BYTES)
        if is_blocking:
            party.blocked_on = call
        return call

    def _enter_mailbox(
        self, call: Call, context: Context, name: str, args: bytes, size: int
    ) -> None:
        owner = context.owner
        assert owner is not None
        call.context = context
        call.name = name
        call.args = args
        call.charged_bytes = size
        owner.calls_in[call.cid] = call
        caller = call.caller
        if caller is not None and caller.account is not owner.account:
            account = caller.account.name
            share = owner.call_shares.get(account)
            if share is None:
                share = owner.call_shares[account] = CallShare(account)
            share.calls += 1
            share.queued_bytes += size
            call.share = share
        self._charge(owner, size)
        self._post(owner, call)

    def _refusal(self, caller: Party, args: bytes, count: int, beside: int) -> Refusal | None:
        """Returns what the caller is told instead when it cannot take an answer.

        Args:
            count: contexts that travel with it.
            beside: what events of the same answer charge the caller's account.
        """
        if count and not self._has_numbers(caller, count):
            return NO_ROOM_FOR_CONTEXTS
        if caller.account.mailbox_bytes + len(args) + beside > self._account_bytes_max:
            return NO_ROOM_FOR_ANSWER
        return None

    def _finish(self, call: Call, status: int, args: bytes, numbers: list[int]) -> None:
        """Gives the one answer of a call, which is OVER and in no table of its owner any more."""
        if call.timer:
            self._timers.cancel(call)
        call.args = b""
        caller = call.caller
        if caller is None:
            if call.is_from_node:
                self._kernel._effects.append(NodeAnswered(call.cid, status, args))
            return
        self._charge_answer(caller, count_answer(args))
        if not call.is_blocking:
            self._post(caller, AnswerEvent(call.cid, status, args, numbers))
            return
        del caller.calls_out[call.cid]
        caller.blocked_on = None
        outcome = Answered(status, args, numbers)
        if caller.wait is _ANSWER:
            self._end_wait(caller, outcome)
        else:
            caller.outcome = outcome

    def _leave_owner(self, owner: Party, call: Call) -> None:
        """Takes a call, which its owner owes no answer any more, out of what it owes."""
        del owner.calls_in[call.cid]
        share = call.share
        if share is not None:
            share.calls -= 1
            share.queued_bytes -= call.charged_bytes
            call.share = None
            if not share.calls:
                del owner.call_shares[share.account]

    def _withdraw(self, call: Call, owner: Party) -> None:
        """Takes a call out of its owner's tables; in its mailbox it is stale from now on."""
        self._leave_owner(owner, call)
        if call.charged_bytes:
            self._charge(owner, -call.charged_bytes)
            call.charged_bytes = 0
            self._note_stale(owner)

    def _abandon(self, owner: Party, calls: list[Call]) -> None:
        """Answers `calls`, for which `owner` owes an answer and gives none."""
        for call in calls:
            after = _ABANDONED[call.phase]
            assert after is not None
            call.phase = after
            self._withdraw(call, owner)
            self._finish(call, ABANDONED.status, ABANDONED.args, [])

    def _expire_call(self, call: Call) -> None:
        """The deadline of a call has come."""
        after = _EXPIRED[call.phase]
        assert after is not None
        if call.owner is None:
            del self._native_calls[call.cid]
            call.phase = after
        else:
            call.phase = after
            self._withdraw(call, call.owner)
        self._finish(call, DEADLINE_PASSED.status, DEADLINE_PASSED.args, [])

    def _orphan_calls(self, party: Party) -> None:
        """The caller of these has ended: owners keep them for a while, the node forgets them.

        Nobody waits for their answers, so a far deadline would only keep others' calls out.
        """
        latest_ns = self._kernel._now_ns + self._policy.call_timeout_ns
        for call in party.calls_out.values():
            if call.phase is _OVER:
                continue
            after = _CALLER_ENDED[call.phase]
            assert after is not None
            call.phase = after
            call.caller = None
            if after is _OVER:
                del self._native_calls[call.cid]
                self._timers.cancel(call)
            elif call.deadline_ns > latest_ns:
                self._timers.cancel(call)
                call.deadline_ns = latest_ns
                self._timers.add(call, latest_ns)
