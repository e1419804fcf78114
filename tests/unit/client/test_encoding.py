"""What the client writes down before anything is sent."""

from __future__ import annotations

import asyncio
import json

import pytest

from lithox.client import Client
from lithox.client.client import encode_bundle, read_bundle
from lithox.client.requests import encode_call, read_usage
from lithox.errors import BadArguments, ConfigError, NotFound
from lithox.model.limits import Limits

MANIFEST = '[[template]]\nmatch = "a"\nlanguage = "lua"\nsource = "{}"\n'


def test_a_call_is_written_with_only_what_was_said():
    """Limits that were not said do not appear; less than a millisecond rounds up."""
    body = encode_call(
        [b"\xff", {"$a": 1}], limits=Limits(fuel=5, wall_ns=1, memory_bytes=7), deadline_ms=9
    )
    assert json.loads(body) == {
        "args": [{"$bytes": "/w=="}, {"$map": {"$a": 1}}],
        "limits": {"fuel": 5, "memory": 7, "wall_ms": 1},
        "deadline_ms": 9,
    }
    assert json.loads(encode_call([], limits=None, deadline_ms=None)) == {"args": []}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1 << 63, "\ud800", object(), {1: 2}])
def test_what_is_no_value_is_refused_before_sending(value):
    """The border refuses what the node would."""
    with pytest.raises(BadArguments):
        encode_call([value], limits=None, deadline_ms=None)


def test_usage_reads_back_in_the_models_units():
    """Microseconds and milliseconds become nanoseconds; an odd answer gives zeros."""
    usage = read_usage({"usage": {"fuel": 1, "cpu_us": 2, "ms": 0.5, "memory": 3, "attempts": 4}})
    assert (usage.fuel, usage.cpu_ns, usage.wall_ns) == (1, 2000, 500_000)
    assert (usage.memory_bytes, usage.attempts) == (3, 4)
    for odd in (None, [], {}, {"usage": 5}):
        assert read_usage(odd).fuel == 0


def test_a_bundle_holds_the_manifest_and_the_files_it_names(tmp_path):
    """Text goes as text, other bytes as base64, other files not at all."""
    (tmp_path / "lithox.toml").write_text(MANIFEST.format("a.lua") + MANIFEST.format("b.bin"))
    (tmp_path / "a.lua").write_text("return {}")
    (tmp_path / "b.bin").write_bytes(b"\xff")
    (tmp_path / "secret").write_text("no")
    body = json.loads(encode_bundle(*read_bundle(tmp_path)))
    assert body["files"] == {"a.lua": "return {}", "b.bin": {"$bytes": "/w=="}}
    assert read_bundle(tmp_path / "lithox.toml") == read_bundle(tmp_path)


def test_a_manifest_cannot_upload_files_from_outside_its_folder(tmp_path):
    """A stranger's manifest must not reach for the user's keys."""
    folder = tmp_path / "project"
    folder.mkdir()
    (tmp_path / "secret").write_text("key")
    (folder / "link").symlink_to(tmp_path / "secret")
    for name in ("../secret", str(tmp_path / "secret"), "link"):
        (folder / "lithox.toml").write_text(MANIFEST.format(name))
        with pytest.raises(ConfigError, match="lies outside the folder of the manifest"):
            read_bundle(folder)


def test_a_folder_without_manifest_is_told(tmp_path):
    """What was looked for, and where."""
    with pytest.raises(NotFound) as caught:
        read_bundle(tmp_path)
    assert caught.value.message == f"no lithox.toml in {tmp_path}"


@pytest.mark.parametrize("text", ["= 1", "\xff".encode("latin-1")])
def test_a_manifest_that_is_no_toml_is_told(tmp_path, text):
    """Malformed TOML and bytes that are not text name the file."""
    raw = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "lithox.toml").write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        read_bundle(tmp_path)
    assert caught.value.message.startswith(f"{tmp_path}/lithox.toml: ")


def test_a_missing_source_is_told(tmp_path):
    """The file that the manifest names and that is not there."""
    (tmp_path / "lithox.toml").write_text(MANIFEST.format("gone.lua"))
    with pytest.raises(ConfigError) as caught:
        read_bundle(tmp_path)
    assert caught.value.message == (
        f"{tmp_path}/lithox.toml: gone.lua: cannot be read: No such file or directory"
    )


@pytest.mark.parametrize("url", ["", "localhost:7070", "ftp://a", "http://", "unix:/x"])
def test_what_names_no_node_is_refused(url):
    """A node is http://HOST:PORT."""
    with pytest.raises(BadArguments):
        Client(url)


def test_a_client_that_is_not_open_says_how_to_open_it():
    """Forgetting `async with` is a mistake with a clear name."""
    with pytest.raises(BadArguments) as caught:
        asyncio.run(Client("http://127.0.0.1:1").node_info())
    assert caught.value.message == "the client is not open: use it with 'async with'"
