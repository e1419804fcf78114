"""Deleting an entity with all its state, however much that is.

An entity of more than `DELETE_CELLS_MAX` cells or `DELETE_BYTES_MAX` bytes goes in several commits,
the first keys first and the entity itself with the last, so that others are served meanwhile. Runs
in between see what is left, and never a big value without its chunks: both go in one commit. No
step reads more than it deletes.
"""

from __future__ import annotations

from typing import Final

from lithox.dispatch.big_values import big_entity, put_value
from lithox.dispatch.catalog import Resolution
from lithox.dispatch.records import ENTITY_KEY, USER_KEYS_START
from lithox.errors import NotFound
from lithox.model.big_values import decode_manifest, is_big
from lithox.model.ids import EntityPath
from lithox.node.acts import Plan, Step, Writes
from lithox.store.contract import Item, Range, Snapshot

DELETE_CELLS_MAX: Final = 1_000
DELETE_BYTES_MAX: Final = 4 << 20
"""Cells, and bytes of them with their values, that one commit of a deletion takes (about 15 ms);
one big value more, at most."""


def plan_deletion(entity: EntityPath) -> Plan:
    """Returns the plan of deleting `entity`; it raises NotFound when that does not exist."""
    state, chunks = Range(entity, USER_KEYS_START, None), Range(big_entity(entity), "", None)

    def plan(snapshot: Snapshot, resolution: Resolution) -> Step:
        record = resolution.record
        if record is None:
            raise NotFound(f"entity {entity!r} does not exist")
        page = snapshot.scan(state, DELETE_CELLS_MAX, DELETE_BYTES_MAX)
        writes, is_whole = _deletions(entity, page.items)
        if not writes and record.has_big:
            # Nothing speaks of chunks any more: none should be left.
            page = snapshot.scan(chunks, DELETE_CELLS_MAX, DELETE_BYTES_MAX)
            writes.update({(chunks.entity, key): None for key, _ in page.items})
        if page.more or not is_whole or (writes and record.has_big):
            return Step(writes=writes, reads=[(entity, ENTITY_KEY)], is_last=False)
        writes.put(entity, ENTITY_KEY, None)
        return Step(writes=writes, ranges=[state, chunks])

    return plan


def _deletions(entity: EntityPath, items: list[tuple[str, Item]]) -> tuple[Writes, bool]:
    """Returns what deletes the first of `items` with their chunks, and whether those are all."""
    writes = Writes()
    size = 0
    for key, item in items:
        if writes and (len(writes) >= DELETE_CELLS_MAX or size > DELETE_BYTES_MAX):
            return writes, False
        put_value(writes.put, entity, key, item.value, None)
        if is_big(item.value):
            size += decode_manifest(item.value).size
    return writes, True
