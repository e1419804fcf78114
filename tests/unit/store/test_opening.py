"""What is opened, made, or refused, and that a refused file is left as it was."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from lithox.errors import ConfigError, StoreCorrupt, StoreInUse
from lithox.store import migrations
from lithox.store.contract import Commit
from lithox.store.embedded import EmbeddedOptions, EmbeddedStore, connections, opening


def open_store(path: Path, **options: object) -> EmbeddedStore:
    return EmbeddedStore.open(
        path,
        post=lambda call: None,
        options=EmbeddedOptions(**options),  # type: ignore[arg-type]
    )


def make(path: Path) -> None:
    store = open_store(path)
    for n in range(200):
        store.submit(Commit(0, writes={("a", f"k{n}"): b"v" * 100}), lambda error: None)
    store.close()


def expect(path: Path, error: type[Exception], message: str, **options: object) -> None:
    """Opening fails with exactly `message`, twice, and leaves the file as it was."""
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(error) as caught:
            open_store(path, **options)
        assert str(caught.value) == message
    assert path.read_bytes() == before


def test_new_database_is_ours(tmp_path: Path) -> None:
    """A new file has our mark, the newest schema version, WAL mode, and nothing beside it."""
    path = tmp_path / "state.db"
    make(path)
    connection = apsw.Connection(str(path))
    assert connection.pragma("application_id") == migrations.APPLICATION_ID
    assert connection.pragma("user_version") == migrations.SCHEMA_VERSION
    assert connection.pragma("journal_mode") == "wal"
    connection.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["state.db", "state.db-lock"]


def test_empty_file_is_made_new(tmp_path: Path) -> None:
    """A file without a byte, which a crash at the very beginning leaves, is a new database."""
    path = tmp_path / "state.db"
    path.touch()
    make(path)
    assert opening.check_head(path)


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    """What is not SQLite is named so."""
    path = tmp_path / "state.db"
    path.write_bytes(b"PK\x03\x04 something else" * 100)
    expect(
        path,
        StoreCorrupt,
        f"{path} is not a database of lithox (it does not begin as SQLite files do); name "
        "another data directory, or restore a backup",
    )


def test_foreign_database_is_refused(tmp_path: Path) -> None:
    """An SQLite database of another program is left alone."""
    path = tmp_path / "state.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE t (a); PRAGMA application_id = 17")
    connection.close()
    expect(
        path,
        StoreCorrupt,
        f"{path} is an SQLite database of another program (application id 0x11); name another "
        "data directory",
    )


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    """A database of a newer lithox is refused, saying both versions."""
    path = tmp_path / "state.db"
    make(path)
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version = 7; PRAGMA journal_mode = DELETE").fetchall()
    connection.close()
    expect(
        path,
        StoreCorrupt,
        f"{path} has schema version 7, this lithox knows up to {migrations.SCHEMA_VERSION}; "
        "start the newer lithox that wrote it, or restore a backup made before the upgrade",
    )


@pytest.mark.parametrize("size", [60, 4096 + 100, 4 * 4096])
def test_cut_off_file_is_refused(tmp_path: Path, size: int) -> None:
    """A file that ends too early is called damaged."""
    path = tmp_path / "state.db"
    make(path)
    full = path.stat().st_size
    path.write_bytes(path.read_bytes()[:size])
    what = f"it ends after {size} bytes" if size < 100 else f"it has {size} bytes and needs {full}"
    expect(
        path,
        StoreCorrupt,
        f"{path} is damaged: {what}; nothing was repaired: keep a copy, then restore a backup",
    )


def test_damaged_page_is_refused_when_checked(tmp_path: Path) -> None:
    """A page of noise is found at opening in a small file, and in any when asked."""
    path = tmp_path / "state.db"
    make(path)
    content = bytearray(path.read_bytes())
    for page in range(3, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xaa" * 64
    path.write_bytes(content)
    for options in ({}, {"is_checked": True}):
        with pytest.raises(StoreCorrupt):
            open_store(path, **options)
    assert path.read_bytes() == content


def test_damaged_page_is_told_when_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file too large to be checked at opening, damage is an error of the read it meets."""
    path = tmp_path / "state.db"
    make(path)
    content = bytearray(path.read_bytes())
    connection = apsw.Connection(str(path))
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'state'").get
    connection.close()
    content[(root - 1) * 4096 : (root - 1) * 4096 + 64] = b"\xaa" * 64
    path.write_bytes(content)
    monkeypatch.setattr(opening, "QUICK_CHECK_BYTES_MAX", 0)
    store = open_store(path)
    with pytest.raises(StoreCorrupt):
        store.open_snapshot().find("a", "k1")
    store.close()


