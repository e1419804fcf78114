"""Big values in transactions: one commit with their manifest, gone with it, never torn."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import msgspec
import pytest

from lithox.dispatch.big_values import WRITERS_MAX, Draft, big_entity, blob_id_of, chunk_key
from lithox.dispatch.records import ENTITY_KEY, decode_entity
from lithox.errors import GuestRaised, LimitExceeded, StoreCorrupt
from lithox.model.big_values import (
    CHUNK_BYTES,
    BigValue,
    decode_manifest,
    encode_manifest,
    is_big,
)
from lithox.model.limits import Limits
from lithox.model.values import encode_value
from lithox.store.contract import Range
from lithox.testing.script import Refused, ScriptedSelf
from tests.unit.dispatch.house import House


@cache
def content(size: int, seed: int = 0) -> bytes:
    """Returns bytes in which every chunk differs."""
    marks = b"".join(hashlib.sha256(b"%d %d" % (seed, n)).digest() for n in range(size // 32 + 1))
    return marks[:size]


def told(data: bytes) -> BigValue:
    return BigValue(size=len(data), digest=hashlib.sha256(data).hexdigest())


def write(_self: ScriptedSelf, key: str, data: bytes, piece: int = 100_000) -> Any:
    for start in range(0, len(data), piece):
        yield ("write_big", key, 1, data[start : start + piece])
    return (yield ("close_big", key, 1))


def read(_self: ScriptedSelf, key: str, piece: int = 100_000) -> Any:
    value = yield ("open_big", key)
    if value is None:
        return None
    parts, offset = [], 0
    while True:
        part = yield ("read_big", key, value.digest, offset, piece)
        if not part:
            return b"".join(parts)
        parts.append(part)
        offset += len(part)


def put(_self: ScriptedSelf, key: str, value: Any) -> Any:
    yield ("set", key, value)


def leave_open(_self: ScriptedSelf, key: str, data: bytes) -> Any:
    yield ("write_big", key, 1, data)


def write_and_fail(self: ScriptedSelf, key: str, data: bytes) -> Any:
    yield from write(self, key, data)
    raise ValueError("no")


def call(_self: ScriptedSelf, entity: str, handler: str, *args: Any) -> Any:
    try:
        yield ("call", entity, handler, *args)
    except Refused as error:
        return error.code
    return None


def call_in_cycle(self: ScriptedSelf, entity: str, key: str, data: bytes) -> Any:
    """Writes a big value, lets a callee call back and replace it, reads what the key holds then."""
    yield from write(self, key, data)
    before = yield ("open_big", key)
    yield ("call", entity, "call", self.id, "put", key, "plain")
    try:
        yield ("read_big", key, before.digest, 0, 10)
    except Refused as error:
        return [error.code, (yield ("get", key))]
    return None


def two_writers(_self: ScriptedSelf, key: str) -> Any:
    yield ("write_big", key, 1, b"one")
    yield ("write_big", key, 2, b"two")
    first = yield ("close_big", key, 2)
    second = yield ("close_big", key, 1)
    return [first, second]


def ask(_self: ScriptedSelf, *question: Any) -> Any:
    answer = yield ("ask", *question)
    return answer


def scan(_self: ScriptedSelf) -> Any:
    items = yield ("scan", "")
    return [[key, value.size if isinstance(value, BigValue) else value] for key, value in items]


def many_writers(_self: ScriptedSelf, count: int) -> Any:
    for token in range(count):
        yield ("write_big", f"k{token}", token, b"x")


MODULE = {
    "write": write,
    "read": read,
    "put": put,
    "leave_open": leave_open,
    "write_and_fail": write_and_fail,
    "call": call,
    "call_in_cycle": call_in_cycle,
    "two_writers": two_writers,
    "ask": ask,
    "scan": scan,
    "many_writers": many_writers,
}


def library() -> House:
    house = House()
    house.publish("books/*", MODULE, owner="alice", access=["*"])
    return house


def chunks_of(house: House, entity: str) -> dict[str, bytes]:
    """Returns what is kept for the entity's big values, by key."""
    snapshot = house.store.open_snapshot()
    try:
        page = snapshot.scan(Range(big_entity(entity), "", None), 10_000)
        return {key: item.value for key, item in page.items}
    finally:
        snapshot.release()


