"""Whole stores that no node has open: copied into an archive, made of one, moved to another engine.

A store is named `sqlite:PATH` (a data directory or a database file) or `postgresql://...`. What is
written to has to be empty, gets everything or nothing, and is read again to prove it. All of it
blocks: the command line runs it on its own thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from lithox.errors import BadArguments, ConfigError, NotFound, StoreCorrupt
from lithox.model.archive import KIND_STORE, ArchiveReader, ArchiveWriter
from lithox.node.clock import RealClock
from lithox.node.moving import about_now, archive_of_store
from lithox.node.opening import SERVER_SCHEMES, STORE_NAME
from lithox.store.dump import DumpRow, DumpSource, dump_rows
from lithox.store.dump_lines import read_rows, write_rows
from lithox.store.embedded.dump import load_embedded
from lithox.store.embedded.store import EmbeddedStore

SQLITE: Final = "sqlite:"
PROGRESS_BYTES: Final = 4 << 20
"""A step of progress is told after so many bytes of archive."""

OnProgress = Callable[[str, dict[str, int]], None]
"""Told (what is being done, rows so far by kind), on the calling thread."""


class Place(Protocol):
    """Where a store lies, and what can be done there."""

    name: str
    """For people; holds no password."""

    def open_dump(self) -> AbstractContextManager[DumpSource]:
        """Opens the store there and gives its dump, not entered yet."""
        ...

    def check_at_rest(self) -> None:
        """Raises StoreInUse when a node is at work there."""
        ...

    def load(self, rows: Iterable[DumpRow]) -> None:
        """Makes the store there of `rows`, all or nothing.

        Raises:
            BadArguments: something is there already; or what `rows` raises.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What was moved, and the proof.

    Attributes:
        counts: rows by kind, the same on both sides.
        rows_sha256: digest of all rows, the same on both sides.
    """

    counts: dict[str, int]
    rows_sha256: str


class SqlitePlace:
    """A database in one file, locked while it is used."""

    __slots__ = ("_database", "name")

    def __init__(self, path: Path) -> None:
        """Takes a data directory, there or to be made, or a file whose name ends with `.db`."""
        is_file = path.is_file() or (not path.is_dir() and path.suffix == ".db")
        self._database = path if is_file else path / STORE_NAME
        self.name = f"{SQLITE}{path}"

    @contextmanager
    def open_dump(self) -> Generator[DumpSource]:
        if not self._database.exists():
            raise NotFound(f"no store at {self._database}")
        # As a node opens it: what is damaged, foreign or in use is refused the same way.
        store = EmbeddedStore.open(self._database, post=_ignore)
        try:
            yield store.open_dump()
        finally:
            store.close()

    def check_at_rest(self) -> None:
        """Nothing to ask: a dump takes the lock that a node would hold."""

    def load(self, rows: Iterable[DumpRow]) -> None:
        try:
            self._database.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{self._database.parent}: {error.strerror}") from None
        load_embedded(self._database, rows)


class PostgresPlace:
    """A schema on a server; `lithox`, unless the address ends with `#SCHEMA`."""

    __slots__ = ("_address", "_options", "name")

    def __init__(self, address: str) -> None:
        # Imported here: who has no server needs none of it.
        from lithox.store.postgres import PostgresOptions

        self._address, _, schema = address.partition("#")
        self._options = PostgresOptions(schema=schema) if schema else PostgresOptions()
        self._options.check()
        self.name = f"the schema {self._options.schema} of the server"

    @contextmanager
    def open_dump(self) -> Generator[DumpSource]:
        from lithox.store.postgres.dump import PostgresDump

        yield PostgresDump(self._address, self._options)

    def check_at_rest(self) -> None:
        from lithox.store.postgres.dump import check_at_rest

        check_at_rest(self._address, self._options)

    def load(self, rows: Iterable[DumpRow]) -> None:
        from lithox.store.postgres.dump import load_postgres

        load_postgres(self._address, self._options, rows)


def place_of(text: str) -> Place:
    """Returns the place that `sqlite:PATH` or `postgresql://...` names.

    Raises:
        BadArguments: neither.
        ConfigError: the name of a schema is none.
    """
    if text.startswith(SERVER_SCHEMES):
        return PostgresPlace(text)
    if text.startswith(SQLITE) and len(text) > len(SQLITE):
        return SqlitePlace(Path(text.removeprefix(SQLITE)))
    raise BadArguments(
        f"a store is named sqlite:DIR_OR_FILE or postgresql://...; found {_shown(text)!r}"
    )


def backup(place: Place) -> Iterator[bytes]:
    """Gives the archive of the store at `place`, chunk by chunk; see `archive_of_store`."""
    with place.open_dump() as source:
        yield from archive_of_store(source, **about_now(RealClock.wall_ns() // 1_000_000))


def restore(chunks: Iterable[bytes], place: Place, on_progress: OnProgress | None = None) -> Moved:
    """Makes the store at `place` of an archive, all or nothing; then reads it again.

    Raises:
        BadArguments: the archive is not whole, or the place is not empty; nothing was loaded.
        StoreCorrupt: what was written reads otherwise.
    """
    reader = ArchiveReader(KIND_STORE)
    place.load(read_rows(_told_chunks(chunks, reader, on_progress), reader))
    return verify(place, Moved(counts=reader.counts, rows_sha256=reader.rows_sha256), on_progress)


def migrate(source: Place, target: Place, on_progress: OnProgress | None = None) -> Moved:
    """Copies the store at `source` into the empty place `target`; then reads that again.

    The rows go through the same lines as those of an archive, so the digest proves the same.

    Raises:
        NotFound: no store at `source`.
        BadArguments: `target` is not empty.
        StoreInUse: a node uses one of them.
        StoreCorrupt: what was written reads otherwise.
    """
    reader = ArchiveReader(KIND_STORE)
    source.check_at_rest()
    with source.open_dump() as dump:
        chunks = _told_chunks(archive_of_store(dump), reader, on_progress)
        target.load(read_rows(chunks, reader))
    return verify(target, Moved(counts=reader.counts, rows_sha256=reader.rows_sha256), on_progress)


def verify(place: Place, wanted: Moved, on_progress: OnProgress | None = None) -> Moved:
    """Reads everything at `place`; raises StoreCorrupt unless it is what was wanted."""
    writer = ArchiveWriter()
    with place.open_dump() as source, source:
        size = 0
        for chunk in write_rows(dump_rows(source), writer):
            size += len(chunk)
            if on_progress is not None and size >= PROGRESS_BYTES:
                size = 0
                on_progress("verifying", writer.counts)
    found = Moved(counts=writer.counts, rows_sha256=writer.rows_sha256)
    if found != wanted:
        raise StoreCorrupt(
            f"what was written to {place.name} reads otherwise: {found.counts} rows with digest "
            f"{found.rows_sha256[:16]}, wanted {wanted.counts} with {wanted.rows_sha256[:16]}; "
            "do not use it"
        )
    return found


def _told_chunks(
    chunks: Iterable[bytes], reader: ArchiveReader, on_progress: OnProgress | None
) -> Iterator[bytes]:
    told = 0
    for chunk in chunks:
        yield chunk
        if on_progress is not None and reader.bytes_read - told >= PROGRESS_BYTES:
            told = reader.bytes_read
            on_progress("loading", reader.counts)


def _ignore(_call: Callable[[], None]) -> None:
    """Posts nothing: nobody waits for a commit of a store that is only read."""


def _shown(text: str) -> str:
    """Returns a store's name without what may be a password."""
    return text.partition("://")[0][:40]
