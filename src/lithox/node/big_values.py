"""Bytes of values, streamed in and out: the administrative side of big values.

Reading holds one chunk at a time. It goes on in the snapshot it began with; where that is older
than the history the store keeps, it goes on in a new one if the value is still the same, and is
broken off if not: parts of two values never meet. Writing holds the whole value, because one commit
takes it; what all writings hold together is bounded. A writing whose source fails leaves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from lithox.dispatch.big_values import Draft, put_big, read_piece
from lithox.dispatch.catalog import Resolution
from lithox.dispatch.records import ENTITY_KEY, encode_record
from lithox.errors import (
    BadArguments,
    Conflict,
    NotFound,
    Overloaded,
    PreconditionFailed,
    TooLarge,
)
from lithox.model.big_values import CHUNK_BYTES, BigValue, Manifest, decode_manifest, is_big
from lithox.model.ids import check_entity_path, check_state_key
from lithox.model.request import Caller
from lithox.model.values import decode_value
from lithox.node.acts import Act, Step, Writes
from lithox.node.admin import Admin
from lithox.security.access import RIGHT_WRITE
from lithox.store.contract import Snapshot, Store

HELD_BYTES_MAX: Final = 128 << 20
"""Bytes that all writings of a node hold in memory together before their commits."""
ANY: Final = "*"
ABSENT: Final = ""
_DIGEST_DIGITS: Final = 64

Source = bytes | Iterable[bytes] | AsyncIterable[bytes]
"""Bytes whole, or in parts of any size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenValue:
    """A value about to be read: what is told of it, and its bytes in order."""

    told: BigValue
    pieces: AsyncIterator[bytes]


class BigAdmin:
    """Reads and writes values of one node as bytes."""

    def __init__(self, *, admin: Admin, store: Store, value_bytes_max: int) -> None:
        self._admin = admin
        self._store = store
        self._held_bytes = 0
        self.value_bytes_max = value_bytes_max
        """Size of one value."""

    # -- reading ----------------------------------------------------------------------------

    def open(self, entity: str, key: str, caller: Caller) -> OpenValue:
        """Returns the value under `key` as bytes: a big one, or one that is text or bytes.

        Its pieces have up to 64 KiB. The digest of text is that of its UTF-8.

        Raises:
            NotFound, NotPermitted.
            BadArguments: the value is neither text nor bytes.
        """
        check_state_key(key)
        snapshot = self._store.open_snapshot()
        try:
            self._admin.resolve_read(snapshot, entity, caller)
            item = snapshot.find(entity, key)
        finally:
            snapshot.release()
        if item is None:
            raise NotFound(f"{entity} has no key {key!r}")
        if is_big(item.value):
            manifest = decode_manifest(item.value)
            return OpenValue(told=manifest.told, pieces=self._pieces(entity, key, manifest))
        content = _content_of(item.value)
        if content is None:
            raise BadArguments(
                f"the value under {key!r} is neither text nor bytes; read it as JSON"
            )
        told = BigValue(size=len(content), digest=hashlib.sha256(content).hexdigest())
        return OpenValue(told=told, pieces=_in_parts(content))

    async def _pieces(self, entity: str, key: str, manifest: Manifest) -> AsyncIterator[bytes]:
        snapshot = self._open_at(entity, key, manifest)
        try:
            for offset in range(0, manifest.size, CHUNK_BYTES):
                try:
                    piece = read_piece(_finder(snapshot), entity, manifest, offset, CHUNK_BYTES)
                except Conflict:
                    snapshot.release()
                    snapshot = self._open_at(entity, key, manifest)
                    piece = read_piece(_finder(snapshot), entity, manifest, offset, CHUNK_BYTES)
                yield piece
        finally:
            snapshot.release()

    def _open_at(self, entity: str, key: str, manifest: Manifest) -> Snapshot:
        """Returns a snapshot in which the key holds the same value; raises Conflict."""
        snapshot = self._store.open_snapshot()
        try:
            item = snapshot.find(entity, key)
            if item is None or not is_big(item.value) or decode_manifest(item.value) != manifest:
                raise Conflict(
                    f"the value under {key!r} was changed while it was read; read it again",
                    retry_after_ms=50,
                )
        except BaseException:
            snapshot.release()
            raise
        return snapshot

    # -- writing ----------------------------------------------------------------------------

    async def write(
        self, entity: str, key: str, source: Source, caller: Caller, *, expected: str | None = None
    ) -> BigValue:
        """Writes a big value and returns what is told of it, once it is durable.

        Args:
            source: its bytes; read only when the caller may write.
            expected: what the key must hold now: a digest, "*" for anything, "" for nothing; None
                for no condition. Text and bytes have the digest `open` tells.

        Raises:
            NotFound: no template makes such an entity.
            NotPermitted.
            TooLarge: above `value_bytes_max`.
            PreconditionFailed: the key holds something else.
            Overloaded: too much is being written at once.
        """
        check_state_key(key)
        _check_expected(expected)
        self._admin.check_write(entity, caller, f"write:{key}")
        with self._holding() as hold:
            draft = Draft()
            async for part in _parts_of(source):
                size = draft.size + len(part)
                if size > self.value_bytes_max:
                    raise too_large(self.value_bytes_max)
                hold(len(part))
                draft.add(part)
            return await self._commit(entity, key, draft, caller, expected)

    @contextmanager
    def _holding(self) -> Generator[Callable[[int], None]]:
        """Gives what counts bytes held from now to the end of the block."""
        mine = 0

        def hold(size: int) -> None:
            nonlocal mine
            if self._held_bytes + size > HELD_BYTES_MAX:
                raise Overloaded(
                    f"values of {HELD_BYTES_MAX} bytes in all are being written; try again",
                    retry_after_ms=200,
                )
            self._held_bytes += size
            mine += size

        try:
            yield hold
        finally:
            self._held_bytes -= mine

    async def _commit(
        self, entity: str, key: str, draft: Draft, caller: Caller, expected: str | None
    ) -> BigValue:
        path = check_entity_path(entity)
        told, _ = draft.finish(key)

        def plan(snapshot: Snapshot, resolution: Resolution) -> Step:
            item = snapshot.find(entity, key)
            old = None if item is None else item.value
            if expected is not None:
                _check_is(old, expected, key)
            writes = Writes()
            put_big(writes.put, path, key, old, draft)
            if writes:
                record = resolution.record or self._admin.new_record(resolution, caller)
                if resolution.record is None or not record.has_big:
                    marked = msgspec.structs.replace(record, has_big=True)
                    writes.put(path, ENTITY_KEY, encode_record(marked))
            return Step(writes=writes, reads=[(entity, ENTITY_KEY), (entity, key)])

        await self._admin.do(
            Act(entity=entity, caller=caller, right=RIGHT_WRITE, name=f"write:{key}", plan=plan)
        )
        return told.told


