"""`self:send`: puts a message into the transaction of the run that sends it.

The row of the outbox is a write like any other: it commits with the run or not at all, and what a
failed callee sent is rolled back with its savepoint. Bounds are checked here, where the sender can
be told. They count what is committed and what the run itself has sent; runs that are under way at
the same time do not see each other, so a bound can be passed by what those send together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from lithox.dispatch.job import Frame
from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.messages.records import (
    OUTBOX,
    MessageRecord,
    PairKey,
    derive_id,
    encode_message,
)
from lithox.dispatch.messages.waiting import Waiting
from lithox.dispatch.transaction import Transaction
from lithox.errors import (
    BadArguments,
    LimitExceeded,
    MessageQueueFull,
    NotPermitted,
    TooLarge,
    TooManyHops,
)
from lithox.model.ids import check_entity_path, check_handler_name, is_system_entity
from lithox.model.values import decode_value
from lithox.sandbox import messages
from lithox.sandbox.said import GuestDecoder

RETRY_AFTER_MS: Final = 1_000
MESSAGE_PREFIX: Final = "m."
SENT_BYTES: Final = "bytes sent"
"""Under which name a transaction counts them."""
_text: Final = GuestDecoder(msgspec.msgpack.Decoder(str))


@dataclass(slots=True, kw_only=True)
class Outbox:
    """Takes messages from runs.

    Attributes:
        waiting: what is committed and not delivered yet.
        wall_ms: wall-clock milliseconds since 1970.
    """

    bounds: MessageBounds
    waiting: Waiting
    wall_ms: Callable[[], int]

    def send(self, frame: Frame, call: list[msgspec.Raw]) -> bytes:
        """Answers the system call `send`: [0, "send", entity, handler, args] -> message id.

        Raises:
            BadArguments: no entity, handler or list of plain arguments.
            NotPermitted: the receiver is one of the node's own.
            TooLarge: more than `message_bytes_max`.
            TooManyHops: the chain that led here is as long as one may be.
            MessageQueueFull: as many wait as may; try again later.
            LimitExceeded: the run has written as much as it may.
        """
        receiver = check_entity_path(_text.decode(call[2]))
        handler = check_handler_name(_text.decode(call[3]))
        if is_system_entity(receiver):
            raise NotPermitted(f"{receiver} belongs to the node")
        check_args(call[4])
        job, transaction = frame.job, frame.job.transaction
        assert transaction is not None
        job.position += 1
        record = MessageRecord(
            sender=frame.entity,
            receiver=receiver,
            handler=handler,
            args=call[4],
            account=job.account,
            owner=frame.resolution.owner_for(frame.actor),
            hops=next_hop(job.request.hops, self.bounds),
            sent_ms=self.wall_ms(),
            position=job.position,
        )
        row = encode_message(record)
        if len(row) > self.bounds.message_bytes_max:
            raise TooLarge(
                f"a message has at most {self.bounds.message_bytes_max} bytes; found {len(row)}",
                allowed=self.bounds.message_bytes_max,
                used=len(row),
            )
        message_id = derive_own_id(frame, MESSAGE_PREFIX)
        size_bytes = len(row) + len(message_id)
        self._check_room(transaction, record.pair, job.account, size_bytes)
        transaction.put(OUTBOX, message_id, row)
        transaction.sent.append((OUTBOX, message_id))
        transaction.count(record.pair, 1)
        transaction.count(OUTBOX, 1)
        transaction.count(SENT_BYTES, size_bytes)
        check_state_limit(frame)
        return messages.encode_answer(message_id)

    def _check_room(
        self, transaction: Transaction, pair: PairKey, account: str, size_bytes: int
    ) -> None:
        """Raises MessageQueueFull when one more message would pass a bound."""
        bounds, waiting = self.bounds, self.waiting
        # One account pays for all that a run sends.
        sent = transaction.tally.get(OUTBOX)
        if waiting.count_of_pair(pair) + transaction.tally.get(pair) >= bounds.pair_max:
            raise _full(f"from {pair.sender} to {pair.receiver}", "pair", bounds.pair_max)
        if waiting.count_of_account(account) + sent >= bounds.account_max:
            raise _full("on this account", "account", bounds.account_max)
        if waiting.count + sent >= bounds.node_max:
            raise _full("on this node", "node", bounds.node_max)
        size_bytes += transaction.tally.get(SENT_BYTES)
        if waiting.bytes_of_account(account) + size_bytes > bounds.account_bytes_max:
            raise _full("on this account", "account_bytes", bounds.account_bytes_max)
        if waiting.bytes_waiting + size_bytes > bounds.node_bytes_max:
            raise _full("on this node", "node_bytes", bounds.node_bytes_max)


def check_args(raw: msgspec.Raw) -> None:
    """Raises BadArguments unless `raw` is a list of plain data."""
    if not isinstance(decode_value(bytes(raw)), list):
        raise BadArguments("the arguments of a handler are a list")


def next_hop(hops: int, bounds: MessageBounds) -> int:
    """Returns the hop count of what a run with `hops` causes; raises TooManyHops at the bound."""
    if hops + 1 > bounds.hops_max:
        raise TooManyHops(
            f"{bounds.hops_max} messages and requests have led from one to the next; "
            "a loop of messages ends here",
            limit="hops",
            allowed=bounds.hops_max,
        )
    return hops + 1


def derive_own_id(frame: Frame, prefix: str) -> str:
    """Returns an id of the attempt's own for `job.position`.

    Seed and version keep apart runs that share an id: those of two callers, and those of one caller
    after the day for which a result is kept. Attempts may differ, since only one of them commits.
    """
    job, transaction = frame.job, frame.job.transaction
    assert transaction is not None
    version = transaction.snapshot.version
    return derive_id(prefix, f"entity:{frame.entity}", job.run_id, job.seed, version, job.position)


def check_state_limit(frame: Frame) -> None:
    """Raises LimitExceeded when the run has written more than its limit of state."""
    transaction, allowed = frame.job.transaction, frame.limits.state_bytes
    assert transaction is not None
    used = transaction.writes_bytes - frame.state_bytes_before
    if allowed is not None and used > allowed:
        raise LimitExceeded(
            f"the run writes {used} bytes of state, messages and timers; it may write {allowed}",
            limit="state",
            used=used,
            allowed=allowed,
        )


def _full(where: str, bound: str, allowed: int) -> MessageQueueFull:
    fields: dict[str, Any] = {"bound": bound, "allowed": allowed}
    what = "bytes of messages" if bound.endswith("_bytes") else "messages"
    return MessageQueueFull(
        f"{allowed} {what} wait {where}, which is as many as may; try again later",
        retry_after_ms=RETRY_AFTER_MS,
        **fields,
    )