def manifest_of(house: House, entity: str, key: str) -> Any:
    snapshot = house.store.open_snapshot()
    try:
        item = snapshot.find(entity, key)
        assert item is not None
        return decode_manifest(item.value)
    finally:
        snapshot.release()


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 300_000])
def test_what_is_written_is_read_again(size: int) -> None:
    """Any size comes back byte by byte, from whole chunks and one that is shorter."""
    house, data = library(), content(size)
    assert house.call("books/a", "write", "k", data) == told(data).digest
    assert house.call("books/a", "read", "k") == (data if size else b"")
    kept = chunks_of(house, "books/a")
    assert [len(one) for one in kept.values()] == [
        min(CHUNK_BYTES, size - start) for start in range(0, size, CHUNK_BYTES)
    ]


@pytest.mark.parametrize("piece", [1, 7, CHUNK_BYTES // 2, CHUNK_BYTES])
def test_a_draft_makes_the_same_chunks_of_any_pieces(piece: int) -> None:
    """Chunks and digest depend on the bytes, not on how they came."""
    data = content(CHUNK_BYTES * 2 + 99 if piece > 7 else 3_000)
    draft = Draft()
    for start in range(0, len(data), piece):
        draft.add(data[start : start + piece])
    manifest, chunks = draft.finish("k")
    assert b"".join(chunks) == data
    assert (manifest.size, manifest.chunks) == (len(data), len(chunks))
    assert manifest.digest == hashlib.sha256(data).digest()
    assert all(len(chunk) == CHUNK_BYTES for chunk in chunks[:-1])
    assert draft.finish("k") == (manifest, chunks)


@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [
        (0, 10, slice(0, 10)),
        (CHUNK_BYTES - 3, 6, slice(CHUNK_BYTES - 3, CHUNK_BYTES + 3)),
        (CHUNK_BYTES, CHUNK_BYTES, slice(CHUNK_BYTES, 2 * CHUNK_BYTES)),
        (299_990, 100, slice(299_990, 300_000)),
        (300_000, 10, slice(0, 0)),
        (1 << 40, 10, slice(0, 0)),
        (5, 0, slice(0, 0)),
        (0, 1 << 40, slice(0, 256 << 10)),
    ],
)
def test_reading_begins_anywhere(offset: int, size: int, expected: slice) -> None:
    """A piece may cross chunks; past the end it is empty; one call gives at most 256 KiB."""
    house, data = library(), content(300_000)
    digest = house.call("books/a", "write", "k", data)
    found = house.call("books/a", "ask", "blob_read", "k", digest, offset, size)
    assert found == [data[expected]]


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (0, -1)])
def test_odd_offsets_are_refused(offset: int, size: int) -> None:
    """What is no place in a value is a caller's mistake."""
    house = library()
    digest = house.call("books/a", "write", "k", b"x")
    with pytest.raises(GuestRaised, match="0 or more"):
        house.call("books/a", "ask", "blob_read", "k", digest, offset, size)


def test_replacing_and_deleting_take_the_chunks_along() -> None:
    """A shorter value, a plain one or none leaves no chunk of what was there."""
    house = library()
    house.call("books/a", "write", "k", content(200_000))
    house.call("books/a", "write", "other", b"stays")
    short = content(70_000, seed=1)
    house.call("books/a", "write", "k", short)
    assert house.call("books/a", "read", "k") == short
    assert len(chunks_of(house, "books/a")) == 3
    house.call("books/a", "put", "k", "plain")
    assert house.get("books/a", "k") == "plain"
    assert list(chunks_of(house, "books/a")) == [chunk_key(blob_id_of("other"), 0)]
    house.call("books/a", "put", "other", None)
    assert chunks_of(house, "books/a") == {}


def test_the_same_bytes_again_write_nothing() -> None:
    """A value with the digest of the one that is there is no change, and conflicts with nobody."""
    house, data = library(), content(100_000)
    house.call("books/a", "write", "k", data)
    version = house.store.visible_version
    assert house.call("books/a", "write", "k", data) == told(data).digest
    assert house.store.visible_version == version


def test_a_writer_nobody_closes_leaves_nothing() -> None:
    """What was written and not closed is gone with the run; the entity does not even exist."""
    house = library()
    house.call("books/a", "leave_open", "k", content(100_000))
    assert chunks_of(house, "books/a") == {}
    assert house.store.list_entities("books/", "", 10) == []


def test_a_failed_run_and_a_failed_callee_leave_nothing() -> None:
    """Rolling back takes manifest, chunks and the record's mark; what the caller wrote stays."""
    house = library()
    with pytest.raises(GuestRaised):
        house.call("books/a", "write_and_fail", "k", content(100_000))
    code = house.call("books/a", "call", "books/b", "write_and_fail", "k", content(100_000))
    assert code == "guest.raised"
    assert chunks_of(house, "books/a") == chunks_of(house, "books/b") == {}
    assert house.store.list_entities("books/", "", 10) == []


