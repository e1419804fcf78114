"""Looking at messages and timers, and putting them right: the node's own code, for administrators.

Messages and dead letters are the node's: only its administrators may see or touch them, since a
row names entities of everybody. Timers are state of their entity: who may read it may list them,
who may write it may cancel one. Every act, and every refusal, leaves an audit record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.messages.records import (
    DEAD,
    OUTBOX,
    TRIES,
    DeadRecord,
    MessageRecord,
    PairKey,
    decode_dead,
    decode_message,
    decode_tries,
)
from lithox.dispatch.schedules.records import DUE, decode_schedule, due_key, schedules_of
from lithox.dispatch.schedules.setting import describe
from lithox.dispatch.schedules.spec import check_timer_id
from lithox.errors import (
    BadArguments,
    Conflict,
    LithoxError,
    MessageQueueFull,
    NotFound,
    NotPermitted,
    StoreCorrupt,
)
from lithox.model.ids import check_entity_path
from lithox.model.request import Caller
from lithox.model.values import decode_value
from lithox.node.acts import Act, Step
from lithox.node.admin import Admin
from lithox.node.commits import submit_durably
from lithox.node.pages import PAGE_BYTES_MAX, check_limit
from lithox.security.access import RIGHT_WRITE
from lithox.store.contract import Cell, Commit, Item, Page, Range, Snapshot, Store

Row = dict[str, Any]
IDS_MAX: Final = 1_000
"""Ids one act may name; "all" has no such bound."""
BATCH_MAX: Final = 256
"""Dead letters that one commit moves or forgets."""
ATTEMPTS_MAX: Final = 10
RETRY_AFTER_MS: Final = 1_000


class _Changed(NamedTuple):
    """What one commit did: how many letters, the last one looked at, if there are more."""

    changed: int
    last: str
    more: bool
    is_refused: bool


class MessageAdmin:
    """See the module's header. All methods are called on the node's loop."""

    def __init__(self, *, store: Store, dispatcher: Dispatcher, admin: Admin) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._admin = admin

    # -- messages ---------------------------------------------------------------------------

    def list_waiting(self, caller: Caller, after: str, limit: int) -> tuple[list[Row], bool]:
        """Returns (messages that wait, by id and greater than `after`; whether there are more)."""
        self._check_admin(caller, "messages:list")
        check_limit(limit)
        rows: list[Row] = []
        snapshot = self._store.open_snapshot()
        try:
            page = _page(snapshot, OUTBOX, after, limit)
            for message_id, item in page.items:
                tries = snapshot.find(TRIES, message_id)
                row = _describe_message(message_id, decode_message(item.value))
                row["bytes"] = len(item.value)
                row["tries"] = 0 if tries is None else decode_tries(tries.value).tries
                rows.append(row)
        finally:
            snapshot.release()
        return rows, page.more

    def list_dead(self, caller: Caller, after: str, limit: int) -> tuple[list[Row], bool]:
        """Returns (dead letters, by id and greater than `after`; whether there are more)."""
        self._check_admin(caller, "messages:dead")
        check_limit(limit)
        snapshot = self._store.open_snapshot()
        try:
            page = _page(snapshot, DEAD, after, limit)
        finally:
            snapshot.release()
        return [_describe_dead(key, decode_dead(item.value)) for key, item in page.items], page.more

    async def retry_dead(self, caller: Caller, ids: list[str] | None) -> int:
        """Puts dead letters back at the end of their pairs; waits until that is durable.

        Args:
            caller: an administrator.
            ids: which; those that are not among the dead (any more) are left out. None: all.

        Returns:
            How many.

        Raises:
            NotPermitted: the caller is no administrator.
            MessageQueueFull: none of them has room.
        """
        return await self._change_dead(caller, "messages:retry", ids, self._plan_retry)

    async def purge_dead(self, caller: Caller, ids: list[str] | None) -> int:
        """Forgets dead letters for good; see `retry_dead` for the arguments."""
        return await self._change_dead(caller, "messages:purge", ids, _plan_purge)

    async def _change_dead(
        self,
        caller: Caller,
        act: str,
        ids: list[str] | None,
        plan: Callable[[list[tuple[str, Item]]], dict[Cell, bytes | None]],
    ) -> int:
        self._check_admin(caller, act)
        if ids is not None and len(ids) > IDS_MAX:
            raise BadArguments(f"one act names at most {IDS_MAX} messages; found {len(ids)}")
        count, after, attempts, is_refused = 0, "", 0, False
        left = None if ids is None else sorted(set(ids))
        error: Exception | None = None
        try:
            while left is None or left:
                batch = await self._change_batch(plan, left, after)
                if batch is None:
                    attempts += 1
                    if attempts >= ATTEMPTS_MAX:
                        raise Conflict(
                            "others changed the dead letters each time", retry_after_ms=50
                        )
                    continue
                count += batch.changed
                # Letters without room keep none behind them, which may be of other pairs.
                is_refused |= batch.is_refused
                left = None if left is None else left[BATCH_MAX:]
                if left is None and not batch.more:
                    break
                after = batch.last
            if is_refused and not count:
                raise MessageQueueFull(
                    "no dead letter has room: as many messages wait as may; try again later",
                    retry_after_ms=RETRY_AFTER_MS,
                )
        except Exception as problem:
            error = problem
            raise
        finally:
            self._record(caller, act, error, f"{count} messages")
        return count

    async def _change_batch(
        self,
        plan: Callable[[list[tuple[str, Item]]], dict[Cell, bytes | None]],
        ids: list[str] | None,
        after: str,
    ) -> _Changed | None:
        """Changes a page of letters behind `after`, or of `ids`; None when a race was lost."""
        snapshot = self._store.open_snapshot()
        try:
            if ids is None:
                page = _page(snapshot, DEAD, after, BATCH_MAX)
            else:
                found = ((key, snapshot.find(DEAD, key)) for key in ids[:BATCH_MAX])
                page = Page([(key, item) for key, item in found if item is not None], more=False)
        finally:
            snapshot.release()
        if not page.items:
            return _Changed(0, after, more=False, is_refused=False)
        last = page.items[-1][0]
        writes = plan(page.items)
        if not writes:
            # Nothing is waited for: others have their turn before the next page.
            await asyncio.sleep(0)
            return _Changed(0, last, page.more, is_refused=True)
        gone = [cell for cell in writes if cell[0] == DEAD]
        size_bytes = sum(
            len(key) + len(item.value) for key, item in page.items if (DEAD, key) in writes
        )
        delivery = self._dispatcher.mail.delivery

        def follow_up(failure: Exception | None) -> None:
            if failure is not None:
                delivery.note_dead(len(gone), size_bytes)

        commit = Commit(snapshot.version, reads=gone, writes=writes)
        done = submit_durably(self._store, commit, follow_up)
        if done is None:
            return None
        delivery.note_dead(-len(gone), -size_bytes)
        delivery.take_rows(writes)
        await done
        return _Changed(len(gone), last, page.more, is_refused=False)

    def _plan_retry(self, items: list[tuple[str, Item]]) -> dict[Cell, bytes | None]:
        """Returns the rows that bring letters back, as many as there is room for."""
        mail = self._dispatcher.mail
        writes: dict[Cell, bytes | None] = {}
        pairs: dict[PairKey, int] = {}
        accounts: dict[str, int] = {}
        sizes: dict[str, int] = {}
        for key, item in items:
            row = decode_dead(item.value).message
            try:
                message = decode_message(row)
            except StoreCorrupt:
                continue  # It stays where it is; it can be listed and purged.
            in_pair = mail.waiting.count_of_pair(message.pair) + pairs.get(message.pair, 0)
            in_account = mail.waiting.count_of_account(message.account)
            in_account += accounts.get(message.account, 0)
            if (
                in_pair >= mail.bounds.pair_max
                or in_account >= mail.bounds.account_max
                or mail.waiting.count + len(writes) // 2 >= mail.bounds.node_max
            ):
                continue
            size_bytes = len(key) + len(row)
            own_bytes = mail.waiting.bytes_of_account(message.account)
            own_bytes += sizes.get(message.account, 0)
            node_bytes = mail.waiting.bytes_waiting + sum(sizes.values())
            if (
                own_bytes + size_bytes > mail.bounds.account_bytes_max
                or node_bytes + size_bytes > mail.bounds.node_bytes_max
            ):
                continue
            sizes[message.account] = sizes.get(message.account, 0) + size_bytes
            pairs[message.pair] = pairs.get(message.pair, 0) + 1
            accounts[message.account] = accounts.get(message.account, 0) + 1
            writes[DEAD, key] = None
            writes[OUTBOX, key] = row
        return writes

    # -- timers -----------------------------------------------------------------------------

    def list_timers(
        self, entity: str, caller: Caller, after: str, limit: int
    ) -> tuple[list[Row], bool]:
        """Returns (timers of an entity, by id and greater than `after`; whether there are more).

        Raises:
            NotFound, NotPermitted: the entity is not there, or not the caller's to read.
        """
        check_limit(limit)
        snapshot = self._store.open_snapshot()
        try:
            self._admin.resolve_read(snapshot, entity, caller)
            page = _page(snapshot, schedules_of(entity), after, limit)
        finally:
            snapshot.release()
        rows: list[Row] = []
        for timer_id, item in page.items:
            record = decode_schedule(item.value)
            args = decode_value(bytes(record.args))
            rows.append({**describe(timer_id, record), "args": args, "account": record.account})
        return rows, page.more

    async def cancel_timer(self, entity: str, timer_id: str, caller: Caller) -> None:
        """Cancels a timer; waits until that is durable. Raises NotFound when there is none."""
        path = check_entity_path(entity)
        check_timer_id(timer_id)
        removed: dict[str, str] = {}

        def plan(snapshot: Snapshot, resolution: object) -> Step:
            del resolution
            cell: Cell = (schedules_of(path), timer_id)
            item = snapshot.find(*cell)
            if item is None:
                raise NotFound(f"{path} has no timer {timer_id!r}")
            record = decode_schedule(item.value)
            key = due_key(record.due_ms, path, timer_id)
            removed.clear()
            removed[key] = record.account
            return Step(writes={cell: None, (DUE, key): None})

        act = f"cancel_timer:{timer_id}"
        await self._admin.do(
            Act(entity=path, caller=caller, right=RIGHT_WRITE, name=act, plan=plan)
        )
        self._dispatcher.timers.notify_removed(removed)

    # -- audit ------------------------------------------------------------------------------

    def _check_admin(self, caller: Caller, act: str) -> None:
        if not caller.is_admin:
            error = NotPermitted(f"{caller.identity} may not do this: it takes an administrator")
            self._record(caller, act, error, "")
            raise error

    def _record(self, caller: Caller, act: str, error: Exception | None, detail: str) -> None:
        self._dispatcher.record_act(
            identity=caller.identity,
            act=f"admin:{act}",
            entity="",
            outcome="ok" if error is None else getattr(error, "code", "internal"),
            detail=detail if error is None else f"{detail}: {error}",
        )


def _page(snapshot: Snapshot, entity: str, after: str, limit: int) -> Page:
    area = Range(entity, after + "\x00" if after else "", None)
    return snapshot.scan(area, limit, PAGE_BYTES_MAX)


def _plan_purge(items: list[tuple[str, Item]]) -> dict[Cell, bytes | None]:
    return {(DEAD, key): None for key, _ in items}


def _describe_message(message_id: str, message: MessageRecord) -> Row:
    return {
        "id": message_id,
        "sender": message.sender,
        "receiver": message.receiver,
        "handler": message.handler,
        "timer": message.lane or None,
        "account": message.account,
        "hops": message.hops,
        "sent_ms": message.sent_ms,
    }


def _describe_dead(message_id: str, dead: DeadRecord) -> Row:
    """Returns a dead letter as plain data; one whose message cannot be read says so little."""
    row: Row = {"id": message_id}
    try:
        message = decode_message(dead.message)
        row = _describe_message(message_id, message)
        row["args"] = decode_value(bytes(message.args))
    except LithoxError as error:
        row["unreadable"] = error.message
    return {
        **row,
        "tries": dead.tries,
        "code": dead.code,
        "message": dead.text,
        "died_ms": dead.died_ms,
    }
