"""How messages reach entities of other processes: sent until done there, then removed here.

Theory of operation. A message to an entity of another volume goes in four steps, each begun when
the one before is certain:

    its row is durable here        a message whose sender was withdrawn must not have an effect
    it is sent                     `SentElsewhere` is its origin; its effect and the pair's mark are
                                   one commit there (`marks.py`), durable before the answer
    its row is taken away          by a commit of this volume
    that is durable                only now the next message of the pair may be sent

Whatever dies between two steps, the row is there and the message is sent again, and the mark says
what has been done already. A message that has failed as often as it may is given up over there
first, so that no copy of it that is still on its way can take effect once it is a dead letter.

What goes to one volume waits in a queue of that volume, accounts in turn, and takes no place of
deliveries that stay here: a process that hangs holds up what is meant for it and nothing else.

Invariants: `on_end` is told once for each delivery; nothing is sent before this process's epoch is
durable, and each epoch is greater than all before it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from lithox.dispatch.fair_queue import FairQueue
from lithox.dispatch.job import Clock, OnAnswer
from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.messages.marks import STALE_FIELD, SentElsewhere
from lithox.dispatch.messages.records import (
    OUTBOX,
    TRIES,
    MessageRecord,
    PairKey,
    decode_message,
)
from lithox.dispatch.messages.waiting import Entry
from lithox.errors import Conflict, LithoxError, StoreCorrupt, StoreUnavailable
from lithox.model.ids import (
    AccountName,
    EntityPath,
    HandlerName,
    RequestId,
    identity_of_entity,
)
from lithox.model.request import Answer, Caller, Request
from lithox.model.values import decode_value
from lithox.store.contract import Cell, Commit, Store

EPOCHS: Final = EntityPath("~lithox/q/epoch")
NEWEST: Final = "newest"
"""Key of the greatest epoch that a process of this volume has taken."""
SHARE: Final = 2
"""A volume may have under way what the node may deliver at once, divided by this."""
BEGUN_MAX: Final = 32
"""Messages sent to one volume before the event loop gets a go; about a millisecond."""
RETRY_AFTER_MS: Final = 1_000

OnEnd = Callable[["Exception | None"], None]
OnGivenUp = Callable[[bool, "Exception | None"], None]
"""(whether it has taken effect after all, why nothing is known)."""
_integer: Final = msgspec.msgpack.Decoder(int)
_encode: Final = msgspec.msgpack.Encoder().encode


class _Task(NamedTuple):
    """One message on its way: sent, or given up."""

    entry: Entry
    receiver: str
    is_void: bool
    on_end: Callable[[bool, Exception | None], None]


class _Row(NamedTuple):
    record: MessageRecord
    version: int


class Away(Protocol):
    """What forwarding asks of the node; see `handover.Handover`."""

    def is_elsewhere(self, entity: str) -> bool: ...

    def volume_of(self, entity: str) -> int: ...

    def send(self, request: Request, on_answer: OnAnswer) -> None: ...


class Forwarding:
    """Forwards messages of one node. All methods are called on the node's thread."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        schedule: Callable[[Callable[[], None]], object],
        away: Away,
        bounds: MessageBounds,
    ) -> None:
        self._store = store
        self._clock = clock
        self._schedule = schedule
        self._away = away
        self._bounds = bounds
        self._queues: dict[int, FairQueue[_Task]] = {}
        self._planned: set[int] = set()
        self._epoch = 0
        """This process's, 0 until it is durable."""
        self._epoch_above = 0
        """It must be greater than this one, which another volume has seen."""
        self._when_open: list[OnEnd] = []
        self._is_stopped = False
        self.under_way = 0
        """Messages that were handed to a link and have no answer yet."""

    def takes(self, pair: PairKey) -> bool:
        """Returns whether the messages of a pair go elsewhere; those of timers never do."""
        return not pair.lane and self._away.is_elsewhere(pair.receiver)

    def deliver(self, entry: Entry, receiver: str, on_end: OnEnd) -> None:
        """Has a message take effect elsewhere and takes its row away.

        Args:
            on_end: told None when both are durable, else why not: it is to be tried again.
        """

        def tell(_: bool, error: Exception | None) -> None:  # noqa: FBT001
            on_end(error)

        self._push(_Task(entry, receiver, is_void=False, on_end=tell))

    def give_up(self, entry: Entry, receiver: str, on_end: OnGivenUp) -> None:
        """Sees to it that a message takes no effect any more, whatever is on its way.

        Args:
            on_end: told whether it has taken effect before that (its row is gone then, durably).
        """
        self._push(_Task(entry, receiver, is_void=True, on_end=on_end))

    def stop(self) -> None:
        """Sends nothing more; what is under way ends by itself. Idempotent."""
        self._is_stopped = True

    # -- queues -----------------------------------------------------------------------------

    def _push(self, task: _Task) -> None:
        volume = self._away.volume_of(task.receiver)
        queue = self._queues.get(volume)
        if queue is None:
            queue = self._queues[volume] = FairQueue(
                all_max=max(1, self._bounds.delivering_max // SHARE),
                account_max=max(1, self._bounds.delivering_account_max // SHARE),
            )
        queue.push(task.entry.account, task)
        self._plan(volume)

    def _plan(self, volume: int) -> None:
        if volume not in self._planned:
            self._planned.add(volume)
            self._schedule(partial(self._pump, volume))

    def _pump(self, volume: int) -> None:
        self._planned.discard(volume)
        queue = self._queues[volume]
        for _ in range(BEGUN_MAX):
            task = None if self._is_stopped else queue.pop()
            if task is None:
                return
            self._when_epoch_is_durable(partial(self._begin, volume, task))
        self._plan(volume)

    def _end(self, volume: int, task: _Task, *, is_done: bool, error: Exception | None) -> None:
        self._queues[volume].end(task.entry.account)
        self._plan(volume)
        task.on_end(is_done, error)

    # -- one message ------------------------------------------------------------------------

    def _begin(self, volume: int, task: _Task, failure: Exception | None) -> None:
        """Waits until the row of a message is durable."""
        end = partial(self._end, volume, task)
        if failure is not None:
            end(is_done=False, error=failure)
            return
        try:
            row = self._find_row(task.entry.id)
            if row is None:
                # Withdrawn with its sender, or put right by an administrator.
                end(is_done=True, error=None)
                return
            request = _to_request(task, row, self._epoch)
            go_on = partial(self._send, end, task, request)
            cell = (OUTBOX, task.entry.id)
            if self._store.when_read_durable([cell], (), go_on):
                go_on(None)
        except LithoxError as error:
            end(is_done=False, error=error)

    def _find_row(self, message_id: str) -> _Row | None:
        snapshot = self._store.open_snapshot()
        try:
            item = snapshot.find(OUTBOX, message_id)
        finally:
            snapshot.release()
        return None if item is None else _Row(decode_message(item.value), item.version)

    def _send(
        self, end: Callable[..., None], task: _Task, request: Request, failure: Exception | None
    ) -> None:
        if failure is not None:
            end(is_done=False, error=failure)
            return
        self.under_way += 1
        self._away.send(request, partial(self._take_answer, end, task))

    def _take_answer(self, end: Callable[..., None], task: _Task, answer: Answer) -> None:
        self.under_way -= 1
        error = answer.error
        if error is not None:
            self._note_newer(error)
            end(is_done=False, error=error)
        elif task.is_void and answer.value is not True:
            end(is_done=False, error=None)
        else:
            self._remove(end, task.entry)

    def _remove(self, end: Callable[..., None], entry: Entry) -> None:
        """Takes away the row of a message that has taken effect; tells `end` when it is durable.

        Whatever fails is a fault of the node: the message is done and must not become a dead one.
        """

        def settle(failure: Exception | None) -> None:
            error = None
            if failure is not None:
                error = StoreUnavailable(
                    f"a message is done and its row is still there: {failure}",
                    retry_after_ms=RETRY_AFTER_MS,
                )
            end(is_done=failure is None, error=error)

        cell = (OUTBOX, entry.id)
        try:
            if self._find_row(entry.id) is None:
                if self._store.when_read_durable([cell], (), settle):
                    settle(None)
                return
            writes: dict[Cell, bytes | None] = {cell: None}
            if entry.tries:
                writes[TRIES, entry.id] = None
            commit = Commit(self._store.visible_version, reads=[cell], writes=writes)
            version = self._store.submit(commit, settle)
        except LithoxError as error:
            settle(error)
            return
        if version is None:
            settle(Conflict("the outbox has changed; try again", retry_after_ms=50))

    # -- epochs -----------------------------------------------------------------------------

    def _when_epoch_is_durable(self, go_on: OnEnd) -> None:
        """Has `go_on` told None once this process has an epoch, or why it cannot have one now."""
        if self._epoch:
            go_on(None)
            return
        self._when_open.append(go_on)
        if len(self._when_open) == 1:
            self._open_epoch()

    def _open_epoch(self) -> None:
        epoch = 0

        def settle(failure: Exception | None) -> None:
            self._epoch = 0 if failure is not None else epoch
            waiting, self._when_open = self._when_open, []
            for tell in waiting:
                tell(failure)

        cell = (EPOCHS, NEWEST)
        snapshot = self._store.open_snapshot()
        try:
            item = snapshot.find(*cell)
            newest = max(0 if item is None else _to_epoch(item.value), self._epoch_above)
            # By the clock, so that a volume that was put back from a backup is ahead of what it
            # had sent after that.
            epoch = max(newest + 1, self._clock.wall_ns())
            commit = Commit(snapshot.version, reads=[cell], writes={cell: _encode(epoch)})
            version = self._store.submit(commit, settle)
        except LithoxError as error:
            settle(error)
            return
        finally:
            snapshot.release()
        if version is None:
            settle(Conflict("another process has taken an epoch", retry_after_ms=50))

    def _note_newer(self, error: Exception) -> None:
        """Takes a new epoch when another volume has seen a greater one than ours.

        That is so when this volume came from a backup and the clock was set back besides.
        """
        fields: dict[str, Any] = getattr(error, "fields", {})
        newer = fields.get(STALE_FIELD)
        if isinstance(newer, int) and newer > self._epoch_above:
            self._epoch_above = newer
            self._epoch = 0


def _to_epoch(data: bytes) -> int:
    try:
        return _integer.decode(data)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(
            f"the stored epoch of messages cannot be read ({error}); restore the data from a backup"
        ) from None


def _to_request(task: _Task, row: _Row, epoch: int) -> Request:
    """Returns the request that has a message take effect elsewhere, or never."""
    record = row.record
    origin = SentElsewhere(
        record.sender,
        record.receiver,
        task.entry.id,
        epoch,
        row.version,
        record.position,
        task.is_void,
    )
    args: list[Any] = [] if task.is_void else decode_value(bytes(record.args))
    return Request(
        entity=record.receiver,
        handler=HandlerName(record.handler),
        args=args,
        caller=Caller(
            identity=identity_of_entity(record.sender), account=AccountName(record.account)
        ),
        request_id=RequestId(task.entry.id),
        origin=origin,
        hops=record.hops,
        owner=record.owner,
    )