def test_a_callee_writes_its_own() -> None:
    """What a callee writes commits with its caller, in the callee's own place."""
    house, data = library(), content(100_000)
    assert house.call("books/a", "call", "books/b", "write", "k", data) is None
    assert house.call("books/b", "read", "k") == data
    assert chunks_of(house, "books/a") == {}


def test_a_reader_gives_no_parts_of_two_values() -> None:
    """When the key has come to hold something else, reading on is refused, in a cycle too."""
    house = library()
    found = house.call("books/a", "call_in_cycle", "books/b", "k", content(100_000))
    assert found == ["request.not_found", "plain"]
    assert chunks_of(house, "books/a") == {}


def test_a_reader_knows_its_value_by_digest() -> None:
    """Another big value under the same key is not what a reader was opened for."""
    house = library()
    old = house.call("books/a", "write", "k", content(1_000))
    house.call("books/a", "write", "k", content(1_000, seed=1))
    with pytest.raises(GuestRaised, match="replaced or deleted; open it again"):
        house.call("books/a", "ask", "blob_read", "k", old, 0, 10)


def test_the_writer_closed_last_wins() -> None:
    """Two writers of one key do not mix."""
    house = library()
    first, second = house.call("books/a", "two_writers", "k")
    assert (first, second) == (told(b"two").digest, told(b"one").digest)
    assert house.call("books/a", "read", "k") == b"one"


def test_a_reader_conflicts_with_who_replaces_the_value() -> None:
    """A run that read a value another run replaced meanwhile is made again, and reads the new."""
    house = library()
    old, new = content(100_000), content(100_000, seed=1)
    house.call("books/a", "write", "k", old)
    seen: list[bytes] = []

    def read_slowly(self: ScriptedSelf) -> Any:
        first = yield from read(self, "k")
        seen.append(first)
        if len(seen) == 1:
            house.call("books/a", "write", "k", new)
        yield ("set", "seen", hashlib.sha256(first).hexdigest())

    house.publish("books/a", {**MODULE, "read_slowly": read_slowly}, access=["*"])
    house.call("books/a", "read_slowly")
    assert seen == [old, new]
    assert house.get("books/a", "seen") == told(new).digest


def test_a_blind_write_over_a_value_made_meanwhile_is_made_again() -> None:
    """A write that did not know of a big value takes its chunks along all the same."""
    house = library()
    house.call("books/a", "put", "there", 1)
    attempts: list[int] = []

    def put_blindly(self: ScriptedSelf) -> Any:
        attempts.append(self.attempt)
        yield ("set", "k", "plain")
        if self.attempt == 1:
            house.call("books/a", "write", "k", content(100_000))

    house.publish("books/a", {**MODULE, "put_blindly": put_blindly}, access=["*"])
    house.call("books/a", "put_blindly")
    assert attempts == [1, 2]
    assert house.get("books/a", "k") == "plain"
    assert chunks_of(house, "books/a") == {}


def test_blind_writes_without_big_values_stay_blind() -> None:
    """An entity whose record knows of none reads nothing it overwrites."""
    house = library()
    house.call("books/a", "put", "k", 1)
    house.call("books/a", "put", "k", 2)
    reads = house.store.statistics()["cache_misses"]
    house.call("books/a", "put", "k", 3)
    assert house.store.statistics()["cache_misses"] == reads
    assert not _record(house).has_big
    house.call("books/a", "write", "big", b"x")
    assert _record(house).has_big


def _record(house: House) -> Any:
    snapshot = house.store.open_snapshot()
    item = snapshot.find("books/a", ENTITY_KEY)
    snapshot.release()
    assert item is not None
    return decode_entity(item.value)


def test_chunks_are_not_in_the_read_set() -> None:
    """Reading a value is one read, of its manifest: that changes whenever a chunk does."""
    house = library()
    house.call("books/a", "write", "k", content(300_000))
    seen: list[Any] = []
    real = house.store.when_read_durable

    def watch(reads: Any, *rest: Any, **options: Any) -> bool:
        seen.append(set(reads))
        return real(reads, *rest, **options)

    house.store.when_read_durable = watch  # type: ignore[method-assign]
    house.call("books/a", "read", "k")
    assert seen == [{("books/a", "k"), ("books/a", ENTITY_KEY)}]


