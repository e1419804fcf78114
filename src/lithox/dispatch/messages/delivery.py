"""How messages take effect: each is a request of its own, whose commit takes its row away.

Theory of operation. A commit that sent messages is told to `notify_committed` as soon as it is
visible, and its messages are queued by pair. `pump` delivers what is next: it submits a request
that reads the message's row of the outbox and deletes it in its own commit. So the effect and the
end of the message are one commit: delivered twice, the second finds no row and does nothing, and
whatever the process dies of, the row is there or the effect is.

A message that fails rests, longer each time, and holds back only its pair; when it has failed as
often as it may, it is moved among the dead and the pair goes on. Failures that are the node's own
(it is overloaded, the disk is full, the run lost every race) do not count.

A sender's commit may be withdrawn after its message was delivered: the receiver has read the row,
so its commit is withdrawn as well, and the next try finds no row.

What goes to an entity of another process cannot be one commit with its row: `forwarding.py` says
how it takes effect once. Failures, rests and the dead are the same.

Invariants: of one pair at most one message is under way; nothing is delivered before all that
waited at the start is known, so no message overtakes one from before a restart.

It is long because start, delivery, failure and taking over keep one set of queues right together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from lithox.dispatch.faults import is_retried
from lithox.dispatch.job import Clock, Job, OnAnswer
from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.messages.forwarding import Forwarding
from lithox.dispatch.messages.reading import Found, read_page, read_tries, to_found, to_tries
from lithox.dispatch.messages.records import (
    DEAD,
    OUTBOX,
    TRIES,
    DeadRecord,
    MessageRecord,
    PairKey,
    TriesRecord,
    decode_message,
    encode_dead,
    encode_message,
    encode_tries,
)
from lithox.dispatch.messages.waiting import Entry, Pair, Waiting
from lithox.dispatch.origin import Origin
from lithox.dispatch.transaction import Transaction
from lithox.errors import LithoxError, StoreUnavailable
from lithox.model.ids import AccountName, EntityPath, HandlerName, RequestId, identity_of_entity
from lithox.model.request import Answer, Caller, Request
from lithox.model.values import decode_value
from lithox.store.contract import Cell, Commit, Item, Store

Adopted = tuple[Found, TriesRecord | None]
"""A message of another node, and its tries."""

SUBMITS_MAX: Final = 32
"""Messages handed over before the event loop gets a go; about a millisecond."""
ADOPTED_AFTER_MS: Final = 60_000
"""Age at which a message that another node has committed is taken over."""
LOAD_PAUSE_MS: Final = 1_000
"""Rest before a page is read again that could not be read at the start."""
DEAD_BYTES_MORE: Final = 2_048
"""What a dead letter may have beside its message: the last error, at most 500 characters of it."""
NS_PER_MS: Final = 1_000_000
_log: Final = logging.getLogger("lithox.messages")


@dataclass(slots=True, kw_only=True)
class Counters:
    """What has happened since the start."""

    delivered: int = 0
    failed: int = 0
    died: int = 0


class MessageOrigin:
    """Makes a run the delivery of one message; see `dispatch.origin`."""

    __slots__ = ("_has_tries", "_id", "records_result")

    def __init__(self, message_id: str, *, has_tries: bool) -> None:
        self.records_result = False
        self._id = message_id
        self._has_tries = has_tries

    def is_due(self, transaction: Transaction) -> bool:
        return transaction.find(OUTBOX, self._id) is not None

    def complete(self, transaction: Transaction, body: bytes) -> None:
        del body
        transaction.put(OUTBOX, self._id, None)
        if self._has_tries:
            transaction.put(TRIES, self._id, None)


class Delivery:
    """Delivers the messages of one node. All methods are called on the node's thread."""

    def __init__(  # noqa: PLR0913 - where its parts come together; all by keyword
        self,
        *,
        store: Store,
        clock: Clock,
        submit: Callable[[Request, OnAnswer], None],
        schedule: Callable[[Callable[[], None]], object],
        waiting: Waiting,
        bounds: MessageBounds,
        forwarding: Forwarding | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._submit = submit
        self._schedule = schedule
        self._waiting = waiting
        self._bounds = bounds
        self._forwarding = forwarding
        self._is_pump_planned = False
        self._is_running = False
        self._is_stopped = False
        self._load_again: tuple[int, Callable[[], None]] | None = None
        """What could not be read at the start, and when to read it again, monotonic."""
        self._is_adopting = False
        self._tries: dict[str, TriesRecord] = {}
        self._found: list[Found] = []
        self._fresh: list[tuple[str, MessageRecord, int]] = []
        self.counters = Counters()
        self.dead_count = self.dead_bytes = 0
        self.on_deadline: Callable[[int], None] | None = None
        """Asks for `notify_time` at a monotonic time."""
        self.on_started: Callable[[], None] | None = None
        """Called once all that waited at the start is known."""

    # -- start and end ----------------------------------------------------------------------

    def start(self) -> None:
        """Reads what waits, page by page between other work, then delivers it.

        A page that cannot be read is read again a little later.
        """
        try:
            self.dead_count, self.dead_bytes = self._store.measure_entity(DEAD)
        except LithoxError as error:
            self._load_later(self.start, error)
        else:
            self._schedule(partial(self._load_page, TRIES, ""))

    def _load_later(self, load: Callable[[], None], error: LithoxError) -> None:
        _log.warning("messages wait, the outbox cannot be read now: %s", error)
        self._load_again = (self._clock.monotonic_ns() + LOAD_PAUSE_MS * NS_PER_MS, load)
        self._ask_for_time()

    def _load_page(self, entity: EntityPath, start: str) -> None:
        if self._is_stopped:
            return
        try:
            rows, following = read_page(self._store.open_snapshot, entity, start)
        except LithoxError as error:
            self._load_later(partial(self._load_page, entity, start), error)
            return
        if entity == TRIES:
            self._tries |= to_tries(rows)
        else:
            self._found += to_found(rows)
        if following is not None:
            self._schedule(partial(self._load_page, entity, following))
        elif entity == TRIES:
            self._schedule(partial(self._load_page, OUTBOX, ""))
        else:
            self._end_loading()

    def _end_loading(self) -> None:
        found, self._found = self._found, []
        fresh, self._fresh = self._fresh, []
        # What was committed since the start comes after all from before, whatever page showed it.
        fresh_ids = {message_id for message_id, _, _ in fresh}
        for one in sorted(found, key=lambda row: row[:2]):
            if one.id not in fresh_ids:
                self._add(one.id, one.record, one.size_bytes, self._tries.get(one.id))
        self._tries.clear()
        self._is_running = True
        for message_id, record, size in fresh:
            self._add(message_id, record, size, None)
        self.wake()
        if self.on_started is not None:
            self.on_started()

    def stop(self) -> None:
        """Delivers nothing more; what is under way ends by itself. Idempotent."""
        self._is_stopped = True
        self._is_running = False
        if self._forwarding is not None:
            self._forwarding.stop()

    # -- coming -----------------------------------------------------------------------------

    def notify_committed(self, job: Job, transaction: Transaction, version: int) -> None:
        """Hears of a commit that is visible; see `Runs.on_committed`."""
        del job, version
        sent = [cell for cell in transaction.sent if cell[0] == OUTBOX]
        if sent:
            writes = transaction.writes
            self.take_rows({cell: writes.get(cell) for cell in sent})

    def take_rows(self, writes: dict[Cell, bytes | None]) -> None:
        """Queues the messages among the rows of a commit that is visible, in their order."""
        is_added = False
        for (entity, message_id), row in writes.items():
            if entity != OUTBOX or row is None:
                continue
            record, size = decode_message(row), len(row) + len(message_id)
            if self._is_running:
                self._add(message_id, record, size, None)
                is_added = True
            else:
                self._fresh.append((message_id, record, size))
        if is_added:
            self.wake()

    def _add(
        self, message_id: str, record: MessageRecord, size: int, tries: TriesRecord | None
    ) -> None:
        entry = Entry(
            id=message_id, account=record.account, size_bytes=size, sent_ms=record.sent_ms
        )
        if tries is not None:
            entry.tries, entry.next_ms = tries.tries, tries.next_ms
        self._waiting.add(record.pair, entry)

    def take_unsent(self, pair: PairKey, entry: Entry) -> None:
        """Queues what has no row in the outbox; not to be called before `start` has ended."""
        if self._is_running:
            self._waiting.add(pair, entry)
            self.wake()

    # -- going ------------------------------------------------------------------------------

    def wake(self) -> None:
        """Delivers soon. Cheap when that is planned already."""
        if self._is_running and not self._is_pump_planned:
            self._is_pump_planned = True
            self._schedule(self._pump)

    def notify_time(self) -> None:
        """To be called when a rest may be over."""
        now_ns, again = self._clock.monotonic_ns(), self._load_again
        if again is not None and again[0] <= now_ns and not self._is_stopped:
            self._load_again = None
            again[1]()
        self._waiting.wake_rested(now_ns)
        self.wake()
        self._ask_for_time()

    def _ask_for_time(self) -> None:
        next_ns, again = self._waiting.next_wake_ns, self._load_again
        if again is not None and not self._is_stopped:
            next_ns = again[0] if next_ns is None else min(next_ns, again[0])
        if next_ns is not None and self.on_deadline is not None:
            self.on_deadline(next_ns)

    def _pump(self) -> None:
        self._is_pump_planned = False
        for _ in range(SUBMITS_MAX):
            if not self._is_running:
                return
            pair = self._waiting.take_next()
            if pair is None:
                return
            self._deliver(pair, pair.entries[0])
        self.wake()

    def _deliver(self, pair: Pair, entry: Entry) -> None:
        rest_ms = entry.next_ms - self._clock.wall_ns() // NS_PER_MS
        if rest_ms > 0:
            # Known from before a restart; never longer than a rest can be, whatever the clock.
            entry.next_ms = 0
            self._waiting.end_delivery(entry)
            self._rest(pair, min(rest_ms, self._bounds.pause_last_ms))
            return
        if self._goes_elsewhere(pair):
            # It waits for a place of its volume: what hangs there takes none of those here.
            assert self._forwarding is not None
            self._waiting.end_delivery(entry)
            if entry.given_up is not None:
                self._give_up(pair, entry, entry.given_up)
                return
            self._forwarding.deliver(entry, pair.key.receiver, partial(self._end, pair, entry))
            return
        try:
            request = self._request_of(entry)
        except LithoxError as error:
            self._take_answer(pair, entry, Answer(error=error))
            return
        if request is None:
            self._take_answer(pair, entry, Answer())
        else:
            self._submit(request, partial(self._take_answer, pair, entry))

    def _goes_elsewhere(self, pair: Pair) -> bool:
        return self._forwarding is not None and self._forwarding.takes(pair.key)

    def _request_of(self, entry: Entry) -> Request | None:
        """Returns the request that delivers a message; None when its row is gone."""
        if entry.unsent is not None:
            return _to_request(entry, entry.unsent.to_message(), entry.unsent.origin())
        snapshot = self._store.open_snapshot()
        try:
            item = snapshot.find(OUTBOX, entry.id)
        finally:
            snapshot.release()
        if item is None:
            return None
        origin = MessageOrigin(entry.id, has_tries=entry.tries > 0)
        return _to_request(entry, decode_message(item.value), origin)

    def _take_answer(self, pair: Pair, entry: Entry, answer: Answer) -> None:
        self._waiting.end_delivery(entry)
        self._end(pair, entry, answer.error)

    def _end(self, pair: Pair, entry: Entry, error: Exception | None) -> None:
        """A try has ended, and the place it had is free again."""
        if error is not None:
            self._fail(pair, entry, error)
            return
        self.counters.delivered += 1
        self._go_on(pair)

    def _go_on(self, pair: Pair) -> None:
        """The first message of a pair is done with: the next one, if there is one."""
        self._waiting.drop_first(pair)
        if pair.entries:
            self._waiting.make_ready(pair)
        self.wake()

    # -- failing ----------------------------------------------------------------------------

    def _fail(self, pair: Pair, entry: Entry, error: Exception) -> None:
        """A try has failed: rest, or bury it. The pair stays DELIVERING until that is settled."""
        self.counters.failed += 1
        self.wake()
        if entry.unsent is not None:
            entry.unsent.notify_failed(error)
        if is_retried(error) or not self._has_row(entry):
            entry.stumbles += 1
            self._rest(pair, self._bounds.pause_ms(entry.stumbles))
            return
        entry.stumbles = 0
        entry.tries += 1
        pause_ms = self._bounds.pause_ms(entry.tries)
        if entry.tries >= self._bounds.tries_max:
            if self._has_room_among_dead(entry):
                self._give_up(pair, entry, error)
                return
            # Nobody would ever hear of it: it is tried until there is room among the dead.
            pause_ms = self._bounds.pause_last_ms
        self._keep_tries(entry, pause_ms)
        self._rest(pair, pause_ms)

    def _has_row(self, entry: Entry) -> bool:
        """Returns whether `entry` has a row in the outbox, where it has none yet by giving it one.

        One that is due no more gets none: its next try finds that, and ends.
        """
        unsent = entry.unsent
        if unsent is None:
            return True
        snapshot = self._store.open_snapshot()
        try:
            move = unsent.plan_move(snapshot)
            if move is None:
                return False
            row = encode_message(unsent.to_message())
            writes: dict[Cell, bytes | None] = {**move.writes, (OUTBOX, entry.id): row}
            commit = Commit(snapshot.version, reads=move.reads, writes=writes)
        except LithoxError:
            return False
        finally:
            snapshot.release()

        def settle(failure: Exception | None) -> None:
            if failure is not None:
                unsent.notify_failed(failure)

        try:
            if self._store.submit(commit, settle) is None:
                return False
        except StoreUnavailable:
            return False
        entry.unsent = None
        unsent.notify_moved()
        return True

    def _rest(self, pair: Pair, pause_ms: int) -> None:
        until_ns = self._clock.monotonic_ns() + pause_ms * NS_PER_MS
        self._waiting.rest(pair, until_ns)
        self._ask_for_time()

    def _keep_tries(self, entry: Entry, pause_ms: int) -> None:
        """Remembers failures across restarts; should that fail, only this process knows them."""
        next_ms = self._clock.wall_ns() // NS_PER_MS + pause_ms
        row = encode_tries(TriesRecord(tries=entry.tries, next_ms=next_ms))
        self._change_waiting(entry, lambda _: {(TRIES, entry.id): row}, lambda _: None)

    def _has_room_among_dead(self, entry: Entry) -> bool:
        size_bytes = entry.size_bytes + DEAD_BYTES_MORE
        return (
            self.dead_count < self._bounds.dead_max
            and self.dead_bytes + size_bytes <= self._bounds.dead_bytes_max
        )

    def note_dead(self, change: int, size_bytes: int) -> None:
        """Counts letters that have come among the dead or (less than 0) have gone, and bytes."""
        self.dead_count += change
        self.dead_bytes += size_bytes

    def _give_up(self, pair: Pair, entry: Entry, error: Exception) -> None:
        """Buries a message once it is certain that it takes no effect elsewhere.

        From here on it is only ever given up: a try more would be taken for done over there.
        """
        if not self._goes_elsewhere(pair):
            self._bury(pair, entry, error)
            return
        assert self._forwarding is not None
        entry.given_up = error

        def take(is_done: bool, failure: Exception | None) -> None:  # noqa: FBT001
            if failure is None and is_done:
                self._end(pair, entry, None)
            elif failure is None and self._has_room_among_dead(entry):
                self._bury(pair, entry, error)
            else:
                self._rest(pair, self._bounds.pause_last_ms)

        self._forwarding.give_up(entry, pair.key.receiver, take)

    def _bury(self, pair: Pair, entry: Entry, error: Exception) -> None:
        """Moves the first message of a pair among the dead, then lets the pair go on."""
        size_bytes = 0

        def plan(row: bytes) -> dict[Cell, bytes | None]:
            nonlocal size_bytes
            record = DeadRecord(
                message=row,
                tries=entry.tries,
                code=str(getattr(error, "code", "internal")),
                text=str(error)[:500],
                died_ms=self._clock.wall_ns() // NS_PER_MS,
            )
            letter = encode_dead(record)
            size_bytes = len(letter) + len(entry.id)
            self.note_dead(1, size_bytes)
            return {(OUTBOX, entry.id): None, (TRIES, entry.id): None, (DEAD, entry.id): letter}

        def settle(failure: Exception | None) -> None:
            if failure is None:
                self.counters.died += 1
                self._go_on(pair)
                return
            self.note_dead(-1, -size_bytes)
            self._rest(pair, self._bounds.pause_last_ms)

        if not self._change_waiting(entry, plan, settle):
            if size_bytes:
                self.note_dead(-1, -size_bytes)
            self._rest(pair, self._bounds.pause_first_ms)

    def _change_waiting(
        self,
        entry: Entry,
        plan: Callable[[bytes], dict[Cell, bytes | None]],
        settle: Callable[[Exception | None], None],
    ) -> bool:
        """Commits what `plan` makes of a message's row, if it is still there.

        Returns:
            False when nothing was committed; else `settle` is told how it ended.
        """
        snapshot = self._store.open_snapshot()
        try:
            item = snapshot.find(OUTBOX, entry.id)
            if item is None:
                return False
            commit = Commit(snapshot.version, reads=[(OUTBOX, entry.id)], writes=plan(item.value))
        except LithoxError:
            return False
        finally:
            snapshot.release()
        try:
            return self._store.submit(commit, settle) is not None
        except StoreUnavailable:
            return False

    # -- other nodes ------------------------------------------------------------------------

    def adopt_old(self) -> None:
        """Takes over what other nodes of the same database committed and have not delivered.

        Both may deliver it then, and it takes effect once all the same. The outbox is read page by
        page between other work.
        """
        if self._is_running and not self._is_adopting:
            self._is_adopting = True
            before_ms = self._clock.wall_ns() // NS_PER_MS - ADOPTED_AFTER_MS
            self._schedule(partial(self._adopt_page, before_ms, [], ""))

    def _adopt_page(self, before_ms: int, found: list[Adopted], start: str) -> None:
        following: str | None = None
        try:
            if self._is_running:
                rows, following = read_page(self._store.open_snapshot, OUTBOX, start)
                found += self._read_abandoned(rows, before_ms)
        except LithoxError as error:
            # Nothing is taken over then: behind what was not read may stand what comes first.
            _log.warning("what other nodes left stays for now: %s", error)
            found.clear()
        if following is not None:
            self._schedule(partial(self._adopt_page, before_ms, found, following))
            return
        self._is_adopting = False
        for one, tries in sorted(found, key=lambda pair: pair[0][:2]):
            if not self._waiting.has(one.id):
                self._add(one.id, one.record, one.size_bytes, tries)
        self.wake()

    def _read_abandoned(self, rows: list[tuple[str, Item]], before_ms: int) -> Iterator[Adopted]:
        """Returns those of `rows` that nobody here knows and that were sent before `before_ms`."""
        for one in to_found(row for row in rows if not self._waiting.has(row[0])):
            if one.record.sent_ms <= before_ms:
                yield one, read_tries(self._store.open_snapshot, one.id)


def _to_request(entry: Entry, record: MessageRecord, origin: Origin) -> Request:
    """Returns the request that delivers a message."""
    args: list[Any] = decode_value(bytes(record.args))
    return Request(
        entity=record.receiver,
        handler=HandlerName(record.handler),
        args=args,
        caller=Caller(
            identity=identity_of_entity(record.sender), account=AccountName(record.account)
        ),
        request_id=RequestId(entry.id),
        origin=origin,
        hops=record.hops,
        owner=record.owner,
    )
