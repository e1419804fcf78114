"""The frame of a bundle: what went in comes out, and nothing else is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithox.errors import BadArguments, TooLarge
from lithox.model import bundles
from lithox.model.bundles import BundleReader, write_bundle

HEAD: dict[str, Any] = {"format": "lithox-bundle", "version": 1, "manifest": "m", "files": []}


def read(data: bytes, step: int | None = None) -> tuple[str, dict[str, bytes]]:
    reader = BundleReader()
    for start in range(0, len(data), step or len(data) or 1):
        reader.feed(data[start : start + (step or len(data))])
    reader.finish()
    return reader.manifest, reader.files


@given(
    manifest=st.text(),
    files=st.dictionaries(st.text(), st.binary(max_size=40), max_size=5),
    step=st.integers(1, 30),
)
def test_bundle_comes_out_as_it_went_in(manifest: str, files: dict[str, bytes], step: int) -> None:
    """However the parts are cut, empty files and odd names included."""
    manifest = manifest.encode("utf-8", "replace").decode()
    files = {name.encode("utf-8", "replace").decode(): data for name, data in files.items()}
    whole = b"".join(write_bundle(manifest, files))
    assert read(whole) == read(whole, step) == (manifest, files)


def test_large_files_leave_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No part is longer than its bound, the first line apart."""
    monkeypatch.setattr(bundles, "PART_BYTES", 10)
    _, *parts = write_bundle("", {"a": bytes(25), "b": bytes(10)})
    assert [len(one) for one in parts] == [10, 10, 5, 10]


@given(cut=st.integers(0, 60))
def test_a_bundle_that_is_cut_off_is_refused(cut: int) -> None:
    """Any end but the true one is told."""
    whole = b"".join(write_bundle("manifest", {"a": b"1234", "b": b"5"}))
    with pytest.raises(BadArguments, match="cut off"):
        read(whole[: max(0, len(whole) - 1 - cut)])


def test_what_follows_the_end_is_refused() -> None:
    """A byte too many is another bundle than was announced."""
    whole = b"".join(write_bundle("", {"a": b"1"}))
    with pytest.raises(BadArguments, match="something follows its end"):
        read(whole + b"x")


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ([], "its first line has"),
        ({**HEAD, "version": 2}, "its first line has"),
        ({**HEAD, "manifest": 1}, '"manifest", a text'),
        ({**HEAD, "files": {}}, '"files", a list'),
        ({**HEAD, "files": [["a"]]}, "a name and a number of bytes"),
        ({**HEAD, "files": [["a", -1]]}, "a name and a number of bytes"),
        ({**HEAD, "files": [["a", True]]}, "a name and a number of bytes"),
        ({**HEAD, "files": [["a", 1.0]]}, "a name and a number of bytes"),
        ({**HEAD, "files": [["a", 0], ["a", 0]]}, "each with a name of its own"),
        ({**HEAD, "files": [[str(n), 0] for n in range(4_097)]}, "at most 4096 files"),
    ],
)
def test_a_wrong_first_line_is_told(head: Any, told: str) -> None:
    """What is announced is checked before anything of it is taken."""
    with pytest.raises(BadArguments, match=told):
        read(json.dumps(head).encode() + b"\n")


def test_too_much_is_refused_before_it_comes() -> None:
    """Announced sizes are added up; a first line without end is not kept."""
    size = bundles.BUNDLE_BYTES_MAX
    head = {**HEAD, "files": [["a", size], ["b", 1]]}
    with pytest.raises(TooLarge, match="the bundle has"):
        read(json.dumps(head).encode() + b"\n")
    reader = BundleReader()
    for _ in range(bundles.HEAD_BYTES_MAX // 65_536):
        reader.feed(b" " * 65_536)
    with pytest.raises(TooLarge, match="the first line"):
        reader.feed(b" ")