@pytest.mark.parametrize("version", [0, -1])
def test_impossible_schema_version_is_refused(tmp_path: Path, version: int) -> None:
    """A database of ours without a version of ours is damaged; it is not made anew over that."""
    path = tmp_path / "state.db"
    make(path)
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA user_version = {version}; PRAGMA journal_mode = DELETE").fetchall()
    connection.close()
    expect(
        path,
        StoreCorrupt,
        f"{path} is damaged: its schema version is {version}; nothing was repaired: keep a copy, "
        "then restore a backup",
    )


@pytest.mark.parametrize("flip", [0xFF, 0x01, 0x80])
def test_changed_head_is_damage_or_harmless(tmp_path: Path, flip: int) -> None:
    """Whatever byte of the head changes: the store opens with all it had, or says it is damaged."""
    path = tmp_path / "state.db"
    make(path)
    good = path.read_bytes()
    refused = 0
    for index in range(100):
        content = bytearray(good)
        content[index] ^= flip
        path.write_bytes(content)
        try:
            store = open_store(path)
        except StoreCorrupt:
            refused += 1
            continue
        assert store.open_snapshot().find("a", "k1") is not None, index
        store.close()
    assert refused > 20


def test_emptied_file_is_refused(tmp_path: Path) -> None:
    """A file that had a store and has no byte now is damaged; one that is gone is made anew."""
    path = tmp_path / "state.db"
    make(path)
    path.write_bytes(b"")
    expect(
        path,
        StoreCorrupt,
        f"{path} is damaged: it is empty, and a store was kept in it (see state.db-lock); nothing "
        "was repaired: keep a copy, then restore a backup",
    )
    path.unlink()
    open_store(path).close()


def test_missing_table_is_refused(tmp_path: Path) -> None:
    """A database of ours that lacks a table is damaged, not silently completed."""
    path = tmp_path / "state.db"
    make(path)
    connection = apsw.Connection(str(path))
    connection.execute("DROP TABLE audit; PRAGMA journal_mode = DELETE").fetchall()
    connection.close()
    expect(
        path,
        StoreCorrupt,
        f"{path} is damaged: it lacks audit; nothing was repaired: keep a copy, then restore a "
        "backup",
    )


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    """A folder that does not exist is the operator's to make."""
    with pytest.raises(ConfigError):
        open_store(tmp_path / "none" / "state.db")


def test_second_store_is_refused(tmp_path: Path) -> None:
    """The database is open once: another store, here or in another process, is refused."""
    path = tmp_path / "state.db"
    store = open_store(path)
    with pytest.raises(StoreInUse):
        open_store(path)
    code = (
        "import sys; from lithox.errors import StoreInUse\n"
        "from lithox.store.embedded import EmbeddedStore\n"
        "try: EmbeddedStore.open(sys.argv[1], post=print)\n"
        "except StoreInUse as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{path} is in use by process ")
    store.close()
    open_store(path).close()


def test_refused_file_is_not_locked(tmp_path: Path) -> None:
    """A failed opening gives the lock back."""
    path = tmp_path / "state.db"
    make(path)
    good = path.read_bytes()
    path.write_bytes(good[:5000])
    with pytest.raises(StoreCorrupt):
        open_store(path)
    path.write_bytes(good)
    open_store(path).close()


def test_copy_of_running_database_opens(tmp_path: Path) -> None:
    """The file and its log, copied after a crash, are all that is needed."""
    path = tmp_path / "state.db"
    done: list[object] = []
    store = EmbeddedStore.open(path, post=lambda call: call())
    store.submit(Commit(0, writes={("a", "k"): b"v"}), done.append)
    store.close()
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    other = open_store(copy)
    assert other.open_snapshot().find("a", "k") is not None
    other.close()


def test_migrations_run_in_order_and_wholly(tmp_path: Path) -> None:
    """Each step is one transaction: a failing one leaves the version before it."""
    connection = connections.connect(tmp_path / "x.db", vfs=None, cache_kib=100, synchronous="FULL")
    steps = (("CREATE TABLE one (a)",), ("CREATE TABLE two (a)", "CREATE TABLE one (a)"))
    with pytest.raises(apsw.SQLError):
        opening.migrate(connection, from_version=0, steps=steps)
    assert connection.pragma("user_version") == 1
    assert connections.fetch_rows(connection, "SELECT name FROM sqlite_schema") == [("one",)]
    fixed = (steps[0], ("CREATE TABLE two (a)",))
    opening.migrate(connection, from_version=1, steps=fixed)
    assert connection.pragma("user_version") == 2
    connection.close()
