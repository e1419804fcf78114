"""Parts of listings: bounded in items, in bytes and in the work they take.

A listing runs on the node's thread, so one answer may neither hold much nor look at much; whoever
wants more asks again from where it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from lithox.dispatch.records import USER_KEYS_START
from lithox.errors import BadArguments
from lithox.model.ids import is_system_entity
from lithox.store.contract import Range, Store
from lithox.store.engine import text_bytes

PAGE_ITEMS_MAX: Final = 1000
PAGE_BYTES_MAX: Final = 1 << 20
"""Keys and values in one page of state; one item is in it however large."""
COUNTED_MAX: Final = 250
"""Keys that one turn of the loop counts; about 2 ms."""
LOOKED_AT_MAX: Final = 500
"""Entities whose access list one listing looks at; about 25 ms when none is in the cache."""


def check_limit(limit: int) -> None:
    """Raises BadArguments unless `limit` is a number of items a page may have."""
    if type(limit) is not int or not 1 <= limit <= PAGE_ITEMS_MAX:
        raise BadArguments(f"limit is 1 to {PAGE_ITEMS_MAX}; found {limit!r}")


def part_of(area: Range, other: Range) -> Range:
    """Returns what two ranges of one entity have in common."""
    ends = [end for end in (area.end, other.end) if end is not None]
    start, end = max(area.start, other.start), min(ends, default=None)
    return Range(area.entity, start, end if end is None else max(start, end))


def list_readable(
    store: Store, prefix: str, after: str, limit: int, may_read: Callable[[str], bool] | None
) -> dict[str, Any]:
    """Returns {"entities": [...], "more": bool, "after": where to go on}.

    Args:
        prefix, after: only entities that begin with `prefix` and are greater than `after`.
        limit: entities at most; fewer, even none, may come while there are more.
        may_read: says which are shown; None shows all but the node's own.
    """
    check_limit(limit)
    looked_max = limit if may_read is None else LOOKED_AT_MAX
    names = store.list_entities(prefix, after, looked_max + 1)
    found: list[str] = []
    looked = 0
    for name in names[:looked_max]:
        if len(found) == limit:
            break
        looked, after = looked + 1, name
        if not is_system_entity(name) and (may_read is None or may_read(name)):
            found.append(name)
    return {"entities": found, "more": looked < len(names), "after": after}


async def measure_state(store: Store, entity: str) -> tuple[int, int]:
    """Returns (number of an entity's keys, bytes of them and their values).

    It looks at one page in a turn of the loop, each on a snapshot of its own: others are served in
    between, nothing holds old versions for it, and a large entity that is written meanwhile is
    counted as it was found, page by page.
    """
    count = size = 0
    area = Range(entity, USER_KEYS_START, None)
    while True:
        snapshot = store.open_snapshot()
        try:
            page = snapshot.scan(area, COUNTED_MAX, PAGE_BYTES_MAX)
        finally:
            snapshot.release()
        count += len(page.items)
        size += sum(text_bytes(key) + len(item.value) for key, item in page.items)
        if not page.more or not page.items:
            return count, size
        area = Range(entity, page.items[-1][0] + "\x00", None)
        await asyncio.sleep(0)
