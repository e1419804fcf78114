"""Reading the outbox: at a start, and to find what other nodes have left.

Each page is of a moment of its own: one snapshot over all would get too old for a busy store,
whose older values of these rows are not even kept where several nodes write them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from lithox.dispatch.messages.records import (
    OUTBOX,
    TRIES,
    MessageRecord,
    TriesRecord,
    decode_message,
    decode_tries,
)
from lithox.model.ids import EntityPath
from lithox.store.contract import Item, Range, Snapshot

PAGE_MAX: Final = 512
"""Rows read at a time."""


OpenSnapshot = Callable[[], Snapshot]
"""Opens the newest version; a snapshot is for one read here."""


class Found(NamedTuple):
    """A message in the outbox. In the order of these, messages were sent: versions are never
    reused, and positions are those within one commit.
    """

    version: int
    position: int
    id: str
    size_bytes: int
    record: MessageRecord


def read_page(
    open_snapshot: OpenSnapshot, entity: EntityPath, start: str
) -> tuple[list[tuple[str, Item]], str | None]:
    """Returns (rows by key from `start` on, where the next page begins or None). May block."""
    snapshot = open_snapshot()
    try:
        page = snapshot.scan(Range(entity, start, None), PAGE_MAX)
    finally:
        snapshot.release()
    return page.items, page.items[-1][0] + "\x00" if page.more else None


def to_found(rows: Iterable[tuple[str, Item]]) -> Iterator[Found]:
    """Returns rows of the outbox as messages; raises StoreCorrupt."""
    for key, item in rows:
        record = decode_message(item.value)
        yield Found(item.version, record.position, key, len(item.value) + len(key), record)


def to_tries(rows: Iterable[tuple[str, Item]]) -> dict[str, TriesRecord]:
    """Returns rows of tries by message; raises StoreCorrupt."""
    return {key: decode_tries(item.value) for key, item in rows}


def read_abandoned(
    open_snapshot: OpenSnapshot, known: set[str], before_ms: int
) -> list[tuple[Found, TriesRecord | None]]:
    """Returns messages nobody here knows that were sent before `before_ms`, in order. Blocks."""
    found: list[tuple[Found, TriesRecord | None]] = []
    start: str | None = ""
    while start is not None:
        rows, start = read_page(open_snapshot, OUTBOX, start)
        found.extend(
            (one, _find_tries(open_snapshot, one.id))
            for one in to_found(rows)
            if one.id not in known and one.record.sent_ms <= before_ms
        )
    return sorted(found, key=lambda pair: pair[0][:2])


def _find_tries(open_snapshot: OpenSnapshot, message_id: str) -> TriesRecord | None:
    snapshot = open_snapshot()
    try:
        row = snapshot.find(TRIES, message_id)
    finally:
        snapshot.release()
    return None if row is None else decode_tries(row.value)
