"""The store in one SQLite file: opening, closing, and the engine that joins reader and writer."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from lithox.errors import StoreCorrupt
from lithox.store.contract import Post
from lithox.store.crash_points import Reach, reach_nothing
from lithox.store.embedded import connections, opening
from lithox.store.embedded.checkpoints import LOG_PAGES_MAX, Checkpoints
from lithox.store.embedded.dump import EmbeddedDump
from lithox.store.embedded.failures import meaning_of_failure
from lithox.store.embedded.lock import StoreLock
from lithox.store.embedded.reader import DurableReader
from lithox.store.embedded.writer import PROBE_FIRST_S, Writer
from lithox.store.engine import AuditPart, Listener, Part
from lithox.store.mailbox import Mailbox
from lithox.store.visible import Options, VisibleStore


@dataclass(slots=True, kw_only=True)
class EmbeddedOptions:
    """How an embedded store is opened.

    Attributes:
        core: bounds of caches and queues.
        is_checked: read and check every page at opening.
        reach: called with the name of every crash point that is passed; for tests.
        vfs: name of a registered apsw VFS to use in place of the system's; for tests.
        log_pages_max: pages of 4 KiB the log may have before it is copied into the database.
        probe_first_s: seconds until a failed disk is tried again, doubled each time.
        synchronous: SQLite's setting; anything but FULL loses answers at a power cut: for tests.
    """

    core: Options = field(default_factory=Options)
    is_checked: bool = False
    reach: Reach = reach_nothing
    vfs: str | None = None
    log_pages_max: int = LOG_PAGES_MAX
    probe_first_s: float = PROBE_FIRST_S
    synchronous: str = connections.SYNCHRONOUS_DEFAULT


class EmbeddedStore(VisibleStore):
    """One database in one file; made by `open`."""

    @classmethod
    def open(
        cls, path: str | Path, *, post: Post, options: EmbeddedOptions | None = None
    ) -> EmbeddedStore:
        """Opens the database at `path`, or makes it; its folder must exist. Blocks.

        Args:
            path: the file; SQLite's log and our lock lie beside it.
            post: runs a function on the node's thread soon; safe from any thread.
            options: see EmbeddedOptions.

        Raises:
            StoreInUse: another store has it open.
            StoreCorrupt: it is damaged, not ours, or of a newer version; nothing was changed.
            ConfigError: the folder is not usable.
            StoreUnavailable: it cannot be read, or made where there is none yet.
        """
        chosen = options or EmbeddedOptions()
        database = Path(path)
        lock = StoreLock(database)
        try:
            engine = _EmbeddedEngine(database, lock, post, chosen)
            try:
                return cls._over(engine, post, chosen)
            except BaseException:
                engine.abandon()
                raise
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _over(cls, engine: _EmbeddedEngine, post: Post, options: EmbeddedOptions) -> EmbeddedStore:
        refusal = None
        try:
            version = engine.reserve_versions()
        except apsw.Error as error:
            refusal = meaning_of_failure(error, act="opening")
            if isinstance(refusal, StoreCorrupt):
                raise refusal from error
            version = engine.version_limit
        store = cls(
            engine=engine,
            post=post,
            version=version,
            audit_sequence=engine.read_newest_audit() + 1,
            options=options.core,
        )
        if refusal is not None:
            store.refuse_writes(refusal)
        engine.start(store, is_failed=refusal is not None)
        return store


class _EmbeddedEngine(DurableReader):
    """Reader and writer of one database as one engine."""

    def __init__(self, path: Path, lock: StoreLock, post: Post, options: EmbeddedOptions) -> None:
        self._lock = lock
        self._path = path
        self._vfs = options.vfs
        self._reach = options.reach
        self._mailbox = Mailbox(post)
        opening.check_head(path, had_state=lock.had_state)
        try:
            self._writing = connections.connect(
                path,
                vfs=options.vfs,
                cache_kib=connections.WRITER_CACHE_KIB,
                synchronous=options.synchronous,
            )
        except apsw.Error as error:
            raise opening.meaning_at_opening(error, path) from error
        try:
            opening.prepare(self._writing, path, is_checked=options.is_checked)
            lock.mark_state()
            reading = connections.connect(
                path,
                vfs=options.vfs,
                cache_kib=connections.READER_CACHE_KIB,
                synchronous=options.synchronous,
            )
            reading.execute("PRAGMA query_only = ON")
        except BaseException as error:
            self._writing.close(force=True)
            if isinstance(error, apsw.Error):
                raise opening.meaning_at_opening(error, path) from error
            raise
        super().__init__(reading)
        self._checkpoints = Checkpoints(
            self._writing, reach=options.reach, log_pages_max=options.log_pages_max
        )
        self._writer: Writer = Writer(
            self._writing,
            mailbox=self._mailbox,
            checkpoints=self._checkpoints,
            reach=options.reach,
            probe_first_s=options.probe_first_s,
        )

    @property
    def version_limit(self) -> int:
        return self._writer.version_limit

    def reserve_versions(self) -> int:
        """Returns the highest version there may be; see Writer.reserve_versions."""
        return self._writer.reserve_versions()

    def read_newest_audit(self) -> int:
        """Returns the sequence of the newest audit record, 0 when there is none."""
        ((newest,),) = self._rows("SELECT ifnull(max(sequence), 0) FROM audit", ())
        return newest

    def start(self, listener: Listener, *, is_failed: bool) -> None:
        self._writer.start(listener, is_failed=is_failed)

    def enqueue(self, part: Part | AuditPart) -> None:
        self._writer.put(part)

    def confirm_withdrawal(self) -> None:
        self._writer.confirm_withdrawal()

    def open_dump(self) -> EmbeddedDump:
        return EmbeddedDump(self._path, vfs=self._vfs)

    def statistics(self) -> dict[str, Any]:
        writer, checkpoints = self._writer, self._checkpoints
        return {
            "reads": self.reads,
            "batches": writer.batches,
            "rows": writer.rows,
            "sync_failures": writer.failures,
            "probes": writer.probes,
            "checkpoints": checkpoints.checkpoints,
            "checkpoint_failures": checkpoints.failures,
            "log_pages": checkpoints.log_pages,
        }

    def close(self) -> None:
        self._writer.stop()
        self._mailbox.deliver()
        self._reach("close.before_checkpoint")
        # If this fails the log stays beside the database and is read at the next opening.
        with suppress(apsw.Error):
            self._writing.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self.abandon()
        self._lock.release()

    def abandon(self) -> None:
        """Closes the connections and nothing else."""
        for connection in (self._connection, self._writing):
            # Closing may try to copy the log; on a failed disk that is not ours to solve.
            with suppress(apsw.Error):
                connection.close(force=True)
