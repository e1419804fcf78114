"""Entities of all volumes in one archive, and one archive's entities to all volumes.

An export asks every process for its part and puts the parts together in the order of entities;
each part is one moment of its volume. An import is taken apart as it comes: each process gets an
archive of its own entities, and the end of that only once the whole that came is proven, so that
nothing is imported of one that is cut off. Nothing is kept here but lines on their way.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

import aiohttp
import msgspec

from lithox.errors import BadArguments, LithoxError, PeerProtocolError
from lithox.gateway.answers import Reply, reply_json
from lithox.gateway.forwarding import PART_BYTES, Forwarder, Scope
from lithox.gateway.streams import StreamReply, reply_stream
from lithox.model.archive import (
    CHUNK_BYTES,
    KIND_ENTITIES,
    MEDIA_TYPE,
    ArchiveReader,
    ArchiveWriter,
)
from lithox.model.ids import check_entity_path

AHEAD_MAX: Final = 4
"""Chunks that wait for a process that takes an import more slowly than it comes."""
NAMED_MAX: Final = 100
"""Names in the answer of an import, as many as one process gives."""
_ENTITY_START: Final = b'{"k":"entity"'
_OK: Final = 200
_OWN_FIELDS: Final = frozenset({"format", "version", "kind"})


class _EntityLine(msgspec.Struct):
    """What is looked at of the line with which an entity begins."""

    e: str


_decode_line: Final = msgspec.json.Decoder(_EntityLine).decode


def _entity_of(line: bytes) -> str:
    try:
        return check_entity_path(_decode_line(line).e)
    except msgspec.MsgspecError as error:
        raise BadArguments(f"a line of an entity cannot be read: {error}") from None


def _kind_of(line: bytes) -> str:
    return line.split(b'"', 4)[3].decode("ascii", "replace")


# Out.


class _Part:
    """One process's archive on its way in, line by line.

    Attributes:
        header: of the archive, once `begin` has returned.
        entity: whose lines come next; None at the end.
    """

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._reader = ArchiveReader(KIND_ENTITIES)
        self._lines: deque[bytes] = deque()
        self.header: dict[str, Any] = {}
        self.entity: str | None = None

    async def begin(self) -> None:
        """Reads up to the first entity."""
        await self._fill()
        self.header = self._reader.header or {}
        self._look()

    async def take(self) -> AsyncGenerator[bytes]:
        """Gives the lines of `entity`, and goes on to the next."""
        yield self._lines.popleft()
        while True:
            if not self._lines:
                await self._fill()
            if not self._lines or self._lines[0].startswith(_ENTITY_START):
                break
            yield self._lines.popleft()
        self._look()

    def _look(self) -> None:
        self.entity = _entity_of(self._lines[0]) if self._lines else None

    async def _fill(self) -> None:
        """Waits for lines; there are none at the end, which is proven then."""
        try:
            async for chunk in self._chunks:
                self._lines += self._reader.feed(chunk)
                if self._lines:
                    return
            self._reader.finish()
        except (aiohttp.ClientError, BadArguments) as error:
            raise PeerProtocolError(f"a process broke off its part: {error}") from None


async def export_all(forwarder: Forwarder, volumes: int, scope: Scope) -> Reply | StreamReply:
    """Returns one archive of the parts of all processes, or what one of them refused with.

    Raises:
        StoreUnavailable: a process is not there.
    """
    opened = AsyncExitStack()
    try:
        answers: list[aiohttp.ClientResponse] = []
        for volume in range(volumes):
            try:
                answer = await opened.enter_async_context(forwarder.ask(volume, scope, None))
            except (aiohttp.ClientError, OSError, TimeoutError):
                raise forwarder.unavailable(volume) from None
            if answer.status != _OK:
                reply = await forwarder.read_whole(answer)
                await opened.aclose()
                return reply
            answers.append(answer)
    except BaseException:
        await opened.aclose()
        raise
    return reply_stream(_join(answers, opened), MEDIA_TYPE)


async def _join(
    answers: list[aiohttp.ClientResponse], opened: AsyncExitStack
) -> AsyncGenerator[bytes]:
    async with opened:
        parts = [_Part(one.content.iter_chunked(PART_BYTES)) for one in answers]
        for part in parts:
            await part.begin()
        writer = ArchiveWriter()
        about = {name: value for name, value in parts[0].header.items() if name not in _OWN_FIELDS}
        yield writer.begin(KIND_ENTITIES, **about)
        gathered = _Gathered(writer)
        left = [part for part in parts if part.entity is not None]
        while left:
            part = min(left, key=lambda one: one.entity or "")
            async for line in part.take():
                if chunk := gathered.add(line):
                    yield chunk
            if part.entity is None:
                left.remove(part)
        yield gathered.flush() + writer.end()


class _Gathered:
    """Lines that are gathered to chunks and noted in an archive's digests."""

    def __init__(self, writer: ArchiveWriter) -> None:
        self._writer = writer
        self._lines: list[bytes] = []
        self._counts: Counter[str] = Counter()
        self._size = 0

    def add(self, line: bytes) -> bytes:
        """Takes a line; returns a chunk when there is enough for one, else b""."""
        self._lines.append(line)
        self._counts[_kind_of(line)] += 1
        self._size += len(line)
        return self.flush() if self._size >= CHUNK_BYTES else b""

    def flush(self) -> bytes:
        """Returns what has been gathered."""
        if not self._lines:
            return b""
        data = b"\n".join(self._lines) + b"\n"
        self._writer.add(data, self._counts)
        self._lines, self._counts, self._size = [], Counter(), 0
        return data


