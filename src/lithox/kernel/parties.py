"""Who takes part in interactions, what stands in each mailbox, and what ends each wait.

A *party* is the record of one process that has contexts. Its mailbox is one queue of all its
events. When a process waits for an event, the next one is not queued but taken for it at once
(`Party.outcome`), so what woke a process is still there when its slice begins.

What counts in a mailbox: each queued call and message with its payload, and room set aside in
advance for events nobody may refuse: the close event of each number another process holds of this
one's contexts, the exit event of each child. An act that would need more room than there is is
refused to whoever acts. Answers count for the account only, because they are bounded by the calls
a process may have open.

Invariants: `mailbox_bytes` of a party and of an account are exactly the sum of the charges of what
is queued or set aside, so they are 0 when nothing is, and never above their bounds; nothing of a
party is kept once its process is gone. The module is long because mailbox, charge and wait are one
state; a third of its lines are promises.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from lithox.errors import ContextClosed, ContextInvalid, InternalError, TooManyContexts
from lithox.kernel.calls import CALL_MOVES, Call, CallFact, CallShare
from lithox.kernel.events import (
    EMPTY_ARRAY,
    EVENT_BYTES,
    NO_ROOM_FOR_EXIT,
    Answered,
    AnswerEvent,
    CallEvent,
    CloseEvent,
    Event,
    ExitEvent,
    MessageEvent,
    OpenEvent,
    Outcome,
    count_answer,
)
from lithox.kernel.queues import Message
from lithox.kernel.states import Phase
from lithox.model.ids import AccountName, Pid

if TYPE_CHECKING:
    from lithox.kernel.contexts import Holding
    from lithox.kernel.kernel import Kernel
    from lithox.kernel.process import Process

STALE_MAX: Final = 256
"""Entries of a mailbox that nobody will hear and that are never worth a rebuild."""

_PULLED: Final = CALL_MOVES[CallFact.PULLED]
_ON_PROCESSOR: Final = Phase.ON_PROCESSOR


class WaitKind(IntEnum):
    """What a process waits for."""

    NONE = 0
    PULL = 1
    """The next event, or a time."""
    ANSWER = 2
    """The answer to its request; the call's own deadline ends it."""
    SLEEP = 3
    """A time; events are kept meanwhile."""


_NONE: Final = WaitKind.NONE
_PULL: Final = WaitKind.PULL
_ANSWER: Final = WaitKind.ANSWER


class Counts(NamedTuple):
    """What `lithox ps` shows of a process's interactions.

    Attributes:
        events: queued in its mailbox.
        mailbox_bytes: what counts in its mailbox.
        calls_in: calls it has not answered yet.
        calls_out: calls whose answer it has not taken yet.
    """

    contexts: int
    events: int
    mailbox_bytes: int
    calls_in: int
    calls_out: int
    bindings: int
    listens: int


class AccountUse:
    """What all parties of one account have together."""

    __slots__ = ("contexts", "mailbox_bytes", "name", "parties")

    def __init__(self, name: AccountName) -> None:
        self.name = name
        self.parties = 0
        self.contexts = 0
        self.mailbox_bytes = 0


class Party:
    """One process as interactions see it."""

    __slots__ = (
        "account",
        "answer_bytes",
        "bindings",
        "blocked_on",
        "call_shares",
        "calls_in",
        "calls_out",
        "events",
        "exits_due",
        "holdings",
        "listens",
        "mailbox_bytes",
        "number_next",
        "outcome",
        "pid",
        "process",
        "stale_count",
        "timer",
        "wait",
    )

    def __init__(self, process: Process, account: AccountUse) -> None:
        self.pid = process.pid
        self.process = process
        self.account = account
        self.holdings: dict[int, Holding] = {}
        self.number_next = 0
        self.events: deque[Call | Message | Event] = deque()
        self.stale_count = 0
        """Entries of `events` that nobody will hear."""
        self.mailbox_bytes = 0
        self.calls_in: dict[int, Call] = {}
        self.call_shares: dict[AccountName, CallShare] = {}
        """Of each account but its own that has calls in `calls_in`."""
        self.calls_out: dict[int, Call] = {}
        self.exits_due: dict[Pid, None] = {}
        """Children whose exit event has room set aside."""
        self.bindings = 0
        self.listens = 0
        self.wait: WaitKind = _NONE
        self.timer = 0
        self.blocked_on: Call | None = None
        """Its request that is not answered yet."""
        self.outcome: Outcome | None = None
        """What ended its wait, until the driver takes it."""
        self.answer_bytes = 0
        """What answers that are due or not taken yet count, for the account only."""


