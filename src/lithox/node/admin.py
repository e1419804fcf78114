"""The administrative interface of every entity: the node's own code, which no entity can override.

Each act is checked against the entity's access list, commits like any transaction, and leaves an
audit record. Reads see the newest visible version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from lithox.dispatch.catalog import Resolution
from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.records import (
    ENTITY_KEY,
    USER_KEYS_START,
    EntityRecord,
    HandlerOverride,
    encode_record,
)
from lithox.dispatch.transaction import range_of_prefix
from lithox.errors import BadArguments, Conflict, LithoxError, NotFound, NotPermitted
from lithox.model.ids import (
    check_entity_path,
    check_handler_name,
    check_state_key,
    is_system_entity,
)
from lithox.model.limits import PRIORITY_DEFAULT
from lithox.model.request import Caller
from lithox.model.values import decode_value, encode_value
from lithox.modules.manifest import format_limits, parse_limits, parse_priority
from lithox.security.access import (
    RIGHT_ADMIN,
    RIGHT_READ,
    RIGHT_WRITE,
    actor_of,
    format_access,
    is_allowed,
    parse_access,
)
from lithox.store.contract import Cell, Commit, Page, Range, Snapshot, Store

ATTEMPTS_MAX: Final = 10
PAGE_ITEMS_MAX: Final = 1000
DELETE_PAGE: Final = 10_000

Plan = Callable[[Snapshot, Resolution], dict[Cell, "bytes | None"]]
"""Decides, on one snapshot, what an act writes."""


class Admin:
    """The administrative interface of one node."""

    def __init__(self, *, store: Store, dispatcher: Dispatcher, wall_ms: Callable[[], int]) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._catalog = dispatcher.catalog
        self._wall_ms = wall_ms

    # -- reading ----------------------------------------------------------------------------

    def _resolve(self, snapshot: Snapshot, entity: str, caller: Caller, right: str) -> Resolution:
        check_entity_path(entity)
        if is_system_entity(entity):
            raise NotPermitted(f"{entity} belongs to the node")
        resolution = self._catalog.resolve(entity, snapshot.find(entity, ENTITY_KEY))
        if not is_allowed(
            actor=actor_of(caller), right=right, owner=resolution.owner, access=resolution.access
        ):
            self._record(caller, f"admin:{right}", entity, "request.not_permitted")
            raise NotPermitted(f"{caller.identity} holds no right {right!r} on {entity}")
        return resolution

    def _existing(self, snapshot: Snapshot, entity: str, caller: Caller, right: str) -> Resolution:
        resolution = self._resolve(snapshot, entity, caller, right)
        if resolution.record is None:
            raise NotFound(f"entity {entity!r} does not exist: no run has written it yet")
        return resolution

    def show(self, entity: str, caller: Caller) -> dict[str, Any]:
        """Returns what the entity is: owner, template, access, handlers, limits, size.

        Raises:
            NotFound, NotPermitted.
        """
        snapshot = self._store.open_snapshot()
        try:
            resolution = self._existing(snapshot, entity, caller, RIGHT_READ)
        finally:
            snapshot.release()
        record, template = resolution.record, resolution.template
        assert record is not None
        keys, size = self._store.measure_entity(entity)
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
        template = resolution.template
        if template is not None:
            program = self._catalog.engine(template.language).find(template.module)
            if program is not None:
                names |= set(program.handler_names)
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

    def get_handlers(self, entity: str, caller: Caller) -> dict[str, Any]:
        """Returns {name: {module, language, priority, limits}} as runs will have them."""
        snapshot = self._store.open_snapshot()
        try:
            return self._handlers_of(self._resolve(snapshot, entity, caller, RIGHT_READ))
        finally:
            snapshot.release()

    def get_state(self, entity: str, key: str, caller: Caller) -> Any:
        """Returns the value under `key`; raises NotFound when there is none."""
        check_state_key(key)
        snapshot = self._store.open_snapshot()
        try:
            self._resolve(snapshot, entity, caller, RIGHT_READ)
            item = snapshot.find(entity, key)
        finally:
            snapshot.release()
        if item is None:
            raise NotFound(f"{entity} has no key {key!r}")
        return decode_value(item.value)

    def list_state(
        self, entity: str, prefix: str, after: str, limit: int, caller: Caller
    ) -> dict[str, Any]:
        """Returns {"items": {key: value}, "more": bool}, ordered by key, up to 1,000 items."""
        if not 1 <= limit <= PAGE_ITEMS_MAX:
            raise BadArguments(f"limit is 1 to {PAGE_ITEMS_MAX}; found {limit}")
        snapshot = self._store.open_snapshot()
        try:
            self._resolve(snapshot, entity, caller, RIGHT_READ)
            area = range_of_prefix(entity, prefix)
            if after:
                area = Range(entity, max(area.start, after + "\x00"), area.end)
            page: Page = snapshot.scan(area, limit)
        finally:
            snapshot.release()
        return {
            "items": {key: decode_value(item.value) for key, item in page.items},
            "more": page.more,
        }

    def list_entities(self, prefix: str, after: str, limit: int, caller: Caller) -> list[str]:
        """Returns paths of entities the caller may read, ordered, up to `limit` of 1,000."""
        if not 1 <= limit <= PAGE_ITEMS_MAX:
            raise BadArguments(f"limit is 1 to {PAGE_ITEMS_MAX}; found {limit}")
        found: list[str] = []
        snapshot = self._store.open_snapshot()
        try:
            while len(found) < limit:
                names = self._store.list_entities(prefix, after, PAGE_ITEMS_MAX)
                for name in names:
                    if len(found) < limit and self._may_read(snapshot, name, caller):
                        found.append(name)
                if len(names) < PAGE_ITEMS_MAX:
                    break
                after = names[-1]
        finally:
            snapshot.release()
        return found

    def _may_read(self, snapshot: Snapshot, entity: str, caller: Caller) -> bool:
        if is_system_entity(entity):
            return False
        if caller.is_admin:
            return True
        resolution = self._catalog.resolve(entity, snapshot.find(entity, ENTITY_KEY))
        return is_allowed(
            actor=actor_of(caller),
            right=RIGHT_READ,
            owner=resolution.owner,
            access=resolution.access,
        )

    # -- writing ----------------------------------------------------------------------------

    async def put_state(self, entity: str, key: str, value: Any, caller: Caller) -> None:
        """Writes one key; makes the entity if a template matches. Waits until it is durable."""
        check_state_key(key)
        data = encode_value(value)

        def plan(snapshot: Snapshot, resolution: Resolution) -> dict[Cell, bytes | None]:
            del snapshot
            writes: dict[Cell, bytes | None] = {(entity, key): data}
            if resolution.record is None:
                record = self._new_record(resolution, caller)
                writes[entity, ENTITY_KEY] = encode_record(record)
            return writes

        await self._act(entity, caller, RIGHT_WRITE, f"put:{key}", plan)

    async def delete_state(self, entity: str, key: str, caller: Caller) -> None:
        """Deletes one key; raises NotFound when there is none."""
        check_state_key(key)

        def plan(snapshot: Snapshot, resolution: Resolution) -> dict[Cell, bytes | None]:
            del resolution
            if snapshot.find(entity, key) is None:
                raise NotFound(f"{entity} has no key {key!r}")
            return {(entity, key): None}

        await self._act(entity, caller, RIGHT_WRITE, f"delete:{key}", plan)

    async def delete_entity(self, entity: str, caller: Caller) -> None:
        """Deletes the entity with all its state; raises NotFound when it does not exist."""

        def plan(snapshot: Snapshot, resolution: Resolution) -> dict[Cell, bytes | None]:
            if resolution.record is None:
                raise NotFound(f"entity {entity!r} does not exist")
            writes: dict[Cell, bytes | None] = {(entity, ENTITY_KEY): None}
            start = USER_KEYS_START
            while True:
                page = snapshot.scan(Range(entity, start, None), DELETE_PAGE)
                writes.update({(entity, key): None for key, _ in page.items})
                if not page.more or not page.items:
                    return writes
                start = page.items[-1][0] + "\x00"

        await self._act(entity, caller, RIGHT_ADMIN, "delete", plan, reads_all=True)

    async def put_handlers(self, entity: str, handlers: Any, caller: Caller) -> None:
        """Replaces the entity's own overrides of handlers.

        Args:
            handlers: {name: {"priority"?, "limits"?, "module"?}}; `module` is a digest.
        """
        overrides = _parse_overrides(handlers)
        for override in overrides.values():
            if override.module is not None:
                self._catalog.read_source(override.module)

        def plan(snapshot: Snapshot, resolution: Resolution) -> dict[Cell, bytes | None]:
            del snapshot
            record = resolution.record or self._new_record(resolution, caller)
            changed = EntityRecord(
                owner=record.owner,
                template=record.template,
                created_ms=record.created_ms,
                access=record.access,
                limits=record.limits,
                handlers=overrides,
                pin=record.pin,
            )
            return {(entity, ENTITY_KEY): encode_record(changed)}

        await self._act(entity, caller, RIGHT_ADMIN, "put_handlers", plan)

    async def put_access(self, entity: str, access: Any, caller: Caller) -> None:
        """Replaces the entity's access list; None returns it to its template's."""
        if access is not None:
            parse_access(access)

        def plan(snapshot: Snapshot, resolution: Resolution) -> dict[Cell, bytes | None]:
            del snapshot
            record = resolution.record or self._new_record(resolution, caller)
            changed = EntityRecord(
                owner=record.owner,
                template=record.template,
                created_ms=record.created_ms,
                access=access,
                limits=record.limits,
                handlers=record.handlers,
                pin=record.pin,
            )
            return {(entity, ENTITY_KEY): encode_record(changed)}

        await self._act(entity, caller, RIGHT_ADMIN, "put_access", plan)

    def _new_record(self, resolution: Resolution, caller: Caller) -> EntityRecord:
        template = resolution.template
        assert template is not None
        return EntityRecord(
            owner=caller.identity if template.owned_by == "caller" else template.owner,
            template=template.match,
            created_ms=self._wall_ms(),
            pin=template.module if template.pin else None,
        )

    async def _act(  # noqa: PLR0913 - one act, described whole
        self,
        entity: str,
        caller: Caller,
        right: str,
        act: str,
        plan: Plan,
        *,
        reads_all: bool = False,
    ) -> None:
        """Runs `plan` on a snapshot and commits it; again when it lost; waits until durable."""
        for _ in range(ATTEMPTS_MAX):
            snapshot = self._store.open_snapshot()
            try:
                resolution = self._resolve(snapshot, entity, caller, right)
                writes = plan(snapshot, resolution)
                commit = Commit(
                    snapshot.version,
                    list(writes),
                    [Range(entity, USER_KEYS_START, None)] if reads_all else [],
                    writes,
                )
            finally:
                snapshot.release()
            if await commit_durably(self._store, commit):
                self._record(caller, f"admin:{act}", entity, "ok")
                return
        raise Conflict(f"lost {ATTEMPTS_MAX} times against runs on {entity}", retry_after_ms=50)

    def _record(self, caller: Caller, act: str, entity: str, outcome: str) -> None:
        self._dispatcher.record_act(
            identity=caller.identity, act=act, entity=entity, outcome=outcome
        )


async def commit_durably(store: Store, commit: Commit) -> bool:
    """Submits `commit` and waits until it is durable; False when it lost against another.

    Raises:
        StoreUnavailable: it could not be made durable; nothing of it remains.
    """
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_done(error: Exception | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    if store.submit(commit, on_done) is None:
        return False
    await done
    return True


def _parse_overrides(data: Any) -> dict[str, HandlerOverride]:
    if not isinstance(data, dict):
        raise BadArguments("handlers are a map: name to {priority, limits, module}")
    table: dict[str, Any] = data  # pyright: ignore[reportUnknownVariableType]
    found: dict[str, HandlerOverride] = {}
    for name, said in table.items():
        check_handler_name(name)
        if not isinstance(said, dict) or not set(said) <= {"priority", "limits", "module"}:  # pyright: ignore[reportUnknownArgumentType]
            raise BadArguments(f"handler {name}: known keys are priority, limits, module")
        fields: dict[str, Any] = said  # pyright: ignore[reportUnknownVariableType]
        try:
            found[name] = HandlerOverride(
                priority=parse_priority(fields.get("priority", PRIORITY_DEFAULT), name),
                limits=format_limits(parse_limits(fields.get("limits", {}), name)),
                module=fields.get("module"),
            )
        except LithoxError as error:
            raise BadArguments(f"handler {error.message}") from None
    return found
