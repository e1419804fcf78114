"""Where is a module's code in the store, and how is it read without holding the node up?

A module of up to `INLINE_BYTES_MAX` is one record under its digest. A larger one (WebAssembly has
up to 64 MiB) is a record that says its size, and chunks in cells of an entity of its own; record
and chunks are written by one commit and removed by one. A module never changes, so its parts may
be read at different moments: `ModuleReading` takes a few chunks a step, and whoever reads goes back
to the loop between two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from lithox.dispatch.records import (
    MODULE_CHUNKS_PREFIX,
    MODULES_ENTITY,
    ModuleRecord,
    decode_module,
    encode_record,
)
from lithox.errors import BadArguments, NotFound, StoreCorrupt
from lithox.model.ids import check_handler_name
from lithox.sandbox.contract import Source
from lithox.store.contract import Cell, Range, Snapshot

INLINE_BYTES_MAX: Final = 1 << 20
"""As much as one text may have: every language but WebAssembly has its modules in one cell."""
CHUNK_BYTES: Final = 64 << 10
"""As the chunks of big values (`model/big_values.py`), for the same reason."""
STEP_BYTES: Final = 512 << 10
"""Read in one step: about 0.4 ms from a warm file."""
_STEP_CHUNKS: Final = STEP_BYTES // CHUNK_BYTES


def module_entity(digest: str) -> str:
    """Returns the system entity that holds the chunks of a large module."""
    return MODULE_CHUNKS_PREFIX + digest


def module_cells(source: Source, names: Iterable[str]) -> Iterator[tuple[Cell, bytes]]:
    """Gives the cells in which a module is kept, its record first.

    Args:
        names: of the handlers it gives; what could not be called is left out.
    """
    size = len(source.text)
    is_inline = size <= INLINE_BYTES_MAX
    record = ModuleRecord(
        language=source.language,
        name=source.name,
        text=source.text if is_inline else b"",
        size=0 if is_inline else size,
        names=[name for name in names if _may_be_called(name)],
    )
    yield (MODULES_ENTITY, source.digest), encode_record(record)
    if is_inline:
        return
    entity = module_entity(source.digest)
    for number, start in enumerate(range(0, size, CHUNK_BYTES)):
        yield (entity, _chunk_key(number)), source.text[start : start + CHUNK_BYTES]


def chunk_keys(record: ModuleRecord) -> list[str]:
    """Returns the keys of a module's chunks, in order; none of a small one."""
    return [_chunk_key(number) for number in range(-(-record.size // CHUNK_BYTES))]


def find_module(snapshot: Snapshot, digest: str) -> ModuleRecord | None:
    """Returns the record of a module, or None. Blocks for one cell."""
    item = snapshot.find(MODULES_ENTITY, digest)
    return None if item is None else decode_module(item.value)


class ModuleReading:
    """One module on its way out of the store. Used by the node's thread.

    Attributes:
        digest: of the module.
        language: of the module, "" before the first step.
    """

    __slots__ = ("_open_snapshot", "_parts", "_read_bytes", "_record", "digest", "language")

    def __init__(self, open_snapshot: Callable[[], Snapshot], digest: str) -> None:
        """Reads nothing yet."""
        self.digest = digest
        self._open_snapshot = open_snapshot
        self._record: ModuleRecord | None = None
        self._parts: list[bytes] = []
        self._read_bytes = 0
        self.language = ""

    def step(self) -> bool:
        """Reads on; returns whether all has been read: if not, call again.

        Raises:
            NotFound: no such module is kept (any more).
            StoreCorrupt: part of it is missing.

        Blocks: for `STEP_BYTES` of the store at most, or one small module.
        """
        snapshot = self._open_snapshot()
        try:
            record = self._record
            if record is None:
                record = self._record = find_module(snapshot, self.digest)
                if record is None:
                    raise NotFound(f"no module with digest {self.digest}")
                self.language = record.language
                if not record.size:
                    self._parts.append(record.text)
                    return True
            self._read_chunks(snapshot, record)
        finally:
            snapshot.release()
        return self._read_bytes == record.size

    def take(self) -> Source:
        """Returns the module, once all of it has been read. From any thread; call it once.

        Blocks: while its parts are put together, 40 ms for the largest.
        """
        record = self._record
        assert record is not None, "nothing has been read"
        text = b"".join(self._parts)
        self._parts.clear()
        return Source(language=record.language, name=record.name, text=text, digest=self.digest)

    def read(self) -> Source:
        """Returns the module, read in one go; raises and blocks as all its steps."""
        while not self.step():
            pass
        return self.take()

    def _read_chunks(self, snapshot: Snapshot, record: ModuleRecord) -> None:
        number, before = len(self._parts), self._read_bytes
        area = Range(module_entity(self.digest), _chunk_key(number), None)
        # A scan, because what it reads is not kept in the cache of entities.
        for key, item in snapshot.scan(area, _STEP_CHUNKS).items:
            wanted = min(CHUNK_BYTES, record.size - self._read_bytes)
            if key != _chunk_key(number) or len(item.value) != wanted or not wanted:
                raise self._broken()
            self._parts.append(item.value)
            self._read_bytes += wanted
            number += 1
        if self._read_bytes == before:
            raise self._broken()

    def _broken(self) -> StoreCorrupt:
        return StoreCorrupt(
            f"module {self.digest} is not whole in the store; restore the data from a backup"
        )


def _chunk_key(number: int) -> str:
    return f"{number:08x}"


def _may_be_called(name: str) -> bool:
    try:
        check_handler_name(name)
    except BadArguments:
        return False
    return True
