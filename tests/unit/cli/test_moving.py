"""`lithox backup`, `restore`, `store migrate`, `entity export/import`: files, prints, statuses."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from lithox.cli import archives
from lithox.cli.archives import Told, format_counts
from lithox.model.archive import KIND_ENTITIES, KIND_STORE
from lithox.node.opening import STORE_NAME
from lithox.store.embedded.dump import EmbeddedDump, load_embedded
from tests.store_rows import SMALL, make_archive, read_source
from tests.unit.gateway.fake_moving import archive


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """A data directory with a store of every kind of row, and no node to speak to."""
    monkeypatch.delenv("LITHOX_NODE", raising=False)
    folder = tmp_path / "data"
    folder.mkdir()
    load_embedded(folder / STORE_NAME, SMALL)
    return folder


@pytest.fixture
def at_rest(run, data, monkeypatch):
    """Runs commands without a node."""
    monkeypatch.delenv("LITHOX_NODE", raising=False)
    return run


class Output:
    """Stands for stdout or stdin, with a binary side."""

    def __init__(self, content: bytes = b"", *, is_terminal: bool = False) -> None:
        self.buffer = io.BytesIO(content)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def flush(self) -> None:
        pass


def rows_of(folder: Path) -> list[Any]:
    return read_source(EmbeddedDump(folder / STORE_NAME))


def test_a_store_at_rest_goes_through_an_archive(at_rest, data, tmp_path):
    """Backup and restore say the same counts and digest; the store is the same again."""
    file = tmp_path / "b.jsonl"
    copied = at_rest("backup", str(file), "--data", str(data))
    assert copied.status == 0
    assert copied.out.startswith("copied 5 cells, 2 results, 3 audit records; SHA-256 of rows ")
    other = tmp_path / "other"
    restored = at_rest("restore", str(file), "--data", str(other))
    assert restored == (0, copied.out.replace("copied", "restored and verified"), "")
    assert rows_of(other) == SMALL == rows_of(data)


def test_json_says_counts_and_digests(at_rest, data, tmp_path):
    """The same in machine-readable form."""
    file = tmp_path / "b.jsonl"
    copied = json.loads(at_rest("backup", str(file), "--data", str(data), "--json").out)
    assert copied["counts"] == {"audit": 3, "cell": 5, "result": 2}
    assert copied["bytes"] == file.stat().st_size
    other = str(tmp_path / "other")
    restored = json.loads(at_rest("restore", str(file), "--data", other, "--json").out)
    assert restored == {"counts": copied["counts"], "rows_sha256": copied["rows_sha256"]}


def test_archives_go_through_pipes(at_rest, data, tmp_path, monkeypatch):
    """`-` is stdout and stdin; what is said then goes to stderr."""
    out = Output()
    with monkeypatch.context() as patch:
        patch.setattr(archives.sys, "stdout", out)
        assert at_rest("backup", "-", "--data", str(data)).status == 0
    data_read = out.buffer.getvalue()
    monkeypatch.setattr(archives.sys, "stdin", Output(data_read))
    assert at_rest("restore", "-", "--data", str(tmp_path / "other")).status == 0
    assert rows_of(tmp_path / "other") == SMALL


def test_an_archive_is_not_for_a_terminal(at_rest, data, monkeypatch):
    """Where a person looks, a file is asked for."""
    monkeypatch.setattr(archives.sys, "stdout", Output(is_terminal=True))
    ended = at_rest("backup", "-", "--data", str(data))
    assert ended.status == 2
    assert "not for a terminal" in ended.err


def test_a_file_that_is_there_is_kept(at_rest, data, tmp_path):
    """Replacing a backup takes --force; a failure keeps the old one and leaves no part."""
    file = tmp_path / "b.jsonl"
    file.write_bytes(b"old")
    ended = at_rest("backup", str(file), "--data", str(data))
    assert (ended.status, file.read_bytes()) == (2, b"old")
    assert "--force" in ended.err
    ended = at_rest("backup", str(file), "--data", str(tmp_path / "none"), "--force")
    assert (ended.status, file.read_bytes()) == (2, b"old")
    assert at_rest("backup", str(file), "--data", str(data), "--force").status == 0
    assert file.read_bytes() != b"old"
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["backup", "x/y", "--data", "{data}"], "cannot write x/y"),
        (["restore", "none", "--data", "other"], "cannot read none"),
        (["backup", "f", "--data", "none"], "no store at"),
        (["backup", "f", "--store", "mysql://me:secret@host/db"], "a store is named"),
        (["store", "migrate", "sqlite:", "sqlite:other"], "a store is named"),
        (["store", "migrate", "sqlite:none", "sqlite:other"], "no store at"),
        (["store", "migrate", "sqlite:{data}", "sqlite:{data}"], "is in use"),
        (["entity", "export", "a", "-o", "f", "--data", "none"], "no data directory"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(  # noqa: PLR0913, PLR0917 - fixtures and cases
    at_rest, data, tmp_path, monkeypatch, arguments, words
):
    """Wrong names and places end with 2 (a store in use with 4), and leave nothing behind."""
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    ended = at_rest(*(one.format(data=data) for one in arguments))
    assert ended.status == (4 if "use" in words else 2)
    assert words in ended.err
    assert "secret" not in ended.err
    assert sorted(tmp_path.rglob("*")) in (before, sorted([*before, data / "lithox.db-lock"]))


@pytest.mark.parametrize("cut", [0, 100, -1])
def test_a_damaged_archive_restores_nothing(at_rest, tmp_path, cut):
    """The status is that of wrong input; no store is there afterwards."""
    file = tmp_path / "b.jsonl"
    file.write_bytes(make_archive(SMALL)[:cut])
    ended = at_rest("restore", str(file), "--data", str(tmp_path / "other"))
    assert (ended.status, ended.out) == (2, "")
    assert "not a whole archive" in ended.err
    assert not (tmp_path / "other" / STORE_NAME).exists()


def test_a_restore_into_a_store_is_refused(at_rest, data, tmp_path):
    """What is there stays, whatever the archive holds."""
    file = tmp_path / "b.jsonl"
    file.write_bytes(make_archive(SMALL[:1]))
    ended = at_rest("restore", str(file), "--data", str(data))
    assert ended.status == 2
    assert "is there already" in ended.err
    assert rows_of(data) == SMALL


def test_a_store_moves_to_a_file_and_back(at_rest, data, tmp_path):
    """A directory or a `.db` file; each side proven by counts and digest."""
    there = at_rest("store", "migrate", f"sqlite:{data}", f"sqlite:{tmp_path / 'x' / 'y.db'}")
    assert there.status == 0
    assert there.out.startswith("copied and verified 5 cells, 2 results, 3 audit records;")
    back = at_rest("store", "migrate", f"sqlite:{tmp_path / 'x' / 'y.db'}", f"sqlite:{tmp_path}/z")
    assert back == there
    assert rows_of(tmp_path / "z") == SMALL


def test_a_node_is_backed_up_over_the_network(run, node, tmp_path, monkeypatch):
    """With --node the archive comes from there, and is proven on this side."""
    monkeypatch.setattr(node, "backup", lambda **_: node._give("b", archive(KIND_STORE, 3)))
    file = tmp_path / "b.jsonl"
    ended = run("backup", str(file))
    assert ended.status == 0
    assert file.read_bytes() == b"".join(archive(KIND_STORE, 3))
    monkeypatch.setattr(node, "backup", lambda **_: node._give("b", archive(KIND_STORE, 3)[:-1]))
    ended = run("backup", str(tmp_path / "c.jsonl"))
    assert (ended.status, list(tmp_path.glob("c.*"))) == (2, [])


def test_entities_are_exported_and_imported(run, node, tmp_path):
    """To stdout or a file; an import says what it did."""
    file = tmp_path / "e.jsonl"
    ended = run("entity", "export", "a/*", "-o", str(file))
    assert ended.status == 0
    assert ended.out.startswith("exported 1 values; SHA-256 of rows ")
    assert file.read_bytes() == b"".join(archive(KIND_ENTITIES, 1))
    ended = run("entity", "import", str(file), "--skip")
    assert ended == (0, "imported 1 entities with 1 keys, skipped 0\n", "")
    assert node.imports == [("skip", file.read_bytes())]
    ended = run("entity", "import", str(file), "--replace", "--json")
    assert json.loads(ended.out) == {"imported": 1, "skipped": 0, "keys": 1, "in_pieces": []}
    assert node.imports[1][0] == "replace"


def test_an_import_in_pieces_is_told(run, node, tmp_path, monkeypatch):
    """Entities that were not one commit are named on stderr."""

    async def taken(*_: Any, **__: Any) -> dict[str, Any]:
        return {"imported": 2, "skipped": 1, "keys": 5000, "in_pieces": ["a/big"]}

    monkeypatch.setattr(node, "entity_import", taken)
    file = tmp_path / "e.jsonl"
    file.write_bytes(b"x")
    ended = run("entity", "import", str(file))
    assert ended.out == "imported 2 entities with 5,000 keys, skipped 1\n"
    assert ended.err == "lithox: in several commits, because they are large: a/big\n"


def test_progress_is_told_on_a_terminal_only(monkeypatch, capsys):
    """Nothing within the first second, then how far it is; nothing where nobody looks."""
    now = [0.0]
    monkeypatch.setattr(archives, "is_terminal", lambda: True)
    with Told(now_s=lambda: now[0]) as told:
        told.note("loading", {"cell": 1}, 1)
        assert told._shown is None
        now[0] = 2.0
        told.note("loading", {"cell": 12_345}, 1 << 20)
        assert told._shown is not None
        assert told._shown.tasks[0].description == "loading: 12,345 cells, 1MiB"
    monkeypatch.setattr(archives, "is_terminal", lambda: False)
    with Told(now_s=lambda: now[0]) as told:
        now[0] = 9.0
        told.note("loading", {"cell": 1}, 1)
        assert told._shown is None
    capsys.readouterr()


def test_counts_read_as_words() -> None:
    """Kinds in their order; nothing at all is said as such."""
    assert format_counts({"audit": 1, "cell": 1_000}) == "1,000 cells, 1 audit records"
    assert format_counts({}) == "nothing"
