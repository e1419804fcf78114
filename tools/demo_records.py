"""The demo's input: real records that every machine has once `make` has set it up.

A record is (distribution, path, hash, size). First come the RECORD entries of all installed
distributions as their makers wrote them (files without a hash get it now), then the files of the
interpreter's own library, then, until there are enough, the blocks of the largest files of all.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Final

RECORDS_MIN: Final = 50_000
BLOCK_BYTES: Final = 16 << 10
"""Smaller than a page cache's read-ahead, large enough that a block is rarely all zeros."""
PATH_BYTES_MAX: Final = 480
"""A state key has at most 512 bytes, and the handler puts a word before the path."""
_NOT_IN_A_SEGMENT: Final = re.compile(r"[^A-Za-z0-9_.~-]+")
_SEGMENT_CHARACTERS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Record:
    """One file or block: whose it is, its name there, the URL-safe SHA-256 and the size."""

    dist: str
    path: str
    content: str
    size: int

    @property
    def request_id(self) -> str:
        """The same for the same record, so that sending it again does nothing."""
        return hashlib.sha256(f"{self.dist}\n{self.path}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Totals:
    """What must come out: files and bytes of each distribution, references of each content."""

    files: Counter[str]
    bytes: Counter[str]
    references: Counter[str]


def collect_records(count: int) -> list[Record]:
    """Returns at least `count` records (exactly that many if `count` is below the usual number).

    No two have the same distribution and path. Their order looks random and is always the same,
    so that the big distributions are spread over the whole run. Blocks: for the disk, seconds.
    """
    found: dict[tuple[str, str], Record] = {}
    largest: list[tuple[int, Path]] = []
    for record, file in _files():
        if found.setdefault((record.dist, record.path), record) is record:
            largest.append((record.size, file))
    largest.sort(key=lambda one: (-one[0], str(one[1])))
    for _, file in largest:
        for record in islice(_blocks(file), max(0, count - len(found))):
            found[record.dist, record.path] = record
    ordered = sorted(found.values(), key=lambda one: one.request_id)
    return ordered[:count] if count < RECORDS_MIN else ordered


def sum_up(records: Iterable[Record]) -> Totals:
    """Returns the totals of `records`, computed directly."""
    totals = Totals(Counter(), Counter(), Counter())
    for record in records:
        totals.files[record.dist] += 1
        totals.bytes[record.dist] += record.size
        totals.references[record.content] += 1
    return totals


def _files() -> Iterator[tuple[Record, Path]]:
    for dist in metadata.distributions():
        name = _segment(dist.metadata["Name"])
        for entry in dist.files or ():
            file = Path(str(entry.locate()))
            if entry.hash is not None and entry.hash.mode == "sha256" and entry.size is not None:
                if len(str(entry).encode()) <= PATH_BYTES_MAX:
                    yield Record(name, str(entry), entry.hash.value, entry.size), file
            elif (record := _read(name, str(entry), file)) is not None:
                yield record, file
    library = Path(sysconfig.get_path("stdlib"))
    for folder, folders, names in _walk(library):
        folders[:] = [one for one in folders if one not in {"site-packages", "dist-packages"}]
        for name in names:
            file = folder / name
            if (record := _read("python", str(file.relative_to(library)), file)) is not None:
                yield record, file


def _walk(top: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Gives what `os.walk` gives (`Path.walk` came with Python 3.12)."""
    for folder, folders, names in os.walk(top):
        yield Path(folder), folders, names


def _read(dist: str, path: str, file: Path) -> Record | None:
    """Returns the record of a file as it is now, or None when it cannot be read."""
    if len(path.encode(errors="replace")) > PATH_BYTES_MAX or not path.isprintable():
        return None
    try:
        data = file.read_bytes()
    except OSError:
        return None
    return Record(dist, path, _hash(data), len(data))


def _blocks(file: Path) -> Iterator[Record]:
    dist = _segment(f"blocks-of-{file.name}")
    try:
        with file.open("rb") as stream:
            number = 0
            while data := stream.read(BLOCK_BYTES):
                yield Record(dist, f"{number:06}", _hash(data), len(data))
                number += 1
    except OSError:
        return


def _segment(name: str) -> str:
    """Returns `name` as one segment of an entity path."""
    return _NOT_IN_A_SEGMENT.sub("-", name)[:_SEGMENT_CHARACTERS_MAX]


def _hash(data: bytes) -> str:
    """Returns the SHA-256 of `data` the way RECORD files write it."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