# In.


class _Branch:
    """One process's share of an import on its way out."""

    def __init__(self, header: dict[str, Any]) -> None:
        self._writer = ArchiveWriter()
        self._gathered = _Gathered(self._writer)
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD_MAX)
        about = {name: value for name, value in header.items() if name not in _OWN_FIELDS}
        self._first = self._writer.begin(KIND_ENTITIES, **about)

    async def add(self, line: bytes) -> None:
        """Sends a line on; waits while the process has enough to do."""
        if chunk := self._gathered.add(line):
            await self._queue.put(chunk)

    async def end(self) -> None:
        """Sends what proves the share whole."""
        await self._queue.put(self._gathered.flush() + self._writer.end())
        await self._queue.put(None)

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Gives the archive as it is made."""
        yield self._first
        while (chunk := await self._queue.get()) is not None:
            yield chunk


class _Import:
    """One import that is taken apart."""

    def __init__(self, forwarder: Forwarder, volume_of: Callable[[str], int], scope: Scope) -> None:
        self._forwarder = forwarder
        self._volume_of = volume_of
        self._scope = scope
        self._branches: dict[int, _Branch] = {}
        self.asked: dict[int, asyncio.Task[Reply]] = {}

    async def take(self, chunks: AsyncIterator[bytes]) -> None:
        """Sends all that comes where it belongs, then the ends. Raises BadArguments."""
        reader = ArchiveReader(KIND_ENTITIES)
        branch: _Branch | None = None
        async for chunk in chunks:
            for line in reader.feed(chunk):
                if line.startswith(_ENTITY_START):
                    branch = self._branch_of(self._volume_of(_entity_of(line)), reader.header or {})
                if branch is None:
                    raise BadArguments("an archive of entities begins with an entity")
                await branch.add(line)
        reader.finish()
        if not self._branches:
            self._branch_of(0, reader.header or {})
        for one in self._branches.values():
            await one.end()

    def _branch_of(self, volume: int, header: dict[str, Any]) -> _Branch:
        branch = self._branches.get(volume)
        if branch is None:
            branch = self._branches[volume] = _Branch(header)
            self.asked[volume] = asyncio.create_task(
                self._forwarder.fetch(volume, self._scope, branch.chunks())
            )
        return branch


async def import_all(
    forwarder: Forwarder,
    volume_of: Callable[[str], int],
    scope: Scope,
    chunks: AsyncIterator[bytes],
) -> Reply:
    """Returns what all processes imported together, or what the first of them refused with.

    Entities that others have imported by then stay imported, as those before a refused one do.

    Raises:
        BadArguments: the archive is not whole; nothing has been imported.
        StoreUnavailable: a process is not there.
    """
    # What was announced of the whole says nothing of its parts.
    kept = [one for one in scope["headers"] if one[0] != b"content-length"]
    own = {**scope, "headers": [*kept, (b"transfer-encoding", b"chunked")]}
    work = _Import(forwarder, volume_of, own)
    taking = asyncio.create_task(work.take(chunks))
    try:
        while True:
            pending: set[asyncio.Task[Any]] = {one for one in work.asked.values() if not one.done()}
            if not taking.done():
                pending.add(taking)
            elif not pending:
                break
            # Looked at now and then, since processes are asked while it comes.
            await asyncio.wait(pending, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
            for one in work.asked.values():
                if one.done() and one.result().status != _OK:
                    return one.result()
            if taking.done():
                taking.result()
        return reply_json(_sum([one.result() for one in work.asked.values()]))
    finally:
        for task in (taking, *work.asked.values()):
            task.cancel()
            with suppress(asyncio.CancelledError, LithoxError, aiohttp.ClientError):
                await task


def _sum(replies: list[Reply]) -> dict[str, Any]:
    bodies: list[dict[str, Any]] = [json.loads(one.body) for one in replies]
    named = sorted(name for one in bodies for name in one["in_pieces"])
    whole: dict[str, Any] = {
        field: sum(one[field] for one in bodies) for field in ("imported", "skipped", "keys")
    }
    return {**whole, "in_pieces": named[:NAMED_MAX]}
