"""Telling outcomes to call-backs: at least once, signed, tried again across restarts.

Theory of operation. The commit that makes the outcome of an accepted request known writes a row
for its call-back. While there is a row, it is sent when its time has come; an answer of 200 to 299
takes the row away, anything else lets it rest, longer each time, until it has failed as often as
it may. Then it is dead: listed, sent again or purged by an administrator.

A crash between the answer and the end of the row sends it again, under the same `webhook-id`.

Invariants: of one row at most one try is under way on this node; no more than so many tries at
once, and so many to one origin; memory holds a bounded record of each row, never an outcome.

It is long because trying, failing and being asked for share one life of a call-back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import msgspec

from lithox.dispatch.accepted_records import AcceptedRecord, key_of
from lithox.dispatch.job import Clock, derive_id
from lithox.errors import BadArguments, Conflict, LithoxError, NotFound, Overloaded, StoreCorrupt
from lithox.model.outcome import outcome_to_json
from lithox.model.request import Answer
from lithox.node.callback_queue import CallbackQueue, Waiting
from lithox.node.callback_records import (
    CALLBACKS,
    CallbackRecord,
    decode_callback,
    encode_callback,
)
from lithox.node.callback_settings import CallbackSettings, origin_of
from lithox.node.commits import submit_durably
from lithox.node.webhooks import webhook_headers
from lithox.store.contract import Cell, Commit, Range, Store

PAGE_MAX: Final = 512
ADOPTED_AFTER_MS: Final = 60_000
"""How late a call-back of another node must be before this one sends it."""
RETRY_WRITE_MS: Final = 1_000
GO_MAX: Final = 256
"""Call-backs looked at before the event loop gets a go; about 5 ms."""
NS_PER_MS: Final = 1_000_000

Send = Callable[[str, dict[str, str], bytes], Awaitable[str | None]]
"""(URL, headers, body) -> None when it was taken, else why not."""
FindOutcome = Callable[[str, str], Answer | None]
"""(identity, request id)."""
_log: Final = logging.getLogger("lithox.node")
_encoder: Final = msgspec.json.Encoder()


@dataclass(slots=True)
class Counters:
    """What has happened since the start; read by metrics."""

    sent: int = 0
    failed: int = 0
    died: int = 0


class Callbacks:
    """The call-backs of one node. Every method is called on the node's loop.

    Attributes:
        on_deadline: asks for `notify_time` at a monotonic time.
    """

    def __init__(  # noqa: PLR0913 - where its parts come together; all by keyword
        self,
        *,
        store: Store,
        clock: Clock,
        settings: CallbackSettings,
        find: FindOutcome,
        send: Send,
        schedule: Callable[[Callable[[], None]], object],
        is_shared: bool = False,
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._find = find
        self._send = send
        self._schedule = schedule
        self._is_shared = is_shared
        self._is_known = self._is_scanning = False
        self._queue = CallbackQueue(settings)
        self._sending: dict[str, Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._dead: Counter[str] = Counter()
        """By account."""
        self._is_running = False
        self.counters = Counters()
        self.on_deadline: Callable[[int], None] | None = None

    # -- in ---------------------------------------------------------------------------------

    def check(self, url: str, account: str) -> str:
        """Returns `url` if an outcome of `account` may be sent there.

        Raises:
            BadArguments, NotPermitted: see `CallbackSettings.check_url`.
            Overloaded: as many call-backs wait as may, on the node or of the account.
        """
        self._settings.check_url(url)
        if self._queue.is_full(account):
            raise Overloaded("as many call-backs wait as may; try again", retry_after_ms=10_000)
        return url

    def writes_of(
        self, identity: str, request_id: str, record: AcceptedRecord
    ) -> dict[Cell, bytes]:
        """Returns what the commit of an outcome writes for its call-back; see `Accepted`."""
        if record.callback is None:
            return {}
        row = CallbackRecord(
            url=record.callback,
            next_ms=self._clock.wall_ns() // NS_PER_MS,
            account=record.account,
        )
        return {(CALLBACKS, key_of(identity, request_id)): encode_callback(row)}

    def notify_finished(self, identity: str, request_id: str) -> None:
        """An outcome is durable: if it has a call-back, that is due now."""
        key = key_of(identity, request_id)
        try:
            row = self._read(key)
        except LithoxError as error:
            _log.warning("call-back %r waits for the next sweep: %s", key, error)
            self._is_known = False
            return
        if row is not None and not row.is_dead:
            self._wait(key, _waiting_of(row))

    # -- sending ----------------------------------------------------------------------------

    def _read(self, key: str) -> CallbackRecord | None:
        snapshot = self._store.open_snapshot()
        try:
            item = snapshot.find(CALLBACKS, key)
        finally:
            snapshot.release()
        return None if item is None else decode_callback(item.value)

    def _wait(self, key: str, waiting: Waiting) -> None:
        if key not in self._sending:
            self._queue.add(key, waiting)
            self.notify_time()

    def notify_time(self) -> None:
        """To be called when a call-back may be due."""
        if not self._is_running:
            return
        wall_ms = self._clock.wall_ns() // NS_PER_MS
        is_more = self._queue.move_due(wall_ms, GO_MAX)
        for _ in range(GO_MAX):
            taken = self._queue.take()
            if taken is None:
                break
            try:
                self._begin(*taken)
            except LithoxError as error:
                _log.warning("a call-back rests: %s", error)
                self._wait_again(*taken, wall_ms + RETRY_WRITE_MS)
        else:
            is_more = True
        self._arm(wall_ms, is_more=is_more)

    def _arm(self, wall_ms: int, *, is_more: bool) -> None:
        """Asks for the next time; what waits for room is begun when a try ends."""
        due_ms = wall_ms if is_more else self._queue.next_due_ms
        if due_ms is None or self.on_deadline is None:
            return
        # The wall clock may jump; look again within a minute.
        left_ms = min(max(0, due_ms - wall_ms), 60_000)
        self.on_deadline(self._clock.monotonic_ns() + left_ms * NS_PER_MS)

    def _wait_again(self, key: str, waiting: Waiting, due_ms: int) -> None:
        waiting.due_ms = due_ms
        self._queue.add(key, waiting)

    def _begin(self, key: str, waiting: Waiting) -> None:
        """Begins a try of what was taken from the queue, or frees its place."""
        is_begun = False
        try:
            row = self._read(key)
            if row is not None and not row.is_dead:
                is_begun = self._begin_row(key, waiting, row)
        finally:
            if not is_begun:
                self._queue.end(waiting)

    def _begin_row(self, key: str, waiting: Waiting, row: CallbackRecord) -> bool:
        try:
            self._settings.check_url(row.url)
        except LithoxError as error:
            # Taken from the list since it was accepted: whatever was promised, it may not go there.
            self._failed(key, waiting, (row, error.message), is_last=True)
            return False
        self._sending[key] = waiting
        task = asyncio.get_running_loop().create_task(self._try(key, waiting, row))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _try(self, key: str, waiting: Waiting, row: CallbackRecord) -> None:
        identity, _, request_id = key.partition("/")
        why: str | None = "its outcome is not kept any more"
        is_last = True
        try:
            answer = self._find(identity, request_id)
            if answer is not None:
                body = _encoder.encode(outcome_to_json(answer))
                headers = webhook_headers(
                    self._settings.keys,
                    message_id=derive_id("c_", identity, request_id),
                    timestamp_s=self._clock.wall_ns() // 1_000_000_000,
                    body=body,
                )
                headers["content-type"] = "application/json"
                why = await self._send(row.url, headers, body)
                is_last = row.tries + 1 >= self._settings.tries_max
        except LithoxError as error:
            why, is_last = error.message, False
        except Exception as bug:  # noqa: BLE001 - its place must be free again
            _log.exception("a call-back could not be sent")
            why, is_last = type(bug).__name__, row.tries + 1 >= self._settings.tries_max
        finally:
            # Whatever ended the try: those that wait for its place may go.
            del self._sending[key]
            self._queue.end(waiting)
        if why is None:
            self.counters.sent += 1
            self._write(key, waiting, None)
        else:
            self._failed(key, waiting, (row, why), is_last=is_last)
        self.notify_time()

    def _failed(
        self, key: str, waiting: Waiting, tried: tuple[CallbackRecord, str], *, is_last: bool
    ) -> None:
        """A try has failed; `tried` is the row and why."""
        row, why = tried
        self.counters.failed += 1
        tries = row.tries + 1
        due_ms = self._clock.wall_ns() // NS_PER_MS + self._settings.pause_ms(tries)
        if is_last:
            self.counters.died += 1
            if self._are_dead_full(waiting.account):
                _log.error("a call-back is dropped, too many are dead: %s", why)
                self._write(key, waiting, None)
                return
            self._dead[waiting.account] += 1
        row = msgspec.structs.replace(
            row, tries=tries, next_ms=due_ms, error=why[:500], is_dead=is_last
        )
        self._write(key, waiting, row)
        if not is_last:
            self._wait_again(key, waiting, due_ms)

    def _are_dead_full(self, account: str) -> bool:
        return (
            self._dead.total() >= self._settings.dead_max
            or self._dead[account] >= self._settings.dead_account_max
        )

    def _write(self, key: str, waiting: Waiting, row: CallbackRecord | None) -> None:
        """Writes a row without waiting; if that fails it is as it was, and sent once more."""
        value = None if row is None else encode_callback(row)
        commit = Commit(self._store.visible_version, writes={(CALLBACKS, key): value})
        written = partial(self._written, key, waiting)
        try:
            self._store.submit(commit, written)
        except LithoxError as error:
            written(error)

    def _written(self, key: str, waiting: Waiting, error: Exception | None) -> None:
        if error is not None and self._is_running:
            due_ms = self._clock.wall_ns() // NS_PER_MS + RETRY_WRITE_MS
            self._wait(key, replace(waiting, due_ms=due_ms, is_ready=False))

    # -- administration ---------------------------------------------------------------------

    def list_dead(self, after: str, limit: int) -> tuple[list[dict[str, Any]], bool]:
        """Returns (dead call-backs in key order, whether there are more)."""
        found: list[dict[str, Any]] = []
        start = after + "\x00" if after else ""
        snapshot = self._store.open_snapshot()
        try:
            while True:
                page = snapshot.scan(Range(CALLBACKS, start, None), PAGE_MAX)
                for key, item in page.items:
                    row = decode_callback(item.value)
                    if not row.is_dead:
                        continue
                    if len(found) == limit:
                        return found, True
                    found.append(_shown(key, row))
                if not page.more:
                    return found, False
                start = page.items[-1][0] + "\x00"
        finally:
            snapshot.release()

    async def retry(self, identity: str, request_id: str) -> None:
        """Sends a dead call-back again, with all its tries; waits until that is durable.

        Raises:
            NotFound: there is no such dead call-back (any more).
            Conflict, StoreUnavailable: nothing has changed.
        """
        key = key_of(identity, request_id)
        row = self._get_dead(key)
        now_ms = self._clock.wall_ns() // NS_PER_MS
        row = msgspec.structs.replace(row, tries=0, next_ms=now_ms, is_dead=False)
        await self._change_dead(key, row.account, encode_callback(row))
        self._wait(key, _waiting_of(row))

    async def purge(self, identity: str, request_id: str) -> None:
        """Forgets a dead call-back; waits until that is durable. Raises as `retry`."""
        key = key_of(identity, request_id)
        row = self._get_dead(key)
        await self._change_dead(key, row.account, None)

    async def _change_dead(self, key: str, account: str, value: bytes | None) -> None:
        """Commits what becomes of a dead row that is there now, and waits for it."""

        def follow_up(failure: Exception | None) -> None:
            self._dead[account] += failure is not None

        cell: Cell = (CALLBACKS, key)
        commit = Commit(self._store.visible_version, reads=[cell], writes={cell: value})
        done = submit_durably(self._store, commit, follow_up)
        if done is None:
            raise Conflict("others changed the call-back at the same time", retry_after_ms=50)
        self._dead[account] -= 1
        await done

    def _get_dead(self, key: str) -> CallbackRecord:
        row = self._read(key)
        if row is None or not row.is_dead:
            raise NotFound("no such dead call-back")
        return row

    def statistics(self) -> dict[str, int]:
        """Returns counts for metrics."""
        return {
            "waiting": len(self._queue),
            "sending": len(self._sending),
            "dead": self._dead.total(),
            "sent_total": self.counters.sent,
            "failed_total": self.counters.failed,
        }

    # -- start and end ----------------------------------------------------------------------

    def start(self) -> None:
        """Takes up the call-backs that were waiting, page by page between other work."""
        self._is_running = True
        self._scan()

    def sweep(self) -> None:
        """Takes over what another node should have sent long ago; and what a start left unread."""
        if self._is_running and not self._is_scanning and (self._is_shared or not self._is_known):
            self._scan()

    def _scan(self) -> None:
        self._is_scanning = True
        # At the start all that waits is this node's to send, later only what is late.
        late_ms = ADOPTED_AFTER_MS if self._is_known else None
        before_ms = None if late_ms is None else self._clock.wall_ns() // NS_PER_MS - late_ms
        self._schedule(partial(self._scan_page, before_ms, "", Counter()))

    def _scan_page(self, before_ms: int | None, start: str, dead: Counter[str]) -> None:
        if not self._is_running:
            return
        snapshot = self._store.open_snapshot()
        try:
            page = snapshot.scan(Range(CALLBACKS, start, None), PAGE_MAX)
        except LithoxError as error:
            _log.warning("call-backs stay as they are until the next sweep: %s", error)
            self._is_scanning = False
            return
        finally:
            snapshot.release()
        for key, item in page.items:
            self._take_up(key, item.value, before_ms, dead)
        if page.more:
            start = page.items[-1][0] + "\x00"
            self._schedule(partial(self._scan_page, before_ms, start, dead))
            return
        self._is_scanning, self._is_known = False, True
        self._dead = dead

    def _take_up(self, key: str, value: bytes, before_ms: int | None, dead: Counter[str]) -> None:
        """Lets a row wait if it is this node's to send now; counts it if it is dead."""
        try:
            row = decode_callback(value)
        except StoreCorrupt as error:
            _log.warning("call-back %r is passed over: %s", key, error)
            return
        if row.is_dead:
            dead[row.account] += 1
        elif key not in self._queue and (before_ms is None or row.next_ms < before_ms):
            self._wait(key, _waiting_of(row))

    async def stop(self) -> None:
        """Begins nothing more and breaks off what is being sent: its rows stay."""
        self._is_running = False
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _waiting_of(row: CallbackRecord) -> Waiting:
    try:
        origin = origin_of(row.url)
    except BadArguments:
        # It is told where it is begun.
        origin = ""
    return Waiting(due_ms=row.next_ms, origin=origin, account=row.account)


def _shown(key: str, row: CallbackRecord) -> dict[str, Any]:
    identity, _, request_id = key.partition("/")
    return {
        "identity": identity,
        "request": request_id,
        "url": row.url,
        "tries": row.tries,
        "error": row.error,
        "at_ms": row.next_ms,
    }
