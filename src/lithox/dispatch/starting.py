"""Starting a guest: the entity's state and record as its transaction sees them, put into a run.

State of small entities travels with the call, so that most handlers need no system call at all.
What was sent along is no read for validation; the guest tells what it used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from lithox.dispatch.big_values import big_entity
from lithox.dispatch.catalog import Catalog, Resolution, ResolvedHandler
from lithox.dispatch.cold_code import ColdCode
from lithox.dispatch.job import Clock, Frame, Job
from lithox.dispatch.records import ENTITY_KEY, EntityRecord, decode_entity, encode_record
from lithox.dispatch.schedules.records import schedules_of
from lithox.dispatch.transaction import Transaction, range_of_prefix
from lithox.errors import LimitExceeded, NotFound, NotPermitted
from lithox.kernel.limits import smallest
from lithox.model.ids import SYSTEM_KEY_PREFIX, EntityPath, identity_of_entity
from lithox.model.limits import Limits
from lithox.model.request import Request
from lithox.modules.manifest import PREFIX_MARK
from lithox.sandbox import messages
from lithox.sandbox.contract import AccountedProgram
from lithox.security.access import RIGHT_CALL, Actor, actor_of, is_allowed
from lithox.store.contract import Item, Loaded, Snapshot

_ENTITY: Final = "entity:"
CALLERS_KNOWN_MAX: Final = 64
"""Callers of one entity whose right is remembered."""
PRELOAD_BYTES_MAX: Final = 16_384
"""State of entities up to this size travels with the call; larger ones are read key by key."""
PRELOAD_KEYS_MAX: Final = 4096
"""Keys one prefix under a template's `preload` brings."""


@dataclass(slots=True, kw_only=True)
class Starter:
    """Starts guests of frames."""

    catalog: Catalog
    clock: Clock
    code: ColdCode

    def start_guest(self, frame: Frame) -> bool:
        """Gives the frame a guest that is ready for its first instruction.

        Returns:
            False when it must wait for its code: call this again when it is woken.

        Raises:
            NotFound, NotPermitted, LimitTooHigh: the entity's record has changed since admission.
            CompileFailed, NotAvailable, Overloaded.
        """
        transaction = frame.job.transaction
        assert transaction is not None
        entity = frame.entity
        loaded = transaction.snapshot.load(entity, PRELOAD_BYTES_MAX)
        transaction.reads.add((entity, ENTITY_KEY))
        if frame.parent is None and not frame.call_index:
            item = (
                loaded.items.get(ENTITY_KEY)
                if loaded.is_complete
                else transaction.snapshot.find(entity, ENTITY_KEY)
            )
            if self.catalog.resolve(entity, item) is not frame.resolution:
                self._resolve_again(frame, item)
        program = self.code.find(frame)
        if program is None:
            return False
        transaction.participants.add(entity)
        state: dict[str, msgspec.Raw] = {}
        if not loaded.is_complete and isinstance(program, AccountedProgram):
            loaded = self._preload(frame, transaction, program.preload_bytes_max, state)
        if loaded.is_complete:
            for key, item in loaded.items.items():
                if not key.startswith(SYSTEM_KEY_PREFIX):
                    state[key] = msgspec.Raw(item.value)
        if transaction.is_writer:
            self._overlay(transaction, entity, state)
        frame.is_preloaded = bool(state) or loaded.is_complete
        job = frame.job
        message = messages.encode_run(
            messages.RunMessage(
                frame.handler,
                msgspec.Raw(frame.args),
                entity,
                frame.actor.identity,
                job.request.request_id,
                job.usage.attempts,
                job.seen_ms(self.clock),
                job.seed,
                state,
                loaded.is_complete,
            )
        )
        if frame.handler not in program.handler_names:
            raise NotFound(f"entity {frame.entity!r} has no handler {frame.handler!r}")
        if isinstance(program, AccountedProgram):
            is_nested = frame.parent is not None or job.is_asked
            frame.guest = program.start_for(job.account, message, frame.limits, is_nested=is_nested)
        else:
            frame.guest = program.start(message, frame.limits)
        return True

    @staticmethod
    def _preload(
        frame: Frame, transaction: Transaction, bytes_max: int, state: dict[str, msgspec.Raw]
    ) -> Loaded:
        """Returns all of a larger entity up to `bytes_max`; beyond, puts what is named in `state`.

        What a prefix brings is a read of all of it, since the handler can see what is absent.

        Raises:
            LimitExceeded: nobody said what is to be loaded, or that is too much: a part that looks
                like the whole would be taken for it.
        """
        entity, snapshot = frame.entity, transaction.snapshot
        loaded = snapshot.load(entity, bytes_max)
        template = frame.resolution.template
        if loaded.is_complete:
            return loaded
        if template is None or template.preload is None:
            raise _too_much_to_load(
                f"the state of {entity} has more than {bytes_max} bytes, which is as much as is "
                "loaded for a handler of this language; name what it needs under `preload` in "
                "lithox.toml (an empty list for handlers that ask for every key)",
                bytes_max,
            )
        left = bytes_max
        for named in template.preload:
            if not named.endswith(PREFIX_MARK):
                item = snapshot.find(entity, named)
                rows = [] if item is None else [(named, item)]
                # An absence is something a handler can see, too.
                state[named] = msgspec.Raw(messages.NIL)
            else:
                area = range_of_prefix(entity, named.removesuffix(PREFIX_MARK))
                page = snapshot.scan(area, PRELOAD_KEYS_MAX, max(1, left))
                transaction.add_range(area)
                rows = page.items
                left = -1 if page.more else left
            for key, item in rows:
                left -= len(key) + len(item.value)
                if not key.startswith(SYSTEM_KEY_PREFIX):
                    state[key] = msgspec.Raw(item.value)
            if left < 0:
                raise _too_much_to_load(
                    f"`preload` of {entity} names more than {bytes_max} bytes or "
                    f"{PRELOAD_KEYS_MAX} keys of one prefix; name less",
                    bytes_max,
                )
        return loaded

    @staticmethod
    def _overlay(
        transaction: Transaction, entity: EntityPath, state: dict[str, msgspec.Raw]
    ) -> None:
        """Lets a callee see what its own transaction wrote to it before (a cycle of calls)."""
        for key, value in transaction.writes_of(entity).items():
            if key.startswith(SYSTEM_KEY_PREFIX):
                continue
            state[key] = msgspec.Raw(messages.NIL if value is None else value)

    def _resolve_again(self, frame: Frame, item: Item | None) -> None:
        """The entity's record changed between admission and first slice: decide anew."""
        frame.resolution = self.catalog.resolve(frame.entity, item)
        check_access(frame.actor, frame.resolution)
        frame.resolved = self.catalog.handler(frame.resolution, frame.handler)
        frame.limits = limits_of(self.catalog, frame.job, frame.resolved)

    def keep_record(self, frame: Frame) -> None:
        """Makes the entity exist if this run is the first to have written something.

        Its record says from the first big value on that it may have some.
        """
        transaction = frame.job.transaction
        assert transaction is not None
        resolution, cell = frame.resolution, (frame.entity, ENTITY_KEY)
        if resolution.record is None and cell not in transaction.writes:
            self._make_record(frame, transaction)
        if transaction.has_big and _has_chunks(transaction, frame.entity):
            own = transaction.writes.get(cell)
            record = resolution.record if own is None else decode_entity(own)
            if record is not None and not record.has_big:
                marked = msgspec.structs.replace(record, has_big=True)
                transaction.put(frame.entity, ENTITY_KEY, encode_record(marked))

    def _make_record(self, frame: Frame, transaction: Transaction) -> None:
        resolution = frame.resolution
        template = resolution.template
        own = (frame.entity, schedules_of(frame.entity))
        if template is None or not any(key[0] in own for key in transaction.writes):
            return
        record = EntityRecord(
            owner=resolution.owner_for(frame.actor),
            template=template.match,
            created_ms=self.clock.wall_ns() // 1_000_000,
            pin=template.module if template.pin else None,
        )
        transaction.put(frame.entity, ENTITY_KEY, encode_record(record))


