"""The frame of an archive: JSON Lines between a header and a trailer that proves them whole.

Whole stores (`lithox backup`) and single entities (`lithox entity export`) leave in the same frame;
what the rows between mean is their own modules' business. Pure: bytes in, lines out, no I/O, and
memory for one line at a time. The format is told in docs/reference/archive-format.md.

States of a reader: BEFORE the header -> ROWS -> (trailer, digests and counts agree) WHOLE. Anything
else on the way is refused with BadArguments, and nobody may use what was read before WHOLE.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

import msgspec

from lithox.errors import BadArguments
from lithox.model.values import VALUE_BYTES_MAX, parse_json

FORMAT: Final = "lithox-archive"
VERSION: Final = 1
KIND_STORE: Final = "store"
KIND_ENTITIES: Final = "entities"
MEDIA_TYPE: Final = "application/jsonl"
"""No browser sends it across origins without asking first, as the gateway needs it."""
LINE_BYTES_MAX: Final = 8 * VALUE_BYTES_MAX
"""JSON takes at most 7 bytes for one of a stored value: `{"$bytes":""},` for the two of an empty
byte string; a control character takes 6, base64 4/3."""
CHUNK_BYTES: Final = 256 << 10
"""Rows that are gathered before they leave; a line may make a chunk longer."""

_ROW_START: Final = b'{"k":"'
_END_START: Final = b'{"k":"end",'
_encoder: Final = msgspec.json.Encoder()


class ArchiveWriter:
    """Makes header and trailer and keeps count and digests of the rows between."""

    __slots__ = ("_all", "_counts", "_rows")

    def __init__(self) -> None:
        self._all = hashlib.sha256()
        self._rows = hashlib.sha256()
        self._counts: Counter[str] = Counter()

    def begin(self, kind: str, **about: Any) -> bytes:
        """Returns the header line; `about` is plain data that the reader is told."""
        line = _encoder.encode({"format": FORMAT, "version": VERSION, "kind": kind, **about})
        self.note_header(line)
        return line + b"\n"

    def note_header(self, line: bytes) -> None:
        """Adds a header line, given without its line end, to the digest of all."""
        self._all.update(line + b"\n")

    def add(self, lines: bytes, counts: Mapping[str, int]) -> None:
        """Notes whole row lines, in the order in which they leave; `counts` is by kind."""
        self._all.update(lines)
        self._rows.update(lines)
        for kind, count in counts.items():
            self._counts[kind] += count

    @property
    def counts(self) -> dict[str, int]:
        """Rows so far by kind, in the order of kinds."""
        return dict(sorted(self._counts.items()))

    @property
    def rows_sha256(self) -> str:
        """Digest of the rows alone: equal for equal content, whatever the header says."""
        return self._rows.hexdigest()

    def end(self) -> bytes:
        """Returns the trailer line."""
        trailer = {
            "k": "end",
            "counts": self.counts,
            "rows_sha256": self.rows_sha256,
            "sha256": self._all.hexdigest(),
        }
        return _encoder.encode(trailer) + b"\n"


def write_lines(rows: Iterable[tuple[str, bytes]], writer: ArchiveWriter) -> Iterator[bytes]:
    """Gives rows as chunks of whole lines, noted in `writer`; without header and trailer.

    Args:
        rows: (kind, line without its end) of each.
    """
    lines: list[bytes] = []
    counts: Counter[str] = Counter()
    size = 0
    for kind, line in rows:
        lines.append(line)
        counts[kind] += 1
        size += len(line)
        if size >= CHUNK_BYTES:
            yield _joined(lines, counts, writer)
            lines, counts, size = [], Counter[str](), 0
    if lines:
        yield _joined(lines, counts, writer)


def _joined(lines: list[bytes], counts: Mapping[str, int], writer: ArchiveWriter) -> bytes:
    data = b"\n".join(lines) + b"\n"
    writer.add(data, counts)
    return data


class ArchiveReader:
    """Takes an archive apart and proves it whole; see the module's header for its states.

    Attributes:
        header: what the first line says, None before it has come.
        bytes_read: bytes fed so far.
    """

    __slots__ = ("_is_whole", "_kind", "_parts", "_parts_bytes", "_writer", "bytes_read", "header")

    def __init__(self, kind: str) -> None:
        """Reads archives of `kind` only."""
        self._kind = kind
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._writer = ArchiveWriter()
        self._is_whole = False
        self.header: dict[str, Any] | None = None
        self.bytes_read = 0

    @property
    def counts(self) -> dict[str, int]:
        """Rows so far by kind."""
        return self._writer.counts

    @property
    def rows_sha256(self) -> str:
        """Digest of the rows so far."""
        return self._writer.rows_sha256

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the row lines that `data` completes, without their line ends.

        Raises:
            BadArguments: no archive, of another kind or version, or damaged.
        """
        self.bytes_read += len(data)
        last = data.rfind(b"\n")
        if last < 0:
            self._keep(data)
            return []
        self._parts.append(data[:last])
        lines = b"".join(self._parts).split(b"\n")
        self._parts, self._parts_bytes = [], 0
        self._keep(data[last + 1 :])
        if self.header is None:
            self._begin(lines.pop(0))
        return self._take(lines)

    def finish(self) -> None:
        """Proves that all has come; raises BadArguments when something is missing."""
        if self._parts_bytes or not self._is_whole:
            what = "begin" if self.header is None else "end"
            raise refusal(f"it is cut off: its {what} is missing after {self.bytes_read} bytes")

    def _keep(self, data: bytes) -> None:
        """Keeps the beginning of a line whose end has not come."""
        self._parts_bytes += len(data)
        if self._parts_bytes > LINE_BYTES_MAX:
            raise refusal(f"a line has more than {LINE_BYTES_MAX} bytes")
        if data:
            self._parts.append(data)

    def _begin(self, line: bytes) -> None:
        try:
            found = parse_json(line)
        except BadArguments:
            found = None
        header = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
        if header.get("format") != FORMAT:
            raise refusal(f'its first line is not a header with "format":"{FORMAT}"')
        version = header.get("version")
        if version != VERSION:
            raise refusal(
                f"it has format version {version!r:.40}, this lithox reads {VERSION}; use the "
                "lithox that made it or a newer one"
            )
        if header.get("kind") != self._kind:
            raise refusal(
                f"it holds {header.get('kind')!r:.40}, this command reads {self._kind!r} "
                "(a backup is restored, an export is imported)"
            )
        self.header = header
        self._writer.note_header(line)

    def _take(self, lines: list[bytes]) -> list[bytes]:
        for index, line in enumerate(lines):
            if self._is_whole:
                raise refusal("something follows its end")
            if line.startswith(_END_START):
                rows = lines[:index]
                self._count(rows)
                self._check_end(line)
                self._is_whole = True
                if index + 1 < len(lines):
                    raise refusal("something follows its end")
                return rows
        self._count(lines)
        return lines

    def _count(self, lines: list[bytes]) -> None:
        """Counts rows by kind and adds them to the digests."""
        if not lines:
            return
        counts: Counter[str] = Counter()
        for line in lines:
            end = line.find(b'"', len(_ROW_START))
            if not line.startswith(_ROW_START) or end < 0:
                raise refusal(f'a row begins with {{"k":"...; found {line[:40]!r}')
            counts[line[len(_ROW_START) : end].decode("ascii", "replace")] += 1
        self._writer.add(b"\n".join(lines) + b"\n", counts)

    def _check_end(self, line: bytes) -> None:
        if line + b"\n" != self._writer.end():
            raise refusal("it is damaged: counts and digests of its last line do not fit it")


def refusal(found: str) -> BadArguments:
    """Returns the error for an archive that cannot be used."""
    return BadArguments(f"this is not a whole archive of lithox: {found}")
