"""Readers and writers of big values in Lua, over a host that keeps them in a dict."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from lithox.model.big_values import Manifest, decode_manifest, encode_manifest
from lithox.sandbox import messages
from tests.conformance.lua.driver import Host, LuaGuest, run_source

PIECE = 64 << 10
READ = 256 << 10


def manifest_of(data: bytes) -> bytes:
    return encode_manifest(Manifest("id", len(data), 1, hashlib.sha256(data).digest()))


@dataclass(slots=True, kw_only=True)
class Blobs:
    """The host's end: values by key, drafts by token."""

    values: dict[str, bytes] = field(default_factory=dict)
    drafts: dict[int, bytes] = field(default_factory=dict)
    pieces: list[int] = field(default_factory=list)

    def host(self, **options: Any) -> Host:
        answers = {
            "blob_open": self.open,
            "blob_read": self.read,
            "blob_write": self.write,
            "blob_close": self.close,
        }
        return Host(answers=answers, **options)

    def open(self, key: str, writes: dict[str, Any]) -> bytes:
        if key in writes:
            return messages.encode_answer(None)
        data = self.values.get(key)
        value = messages.NIL if data is None else manifest_of(data)
        return messages.encode_answer(msgspec.Raw(value))

    def read(self, key: str, digest: str, offset: int, size: int) -> bytes:
        data = self.values[key]
        assert size <= READ
        if hashlib.sha256(data).hexdigest() != digest:
            return messages.encode_refusal(10, "request.not_found", "it was replaced", {})
        self.pieces.append(size)
        return messages.encode_answer(data[offset : offset + size])

    def write(self, key: str, token: int, data: bytes) -> bytes:
        del key
        self.pieces.append(len(data))
        self.drafts[token] = self.drafts.get(token, b"") + data
        return messages.encode_answer()

    def close(self, key: str, token: int) -> bytes:
        data = self.values[key] = self.drafts.pop(token, b"")
        value = manifest_of(data)
        digest = decode_manifest(value).digest.hex()
        return messages.encode_answer(digest, msgspec.Raw(value))


def test_small_writes_are_collected() -> None:
    """A writer asks the host once for 64 KiB, however they were written; the rest goes at close."""
    blobs = Blobs()
    outcome = run_source(
        """local w = self:writer("k")
        for i = 1, 30000 do w:write("abc", 4567):write("") end
        return w:close()""",
        host=blobs.host(),
    )
    data = b"abc4567" * 30_000
    assert (outcome.value, blobs.values["k"]) == (hashlib.sha256(data).hexdigest(), data)
    assert blobs.pieces == [PIECE, PIECE, PIECE, len(data) - 3 * PIECE]


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])
def test_writes_of_any_size_arrive_in_order(size: int) -> None:
    """A text larger than what is collected goes in pieces of that size."""
    blobs = Blobs()
    run_source(
        """local w = self:writer("k") w:write("<") w:write(("x"):rep(SIZE)) w:write(">")
        w:close()""".replace("SIZE", str(size)),
        host=blobs.host(),
    )
    assert blobs.values["k"] == b"<" + b"x" * size + b">"
    assert max(blobs.pieces) <= PIECE


def test_bytes_that_are_no_text_are_written_as_they_are() -> None:
    """The host is sent bytes, never text, and gives bytes back."""
    blobs = Blobs()
    outcome = run_source(
        r"""local w = self:writer("k") w:write("\0\255é") w:close()
        local r = self:reader("k") return {r:read(2) == "\0\255", r:read(), r:read() == nil}""",
        host=blobs.host(),
    )
    assert blobs.values["k"] == b"\x00\xff\xc3\xa9"
    assert outcome.value == [True, "é", True]


