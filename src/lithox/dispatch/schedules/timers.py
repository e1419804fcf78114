"""Waking up: timers that are due become messages of their entity to itself.

Theory of operation. `Window` knows which row of the index comes first, and one wake-up is asked
for that time. A timer that is due once is called at once, as an unsent message: it goes with the
commit of its run (`direct.py`). Of those that repeat a batch is moved in one commit: the row of
the timer moves on to its next time, and a message stands in the outbox. All rows are read by that
commit, so a cancel that came first wins, and a timer that two nodes move is moved once. Either way
it is a message like any other from there on (`dispatch/messages`), in an order of its own.

The wall clock may jump. What is due is asked anew at least every `RECHECK_MS`, so a clock that was
set forward is noticed then, and one that was set back makes timers late, never double.

A withdrawal (a failed sync) may bring back rows that were taken: everything is read anew then.

Invariants: nothing here waits or sleeps; a timer that is due once is never dropped, however full
the outbox is; one that repeats is skipped rather than piled up.

It is long because reading, firing and deferring keep one window of armed timers right together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Final

from lithox.dispatch.job import Clock, Job
from lithox.dispatch.messages.mail import Mail
from lithox.dispatch.messages.records import OUTBOX, PairKey
from lithox.dispatch.messages.waiting import Entry
from lithox.dispatch.schedules.armed import Armed
from lithox.dispatch.schedules.backlog import Backlog, Rest
from lithox.dispatch.schedules.batches import MESSAGE_BYTES_MORE, Batch, Planner, Room
from lithox.dispatch.schedules.bounds import TimerBounds
from lithox.dispatch.schedules.direct import DueCall
from lithox.dispatch.schedules.records import (
    DUE,
    account_of_removal,
    decode_account,
    due_end,
    due_key,
    entity_of_due_key,
    parse_due_key,
)
from lithox.dispatch.schedules.setting import Setting
from lithox.dispatch.schedules.window import Window
from lithox.dispatch.transaction import Transaction
from lithox.errors import LithoxError, StoreCorrupt, StoreUnavailable
from lithox.store.contract import Commit, Item, Range, Snapshot, Store

RECHECK_MS: Final = 60_000
"""How long a jump of the wall clock may go unnoticed."""
PAGE_MAX: Final = 4_096
"""Rows of the index read at a time; about 10 ms."""
BATCH_BYTES_MAX: Final = 4 << 20
"""Bytes of messages in one commit of a batch."""
STEPS_MAX: Final = 256
"""Times looked for in cron lines after which a batch ends, about 8 ms; the timer that passes it may
add `missed_max` of its own."""
PAUSE_MS: Final = 1_000
"""Rest before what could not be moved is tried again: the outbox is full, or the disk."""
ADOPTED_AFTER_MS: Final = 60_000
"""How long a timer that another node has set must be overdue to be taken over."""
NS_PER_MS: Final = 1_000_000


@dataclass(slots=True, kw_only=True)
class Counters:
    """What has happened since the start."""

    fired: int = 0
    skipped: int = 0
    """Times of repeated timers without a call: missed, or one before had not ended. Times of one
    timer that found no room at once count as one: nobody looks for them."""
    broken: int = 0
    """Rows that could not be read; they stay where they are."""


class Timers:
    """The timers of one node. All methods are called on the node's thread."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        schedule: Callable[[Callable[[], None]], object],
        mail: Mail,
        bounds: TimerBounds,
    ) -> None:
        self._store = store
        self._clock = clock
        self._schedule = schedule
        self._mail = mail
        self.bounds = bounds
        self._window = Window(self._read_keys, held_max=bounds.held_max, page_max=PAGE_MAX)
        self._deferred: dict[str, int] = {}
        """Key -> when it is looked at again, monotonic; in the order of that."""
        self._backlog = Backlog()
        self._paused_until_ns = 0
        self._planner = Planner(
            bounds=bounds,
            message_bounds=mail.bounds,
            waiting=mail.waiting,
            on_moved=self._note_moved,
            on_failed=self._note_failed,
        )
        self._withdrawn_seen = 0
        self._counting = 0
        self._is_running = False
        self._is_planned = False
        self.counters = Counters()
        self.armed = Armed()
        self.endpoints = Setting(
            bounds=bounds,
            message_bounds=mail.bounds,
            armed=self.armed,
            wall_ms=self._wall_ms,
        ).endpoints
        self.on_deadline: Callable[[int], None] | None = None
        """Asks for `notify_time` at a monotonic time."""

    def statistics(self) -> dict[str, int]:
        """Returns counters and gauges for metrics."""
        return {
            "armed": self.armed.count,
            "held": len(self._window) + len(self._deferred),
            "accounts_held_back": len(self._backlog),
            "fired_total": self.counters.fired,
            "skipped_total": self.counters.skipped,
            "broken_total": self.counters.broken,
        }

    # -- start and end ----------------------------------------------------------------------

    def start(self) -> None:
        """Moves what is due from now on; to be called once messages are delivered."""
        self._is_running = True
        self._read_anew()

    def stop(self) -> None:
        """Moves nothing more. Idempotent."""
        self._is_running = False

    def _read_anew(self) -> None:
        """Forgets what is held, and counts all timers again, page by page between other work."""
        self._withdrawn_seen = self._store.withdrawn_version
        self._window.reset()
        self._deferred.clear()
        self._backlog.clear()
        self.armed.reset()
        self._counting += 1
        snapshot = self._store.open_snapshot()
        self._schedule(partial(self._count_page, self._counting, snapshot, ""))
        self._wake()

    def _count_page(self, counting: int, snapshot: Snapshot, start: str) -> None:
        if counting != self._counting or not self._is_running:
            snapshot.release()
            return
        try:
            page = snapshot.scan(Range(DUE, start, None), PAGE_MAX)
            for key, item in page.items:
                try:
                    account = decode_account(item.value)
                except StoreCorrupt:
                    self.counters.broken += 1
                    continue
                self.armed.change(parse_due_key(key).entity, account, 1)
        except LithoxError:
            # Too old by now, or not to be read: counts are for bounds only.
            snapshot.release()
            return
        if page.more:
            start = page.items[-1][0] + "\x00"
            self._schedule(partial(self._count_page, counting, snapshot, start))
        else:
            snapshot.release()

    def _read_keys(self, start: str, limit: int) -> tuple[list[str], bool]:
        snapshot = self._store.open_snapshot()
        try:
            page = snapshot.scan(Range(DUE, start, None), limit)
        finally:
            snapshot.release()
        return [key for key, _ in page.items], page.more

    # -- coming and going -------------------------------------------------------------------

    def notify_committed(self, job: Job, transaction: Transaction, version: int) -> None:
        """Hears of a commit that is visible; see `Runs.on_committed`."""
        del job, version
        if not transaction.sent:
            return
        seen: set[str] = set()
        is_added = False
        for mark, key in transaction.sent:
            if key in seen or mark == OUTBOX:
                continue
            removed_from = account_of_removal(mark)
            cell = (DUE, key)
            if cell not in transaction.writes:
                continue  # Rolled back.
            # What a key was before the run is told by the first that the run did to it.
            seen.add(key)
            row = transaction.writes[cell]
            entity = entity_of_due_key(key)
            if removed_from is not None:
                self.armed.change(entity, removed_from, -1)
            if row is None:
                self._window.remove(key)
            else:
                self.armed.change(entity, decode_account(row), 1)
                self._window.add(key)
                is_added = True
        if is_added:
            self._ask_for_time()

    def notify_removed(self, keys: dict[str, str]) -> None:
        """Hears that an administrator has removed rows of the index: key -> account."""
        for key, account in keys.items():
            self._window.remove(key)
            self.armed.change(parse_due_key(key).entity, account, -1)

    def notify_added(self, keys: dict[str, str]) -> None:
        """Hears that an administrator has added rows of the index: key -> account."""
        for key, account in keys.items():
            self._window.add(key)
            self.armed.change(parse_due_key(key).entity, account, 1)
        if keys:
            self._ask_for_time()

    # -- being due --------------------------------------------------------------------------

    def _wall_ms(self) -> int:
        return self._clock.wall_ns() // NS_PER_MS

    def _wake(self) -> None:
        if self._is_running and not self._is_planned:
            self._is_planned = True
            self._schedule(self._fire)

    def notify_time(self) -> None:
        """To be called when a timer may be due."""
        now_ns = self._clock.monotonic_ns()
        rested = list(takewhile(lambda key: self._deferred[key] <= now_ns, self._deferred))
        for key in rested:
            del self._deferred[key]
            self._window.add(key)
        self._wake()

    def _ask_for_time(self) -> None:
        if self.on_deadline is None or not self._is_running:
            return
        now_ns = self._clock.monotonic_ns()
        wait_ns = RECHECK_MS * NS_PER_MS
        try:
            first = self._window.first()
        except LithoxError:
            # Called from commits, which must not fail because the index cannot be read now.
            self.on_deadline(now_ns + PAUSE_MS * NS_PER_MS)
            return
        if first is not None:
            due_ns = parse_due_key(first).due_ms * NS_PER_MS
            wait_ns = min(wait_ns, max(0, due_ns - self._clock.wall_ns()))
        elif not self.armed.count and not self._deferred and not self._backlog:
            return
        if self._deferred:
            wait_ns = min(wait_ns, next(iter(self._deferred.values())) - now_ns)
        wait_ns = max(0, min(wait_ns, self._backlog.earliest_ns - now_ns))
        self.on_deadline(max(now_ns + wait_ns, self._paused_until_ns))

    def _pause_end_ns(self) -> int:
        return self._clock.monotonic_ns() + PAUSE_MS * NS_PER_MS

    def _defer(self, keys: list[str]) -> None:
        """Looks at `keys` again after a pause; at all timers, when as many are held as may be."""
        if len(self._deferred) + len(keys) > self.bounds.held_max:
            self._pause(keys)
            return
        until_ns = self._pause_end_ns()
        for key in keys:
            self._deferred.pop(key, None)
            self._deferred[key] = until_ns

    def _pause(self, keys: list[str]) -> None:
        """Gives `keys` back, and moves nothing for a while."""
        self._paused_until_ns = self._pause_end_ns()
        for key in keys:
            self._window.add(key)

    def _fire(self) -> None:
        """Moves one batch of what is due; asks for another go when there may be more."""
        self._is_planned = False
        if not self._is_running:
            return
        if self._store.withdrawn_version != self._withdrawn_seen:
            self._read_anew()
            return
        batch, is_full = Batch(), False
        try:
            if self._clock.monotonic_ns() >= self._paused_until_ns:
                is_full = self._plan(batch)
            self._call(batch)
            if batch.writes:
                self._commit(batch)
        except LithoxError:
            # The store cannot be read or takes no writes now.
            self._pause(batch.keys)
            is_full = False
        if is_full:
            self._wake()
        self._ask_for_time()

    def _plan(self, batch: Batch) -> bool:
        """Puts what is due into `batch`; returns whether there may be more.

        A row that is passed over counts, too: however full the outbox is, a go stays short.
        """
        now_ms, looked = self._wall_ms(), 0
        end = due_end(now_ms)
        snapshot = self._store.open_snapshot()
        try:
            is_behind = self._catch_up(batch, snapshot, now_ms)
            while True:
                key = self._window.first()
                if key is None or key >= end:
                    return is_behind
                batch.keys.append(self._window.take())
                looked += 1
                self._plan_key(batch, snapshot, key, now_ms)
                if looked >= self.bounds.batch_max or self._is_full(batch):
                    return True
        finally:
            snapshot.release()

    def _is_full(self, batch: Batch) -> bool:
        return (
            len(batch.keys) >= self.bounds.batch_max
            or batch.messages >= self.bounds.missed_max
            or batch.message_bytes >= BATCH_BYTES_MAX
            or batch.steps >= STEPS_MAX
        )

    def _plan_key(self, batch: Batch, snapshot: Snapshot, key: str, now_ms: int) -> Room:
        """Plans the last key of `batch`, or takes it out again."""
        calls = len(batch.calls)
        try:
            if self._backlog and (account := _find_account(snapshot, key)) in self._backlog:
                room = Room.OUTBOX_FULL
            else:
                room = self._planner.plan_one(batch, snapshot, key, now_ms)
                account = "" if room is Room.FOUND else _find_account(snapshot, key)
        except StoreCorrupt:
            self.counters.broken += 1
            batch.keys.pop()
            return Room.FOUND
        if room is not Room.FOUND or len(batch.calls) > calls:
            # Not found due, or found and called: the commit says nothing about it.
            batch.keys.pop()
        if room is Room.LANE_FULL:
            # There are no more of these than messages that wait.
            self._defer([key])
        elif room is Room.OUTBOX_FULL:
            self._backlog.note(account, key, self._pause_end_ns())
        return room

    def _catch_up(self, batch: Batch, snapshot: Snapshot, now_ms: int) -> bool:
        """Plans rows of an account that were passed over, in half a batch; returns if any rest."""
        waiting, bounds = self._mail.waiting, self._mail.bounds
        now_ns = self._clock.monotonic_ns()
        if self._backlog and waiting.count >= bounds.node_max:
            self._backlog.postpone(self._pause_end_ns())
        while (found := self._backlog.find_rested(now_ns)) is not None:
            account, rest = found
            if waiting.count_of_account(account) >= bounds.account_max:
                rest.until_ns = self._pause_end_ns()
                continue
            # Its rows are planned like all others now; what has no room brings it back.
            self._backlog.remove(account)
            self._plan_rest(batch, snapshot, now_ms, (account, rest))
            return True
        return False

    def _plan_rest(
        self, batch: Batch, snapshot: Snapshot, now_ms: int, found: tuple[str, Rest]
    ) -> None:
        account, rest = found
        limit = max(1, self.bounds.batch_max // 2)
        page = snapshot.scan(Range(DUE, rest.first, rest.last + "\x00"), limit)
        now_ns = self._clock.monotonic_ns()
        for key, item in page.items:
            if not _is_of(account, item):
                continue
            batch.keys.append(key)
            room = self._plan_key(batch, snapshot, key, now_ms)
            if room is not Room.OUTBOX_FULL and self._is_full(batch):
                # Timers that repeat stand between them: what those look for ends a go, too.
                self._backlog.note(account, key, now_ns)
            if room is Room.OUTBOX_FULL or self._is_full(batch):
                self._backlog.note(account, rest.last, now_ns)
                return
        if page.more:
            following = page.items[-1][0] + "\x00"
            self._backlog.note(account, following, now_ns)
            self._backlog.note(account, rest.last, now_ns)

    def _call(self, batch: Batch) -> None:
        """Has the timers that are due once called; each goes with the commit of its run."""
        for call in batch.calls:
            entity, timer_id, account = call.due.entity, call.due.timer_id, call.record.account
            entry = Entry(
                id=call.id,
                account=account,
                size_bytes=len(call.record.args) + MESSAGE_BYTES_MORE,
                sent_ms=call.now_ms,
                unsent=call,
            )
            self._mail.delivery.take_unsent(PairKey(entity, entity, timer_id), entry)
        self.counters.fired += len(batch.calls)

    def _note_moved(self, call: DueCall) -> None:
        """Hears that a timer is a message now, since its call has failed."""
        self.armed.change(call.due.entity, call.record.account, -1)

    def _note_failed(self, error: Exception) -> None:
        """Hears that a call has failed: what was committed may have been withdrawn."""
        if isinstance(error, StoreUnavailable):
            # It takes nothing now; there is no need to have every timer find that out.
            self._paused_until_ns = self._pause_end_ns()
        if self._store.withdrawn_version != self._withdrawn_seen:
            self._wake()

    def _commit(self, batch: Batch) -> None:
        """Makes a batch visible and hands its messages over; raises StoreUnavailable."""

        def settle(failure: Exception | None) -> None:
            if failure is not None and self._is_running:
                self._read_anew()

        version = self._store.submit(
            Commit(
                # Read and submitted in one go on the node's thread: no run came between.
                self._store.visible_version,
                reads=batch.reads,
                writes=batch.writes,
            ),
            settle,
        )
        if version is None:
            # Another node has changed some of it since it was read.
            self._defer(batch.keys)
            return
        self.counters.fired += batch.messages - len(batch.calls)
        self.counters.skipped += batch.skipped
        for entity, account in batch.gone:
            self.armed.change(entity, account, -1)
        for key in batch.rearmed:
            self._window.add(key)
        self._mail.delivery.take_rows(batch.writes)

    # -- other nodes ------------------------------------------------------------------------

    def adopt_old(self) -> None:
        """Takes over timers of other nodes that are long overdue. Blocks: for a page of rows."""
        if not self._is_running:
            return
        end = due_key(max(0, self._wall_ms() - ADOPTED_AFTER_MS), "", "")
        snapshot = self._store.open_snapshot()
        try:
            page = snapshot.scan(Range(DUE, "", end), PAGE_MAX)
        finally:
            snapshot.release()
        for key, _ in page.items:
            self._window.add(key)
        self._wake()


def _find_account(snapshot: Snapshot, key: str) -> str:
    """Returns whose a row of the index is, "" when it is gone; raises StoreCorrupt."""
    row = snapshot.find(DUE, key)
    return "" if row is None else decode_account(row.value)


def _is_of(account: str, item: Item) -> bool:
    try:
        return decode_account(item.value) == account
    except StoreCorrupt:
        return False
