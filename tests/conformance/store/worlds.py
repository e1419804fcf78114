"""The two engines behind one handle, with a disk whose failures a test commands."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

import apsw

from lithox.errors import StoreUnavailable, TransactionError
from lithox.store.contract import Commit, Store
from lithox.store.embedded import EmbeddedOptions, EmbeddedStore
from lithox.store.embedded.lossy_vfs import LossyDisk
from lithox.store.memory import MemoryDisk, MemoryStore
from lithox.store.visible import Options

WAIT_S_MAX = 20.0
_numbers = itertools.count()


class World:
    """One store at a time over one disk, and the node's thread that it posts to."""

    store: Store

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


def make_world(engine: str, folder: Path) -> World:
    """Returns the world of `engine`, not opened yet."""
    return MemoryWorld() if engine == "memory" else EmbeddedWorld(folder)


ENGINES = ("memory", "embedded")
