"""`self:call`: a callee joins its caller's transaction.

The callee is a frame and a process of its own, acts as itself under what is left of its caller's
limits, and sees and writes its own state only. Everything commits together or not at all; what a
failed callee wrote is rolled back to a savepoint and its error is raised in the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lithox.dispatch.catalog import Catalog, Resolution
from lithox.dispatch.cold import ColdEntities
from lithox.dispatch.elsewhere import other_volume
from lithox.dispatch.frames import FrameTable
from lithox.dispatch.job import Clock, Frame
from lithox.dispatch.records import ENTITY_KEY
from lithox.dispatch.starting import Starter, check_access, find_record
from lithox.dispatch.transaction import Transaction
from lithox.errors import GuestError, NotPermitted
from lithox.kernel.limits import smallest
from lithox.model.ids import (
    EntityPath,
    check_entity_path,
    check_handler_name,
    identity_of_entity,
    is_system_entity,
)
from lithox.model.limits import CALL_DEPTH_MAX, PARTICIPANTS_MAX, Limits
from lithox.security.access import Actor
from lithox.store.contract import Item


@dataclass(slots=True, kw_only=True)
class JoinedCalls:
    """Begins and ends callees.

    Attributes:
        is_elsewhere: says which entities other processes own; None: none of them.
    """

    table: FrameTable
    catalog: Catalog
    clock: Clock
    starter: Starter
    cold: ColdEntities
    is_elsewhere: Callable[[str], bool] | None = None

    def start(self, caller: Frame, entity_text: str, handler_text: str, args: bytes) -> None:
        """Starts a callee that joins the caller's transaction; raises LithoxError to refuse.

        If its entity must be fetched first, the call is kept as the caller's `next_call`, and
        made by the same once more when that is there.
        """
        has_waited = caller.next_call is not None
        caller.next_call = None
        entity, handler = check_entity_path(entity_text), check_handler_name(handler_text)
        job, transaction = caller.job, caller.job.transaction
        assert transaction is not None
        assert caller.guest is not None
        if is_system_entity(entity):
            raise NotPermitted(f"{entity} belongs to the node")
        if caller.depth + 1 >= CALL_DEPTH_MAX:
            raise GuestError(
                f"calls nest at most {CALL_DEPTH_MAX} deep",
                code="guest.out_of_depth",
                limit="depth",
                allowed=CALL_DEPTH_MAX,
            )
        if self.is_elsewhere is not None and self.is_elsewhere(entity):
            raise other_volume(caller.entity, entity)
        check_participants(transaction, entity)
        if not has_waited and not self.cold.is_at_hand(caller, entity):
            caller.next_call = (entity, handler, args)
            return
        self.starter.keep_record(caller)
        resolution = self.resolve_callee(transaction, entity)
        actor = Actor(
            identity=identity_of_entity(caller.entity),
            owner=caller.resolution.owner_for(caller.actor),
        )
        if entity != caller.entity:
            check_access(actor, resolution)
        resolved = self.catalog.handler(resolution, handler)
        now_ns = self.clock.monotonic_ns()
        frame = Frame(
            job=job,
            parent=caller,
            entity=entity,
            handler=handler,
            args=args,
            actor=actor,
            resolution=resolution,
            resolved=resolved,
            limits=smallest(resolved.limits, self.left_of(caller, now_ns)),
        )
        frame.state_bytes_before = transaction.writes_bytes
        frame.savepoint = transaction.savepoint()
        frame.driver = caller.driver
        self.table.spawn(frame, now_ns)

    def resolve_callee(self, transaction: Transaction, entity: EntityPath) -> Resolution:
        """Returns what `entity` is to this transaction, its own writes included."""
        own = transaction.writes.get((entity, ENTITY_KEY))
        if own is not None:
            return self.catalog.resolve(entity, Item(own, -1))
        transaction.reads.add((entity, ENTITY_KEY))
        return self.catalog.resolve(entity, find_record(transaction.snapshot, entity))

    @staticmethod
    def left_of(frame: Frame, now_ns: int) -> Limits:
        """Returns what is left of a caller's limits."""
        guest, limits, transaction = frame.guest, frame.limits, frame.job.transaction
        assert guest is not None
        assert transaction is not None
        # One record and no loop: this is on the way of every joined call. Wall time passes for both
        # at once, and the caller holds its memory while the callee runs.
        return Limits(
            fuel=_left(limits.fuel, guest.fuel_used),
            memory_bytes=_left(limits.memory_bytes, guest.memory_bytes),
            wall_ns=_left(limits.wall_ns, now_ns - frame.spawned_ns),
            output_bytes=_left(limits.output_bytes, frame.output_bytes),
            calls=_left(limits.calls, guest.calls),
            state_bytes=_left(
                limits.state_bytes, transaction.writes_bytes - frame.state_bytes_before
            ),
            big_bytes=limits.big_bytes,
        )

    def answer_caller(self, frame: Frame, answer: bytes) -> None:
        """Ends a callee and lets its caller go on; the caller's allowance pays for it."""
        caller = frame.parent
        assert caller is not None
        assert caller.guest is not None
        guest = frame.guest
        used, calls = (0, 0) if guest is None else (guest.fuel_used, guest.calls)
        self.table.close_frame(frame)
        caller.guest.charge(used, calls)
        caller.fuel_charged += used
        caller.output_bytes += frame.output_bytes
        caller.guest.answer(answer)
        self.table.kernel.notify_woken(caller.pid, self.clock.monotonic_ns())


def check_participants(transaction: Transaction, entity: EntityPath) -> None:
    """Raises GuestError when `entity` would be one too many in the transaction."""
    if len(transaction.participants | {entity}) > PARTICIPANTS_MAX:
        raise GuestError(
            f"at most {PARTICIPANTS_MAX} entities take part in one transaction",
            code="guest.out_of_participants",
            limit="participants",
            allowed=PARTICIPANTS_MAX,
        )


def _left(allowed: int | None, used: int) -> int | None:
    return None if allowed is None else max(0, allowed - used)
