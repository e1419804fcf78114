"""The part of the fake node that moves data: archives made by hand, imports that are kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from typing import Any

from lithox.errors import BadArguments, NotFound, StoreCorrupt
from lithox.model.archive import KIND_ENTITIES, KIND_STORE, ArchiveReader, ArchiveWriter
from lithox.model.request import Caller

ROW = b'{"k":"value","e":"a/b","key":"k","v":1}\n'


def archive(kind: str, rows: int) -> list[bytes]:
    """Returns an archive in chunks: header, `rows` rows one by one, trailer."""
    writer = ArchiveWriter()
    chunks = [writer.begin(kind)]
    for _ in range(rows):
        writer.add(ROW, {"value": 1})
        chunks.append(ROW)
    return [*chunks, writer.end()]


class FakeMoving:
    """Backups of three rows; exports of `fails/late`, `fails/early` and `none` go wrong.

    Attributes:
        closed: streams that were left, by what they were.
        imports: (mode, bytes) of each import.
    """

    closed: list[str]
    imports: list[tuple[str, bytes]]

    def backup(self, *, caller: Caller | None = None) -> AsyncIterator[bytes]:
        del caller
        return self._give("backup", archive(KIND_STORE, 3))

    def entity_export(self, pattern: str, *, caller: Caller | None = None) -> AsyncIterator[bytes]:
        del caller
        if pattern == "none":
            raise NotFound("no entity 'none'")
        return self._give(pattern, archive(KIND_ENTITIES, 1))

    async def _give(self, name: str, chunks: list[bytes]) -> AsyncGenerator[bytes]:
        try:
            if name == "fails/early":
                raise StoreCorrupt("the database is damaged")
            for chunk in chunks[:-1] if name == "fails/late" else chunks:
                yield chunk
            if name == "fails/late":
                raise StoreCorrupt("the database is damaged")
        finally:
            self.closed.append(name)

    async def entity_import(
        self, chunks: AsyncIterable[bytes], *, mode: str = "refuse", caller: Caller | None = None
    ) -> dict[str, Any]:
        del caller
        if mode == "merge":
            raise BadArguments("mode is one of refuse, replace, skip")
        data = b"".join([chunk async for chunk in chunks])
        reader = ArchiveReader(KIND_ENTITIES)
        reader.feed(data)
        reader.finish()
        self.imports.append((mode, data))
        return {"imported": 1, "skipped": 0, "keys": 1, "in_pieces": []}