def test_a_reader_goes_through_and_anywhere() -> None:
    """Reads follow each other, seek goes anywhere, behind the end there is nothing."""
    data = bytes(range(256)) * 4_000
    blobs = Blobs(values={"k": data})
    outcome = run_source(
        """local r = self:reader("k")
        local n, count = 0, 0
        for piece in function() return r:read() end do n, count = n + #piece, count + 1 end
        r:seek(1000)
        local three = {r:read(3):byte(1, 3)}
        local where = r:seek()
        r:seek(r.size - 2)
        local last, past = r:read(100), r:read(1)
        r:seek(1 << 40)
        local beyond = r:read()
        r:seek(0)
        local none, big = r:read(0), r:read(600000)
        return {n = n, count = count, size = r.size, digest = r.digest, three = three,
          where = where, last = #last, past = past == nil, beyond = beyond == nil,
          none = none, big = #big}""",
        host=blobs.host(),
    )
    assert outcome.error is None, outcome.error
    assert outcome.value == {
        "n": len(data),
        "count": -(-len(data) // PIECE),
        "size": len(data),
        "digest": hashlib.sha256(data).hexdigest(),
        "three": [data[1000], data[1001], data[1002]],
        "where": 1003,
        "last": 2,
        "past": True,
        "beyond": True,
        "none": "",
        "big": 600_000,
    }


def test_there_is_no_reader_of_what_is_absent() -> None:
    """An absent key has no reader."""
    outcome = run_source('return self:reader("none") == nil', host=Blobs().host())
    assert outcome.value is True


@pytest.mark.parametrize("complete", [False, True])
def test_the_key_of_a_big_value_is_not_read_as_state(complete: bool) -> None:
    """Reading it says how to read it, and counts as a read; scans show its reader."""
    data = b"x" * 100
    value = msgspec.Raw(manifest_of(data))
    blobs = Blobs(values={"k": data})
    options: dict[str, Any] = {
        "host": blobs.host(state={} if complete else {"a": 1, "k": value}),
        "complete": complete,
        "state": {"a": 1, "k": value} if complete else None,
    }
    outcome = run_source("return self.state.k", **options)
    assert outcome.error is not None
    assert 'self.state["k"] is a big value; read it with self:reader' in outcome.error.message
    assert (outcome.reads, outcome.writes) == (["k"], {})
    outcome = run_source(
        "for k, v in pairs(self.state) do if k == 'k' then return {v.size, v:read()} end end",
        **options,
    )
    assert outcome.value == [100, "x" * 100]
    assert outcome.writes == {}


def test_what_is_assigned_to_its_key_is_a_write() -> None:
    """A plain value or nil replaces it; the last one counts, closed or assigned."""
    value = msgspec.Raw(manifest_of(b"x"))
    blobs = Blobs(values={"k": b"x"})
    outcome = run_source("self.state.k = 5", host=blobs.host(), state={"k": value}, complete=True)
    assert outcome.writes == {"k": 5}
    outcome = run_source("self.state.k = nil", host=blobs.host(), state={"k": value}, complete=True)
    assert outcome.writes == {"k": None}
    outcome = run_source(
        """self.state.k = 5 local w = self:writer("k") w:write("y") w:close()
        return pcall(function() return self.state.k end)""",
        host=blobs.host(),
    )
    assert (outcome.value, outcome.writes) == (False, {})
    outcome = run_source(
        """local w = self:writer("k") w:write("y") w:close() self.state.k = 6
        return self.state.k""",
        host=blobs.host(),
    )
    assert (outcome.value, outcome.writes) == (6, {"k": 6})


def test_a_reader_does_not_outlive_what_it_reads() -> None:
    """After an assignment or another writer's close, reading on is refused."""
    for replacing in ("self.state.k = 1", 'local w = self:writer("k") w:write("z") w:close()'):
        outcome = run_source(
            f"""local r = self:reader("k") local first = r:read(1)
            {replacing}
            return {{first, (pcall(r.read, r))}}""",
            host=Blobs(values={"k": b"abc"}).host(),
        )
        assert outcome.value == ["a", False]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ('self:reader("\\255")', "valid UTF-8"),
        ("self:reader()", "string expected"),
        ('self:writer("k"):write({})', "string expected"),
        ('local w = self:writer("k") w:close() w:write("x")', "the writer is closed"),
        ('local w = self:writer("k") w:close() w:close()', "the writer is closed"),
        ('self:reader("there"):read(-1)', "0 or more"),
        ('self:reader("there"):seek(-1)', "0 or more"),
        ('self:reader("there").size = 5', "lithox.reader"),
        ('self.state.x = self:reader("there")', "a userdata is not a value"),
        ('local w = self:writer("k") w.write(5, "x")', "lithox.writer expected"),
    ],
)
def test_mistakes_are_told_in_the_handlers_line(code: str, words: str) -> None:
    """What cannot be meant is an error, and nothing is written."""
    outcome = run_source(code, host=Blobs(values={"there": b"abc"}).host())
    assert outcome.error is not None
    assert words in outcome.error.message, outcome.error.message


def test_readers_and_writers_stay_small() -> None:
    """16 MiB pass through a guest of 1 MiB, in either direction and both at once."""
    blobs = Blobs(values={"from": bytes(range(256)) * (16 << 12)})
    guest = LuaGuest(blobs.host(), memory_bytes=1 << 20)
    guest.load(
        """return {copy = function(self)
          local r, w = self:reader("from"), self:writer("to")
          for piece in function() return r:read() end do w:write(piece) end
          return w:close() == r.digest
        end}"""
    )
    assert guest.run("copy").value is True
    assert blobs.values["to"] == blobs.values["from"]


def test_a_run_with_big_values_is_a_function_of_its_input() -> None:
    """The same answers burn the same fuel and give the same outcome."""
    body = """local w = self:writer("k")
    for i = 1, 1000 do w:write(tostring(math.random(1000))) end
    return w:close()"""
    found: set[tuple[str, int]] = set()
    for _ in range(2):
        guest = LuaGuest(Blobs().host())
        guest.load(f"return {{go = function(self) {body} end}}")
        found.add((guest.run("go", seed=7).value, guest.fuel_used))
    assert len(found) == 1
