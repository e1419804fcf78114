"""`lithox entity get --raw|-o` and `put --file`: bytes of a value, to and from files."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from lithox.cli.main import run

LUA = "return {get = function(self, key) return self.state[key] end}\n"
MANIFEST = '[[template]]\nmatch = "files/*"\nlanguage = "lua"\nsource = "files.lua"\n'
DATA = bytes(range(256)) * 600
DIGEST = hashlib.sha256(DATA).hexdigest()


class Ended(NamedTuple):
    status: int
    out: bytes


@pytest.fixture
def lithox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., Ended]:
    """Runs one command line on a data directory that has a template."""
    for name in ("LITHOX_NODE", "LITHOX_TOKEN", "LITHOX_TRACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LITHOX_DATA", str(tmp_path / "data"))

    def typed(*arguments: str) -> Ended:
        status = run(list(arguments))
        sys.stdout.flush()
        return Ended(status, capfdbinary.readouterr().out)

    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "files.lua").write_text(LUA)
    (bundle / "lithox.toml").write_text(MANIFEST)
    assert typed("deploy", str(bundle)).status == 0
    return typed


def test_a_file_goes_in_and_comes_out(lithox: Callable[..., Ended], tmp_path: Path) -> None:
    """What was put is the file's bytes; its digest is told; --raw and -o give them back."""
    source, copy = tmp_path / "in.bin", tmp_path / "out.bin"
    source.write_bytes(DATA)
    done = lithox("entity", "put", "files/a", "k", "--file", str(source))
    assert (done.status, done.out.decode().strip()) == (0, DIGEST)
    done = lithox("entity", "get", "files/a", "k")
    assert json.loads(done.out) == {"$big": {"size": len(DATA), "digest": DIGEST}}
    assert lithox("entity", "get", "files/a", "k", "--raw").out == DATA
    copy.write_bytes(b"older")
    done = lithox("entity", "get", "files/a", "k", "-o", str(copy), "--json")
    assert json.loads(done.out) == {"status": "ok", "size": len(DATA)}
    assert copy.read_bytes() == DATA


def test_standard_input_is_a_file_too(
    lithox: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--file -` takes what is piped in."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(DATA)))
    done = lithox("entity", "put", "files/a", "k", "--file", "-", "--json")
    assert json.loads(done.out) == {"status": "ok", "size": len(DATA), "digest": DIGEST}


def test_a_file_is_there_only_when_it_is_whole(
    lithox: Callable[..., Ended], tmp_path: Path
) -> None:
    """A value that cannot be read leaves the file that was there, and no other."""
    copy = tmp_path / "folder" / "out.bin"
    copy.parent.mkdir()
    copy.write_bytes(b"older")
    assert lithox("entity", "get", "files/a", "none", "-o", str(copy)).status == 2
    left = [(one.name, one.read_bytes()) for one in copy.parent.iterdir()]
    assert left == [("out.bin", b"older")]


@pytest.mark.parametrize(
    "words",
    [
        ["put", "files/a", "k"],
        ["put", "files/a", "k", "5", "--file", "-"],
        ["put", "files/a", "k", "--file", "nowhere/at/all"],
        ["ls", "files", "--from", "a"],
    ],
)
def test_what_does_not_go_together_is_wrong_usage(
    lithox: Callable[..., Ended], words: list[str]
) -> None:
    """A value or a file, a range only of keys: else the exit status says usage."""
    assert lithox("entity", *words).status == 2


def test_keys_are_listed_by_range(lithox: Callable[..., Ended]) -> None:
    """`ls ENTITY: --from --to` shows the keys between."""
    for key in ("a", "b", "c", "d"):
        lithox("entity", "put", "files/a", key, "1")
    done = lithox("entity", "ls", "files/a:", "--from", "b", "--to", "d")
    assert done.out.split() == [b"b", b"c"]
