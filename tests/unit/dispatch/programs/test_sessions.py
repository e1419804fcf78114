"""A watched run's terminal: nothing is lost while somebody reads, and what is lost is told."""

from __future__ import annotations

from typing import Any, cast

from lithox.dispatch.programs.process import Exit
from lithox.dispatch.programs.sessions import INPUT_BYTES_MAX, Session

FRAME = cast("Any", None)


def text_of(session: Session, after: int) -> str:
    """Returns all output from an offset on, joined."""
    return b"".join(chunk.data for chunk in session.output_after(after)[0]).decode()


def test_output_is_read_by_offset_and_again_until_acknowledged() -> None:
    """The same offset gives the same bytes; a later one forgets what lies before."""
    session = Session()
    session.write(FRAME, "out", b"hello ")
    session.write(FRAME, "err", b"world")
    assert text_of(session, 0) == "hello world"
    assert text_of(session, 0) == "hello world"
    assert text_of(session, 8) == "rld"
    chunks, missed = session.output_after(8)
    assert [(one.offset, one.stream) for one in chunks] == [(8, "err")]
    assert missed == 0


def test_a_full_buffer_makes_the_writer_wait_while_somebody_reads() -> None:
    """With a reader nothing is taken beyond the buffer, and room is told once it is there."""
    session = Session(bytes_max=10)
    assert session.write(FRAME, "out", b"0123456789")
    assert not session.write(FRAME, "out", b"x")
    told: list[int] = []
    session.when_writable(lambda: told.append(1))
    session.output_after(0)
    assert told == []
    session.output_after(10)
    assert told == [1]
    assert session.write(FRAME, "out", b"x")
    assert text_of(session, 10) == "x"


def test_without_a_reader_the_oldest_goes_and_is_counted() -> None:
    """A detached session takes everything; the next reader is told how many bytes are gone."""
    session = Session(bytes_max=1000)
    session.write(FRAME, "out", b"0" * 400)
    session.write(FRAME, "err", b"1" * 400)
    told: list[int] = []
    session.when_writable(lambda: told.append(1))
    session.detach()
    assert told == [1]
    assert session.write(FRAME, "out", b"2" * 400)
    chunks, missed = session.output_after(0)
    kept = b"".join(one.data for one in chunks)
    assert (b"0" * 400 + b"1" * 400 + b"2" * 400).endswith(kept)
    assert len(kept) >= 400
    assert missed == 1200 - len(kept) > 0
    assert session.output_after(missed)[1] == 0


def test_one_write_larger_than_the_buffer_is_taken_whole() -> None:
    """A single long write cannot wait for ever for room that never comes."""
    session = Session(bytes_max=4)
    assert session.write(FRAME, "out", b"0123456789")
    assert text_of(session, 0) == "0123456789"


def test_input_arrives_in_order_and_ends() -> None:
    """What is fed is read, then nothing for now, then the end."""
    session = Session()
    assert session.read(10) == b""
    told: list[int] = []
    session.when_readable(lambda: told.append(1))
    assert session.feed(b"abcdef")
    assert told == [1]
    assert session.read(4) == b"abcd"
    assert session.read(4) == b"ef"
    assert session.read(4) == b""
    session.end_input()
    assert session.read(4) is None
    assert not session.feed(b"late")


def test_input_is_bounded_and_says_when_there_is_room() -> None:
    """Feeding beyond the bound is refused until the program has read."""
    session = Session()
    assert session.feed(b"x" * INPUT_BYTES_MAX)
    assert not session.feed(b"y")
    told: list[int] = []
    session.when_taken(lambda: told.append(1))
    assert session.read(10) == b"x" * 10
    assert told == [1]
    assert session.feed(b"y")


def test_watchers_hear_of_output_and_of_the_end_once() -> None:
    """Each watcher is called once, by whichever comes first."""
    session = Session()
    told: list[str] = []
    session.watch(lambda: told.append("output"))
    session.write(FRAME, "out", b"x")
    session.write(FRAME, "out", b"y")
    assert told == ["output"]
    session.watch(lambda: told.append("end"))
    session.finish(Exit(status=3))
    assert told == ["output", "end"]
    assert session.exit == Exit(status=3)
    assert session.end_offset == 2