def test_limits_hold_for_runs_and_all_they_call() -> None:
    """Bytes count when they are taken, a callee's for its caller too, closed or not."""
    house = library()
    limits = Limits(big_bytes=150_000)
    house.call("books/a", "write", "k", content(150_000), limits=limits)
    with pytest.raises(LimitExceeded) as caught:
        house.call("books/a", "leave_open", "k", content(150_001), limits=limits)
    assert (caught.value.code, caught.value.fields["allowed"]) == ("guest.out_of_big", 150_000)

    def call_twice(_self: ScriptedSelf, data: bytes) -> Any:
        yield ("call", "books/b", "write", "k", data)
        yield ("call", "books/c", "write", "k", data)

    house.publish("books/twice", {**MODULE, "call_twice": call_twice}, access=["*"])
    house.call("books/twice", "call_twice", content(75_000), limits=limits)
    with pytest.raises(GuestRaised, match="writes 150002 bytes of big values; it may write 150000"):
        house.call("books/twice", "call_twice", content(75_001), limits=limits)
    assert house.call("books/c", "read", "k") == content(75_000)


def test_big_values_do_not_count_as_state() -> None:
    """The limit on state is for keys and plain values; a manifest counts, its chunks do not."""
    house = library()
    house.call("books/a", "write", "k", content(100_000), limits=Limits(state_bytes=1_000))
    assert house.call("books/a", "read", "k") == content(100_000)


def test_one_value_has_a_bound_of_its_own() -> None:
    """A value above the node's bound is refused, and the run may go on."""
    house = library()
    house.dispatcher.runs.endpoints.big.value_bytes_max = 1_000
    house.call("books/a", "write", "k", content(1_000), 600)
    with pytest.raises(GuestRaised, match="at most 1000 bytes; 'k' would have 1001"):
        house.call("books/a", "write", "k", content(1_001), 600)


def test_open_writers_are_bounded() -> None:
    """A run cannot hold writers without end."""
    house = library()
    house.call("books/a", "many_writers", WRITERS_MAX)
    with pytest.raises(GuestRaised, match="close some"):
        house.call("books/a", "many_writers", WRITERS_MAX + 1)


@pytest.mark.parametrize(
    "question",
    [
        ("blob_open", "", {}),
        ("blob_open", "\0entity", {}),
        ("blob_write", "x" * 513, 1, b""),
        ("blob_close", "\0entity", 1),
        ("blob_read", "\0entity", "0" * 64, 0, 1),
    ],
)
def test_keys_no_guest_may_own_are_refused(question: tuple[Any, ...]) -> None:
    """The system's own keys are out of reach for readers and writers."""
    house = library()
    with pytest.raises(GuestRaised, match="a state key is"):
        house.call("books/a", "ask", *question)


def test_a_manifest_cannot_be_made_by_a_guest() -> None:
    """Only the node writes manifests: a guest that sends one has broken the protocol."""
    house = library()
    house.call("books/a", "write", "k", content(10))
    raw = manifest_of(house, "books/a", "k")

    def forge(_self: ScriptedSelf) -> Any:
        outcome = (0, None, [], [], {"forged": msgspec.Raw(encode_manifest(raw))})
        yield ("finish", msgspec.msgpack.encode(outcome))

    house.publish("books/a", {**MODULE, "forge": forge}, access=["*"])
    with pytest.raises(Exception, match="not plain"):
        house.call("books/a", "forge")
    assert house.get("books/a", "forged") is None


def test_plain_values_have_no_reader() -> None:
    """A key that holds a plain value says so; one that holds none gives none."""
    house = library()
    house.call("books/a", "put", "k", 1)
    with pytest.raises(GuestRaised, match="not a big one"):
        house.call("books/a", "read", "k")
    assert house.call("books/a", "read", "absent") is None


def test_a_scan_shows_big_values_among_others() -> None:
    """What a scan gives of a big value is its manifest."""
    house = library()
    house.call("books/a", "put", "a", 1)
    house.call("books/a", "write", "b", content(70_000))
    assert house.call("books/a", "scan") == [["a", 1], ["b", 70_000]]


def test_a_missing_chunk_is_told_and_not_read_over() -> None:
    """Damage is the store's error, never a shorter value."""
    house = library()
    house.call("books/a", "write", "k", content(100_000))
    house.put({(big_entity("books/a"), chunk_key(blob_id_of("k"), 1)): b"short"})
    with pytest.raises((GuestRaised, StoreCorrupt), match="damaged"):
        house.call("books/a", "read", "k")


def test_manifests_are_told_from_plain_values() -> None:
    """No plain value looks like a manifest."""
    for value in (None, 1, "x" * 200, b"\xc7\x02\x02", [1], {"a": 1}, 1.5):
        assert not is_big(encode_value(value))
