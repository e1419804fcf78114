"""The administrative interface of every entity: the node's own code, which no entity can override.

Each act is checked against the entity's access list, commits like any transaction, and leaves an
audit record. Reads see the newest visible version.

It is long because each act of the interface is a few lines under the same check and record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any, Final

import msgspec

from lithox.dispatch.big_values import put_value
from lithox.dispatch.catalog import Resolution
from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.records import ENTITY_KEY, EntityRecord, encode_record, modules_of
from lithox.dispatch.transaction import range_behind, range_between, range_of_prefix
from lithox.errors import Conflict, LithoxError, NotFound, NotPermitted
from lithox.model.ids import (
    check_entity_path,
    check_handler_name,
    check_state_key,
    is_system_entity,
)
from lithox.model.request import Caller
from lithox.model.values import decode_state, encode_value
from lithox.modules.manifest import format_limits
from lithox.node.acts import Act, Step, Writes
from lithox.node.commits import submit_durably
from lithox.node.deletion import plan_deletion
from lithox.node.module_garbage import renew
from lithox.node.overrides import parse_overrides
from lithox.node.pages import (
    PAGE_BYTES_MAX,
    check_limit,
    list_readable,
    measure_state,
    part_of,
)
from lithox.node.timer_deletion import delete_timers_first
from lithox.security.access import (
    RIGHT_ADMIN,
    RIGHT_READ,
    RIGHT_WRITE,
    actor_of,
    format_access,
    is_allowed,
    parse_access,
)
from lithox.store.contract import Cell, Commit, Snapshot, Store

ATTEMPTS_MAX: Final = 10


class Admin:
    """The administrative interface of one node."""

    def __init__(self, *, store: Store, dispatcher: Dispatcher, wall_ms: Callable[[], int]) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._catalog = dispatcher.catalog
        self._wall_ms = wall_ms

    # -- reading ----------------------------------------------------------------------------

    def resolve_read(self, snapshot: Snapshot, entity: str, caller: Caller) -> Resolution:
        """Returns what the entity is; raises NotFound, and NotPermitted with an audit record."""
        with self._recording(caller, RIGHT_READ, entity, is_read=True):
            return self._resolve(snapshot, entity, caller, RIGHT_READ)

    def _resolve(self, snapshot: Snapshot, entity: str, caller: Caller, right: str) -> Resolution:
        check_entity_path(entity)
        if is_system_entity(entity):
            raise NotPermitted(f"{entity} belongs to the node")
        resolution = self._catalog.resolve(entity, snapshot.find(entity, ENTITY_KEY))
        if not is_allowed(
            actor=actor_of(caller), right=right, owner=resolution.owner, access=resolution.access
        ):
            raise NotPermitted(f"{caller.identity} holds no right {right!r} on {entity}")
        return resolution

    async def show(self, entity: str, caller: Caller) -> dict[str, Any]:
        """Returns what the entity is: owner, template, access, handlers, limits, size.

        The size is counted page by page while others are served, so it may be a mix of moments.

        Raises:
            NotFound, NotPermitted.
        """
        snapshot = self._store.open_snapshot()
        try:
            resolution = self.resolve_read(snapshot, entity, caller)
        finally:
            snapshot.release()
        record, template = resolution.record, resolution.template
        if record is None:
            raise NotFound(f"entity {entity!r} does not exist: no run has written it yet")
        keys, size = await measure_state(self._store, entity)
        return {
            "id": entity,
            "owner": resolution.owner,
            "template": template.match if template is not None else record.template,
            "module": record.pin or (template.module if template is not None else None),
            "created_ms": record.created_ms,
            "access": format_access(resolution.access),
            "limits": format_limits(resolution.limits),
            "handlers": self._handlers_of(resolution),
            "keys": keys,
            "bytes": size,
        }

    def _handlers_of(self, resolution: Resolution) -> dict[str, Any]:
        names: set[str] = set()
        for source in (resolution.template, resolution.record):
            if source is not None:
                names |= set(source.handlers)
        # A module that no longer loads gives no names; a run of it is told why.
        with suppress(LithoxError):
            names |= set(self._names_of_module(resolution))
        found: dict[str, Any] = {}
        for name in sorted(names):
            try:
                handler = self._catalog.handler(resolution, check_handler_name(name))
            except LithoxError:
                continue
            found[name] = {
                "module": handler.module,
                "language": handler.language,
                "priority": handler.priority,
                "limits": format_limits(handler.limits),
            }
        return found

    def _names_of_module(self, resolution: Resolution) -> tuple[str, ...]:
        """Returns the handlers of the entity's own module."""
        record, template = resolution.record, resolution.template
        digest = record.pin if record is not None else None
        if digest is None:
            if template is None:
                return ()
            digest = template.module
        if template is not None and template.module == digest:
            language = template.language
        else:
            language = self._catalog.language_of(digest)
        return self._catalog.find_names(language, digest)

    def get_handlers(self, entity: str, caller: Caller) -> dict[str, Any]:
        """Returns {name: {module, language, priority, limits}} as runs will have them."""
        snapshot = self._store.open_snapshot()
        try:
            return self._handlers_of(self.resolve_read(snapshot, entity, caller))
        finally:
            snapshot.release()

    def get_state(self, entity: str, key: str, caller: Caller) -> Any:
        """Returns the value under `key`, a `BigValue` for a big one.

        Raises:
            NotFound: there is none.
        """
        check_state_key(key)
        snapshot = self._store.open_snapshot()
        try:
            self.resolve_read(snapshot, entity, caller)
            item = snapshot.find(entity, key)
        finally:
            snapshot.release()
        if item is None:
            raise NotFound(f"{entity} has no key {key!r}")
        return decode_state(item.value)

    def list_state(  # noqa: PLR0913 - one listing, described whole
        self,
        entity: str,
        prefix: str,
        after: str,
        limit: int,
        caller: Caller,
        *,
        start: str = "",
        end: str | None = None,
    ) -> dict[str, Any]:
        """Returns {"items": {key: value}, "more": bool}, ordered by key.

        A page ends after `limit` items (up to 1,000) or `PAGE_BYTES_MAX` bytes; when there is
        `more`, the next one begins after its last key.

        Args:
            prefix: only keys that begin with it.
            after: only keys behind it.
            start, end: only keys with start <= key < end; None: to the last.
        """
        check_limit(limit)
        area = part_of(range_of_prefix(entity, prefix), range_between(entity, start, end))
        if after:
            area = range_behind(area, after)
        snapshot = self._store.open_snapshot()
        try:
            self.resolve_read(snapshot, entity, caller)
            page = snapshot.scan(area, limit, PAGE_BYTES_MAX)
        finally:
            snapshot.release()
        return {
            "items": {key: decode_state(item.value) for key, item in page.items},
            "more": page.more,
        }

    def list_entities(self, prefix: str, after: str, limit: int, caller: Caller) -> dict[str, Any]:
        """Returns {"entities": paths the caller may read, "more": bool, "after": text}.

        One answer looks at no more than `LOOKED_AT_MAX` entities, so it may have fewer than
        `limit`, or none, and still say `more`; the next one begins after `after`.
        """
        snapshot = self._store.open_snapshot()
        try:
            return list_readable(
                self._store,
                prefix,
                after,
                limit,
                None if caller.is_admin else lambda name: self._may_read(snapshot, name, caller),
            )
        finally:
            snapshot.release()

    def _may_read(self, snapshot: Snapshot, entity: str, caller: Caller) -> bool:
        resolution = self._catalog.resolve(entity, snapshot.find(entity, ENTITY_KEY))
        return is_allowed(
            actor=actor_of(caller),
            right=RIGHT_READ,
            owner=resolution.owner,
            access=resolution.access,
        )

    # -- writing ----------------------------------------------------------------------------

    def check_write(self, entity: str, caller: Caller, act: str) -> None:
        """Raises NotFound or NotPermitted, with an audit record, unless `caller` may write."""
        snapshot = self._store.open_snapshot()
        try:
            with self._recording(caller, act, entity):
                self._resolve(snapshot, entity, caller, RIGHT_WRITE)
        finally:
            snapshot.release()

    async def put_state(self, entity: str, key: str, value: Any, caller: Caller) -> None:
        """Writes one key; makes the entity if a template matches. Waits until it is durable."""
        path, data = check_entity_path(entity), encode_value(value)
        check_state_key(key)

        def plan(snapshot: Snapshot, resolution: Resolution) -> Step:
            writes = Writes()
            old = snapshot.find(entity, key)
            put_value(writes.put, path, key, None if old is None else old.value, data)
            if resolution.record is None:
                record = self.new_record(resolution, caller)
                writes.put(path, ENTITY_KEY, encode_record(record))
            return Step(writes=writes, reads=[(entity, ENTITY_KEY)])

        await self.do(
            Act(entity=entity, caller=caller, right=RIGHT_WRITE, name=f"put:{key}", plan=plan)
        )

    async def delete_state(self, entity: str, key: str, caller: Caller) -> None:
        """Deletes one key; raises NotFound when there is none."""
        check_state_key(key)

        def plan(snapshot: Snapshot, resolution: Resolution) -> Step:
            del resolution
            old = snapshot.find(entity, key)
            if old is None:
                raise NotFound(f"{entity} has no key {key!r}")
            writes = Writes()
            put_value(writes.put, check_entity_path(entity), key, old.value, None)
            return Step(writes=writes)

        await self.do(
            Act(entity=entity, caller=caller, right=RIGHT_WRITE, name=f"delete:{key}", plan=plan)
        )

    async def delete_entity(self, entity: str, caller: Caller) -> None:
        """Deletes the entity with all its state; raises NotFound when it does not exist.

        A large one goes in several commits, so that others are served meanwhile; see
        `node.deletion`. Should it be broken off there, it can be deleted again.
        """
        path = check_entity_path(entity)
        timers: dict[str, str] = {}
        plan = delete_timers_first(path, plan_deletion(path), timers)
        await self.do(
            Act(entity=entity, caller=caller, right=RIGHT_ADMIN, name="delete", plan=plan)
        )
        self._dispatcher.timers.notify_removed(timers)

    async def put_handlers(self, entity: str, handlers: Any, caller: Caller) -> None:
        """Replaces the entity's own overrides of handlers.

        Args:
            handlers: {name: {"priority"?, "limits"?, "module"?}}; `module` is a digest.
        """
        overrides = parse_overrides(handlers)

        def plan(snapshot: Snapshot, resolution: Resolution) -> Step:
            record = resolution.record or self.new_record(resolution, caller)
            changed = msgspec.structs.replace(record, handlers=overrides)
            writes: dict[Cell, bytes | None] = {(entity, ENTITY_KEY): encode_record(changed)}
            for digest in modules_of(changed):
                self._catalog.check_module(digest)
                writes |= renew(snapshot, digest, self._wall_ms())
            return Step(writes=writes)

        await self.do(
            Act(entity=entity, caller=caller, right=RIGHT_ADMIN, name="put_handlers", plan=plan)
        )

    async def put_access(self, entity: str, access: Any, caller: Caller) -> None:
        """Replaces the entity's access list; None returns it to its template's."""
        if access is not None:
            parse_access(access)

        def plan(snapshot: Snapshot, resolution: Resolution) -> Step:
            del snapshot
            record = resolution.record or self.new_record(resolution, caller)
            changed = msgspec.structs.replace(record, access=access)
            return Step(writes={(entity, ENTITY_KEY): encode_record(changed)})

        await self.do(
            Act(entity=entity, caller=caller, right=RIGHT_ADMIN, name="put_access", plan=plan)
        )

    def new_record(self, resolution: Resolution, caller: Caller) -> EntityRecord:
        """Returns the record of an entity that comes to be; its template must be there."""
        template = resolution.template
        assert template is not None
        return EntityRecord(
            owner=caller.identity if template.owned_by == "caller" else template.owner,
            template=template.match,
            created_ms=self._wall_ms(),
            pin=template.module if template.pin else None,
        )

    async def do(self, act: Act) -> None:
        """Does an act, step by step, each on a snapshot of its own; waits until it is durable."""
        lost = 0
        while True:
            with self._recording(act.caller, act.name, act.entity):
                step, done = self._submit(act)
                if done is None:
                    lost += 1
                    if lost >= ATTEMPTS_MAX:
                        raise Conflict(
                            f"lost {lost} times against runs on {act.entity}", retry_after_ms=50
                        )
                    continue
            await done
            if step.is_last:
                return
            lost = 0

    def _submit(self, act: Act) -> tuple[Step, asyncio.Future[None] | None]:
        """Plans and submits one step; the future is None when it lost against another commit."""
        snapshot = self._store.open_snapshot()
        try:
            resolution = self._resolve(snapshot, act.entity, act.caller, act.right)
            step = act.plan(snapshot, resolution)
            # Only a last step depends on what was under the keys it writes.
            reads = [*step.reads, *(step.writes if step.is_last else ())]
            commit = Commit(snapshot.version, reads, step.ranges, step.writes)
        finally:
            snapshot.release()

        def follow_up(error: Exception | None) -> None:
            if error is not None or step.is_last:
                self._record(act.caller, act.name, act.entity, error)

        return step, submit_durably(self._store, commit, follow_up)

    # -- audit ------------------------------------------------------------------------------

    @contextmanager
    def _recording(
        self, caller: Caller, act: str, entity: str, *, is_read: bool = False
    ) -> Generator[None]:
        """Leaves a record of an act that fails inside, or of a reading that is refused."""
        try:
            yield
        except LithoxError as error:
            if not is_read or isinstance(error, NotPermitted):
                self._record(caller, act, entity, error)
            raise

    def _record(self, caller: Caller, act: str, entity: str, error: Exception | None) -> None:
        self._dispatcher.record_act(
            identity=caller.identity,
            act=f"admin:{act}",
            entity=entity,
            outcome="ok" if error is None else getattr(error, "code", "internal"),
            detail="" if error is None else str(error),
        )
