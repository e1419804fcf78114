"""Reading the outbox: at a start, and to find what other nodes have left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    snapshot: Snapshot, entity: EntityPath, start: str
) -> tuple[list[tuple[str, Item]], str | None]:
    """Returns (rows by key from `start` on, where the next page begins or None). May block."""
    page = snapshot.scan(Range(entity, start, None), PAGE_MAX)
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
    snapshot: Snapshot, known: set[str], before_ms: int
) -> list[tuple[Found, TriesRecord | None]]:
    """Returns messages nobody here knows that were sent before `before_ms`, in order. Blocks."""
    found: list[tuple[Found, TriesRecord | None]] = []
    start: str | None = ""
    while start is not None:
        rows, start = read_page(snapshot, OUTBOX, start)
        for one in to_found(rows):
            if one.id not in known and one.record.sent_ms <= before_ms:
                tries = snapshot.find(TRIES, one.id)
                found.append((one, None if tries is None else decode_tries(tries.value)))
    return sorted(found, key=lambda pair: pair[0][:2])