def _has_chunks(transaction: Transaction, entity: str) -> bool:
    """Returns whether chunks of the entity's big values are written, and not rolled back."""
    place = big_entity(entity)
    return any(cell[0] == place and value is not None for cell, value in transaction.writes.items())


def actor_of_request(request: Request) -> Actor:
    """Returns who acts towards access lists: the caller, or an entity in its owner's name."""
    if request.owner is None:
        return actor_of(request.caller)
    return Actor(identity=request.caller.identity, owner=request.owner)


def limits_of(catalog: Catalog, job: Job, resolved: ResolvedHandler) -> Limits:
    """Returns what a run of the job's own may use; raises LimitTooHigh if it asks for more."""
    limits = catalog.limits_of(resolved, job.request.limits)
    return limits if job.bound is None else smallest(limits, job.bound)


def find_record(snapshot: Snapshot, entity: str) -> Item | None:
    """Returns the item of the entity's own record, None when it does not exist.

    Loads a small entity whole, because a run that is about to start needs the rest of it too.
    """
    loaded = snapshot.load(entity, PRELOAD_BYTES_MAX)
    return loaded.items.get(ENTITY_KEY) if loaded.is_complete else snapshot.find(entity, ENTITY_KEY)


def check_access(actor: Actor, resolution: Resolution) -> None:
    """Raises NotPermitted unless `actor` may call the entity."""
    if not may_call(actor, resolution):
        raise refusal_of(actor, resolution.entity)


def refusal_of(actor: Actor, entity: str) -> NotPermitted:
    """Returns the error of an actor who may not call `entity`.

    To an entity it says how it is let in: its author may be a tenant, to whom nothing else tells
    that another one's access list decides.
    """
    text = f"{actor.identity} may not call {entity}"
    if actor.identity.startswith(_ENTITY):
        text += (
            f"; who deploys the template of {entity} lets it in there with "
            f'access = ["{actor.identity}"], or with a pattern such as "{_ENTITY}shop/*"'
        )
    return NotPermitted(text)


def may_call(actor: Actor, resolution: Resolution) -> bool:
    """Returns whether `actor` may call the entity; every entity may call itself.

    Asked of the same few callers at every joined call, so it is remembered where it depends on
    nothing else: the owner of an entity that does not exist yet depends on who asks.
    """
    if resolution.record is None:
        return _may_call(actor, resolution)
    key = (actor.identity, actor.is_admin)
    known = resolution.callers.get(key)
    if known is None:
        if len(resolution.callers) >= CALLERS_KNOWN_MAX:
            resolution.callers.clear()
        known = resolution.callers[key] = _may_call(actor, resolution)
    return known


def _may_call(actor: Actor, resolution: Resolution) -> bool:
    return is_allowed(
        actor=actor,
        right=RIGHT_CALL,
        owner=resolution.owner_for(actor),
        access=resolution.access,
    ) or actor.identity == identity_of_entity(EntityPath(resolution.entity))


def _too_much_to_load(message: str, bytes_max: int) -> LimitExceeded:
    """Returns the error of a state that a run cannot begin with."""
    return LimitExceeded(message, limit="state", allowed=bytes_max)
