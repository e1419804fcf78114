"""Big values of entities: their chunks, and the system calls by which handlers read and write them.

A big value is a manifest under its state key and chunks in the cells of a system entity beside it.
Both are written by one commit, always: what removes or replaces a manifest removes the chunks it
spoke of. Chunks are named by the state key, so an entity has at most one set of them for each key,
and a value that replaces another writes over it.

Chunks are never in a read set: they change only with their manifest, so whoever read that is told.
For the same reason every write to a key that may hold a big value reads it first; which entities
may is said by their own records (`EntityRecord.has_big`), which every run has read, so entities
without big values pay nothing.

A writer collects its value apart and puts it into the transaction when it is closed: the key keeps
its old value until then, and a writer nobody closes leaves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from lithox.errors import BadArguments, LimitExceeded, NotFound, StoreCorrupt, TooLarge
from lithox.model.big_values import (
    BIG_VALUE_BYTES_MAX,
    CHUNK_BYTES,
    Manifest,
    decode_manifest,
    encode_manifest,
    is_big,
)
from lithox.model.ids import SYSTEM_ENTITY_PREFIX, EntityPath, check_state_key
from lithox.sandbox import messages
from lithox.sandbox.said import WRITES_MAX, GuestDecoder, check_count
from lithox.store.contract import Cell

if TYPE_CHECKING:
    from lithox.dispatch.job import Frame
    from lithox.dispatch.transaction import Transaction

BIG_ENTITY_PREFIX: Final = SYSTEM_ENTITY_PREFIX + "b/"
READ_BYTES_MAX: Final = 256 << 10
"""Most one system call gives: four chunks."""
WRITERS_MAX: Final = 64
"""Writers one run has begun and not closed."""
_BLOB_ID_DIGITS: Final = 32

_text: Final = GuestDecoder(msgspec.msgpack.Decoder(str))
_integer: Final = GuestDecoder(msgspec.msgpack.Decoder(int))
_bytes: Final = GuestDecoder(msgspec.msgpack.Decoder(bytes))
_state_writes: Final = GuestDecoder(msgspec.msgpack.Decoder(dict[str, msgspec.Raw]))

Find = Callable[[str, str], bytes | None]
"""(entity, key) -> the stored value; reads without a trace in a read set."""


def big_entity(entity: str) -> EntityPath:
    """Returns the system entity that holds the chunks of an entity's big values."""
    return EntityPath(BIG_ENTITY_PREFIX + entity)


def blob_id_of(key: str) -> str:
    """Returns what names the chunks of the big value under state key `key`.

    A part of its SHA-256, because a key may be longer and odder than a cell's name should be.
    """
    return hashlib.sha256(key.encode()).hexdigest()[:_BLOB_ID_DIGITS]


def chunk_key(blob_id: str, number: int) -> str:
    """Returns the key of a chunk; keys of one value are in the order of its bytes."""
    return f"{blob_id}/{number:08x}"


def chunk_cells(entity: str, manifest: Manifest, start: int = 0) -> Iterator[Cell]:
    """Returns the cells of a value's chunks, from number `start` on."""
    place = big_entity(entity)
    return ((place, chunk_key(manifest.blob_id, n)) for n in range(start, manifest.chunks))


