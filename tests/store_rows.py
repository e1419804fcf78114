"""Rows of a dump for tests: making them, loading them into an engine, reading them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from lithox.model.archive import KIND_STORE, ArchiveWriter
from lithox.store.contract import AuditRecord, ResultRecord
from lithox.store.dump import CellRow, DumpRow, DumpSource, dump_rows
from lithox.store.dump_lines import write_rows
from lithox.store.embedded.dump import EmbeddedDump, load_embedded
from lithox.store.memory import MemoryDisk, MemoryStore


def result(request_id: str, *, answer: bytes = b"\xc0", entity: str = "a") -> ResultRecord:
    return ResultRecord(
        identity="alice",
        entity=entity,
        request_id=request_id,
        account="alice",
        asked_digest=b"\x00" * 32,
        answer=answer,
        expires_ns=1_000,
    )


def audit(at_ns: int, *, detail: str = "") -> AuditRecord:
    return AuditRecord(
        at_ns=at_ns, identity="alice", act="put:k", entity="a", outcome="ok", detail=detail
    )


SMALL: list[DumpRow] = [
    CellRow("a", "\x00entity", b"\x80"),
    CellRow("a", "k", b""),
    CellRow("a/b", "é\n\x00", bytes(range(256))),
    CellRow("~lithox/q/outbox", "m.1", b"x", 7),
    CellRow("~lithox/q/outbox", "m.2", b"y", 3),
    result("r-1"),
    result("r-2", answer=b"\xff"),
    audit(1),
    audit(1, detail="\x1b[0m"),
    audit(0),
]
"""A little of everything, in the order of a dump."""


def make_archive(rows: Iterable[DumpRow], **about: Any) -> bytes:
    writer = ArchiveWriter()
    header = writer.begin(KIND_STORE, **about)
    return header + b"".join(write_rows(rows, writer)) + writer.end()


def read_source(source: DumpSource) -> list[DumpRow]:
    with source:
        return list(dump_rows(source))


def through_embedded(path: Path, rows: Iterable[DumpRow]) -> list[DumpRow]:
    """Returns what a new database at `path` gives after it was loaded with `rows`."""
    load_embedded(path, rows)
    return read_source(EmbeddedDump(path))


def memory_of(rows: Iterable[DumpRow]) -> MemoryStore:
    disk = MemoryDisk()
    disk.load_rows(rows)
    return MemoryStore(post=SimpleQueue[Any]().put, disk=disk)


def through_memory(rows: Iterable[DumpRow]) -> list[DumpRow]:
    return read_source(memory_of(rows).open_dump())


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Gives `data` in pieces of `size` bytes."""
    for begin in range(0, len(data), size):
        yield data[begin : begin + size]