def too_large(value_bytes_max: int) -> TooLarge:
    """Returns the refusal of a value above its bound."""
    return TooLarge(
        f"a big value has at most {value_bytes_max} bytes on this node", allowed=value_bytes_max
    )


def _check_expected(expected: str | None) -> None:
    if expected in {None, ANY, ABSENT}:
        return
    if len(expected or "") != _DIGEST_DIGITS:
        raise BadArguments('what is expected is a digest of 64 digits, "*" or ""')


def _check_is(value: bytes | None, expected: str, key: str) -> None:
    """Raises PreconditionFailed unless a stored value is what the caller expects."""
    digest = _digest_of(value)
    if expected == ANY and value is not None:
        return
    if expected == ABSENT and value is None:
        return
    if digest is not None and digest == expected:
        return
    wanted = {ANY: "anything", ABSENT: "nothing"}.get(expected, f"the value {expected}")
    raise PreconditionFailed(f"{key!r} holds another value than expected: {wanted}", digest=digest)


def _digest_of(value: bytes | None) -> str | None:
    if value is None:
        return None
    if is_big(value):
        return decode_manifest(value).digest.hex()
    content = _content_of(value)
    return None if content is None else hashlib.sha256(content).hexdigest()


def _content_of(value: bytes) -> bytes | None:
    """Returns the bytes of a stored text or bytes, None for any other value."""
    plain = decode_value(value)
    if isinstance(plain, str):
        return plain.encode()
    return plain if isinstance(plain, bytes) else None


def _finder(snapshot: Snapshot) -> Callable[[str, str], bytes | None]:
    def find(entity: str, key: str) -> bytes | None:
        item = snapshot.find(entity, key)
        return None if item is None else item.value

    return find


async def _in_parts(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]


async def _parts_of(source: Source) -> AsyncIterator[bytes]:
    """Gives the bytes of any source in order; never a copy of more than a part."""
    if isinstance(source, AsyncIterable):
        async for part in source:
            yield part
    elif isinstance(source, (bytes, bytearray, memoryview)):
        async for part in _in_parts(bytes(source)):
            yield part
    else:
        for part in source:
            yield part
