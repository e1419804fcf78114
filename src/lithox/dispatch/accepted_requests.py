"""A request as a row, and a row as a request again: the two must ask for the same.

The commit of its run marks the row as done, so that whatever the node dies of, and however long it
is down, a row that is not marked has had no effect.
"""

from __future__ import annotations

from typing import Final

import msgspec

from lithox.dispatch.accepted_records import (
    ACCEPTED,
    AcceptedRecord,
    decode_accepted,
    encode_accepted,
    key_of,
)
from lithox.dispatch.inflight import digest_of_job
from lithox.dispatch.job import Clock, Job
from lithox.dispatch.transaction import Transaction
from lithox.model.ids import AccountName, EntityPath, HandlerName, Identity, RequestId
from lithox.model.limits import LIMIT_FIELDS, Limits
from lithox.model.request import Call, Caller, Request
from lithox.model.values import decode_value

NS_PER_MS: Final = 1_000_000


class AcceptedOrigin:
    """Makes a run that of one accepted request; see `dispatch.origin`."""

    __slots__ = ("_key", "records_result")

    def __init__(self, key: str) -> None:
        self.records_result = True
        self._key = key

    def is_due(self, transaction: Transaction) -> bool:
        row = transaction.find(ACCEPTED, self._key)
        return row is not None and not decode_accepted(row).is_done

    def complete(self, transaction: Transaction, body: bytes) -> None:
        del body
        row = transaction.find(ACCEPTED, self._key)
        assert row is not None, "it was due in this very transaction"
        done = msgspec.structs.replace(decode_accepted(row), is_done=True, args=b"", limits={})
        transaction.put(ACCEPTED, self._key, encode_accepted(done))


def digest_of_accepted(job: Job) -> bytes:
    """Returns what tells two acceptances of one id apart: the entity counts, too."""
    return job.request.entity.encode() + b"\0" + digest_of_job(job)


def record_of(job: Job, *, digest: bytes, callback: str | None, clock: Clock) -> AcceptedRecord:
    """Returns the row of a request; its deadline becomes a time of the wall clock."""
    request = job.request
    wall_ms = clock.wall_ns() // NS_PER_MS
    deadline_ms = None
    if request.deadline_ns is not None:
        left_ns = request.deadline_ns - clock.monotonic_ns()
        deadline_ms = wall_ms + max(0, left_ns) // NS_PER_MS
    limits = request.limits
    said = {} if limits is None else {name: getattr(limits, name) for name in LIMIT_FIELDS}
    return AcceptedRecord(
        entity=request.entity,
        handler=request.handler,
        args=job.args,
        identity=request.caller.identity,
        account=request.caller.account,
        digest=digest,
        accepted_ms=wall_ms,
        is_admin=request.caller.is_admin,
        deadline_ms=deadline_ms,
        limits={name: value for name, value in said.items() if value is not None},
        callback=callback,
        is_group=bool(request.calls),
    )


def request_of(record: AcceptedRecord, request_id: str, clock: Clock) -> Request:
    """Returns the request a row stands for; a deadline that has passed is one in the past."""
    args = decode_value(record.args)
    deadline_ns = None
    if record.deadline_ms is not None:
        left_ns = record.deadline_ms * NS_PER_MS - clock.wall_ns()
        deadline_ns = clock.monotonic_ns() + left_ns
    calls = tuple(
        Call(entity=EntityPath(entity), handler=HandlerName(handler), args=list(values))
        for entity, handler, values in (args if record.is_group else ())
    )
    return Request(
        entity=EntityPath(record.entity),
        handler=HandlerName(record.handler),
        args=[] if record.is_group else args,
        caller=Caller(
            identity=Identity(record.identity),
            account=AccountName(record.account),
            is_admin=record.is_admin,
        ),
        limits=Limits(**record.limits) if record.limits else None,
        deadline_ns=deadline_ns,
        request_id=RequestId(request_id),
        calls=calls,
        origin=AcceptedOrigin(key_of(record.identity, request_id)),
    )
