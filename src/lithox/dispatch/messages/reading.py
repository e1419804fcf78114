"""Reading the outbox: at a start, and to find what other nodes have left.

Each page is of a moment of its own: one snapshot over all would get too old for a busy store,
whose older values of these rows are not even kept where several nodes write them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, TypeVar

from lithox.dispatch.messages.records import (
    TRIES,
    MessageRecord,
    TriesRecord,
    decode_message,
    decode_tries,
)
from lithox.errors import StoreCorrupt
from lithox.model.ids import EntityPath
from lithox.store.contract import Item, Range, Snapshot

PAGE_MAX: Final = 512
"""Rows read at a time."""
_log: Final = logging.getLogger("lithox.messages")
_Record = TypeVar("_Record")


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
    """Returns rows of the outbox as messages, without those that cannot be read."""
    for key, item, record in _readable(rows, decode_message):
        yield Found(item.version, record.position, key, len(item.value) + len(key), record)


def to_tries(rows: Iterable[tuple[str, Item]]) -> dict[str, TriesRecord]:
    """Returns rows of tries by message, without those that cannot be read."""
    return {key: record for key, _, record in _readable(rows, decode_tries)}


def read_tries(open_snapshot: OpenSnapshot, message_id: str) -> TriesRecord | None:
    """Returns the tries of one message, None when it has not failed. May block."""
    snapshot = open_snapshot()
    try:
        row = snapshot.find(TRIES, message_id)
    finally:
        snapshot.release()
    return None if row is None else to_tries([(message_id, row)]).get(message_id)


def _readable(
    rows: Iterable[tuple[str, Item]], decode: Callable[[bytes], _Record]
) -> Iterator[tuple[str, Item, _Record]]:
    """Returns (key, item, record); a row that cannot be read is told in the log and stays."""
    for key, item in rows:
        try:
            record = decode(item.value)
        except StoreCorrupt as error:
            _log.warning("row %r is passed over: %s", key, error)
            continue
        yield key, item, record
