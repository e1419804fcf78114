"""A group of calls from outside that commit together: one job, one process, one transaction.

The process runs call after call: each as its own entity, under its own handler's limits, seeing
what the ones before it wrote. When the last has returned, all writes and the one result become one
commit. A conflict begins again with the first call; an error names its call and leaves nothing.

Invariants: every call is checked for access and limits before the first one runs, and again where
an entity's record has changed; participants are bounded over the whole group, joined calls
included; the group's wall time is the smallest of its handlers'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from lithox.dispatch.catalog import Catalog, Resolution
from lithox.dispatch.frames import FrameTable
from lithox.dispatch.job import Frame, GroupCall, Job
from lithox.dispatch.joined import JoinedCalls, check_participants
from lithox.dispatch.starting import check_access, limits_of
from lithox.errors import BadArguments, LithoxError, NotPermitted
from lithox.model.ids import EntityPath, HandlerName, is_system_entity
from lithox.model.request import Call
from lithox.model.values import decode_value, encode_value
from lithox.store.contract import Store

CALLS_MAX: Final = 100
"""Calls of one group; at most 16 entities take part in it anyway."""

_encoder: Final = msgspec.msgpack.Encoder()


def encode_calls(job: Job) -> bytes:
    """Returns what a group asks for, encoded: the arguments of all, for its digest.

    Raises:
        BadArguments: no call, too many, or arguments that are not plain values.
    """
    calls = job.request.calls
    if len(calls) > CALLS_MAX:
        raise BadArguments(f"a group has at most {CALLS_MAX} calls; found {len(calls)}")
    return encode_value([[one.entity, one.handler, one.args] for one in calls])


def prefetch_group(store: Store, calls: Sequence[Call], go_on: Callable[[], None]) -> None:
    """Has `go_on` called once the entities of a group are there, perhaps before this returns."""
    left = 1

    def arrive() -> None:
        nonlocal left
        left -= 1
        if not left:
            go_on()

    for entity in {call.entity: None for call in calls[:CALLS_MAX]}:
        if not store.prefetch(entity, arrive):
            left += 1
    arrive()


def name_call(error: LithoxError, index: int, entity: str, handler: str) -> LithoxError:
    """Returns `error` saying which call of a group it was, counted from 0. Idempotent."""
    if "call" not in error.fields:
        error.fields["call"] = index
        error.message = f"call {index}, {entity}:{handler}: {error.message}"
        error.args = (error.message,)
    return error


@dataclass(slots=True, kw_only=True)
class Groups:
    """Moves a group's frame from call to call. Every method is called on the node's thread."""

    table: FrameTable
    catalog: Catalog
    calls: JoinedCalls
    native_entity: str

    def resolve(self, job: Job, find: Callable[[str], Resolution]) -> list[GroupCall]:
        """Returns the calls of a group as they are now, each checked.

        Args:
            find: resolves an entity at the newest version.

        Raises:
            LithoxError: naming the first call that may not be made.
        """
        found: list[GroupCall] = []
        for index, call in enumerate(job.request.calls):
            try:
                if is_system_entity(call.entity) or call.entity == self.native_entity:
                    raise NotPermitted(f"{call.entity} takes no part in transactions")
                resolution = find(call.entity)
                check_access(job.actor, resolution)
                resolved = self.catalog.handler(resolution, call.handler)
                found.append(
                    GroupCall(
                        entity=call.entity,
                        handler=call.handler,
                        args=encode_value(call.args),
                        resolution=resolution,
                        resolved=resolved,
                        limits=limits_of(self.catalog, job, resolved),
                    )
                )
            except LithoxError as error:
                raise name_call(error, index, call.entity, call.handler) from None
        walls = [call.limits.wall_ns for call in found if call.limits.wall_ns is not None]
        if walls:
            for call in found:
                call.limits = replace(call.limits, wall_ns=min(walls))
        return found

    def rewind(self, frame: Frame) -> None:
        """Puts the frame of a group back to its first call; other frames stay as they are."""
        if frame.job.calls and frame.call_index:
            self._place(frame, 0)

    def has_next(self, frame: Frame) -> bool:
        """Returns whether a call follows the one that has just returned."""
        return frame.call_index + 1 < len(frame.job.calls)

    def next_call(self, frame: Frame, body: bytes) -> None:
        """Keeps what a call returned and puts the frame to the one that follows.

        Raises:
            LithoxError: that one may not be made: its entity has changed since admission.
        """
        job, transaction = frame.job, frame.job.transaction
        assert transaction is not None
        job.values.append(body)
        self.table.close_guest(frame)
        self._place(frame, frame.call_index + 1)
        check_participants(transaction, frame.entity)
        resolution = self.calls.resolve_callee(transaction, frame.entity)
        if resolution is not frame.resolution:
            check_access(frame.actor, resolution)
            frame.resolution = resolution
            frame.resolved = self.catalog.handler(resolution, frame.handler)
            frame.limits = limits_of(self.catalog, job, frame.resolved)
        frame.state_bytes_before = transaction.writes_bytes

    @staticmethod
    def _place(frame: Frame, index: int) -> None:
        call = frame.job.calls[index]
        frame.call_index = index
        frame.entity = EntityPath(call.entity)
        frame.handler = HandlerName(call.handler)
        frame.args = call.args
        frame.resolution = call.resolution
        frame.resolved = call.resolved
        frame.limits = call.limits
        frame.is_preloaded = False
        frame.state_bytes_before = 0
        frame.output_bytes = 0
        frame.fuel_charged = 0


def finish(job: Job, body: bytes) -> bytes:
    """Returns the list of all values of a group whose last call returned `body`, encoded."""
    values = [*job.values, body]
    job.value = [decode_value(one) for one in values]
    return _encoder.encode([msgspec.Raw(one) for one in values])