class Parties:
    """The parties of a node, their mailboxes and waits. The base of `Interactions`.

    The layers above it (`Sharing`, `Queues`, `Calls`) share its state; they are one object.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._advance = kernel._advance
        self._timers = kernel._timers
        self._table: dict[int, Party] = {}
        self._accounts: dict[AccountName, AccountUse] = {}
        policy = kernel.policy
        self._policy = policy
        self._mailbox_bytes_max = policy.mailbox_bytes_max
        self._account_bytes_max = policy.mailbox_bytes_per_account_max

    # Coming and going.

    def enter(self, pid: Pid, account: AccountName) -> None:
        """Makes a process a party, right after it was spawned.

        Its end needs no word: the kernel takes it out when the process is gone.

        Raises:
            TooManyContexts: its parent has no room for one more exit event; give the process up
                (`notify_ended`) and tell the parent.
        """
        process = self._kernel._get(pid)
        if process.party is not None:
            raise InternalError(f"process {pid} entered twice")
        parent = None if process.parent is None else self._table.get(process.parent)
        if parent is not None:
            if not self._has_room(parent, EVENT_BYTES):
                raise TooManyContexts(
                    f"the mailbox has no room for the exit of one more child "
                    f"({self._mailbox_bytes_max} bytes); pull events first",
                    limit="mailbox_bytes",
                    allowed=self._mailbox_bytes_max,
                )
            self._charge(parent, EVENT_BYTES)
            parent.exits_due[pid] = None
        use = self._accounts.get(account)
        if use is None:
            use = self._accounts[account] = AccountUse(account)
        use.parties += 1
        process.party = self._table[pid] = Party(process, use)

    def is_party(self, pid: int) -> bool:
        """Says whether `pid` is alive and takes part in interactions."""
        return pid in self._table

    def counts(self, pid: int) -> Counts | None:
        """Returns a row for `lithox ps`; None when `pid` is no party."""
        party = self._table.get(pid)
        if party is None:
            return None
        return Counts(
            contexts=len(party.holdings),
            events=len(party.events) - party.stale_count,
            mailbox_bytes=party.mailbox_bytes,
            calls_in=len(party.calls_in),
            calls_out=len(party.calls_out),
            bindings=party.bindings,
            listens=party.listens,
        )

    def statistics(self) -> dict[str, int]:
        """Returns counts of the whole node, for the metrics page."""
        return {
            "parties": len(self._table),
            "accounts": len(self._accounts),
            "contexts": sum(use.contexts for use in self._accounts.values()),
            "mailbox_bytes": sum(use.mailbox_bytes for use in self._accounts.values()),
        }

    def post_exit(  # noqa: PLR0913, PLR0917 - the fields of the event, as the driver has them
        self, parent_pid: int, pid: Pid, status: int, code: str, message: str, values: bytes
    ) -> bool:
        """Tells a parent how its child ended; the room was set aside when the child entered.

        Args:
            code: "" when it ended by itself.
            values: MessagePack array. Message and values that do not fit into the parent's
                mailbox are left out, and the message says so.

        Returns:
            False when nobody is told: the parent is gone, or heard of this exit before.
        """
        parent = self._table.get(parent_pid)
        if parent is None or pid not in parent.exits_due:
            return False
        del parent.exits_due[pid]
        event = ExitEvent(pid, status, code, message, values)
        more = _exit_bytes(event) - EVENT_BYTES
        if self._has_room(parent, more):
            self._charge(parent, more)
        else:
            event = ExitEvent(pid, status, code, NO_ROOM_FOR_EXIT, EMPTY_ARRAY)
        self._post(parent, event)
        return True

    def forget_child(self, parent_pid: int, pid: Pid) -> None:
        """Frees the room set aside for the exit of a child that was given up before it ran."""
        parent = self._table.get(parent_pid)
        if parent is not None and pid in parent.exits_due:
            del parent.exits_due[pid]
            self._charge(parent, -EVENT_BYTES)

    # Waiting.

    def pull(self, pid: int) -> Event | None:
        """Takes the next event of `pid`; None when there is none."""
        return self._take(self._party(pid))

    def wait(
        self, pid: int, kind: WaitKind, end_ns: int | None = None, cid: int | None = None
    ) -> bool:
        """Says what `pid`, on a processor now, waits for; the driver then reports ASKED.

        The kernel makes the process ready when it comes, also when it comes before ASKED.

        Args:
            kind: not NONE.
            end_ns: when a PULL or SLEEP is over at the latest; None: not by time.
            cid: for ANSWER, the blocking call; it is the only one there can be.

        Returns:
            False when it is there already: `take_outcome` may be asked at once.
        """
        party = self._party(pid)
        if kind is _ANSWER:
            call = party.blocked_on
            if (call is None) is (party.outcome is None) or (
                call is not None and cid is not None and call.cid != cid
            ):
                raise InternalError(f"process {pid} waits for the answer to no call")
        elif kind is _PULL:
            party.outcome = self._take(party)
        if party.outcome is not None:
            party.process.is_woken = True
            return False
        party.wait = kind
        if end_ns is not None:
            self._timers.add(party, end_ns)
        return True

    def take_outcome(self, pid: int) -> Outcome | None:
        """Returns what ended the wait of `pid`: an event, its answer, or None: the time was up."""
        party = self._party(pid)
        if party.wait is not _NONE:
            raise InternalError(f"process {pid} runs while it waits")
        party.process.is_woken = False
        outcome = party.outcome
        party.outcome = None
        if type(outcome) is Answered:
            self._charge_answer(party, -EVENT_BYTES - count_answer(outcome.args))
        return outcome

    def _expire_wait(self, party: Party) -> None:
        """The time of a PULL or SLEEP is up."""
        party.wait = _NONE
        self._wake(party)

    def _end_wait(self, party: Party, outcome: Outcome) -> None:
        party.outcome = outcome
        party.wait = _NONE
        if party.timer:
            self._timers.cancel(party)
        self._wake(party)

    def _wake(self, party: Party) -> None:
        process = party.process
        if process.phase is _ON_PROCESSOR:
            process.is_woken = True
        else:
            self._kernel._wake_fresh(process)

    # Mailboxes.

    def _post(self, party: Party, entry: Call | Message | Event) -> None:
        """Puts an entry, which is charged already, at the end of the mailbox."""
        party.events.append(entry)
        if party.wait is _PULL:
            event = self._take(party)
            if event is not None:
                self._end_wait(party, event)

    def _take(self, party: Party) -> Event | None:
        """Takes the first entry that counts, and its charge."""
        events = party.events
        while events:
            entry = events.popleft()
            kind = type(entry)
            if kind is Call:
                call: Call = entry  # pyright: ignore[reportAssignmentType]
                after = _PULLED[call.phase]
                if after is None:
                    party.stale_count -= 1
                    continue
                call.phase = after
                self._charge(party, -call.charged_bytes)
                if call.share is not None:
                    call.share.queued_bytes -= call.charged_bytes
                call.charged_bytes = 0
                assert call.context is not None
                args, call.args = call.args, b""
                return CallEvent(call.cid, call.context.number, call.name, call.caller_pid, args)
            if kind is AnswerEvent:
                answer: AnswerEvent = entry  # pyright: ignore[reportAssignmentType]
                del party.calls_out[answer.cid]
                self._charge_answer(party, -EVENT_BYTES - count_answer(answer.args))
                return answer
            if kind is Message:
                message: Message = entry  # pyright: ignore[reportAssignmentType]
                if message.is_dropped:
                    party.stale_count -= 1
                    continue
                return self._take_message(party, message)
            return self._take_told(party, entry)  # pyright: ignore[reportArgumentType]
        return None

    def _take_message(self, party: Party, message: Message) -> MessageEvent:
        listener = message.listener
        listener.pending.popleft()
        self._charge(party, -message.charged_bytes)
        missed, listener.missed = listener.missed, 0
        return MessageEvent(
            listener.number, listener.queue, message.sender_pid, message.args, missed
        )

    def _take_told(
        self, party: Party, event: OpenEvent | CloseEvent | ExitEvent
    ) -> OpenEvent | CloseEvent | ExitEvent:
        size = _exit_bytes(event) if type(event) is ExitEvent else EVENT_BYTES
        self._charge(party, -size)
        return event

    def _note_stale(self, party: Party) -> None:
        """One more entry of the mailbox nobody will hear; bounds how many there are."""
        party.stale_count += 1
        events = party.events
        if party.stale_count > STALE_MAX and 2 * party.stale_count > len(events):
            party.events = deque(entry for entry in events if not _is_stale(entry))
            party.stale_count = 0

    def _has_room(self, party: Party, size: int, beside: int = 0) -> bool:
        """Says whether `size` fits, when the same act charges the account `beside` it."""
        return (
            party.mailbox_bytes + size <= self._mailbox_bytes_max
            and party.account.mailbox_bytes + size + beside <= self._account_bytes_max
        )

    def _charge(self, party: Party, size: int) -> None:
        party.mailbox_bytes += size
        party.account.mailbox_bytes += size

    def _charge_answer(self, party: Party, size: int) -> None:
        party.answer_bytes += size
        party.account.mailbox_bytes += size

    # Lookups.

    def _party(self, pid: int) -> Party:
        party = self._table.get(pid)
        if party is None:
            raise InternalError(f"process {pid} is no party")
        return party

    def _use(self, party: Party, number: int) -> Holding:
        """Returns what `number` of `party` leads to.

        Raises:
            ContextInvalid: a number that was never given.
            ContextClosed: one that was, and leads nowhere any more.
        """
        holding = party.holdings.get(number)
        if holding is None:
            if 0 <= number < party.number_next:
                raise ContextClosed(f"context {number} was closed by this process")
            raise ContextInvalid(f"this process was never given a context {number}")
        context = holding.context
        if context.is_closed or (
            holding.generation != context.generation and context.owner is not party
        ):
            raise ContextClosed(
                f"context {number} is closed: its owner closed it, took it back or has ended"
            )
        return holding


def _exit_bytes(event: ExitEvent) -> int:
    """Returns what an exit event counts, with its payload unless that was left out."""
    if event.message is NO_ROOM_FOR_EXIT:
        return EVENT_BYTES
    return EVENT_BYTES + len(event.message.encode()) + len(event.values)


def _is_stale(entry: Call | Message | Event) -> bool:
    if type(entry) is Call:
        return _PULLED[entry.phase] is None
    return type(entry) is Message and entry.is_dropped