def read_piece(find: Find, entity: str, manifest: Manifest, offset: int, size: int) -> bytes:
    """Returns up to `size` bytes of a big value from `offset` on; fewer only at its end.

    Raises:
        StoreCorrupt: a chunk is missing or of another length.
    """
    end = min(offset + size, manifest.size)
    if offset >= end:
        return b""
    place = big_entity(entity)
    parts: list[bytes] = []
    for number in range(offset // CHUNK_BYTES, -(-end // CHUNK_BYTES)):
        begin = number * CHUNK_BYTES
        chunk = find(place, chunk_key(manifest.blob_id, number))
        if chunk is None or len(chunk) != min(CHUNK_BYTES, manifest.size - begin):
            raise StoreCorrupt(
                f"chunk {number} of a big value of {entity} is damaged; restore from a backup"
            )
        parts.append(chunk[max(offset - begin, 0) : end - begin])
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Draft:
    """A big value that is being put together: whole chunks, and what is left of the last."""

    __slots__ = ("_chunks", "_hash", "_tail", "size")

    def __init__(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._chunks: list[bytes] = []
        self._tail = bytearray()

    def add(self, data: bytes) -> None:
        """Appends bytes."""
        self.size += len(data)
        self._hash.update(data)
        if len(data) == CHUNK_BYTES and not self._tail:
            self._chunks.append(data)
            return
        self._tail += data
        whole = len(self._tail) // CHUNK_BYTES * CHUNK_BYTES
        for start in range(0, whole, CHUNK_BYTES):
            self._chunks.append(bytes(self._tail[start : start + CHUNK_BYTES]))
        del self._tail[:whole]

    def finish(self, key: str) -> tuple[Manifest, list[bytes]]:
        """Returns the manifest for state key `key`, and the chunks in order."""
        chunks = [*self._chunks, bytes(self._tail)] if self._tail else self._chunks
        return Manifest(blob_id_of(key), self.size, len(chunks), self._hash.digest()), chunks


class Put(Protocol):
    """How a cell is written: `Transaction.put`, or an item of an administrator's commit."""

    def __call__(self, entity: EntityPath, key: str, value: bytes | None, /) -> object: ...


def put_value(
    put: Put, entity: EntityPath, key: str, old: bytes | None, value: bytes | None
) -> None:
    """Writes a plain value (None deletes) over `old`; chunks of a big one go."""
    if old is not None and is_big(old):
        for place, chunk in chunk_cells(entity, decode_manifest(old)):
            put(EntityPath(place), chunk, None)
    put(entity, key, value)


def put_big(put: Put, entity: EntityPath, key: str, old: bytes | None, draft: Draft) -> bytes:
    """Writes what a draft holds over `old`; nothing when the key holds the same bytes already.

    Returns:
        What stands under the key now, a manifest.
    """
    manifest, chunks = draft.finish(key)
    if old is not None and is_big(old):
        former = decode_manifest(old)
        if former.digest == manifest.digest:
            return old
        for place, chunk in chunk_cells(entity, former, start=manifest.chunks):
            put(EntityPath(place), chunk, None)
    place = big_entity(entity)
    for number, data in enumerate(chunks):
        put(place, chunk_key(manifest.blob_id, number), data)
    value = encode_manifest(manifest)
    put(entity, key, value)
    return value


@dataclass(slots=True, kw_only=True)
class BigWork:
    """What one attempt does with big values, beside its writes.

    Attributes:
        drafts: values not closed yet, by frame (its PID) and the guest's token.
        used: bytes that writers of a frame, and of the callees it had, have taken.
    """

    drafts: dict[tuple[int, int], tuple[str, Draft]] = field(
        default_factory=dict[tuple[int, int], tuple[str, Draft]]
    )
    used: dict[int, int] = field(default_factory=dict[int, int])


def may_hold_big(frame: Frame, transaction: Transaction) -> bool:
    """Returns whether a key of the frame's entity may hold a big value."""
    record = frame.resolution.record
    return transaction.has_big or (record is not None and record.has_big)


@dataclass(slots=True, kw_only=True)
class BigCalls:
    """The system calls of readers and writers.

    Attributes:
        merge: takes what a guest says it has written into the transaction.
        value_bytes_max: size of one value.
    """

    merge: Callable[[Frame, dict[str, msgspec.Raw]], None]
    value_bytes_max: int = BIG_VALUE_BYTES_MAX

    def by_name(self) -> dict[str, Callable[[Frame, list[msgspec.Raw]], bytes | None]]:
        """Returns the endpoints by the names guests call."""
        return {
            messages.CALL_BLOB_OPEN: self._open,
            messages.CALL_BLOB_READ: self._read,
            messages.CALL_BLOB_WRITE: self._write,
            messages.CALL_BLOB_CLOSE: self._close,
        }

    def _open(self, frame: Frame, call: list[msgspec.Raw]) -> bytes:
        key = check_state_key(_text.decode(call[2]))
        check_count(call[3], WRITES_MAX, "keys written")
        self.merge(frame, _state_writes.decode(call[3]))
        value = _transaction_of(frame).find(frame.entity, key)
        if value is not None and not is_big(value):
            raise BadArguments(f"the value under {key!r} is not a big one; read it as it is")
        return messages.encode_answer(msgspec.Raw(messages.NIL if value is None else value))

    def _read(self, frame: Frame, call: list[msgspec.Raw]) -> bytes:
        key, digest = check_state_key(_text.decode(call[2])), _text.decode(call[3])
        offset, size = _integer.decode(call[4]), _integer.decode(call[5])
        if offset < 0 or size < 0:
            raise BadArguments("offset and size of a reading are 0 or more")
        transaction = _transaction_of(frame)
        value = transaction.find(frame.entity, key)
        manifest = decode_manifest(value) if value is not None and is_big(value) else None
        if manifest is None or manifest.digest.hex() != digest:
            raise NotFound(f"the value under {key!r} was replaced or deleted; open it again")
        data = read_piece(
            transaction.peek, frame.entity, manifest, offset, min(size, READ_BYTES_MAX)
        )
        return messages.encode_answer(data)

    def _write(self, frame: Frame, call: list[msgspec.Raw]) -> bytes:
        key, token = check_state_key(_text.decode(call[2])), _integer.decode(call[3])
        data = _bytes.decode(call[4])
        work = _transaction_of(frame).big_work
        draft = self._draft(work, frame, key, token)
        size = draft.size + len(data)
        if size > self.value_bytes_max:
            raise TooLarge(
                f"a big value has at most {self.value_bytes_max} bytes; {key!r} would have {size}",
                allowed=self.value_bytes_max,
                used=size,
            )
        _charge(work, frame, len(data))
        draft.add(data)
        return messages.encode_answer()

    def _close(self, frame: Frame, call: list[msgspec.Raw]) -> bytes:
        key, token = check_state_key(_text.decode(call[2])), _integer.decode(call[3])
        transaction = _transaction_of(frame)
        work = transaction.big_work
        draft = self._draft(work, frame, key, token)
        del work.drafts[frame.pid, token]
        transaction.has_big = True
        old = transaction.find(frame.entity, key)
        value = put_big(transaction.put, frame.entity, key, old, draft)
        digest = decode_manifest(value).digest.hex()
        return messages.encode_answer(digest, msgspec.Raw(value))

    @staticmethod
    def _draft(work: BigWork, frame: Frame, key: str, token: int) -> Draft:
        """Returns the draft of a writer, begun now if the token is new."""
        known = work.drafts.get((frame.pid, token))
        if known is not None:
            if known[0] != key:
                raise BadArguments(f"writer {token} writes another key")
            return known[1]
        if len(work.drafts) >= WRITERS_MAX:
            raise BadArguments(f"a run has at most {WRITERS_MAX} open writers; close some")
        draft = Draft()
        work.drafts[frame.pid, token] = (key, draft)
        return draft


def _transaction_of(frame: Frame) -> Transaction:
    transaction = frame.job.transaction
    assert transaction is not None
    return transaction


def _charge(work: BigWork, frame: Frame, size: int) -> None:
    """Counts bytes for the frame and for all whose callee it is; each within its own limit.

    Raises:
        LimitExceeded: of the first that may write no more.
    """
    paying: Frame | None = frame
    while paying is not None:
        allowed, used = paying.limits.big_bytes, work.used.get(paying.pid, 0) + size
        if allowed is not None and used > allowed:
            raise LimitExceeded(
                f"the run writes {used} bytes of big values; it may write {allowed}",
                limit="big",
                used=used,
                allowed=allowed,
            )
        work.used[paying.pid] = used
        paying = paying.parent
