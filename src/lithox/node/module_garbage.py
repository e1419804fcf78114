"""When does a module leave the store? When nothing names it any more, and there is too much of it.

A deploy that takes the last template from a module retires it: a row says since when, and how large
it is. A retired module stays, because entities may be pinned to it and a run on another node may
have begun with it. Only when retired modules are more than `RETIRED_MAX` or `RETIRED_BYTES_MAX`,
those that retired longest ago go, at the earliest after `RETIRED_AGE_MS`, which is longer than any
run lasts; and only those that no entity names, for which all records of entities are read once, in
a thread, from a snapshot beside the cache.

Invariants: a module that a template names has no row; who names a retired one anew, by a deploy or
as an entity's override, writes its row, so that a removal decided before loses. Rows and modules
change in one commit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec

from lithox.dispatch.module_cells import chunk_keys, module_entity
from lithox.dispatch.records import (
    ENTITY_KEY,
    MODULES_ENTITY,
    TEMPLATES_ENTITY,
    USER_KEYS_START,
    decode_entity,
    decode_module,
    modules_of,
)
from lithox.errors import StoreCorrupt
from lithox.model.ids import SYSTEM_ENTITY_PREFIX
from lithox.node.code_workers import CodeWorkers
from lithox.node.commits import submit_durably
from lithox.node.drafts import Draft
from lithox.store.contract import Range, Snapshot, Store
from lithox.store.dump import DumpSource
from lithox.store.engine import prefix_end

RETIRED_MAX: Final = 1_000
RETIRED_BYTES_MAX: Final = 256 << 20
RETIRED_AGE_MS: Final = 24 * 3600 * 1000
REMOVED_MAX: Final = 100
"""Modules one go removes; the next deploy goes on."""
ROWS_MAX: Final = 100_000
"""Rows read at most: 10 MB."""
_PREFIX: Final = "retired/"
_ROWS: Final = Range(MODULES_ENTITY, _PREFIX, prefix_end(_PREFIX))
_TEMPLATES: Final = Range(TEMPLATES_ENTITY, USER_KEYS_START, None)
_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(tuple[int, int])


class Retired(NamedTuple):
    """A module that no template names."""

    digest: str
    at_ms: int
    size_bytes: int


def plan_retirement(draft: Draft, before: set[str], after: set[str], now_ms: int) -> None:
    """Writes what a deploy means for the rows of retired modules.

    Args:
        before: digests the templates name until now.
        after: digests they name from now on.
    """
    for digest in before - after:
        data = draft.find(MODULES_ENTITY, digest)
        if data is not None:
            record = decode_module(data)
            row = (now_ms, record.size or len(record.text))
            draft.put(MODULES_ENTITY, _PREFIX + digest, _encode(row))
    for digest in after - before:
        if draft.find(MODULES_ENTITY, _PREFIX + digest) is not None:
            draft.put(MODULES_ENTITY, _PREFIX + digest, None)


def renew(snapshot: Snapshot, digest: str, now_ms: int) -> dict[tuple[str, str], bytes | None]:
    """Returns what somebody writes who names a module: a retired one is as if retired just now."""
    item = snapshot.find(MODULES_ENTITY, _PREFIX + digest)
    if item is None:
        return {}
    size = _read_row(digest, item.value).size_bytes
    return {(MODULES_ENTITY, _PREFIX + digest): _encode((now_ms, size))}


def read_retired(snapshot: Snapshot) -> list[Retired]:
    """Returns the retired modules, those of longest ago first."""
    page = snapshot.scan(_ROWS, ROWS_MAX)
    rows = [_read_row(key.removeprefix(_PREFIX), item.value) for key, item in page.items]
    return sorted(rows, key=lambda row: (row.at_ms, row.digest))


def choose(rows: list[Retired], now_ms: int) -> list[Retired]:
    """Returns which modules are to go, if no entity names them. Pure."""
    count, size_bytes = len(rows), sum(row.size_bytes for row in rows)
    chosen: list[Retired] = []
    for row in rows:
        is_within = count <= RETIRED_MAX and size_bytes <= RETIRED_BYTES_MAX
        if is_within or row.at_ms > now_ms - RETIRED_AGE_MS or len(chosen) >= REMOVED_MAX:
            break
        chosen.append(row)
        count -= 1
        size_bytes -= row.size_bytes
    return chosen


class ModuleGarbage:
    """Removes modules of one node's store. Every method is called on the node's thread."""

    def __init__(self, *, store: Store, workers: CodeWorkers, wall_ms: Callable[[], int]) -> None:
        self._store = store
        self._workers = workers
        self._wall_ms = wall_ms
        self._stop = threading.Event()

    async def collect(self) -> int:
        """Removes what is too much; returns how many modules. One of these at a time.

        Raises:
            StoreUnavailable, StoreCorrupt: it is tried again after the next deploy.
        """
        now_ms = self._wall_ms()
        snapshot = self._store.open_snapshot()
        try:
            chosen = choose(read_retired(snapshot), now_ms)
        finally:
            snapshot.release()
        if not chosen:
            return 0
        source = self._store.open_dump()
        wanted = {row.digest for row in chosen}
        pinned = await self._workers.run(lambda: _find_pinned(source, wanted, self._stop))
        removed = 0
        for row in chosen:
            if self._stop.is_set():
                break
            removed += await self._settle(row, is_pinned=row.digest in pinned)
        return removed

    async def _settle(self, row: Retired, *, is_pinned: bool) -> bool:
        """Removes one module, or lets a pinned one stay another while; returns whether it went."""
        snapshot = self._store.open_snapshot()
        try:
            draft = Draft(snapshot)
            key = _PREFIX + row.digest
            if draft.find(MODULES_ENTITY, key) != _encode((row.at_ms, row.size_bytes)):
                return False  # Somebody has named it meanwhile.
            draft.ranges.append(_TEMPLATES)
            if is_pinned:
                draft.put(MODULES_ENTITY, key, _encode((self._wall_ms(), row.size_bytes)))
            else:
                _plan_removal(draft, row.digest)
            commit = draft.to_commit()
        finally:
            snapshot.release()
        done = submit_durably(self._store, commit, lambda _: None)
        if done is None:
            return False
        await done
        return not is_pinned

    def stop(self) -> None:
        """Lets what is under way end soon. Does not wait."""
        self._stop.set()


def _plan_removal(draft: Draft, digest: str) -> None:
    data = draft.find(MODULES_ENTITY, digest)
    draft.put(MODULES_ENTITY, _PREFIX + digest, None)
    if data is None:
        return
    draft.put(MODULES_ENTITY, digest, None)
    for key in chunk_keys(decode_module(data)):
        draft.put(module_entity(digest), key, None)


def _find_pinned(source: DumpSource, wanted: set[str], stop: threading.Event) -> set[str]:
    """Returns which of `wanted` entities name; all of them when it was stopped. In a thread."""
    found: set[str] = set()
    with source:
        for digest in _named_by_entities(source):
            if stop.is_set():
                return wanted
            if digest in wanted:
                found.add(digest)
    return found


def _named_by_entities(source: DumpSource) -> Iterator[str]:
    """Gives each module an entity names, and "" for every other cell."""
    areas = (("", SYSTEM_ENTITY_PREFIX), (prefix_end(SYSTEM_ENTITY_PREFIX) or "", None))
    for start, end in areas:
        for row in source.cells(start, end):
            if row.key == ENTITY_KEY:
                yield from modules_of(decode_entity(row.value))
            yield ""


def _read_row(digest: str, data: bytes) -> Retired:
    try:
        at_ms, size_bytes = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(
            f"the row of a retired module cannot be read ({error}); restore from a backup"
        ) from None
    return Retired(digest, at_ms, size_bytes)
