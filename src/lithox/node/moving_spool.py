"""What comes into a node is kept in a file until it is whole: how much, for how long, from whom.

The file has no name, so it is gone with the process. It is read once to prove it, then again for
use. The first entity is looked at as soon as it has come: who may not bring in that one is refused
before the rest is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterator
from typing import IO, Final

from lithox.errors import DeadlinePassed, TooLarge
from lithox.model.archive import CHUNK_BYTES, KIND_ENTITIES, ArchiveReader
from lithox.node.entity_lines import Piece, read_first, read_pieces

IMPORT_BYTES_MAX: Final = 256 << 20
ADMIN_IMPORT_BYTES_MAX: Final = 4 << 30
"""Bytes of one import: of a caller, and of an administrator; the gateway allows as many."""

OnFirst = Callable[[Piece], None]
"""Told the first entity, without its rows, before the archive is proven; may raise."""


async def keep(
    chunks: AsyncIterable[bytes],
    file: IO[bytes],
    *,
    bytes_max: int,
    seconds_max: float,
    on_first: OnFirst,
) -> None:
    """Writes what comes into `file`, off the node's thread, about 256 KiB at a time.

    Raises:
        BadArguments: it does not begin as an archive of entities.
        TooLarge: more came than `bytes_max`.
        DeadlinePassed: it was not whole after `seconds_max`.
        LithoxError: what `on_first` raises.
    """
    try:
        async with asyncio.timeout(seconds_max):
            await _keep(chunks, file, bytes_max, on_first)
    except TimeoutError:
        raise DeadlinePassed(f"broken off: it was not whole after {seconds_max:g} s") from None


async def _keep(
    chunks: AsyncIterable[bytes], file: IO[bytes], bytes_max: int, on_first: OnFirst
) -> None:
    waiting: list[bytes] = []
    size = total = 0
    head: ArchiveReader | None = ArchiveReader(KIND_ENTITIES)
    async for chunk in chunks:
        total += len(chunk)
        if total > bytes_max:
            raise TooLarge(f"an import has at most {bytes_max} bytes; bring it in several parts")
        if head is not None and (lines := head.feed(chunk)):
            on_first(read_first(lines[0]))
            head = None
        waiting.append(chunk)
        size += len(chunk)
        if size >= CHUNK_BYTES:
            await asyncio.to_thread(file.writelines, waiting)
            waiting, size = [], 0
    await asyncio.to_thread(file.writelines, waiting)


def proven_pieces(file: IO[bytes]) -> Iterator[Piece]:
    """Gives the entities in `file`, after all of it was read once and found whole.

    Raises:
        BadArguments: the archive is not whole, or a line is not what it should be.
    """
    for _ in read_pieces(_read_file(file)):
        pass
    yield from read_pieces(_read_file(file))


def _read_file(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
