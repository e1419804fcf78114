"""The laws of finding RESP commands in bytes, whatever the pieces they come in."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lithox.errors import BadArguments, TooLarge
from lithox.gateway.resp.parsing import SLICE_BYTES, WORDS_MAX, CommandParser

BYTES_MAX = 1 << 20
WORD = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"", b"\n*1\r\n", b"*1234", b"\r\n*999\r\n", b"\n%2\r\n", b"$5\r\n", b"\n"]),
    st.binary(min_size=1, max_size=3).map(lambda seed: seed * 9000),
)
COMMAND = st.lists(WORD, min_size=1, max_size=6)


def encode(words: list[bytes]) -> bytes:
    head = b"*%d\r\n" % len(words)
    return head + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def feed_in_pieces(parser: CommandParser, data: bytes, cuts: list[int]) -> list[list[bytes]]:
    """Feeds `data` cut at `cuts`; returns all commands, or raises what the parser does."""
    found: list[list[bytes]] = []
    borders = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    for start, end in pairwise(borders):
        parser.feed(data[start:end])
        while parser.has_more:
            found += parser.take()
    return found


@given(commands=st.lists(COMMAND, max_size=8), cuts=st.lists(st.integers(0, 1 << 16), max_size=12))
@example(commands=[[b"a"]] * 8, cuts=list(range(90)))
@example(commands=[[b"CALL", b"\n*3\r\n"], [b"x"]], cuts=[])
def test_what_was_sent_is_what_is_found(commands: list[list[bytes]], cuts: list[int]) -> None:
    """Commands come out as they went in, in order, whatever their words and the pieces."""
    parser = CommandParser(BYTES_MAX)
    assert feed_in_pieces(parser, b"".join(map(encode, commands)), cuts) == commands
    assert parser.partial is None


@given(
    commands=st.lists(COMMAND, max_size=4),
    rest=st.one_of(
        st.binary(max_size=60),
        st.lists(st.sampled_from([b"*", b"$", b"%", b">", b"1", b"999", b"\r\n", b"a"])).map(
            b"".join
        ),
    ),
    cuts=st.lists(st.integers(0, 1 << 16), max_size=6),
)
def test_rubbish_is_refused_by_one_error_behind_what_was_good(
    commands: list[list[bytes]], rest: bytes, cuts: list[int]
) -> None:
    """Whatever follows, the commands before it are found, and it ends in nothing but a refusal."""
    parser = CommandParser(BYTES_MAX)
    found: list[list[bytes]] = []
    data = b"".join(map(encode, commands)) + rest
    borders = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    try:
        for start, end in pairwise(borders):
            parser.feed(data[start:end])
            while parser.has_more:
                found += parser.take()
    except (BadArguments, TooLarge):
        pass
    assert found[: len(commands)] == commands


@given(cuts=st.lists(st.integers(0, 1 << 16), max_size=12), size=st.integers(0, 60_000))
def test_a_command_that_is_too_long_is_found_out_by_its_header(cuts: list[int], size: int) -> None:
    """What is kept of a command never passes the bound and one slice, and it is refused."""
    parser = CommandParser(1_000)
    data = encode([b"CALL", b"x" * size])
    is_too_long = len(data) > 1_000
    try:
        found = feed_in_pieces(parser, data, cuts)
    except TooLarge:
        assert is_too_long
        assert parser.partial_bytes <= 1_000 + SLICE_BYTES
    else:
        assert found == [[b"CALL", b"x" * size]]
        assert not is_too_long


def test_a_longer_bound_lets_a_refused_command_pass() -> None:
    """A command refused for its length is taken once the bound is raised: a caller got known."""
    parser = CommandParser(100)
    words = [b"CALL", b"x" * 200]
    parser.feed(encode([b"AUTH"]) + encode(words))
    assert parser.take() == [[b"AUTH"]]
    for _ in range(2):
        with pytest.raises(TooLarge, match=r"^a command has at most 100 bytes$"):
            parser.take()
    parser.bytes_max = 1_000
    assert parser.take() == [words]
    assert not parser.has_more


def test_a_command_of_too_many_words_is_refused_for_good() -> None:
    """A longer bound does not help it, and nothing behind its header is taken for a command."""
    parser = CommandParser(100)
    parser.feed(b"*%d\r\n" % (WORDS_MAX + 1) + encode([b"PING"]))
    for bytes_max in (100, 1_000, 1_000):
        parser.bytes_max = bytes_max
        with pytest.raises(TooLarge, match=r"at most 999 words$"):
            parser.take()


@given(cuts=st.lists(st.integers(0, 1 << 16), max_size=8), ends=st.lists(st.integers(0, 3)))
def test_empty_lines_between_commands_are_nothing(cuts: list[int], ends: list[int]) -> None:
    """As Redis takes them, and as `redis-cli --pipe` sends one."""
    parser = CommandParser(BYTES_MAX)
    data = b"".join(encode([b"PING"]) + b"\r\n" * end for end in ends)
    assert feed_in_pieces(parser, data, cuts) == [[b"PING"]] * len(ends)
    assert parser.partial is None


HOSTILE = {
    "a list of a billion": b"*1000000000\r\n",
    "more words than may be": b"*%d\r\n" % (WORDS_MAX + 1),
    "lists in lists": b"*999\r\n" * 150_000,
    "lists in lists, behind words": b"*999\r\n$0\r\n\r\n" * 80_000,
    "lists hidden in words": (b"$15\r\n*1\r\n$5\r\nA\r\n$7\r\n*999\r\n" * 40_000),
    "maps": b"*2\r\n%999\r\n" * 90_000,
    "a negative length": b"*1\r\n$-5\r\n",
    "a long header": b"*" + b"1" * 1_000_000,
    "a length without end": b"*2\r\n$" + b"9" * 1_000_000,
    "a word without end": b"*1\r\n$4\r\nPINGxx" + b"y" * 1_000_000,
    "an inline command": b"PING\r\n",
    "a number": b":1\r\n",
    "a blob alone": b"$4\r\nPING\r\n",
}


def test_hostile_headers_cost_no_memory() -> None:
    """A megabyte of headers that announce far more is refused within twenty megabytes."""
    for name, data in HOSTILE.items():
        parser = CommandParser(BYTES_MAX)
        tracemalloc.start()
        parser.feed(data)
        refusal: Exception | None = None
        try:
            while parser.has_more:
                parser.take()
        except (BadArguments, TooLarge) as error:
            refusal = error
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert refusal is not None, name
        assert peak < 20 << 20, (name, peak)
