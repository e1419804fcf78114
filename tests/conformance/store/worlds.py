"""The engines behind one handle, with a disk whose failures a test commands."""

from __future__ import annotations

import atexit
import itertools
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue

import apsw
import psycopg

from lithox.errors import StoreUnavailable, TransactionError
from lithox.store.contract import Cell, Commit, Range, Store
from lithox.store.embedded import EmbeddedOptions, EmbeddedStore
from lithox.store.embedded.lossy_vfs import LossyDisk
from lithox.store.memory import MemoryDisk, MemoryStore
from lithox.store.postgres import PostgresOptions, PostgresStore
from lithox.store.visible import Options
from lithox.testing.postgres_server import ADMIN, OWNER, PostgresServer
from tests.servers import require_postgres

WAIT_S_MAX = 20.0
_numbers = itertools.count()


class World:
    """One store at a time over one disk, and the node's thread that it posts to."""

    store: Store
    is_shared = False
    """Whether answers that only read are confirmed by a server before they leave."""

    def __init__(self) -> None:
        self.posted: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def go_round(self) -> None:
        """Runs what is posted now, as the node's thread would."""
        while True:
            try:
                call = self.posted.get_nowait()
            except Empty:
                return
            call()

    def wait_until(self, is_reached: Callable[[], bool]) -> None:
        """Runs what is posted until `is_reached`."""
        self.go_round()
        while not is_reached():
            self.posted.get(timeout=WAIT_S_MAX)()

    def settle(self) -> None:
        """Lets all that is visible become durable, or be withdrawn."""
        self.wait_until(lambda: self.store.durable_version == self.store.visible_version)
        self.go_round()

    def wait_writable(self) -> None:
        self.wait_until(lambda: bool(self.store.statistics()["is_writable"]))

    def is_read_durable(
        self,
        reads: Iterable[Cell],
        ranges: Iterable[Range],
        *,
        up_to_version: int | None = None,
    ) -> bool:
        """Asks `when_read_durable`; what a shared store must have confirmed first, is awaited."""
        told = Answers()
        is_durable = self.store.when_read_durable(reads, ranges, told.add, up_to_version)
        if self.is_shared and not is_durable:
            self.go_round()
        return is_durable or told.errors == [None]

    def put(self, entity: str, **values: str | None) -> int:
        """Commits blindly, waits until it is durable, and returns the version."""
        writes = {
            (entity, key): None if value is None else value.encode()
            for key, value in values.items()
        }
        answers = Answers()
        version = self.store.submit(Commit(self.store.visible_version, writes=writes), answers.add)
        assert version is not None
        self.wait_until(lambda: bool(answers.errors))
        assert answers.errors == [None]
        return version

    def open(self, options: Options | None = None) -> Store:
        raise AssertionError("made by an engine's own world")

    def reopen(self) -> Store:
        """Closes the store and opens it again."""
        self.store.close()
        self.go_round()
        return self.open()

    def hold(self) -> None:
        raise AssertionError("made by an engine's own world")

    def release(self) -> None:
        raise AssertionError("made by an engine's own world")

    def fail(self) -> None:
        """Fails every sync until `mend`, as a full disk does."""
        raise AssertionError("made by an engine's own world")

    def mend(self) -> None:
        raise AssertionError("made by an engine's own world")

    def end(self) -> None:
        """Mends the disk and closes the store."""
        self.mend()
        self.release()
        self.store.close()


class Answers:
    """An `on_done` that keeps what it was told."""

    def __init__(self) -> None:
        self.errors: list[TransactionError | None] = []

    def add(self, error: TransactionError | None) -> None:
        self.errors.append(error)


class MemoryWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.disk = MemoryDisk()

    def open(self, options: Options | None = None) -> Store:
        self.store = MemoryStore(post=self.posted.put, disk=self.disk, options=options)
        return self.store

    def hold(self) -> None:
        self.disk.hold()

    def release(self) -> None:
        self.disk.release()

    def fail(self) -> None:
        self.disk.fail(StoreUnavailable("the disk is full", retry_after_ms=1_000))

    def mend(self) -> None:
        self.disk.mend()


class EmbeddedWorld(World):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "state.db"
        self.disk = LossyDisk(f"lossy-{next(_numbers)}")

    def open(self, options: Options | None = None) -> Store:
        self.store = EmbeddedStore.open(
            self.path,
            post=self.posted.put,
            options=EmbeddedOptions(
                core=options or Options(), vfs=self.disk.name, probe_first_s=0.001
            ),
        )
        return self.store

    def hold(self) -> None:
        self.disk.hold()

    def release(self) -> None:
        self.disk.release()

    def fail(self) -> None:
        self.disk.refusal = apsw.FullError("no room")

    def mend(self) -> None:
        self.disk.refusal = None

    def end(self) -> None:
        super().end()
        self.disk.unregister()


class PostgresWorld(World):
    """A schema of its own on the session's server; an admin's locks and rights are its faults."""

    is_shared = True

    def __init__(self, server: PostgresServer) -> None:
        super().__init__()
        self.server = server
        self.schema = f"world_{next(_numbers)}"
        self.admin = psycopg.connect(server.address(ADMIN), autocommit=True)
        self.holder: psycopg.Connection | None = None
        # Longer than a busy machine keeps a server that is well from answering.
        self.options: dict[str, object] = {"direct_wait_ms": 2_000}
        self.port: int | None = None

    def open(self, options: Options | None = None) -> Store:
        self.store = self.open_another(self.posted.put, options)
        return self.store

    def open_another(
        self, post: Callable[[Callable[[], None]], object], options: Options | None = None
    ) -> PostgresStore:
        """Returns one more store over the same database, as another node would have it."""
        return PostgresStore.open(
            self.server.address(port=self.port),
            post=post,
            options=PostgresOptions(
                core=options or Options(),
                schema=self.schema,
                migrate="apply",
                retry_first_s=0.001,
                **self.options,  # type: ignore[arg-type]
            ),
        )

    def go_round(self) -> None:
        """Runs what is posted, and what the server is still asked for."""
        super().go_round()
        while self.store.statistics()["reads_pending"]:
            self.posted.get(timeout=WAIT_S_MAX)()
            super().go_round()

    def hold(self) -> None:
        if self.holder is None:
            self.holder = psycopg.connect(self.server.address(ADMIN))
            self.holder.execute(f"LOCK TABLE {self.schema}.nodes IN EXCLUSIVE MODE")

    def release(self) -> None:
        if self.holder is not None:
            self.holder.close()
            self.holder = None

    def fail(self) -> None:
        self._set_rights("REVOKE", "FROM")

    def mend(self) -> None:
        self._set_rights("GRANT", "TO")

    def end(self) -> None:
        super().end()
        self.admin.execute(f"DROP SCHEMA {self.schema} CASCADE")
        self.admin.close()

    def _set_rights(self, act: str, word: str) -> None:
        self.admin.execute(
            f"{act} INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {self.schema} {word} {OWNER}"
        )


@cache
def _server() -> PostgresServer:
    """Returns the server that all tests of this process share."""
    server = PostgresServer()
    atexit.register(server.close)
    return server


def session_server() -> PostgresServer:
    """Returns the server of this session; skips the test where none is installed."""
    require_postgres()
    return _server()


def make_world(engine: str, folder: Path) -> World:
    """Returns the world of `engine`, not opened yet."""
    if engine == "postgres":
        return PostgresWorld(session_server())
    return MemoryWorld() if engine == "memory" else EmbeddedWorld(folder)


ENGINES = ("memory", "embedded", "postgres")
