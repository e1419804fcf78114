"""The log of a serving node: never waits for its reader, and obeys no guest."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator

import pytest

from lithox.cli import log_queue
from lithox.cli.log_queue import LogQueue
from lithox.cli.logs import configure_logs


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """(where it is read, where it is written)."""
    read, write = os.pipe()
    yield read, write
    for one in (read, write):
        try:
            os.close(one)
        except OSError:
            continue


def record_of(text: str) -> logging.LogRecord:
    return logging.LogRecord("lithox.guest", logging.INFO, __file__, 0, text, None, None)


def read_all(descriptor: int) -> bytes:
    found = b""
    while data := os.read(descriptor, 1 << 16):
        found += data
    return found


def test_lines_beyond_the_bounds_are_dropped_and_counted(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nobody reading, `emit` goes on; when somebody does, the rest is told by its number."""
    monkeypatch.setattr(log_queue, "LINES_MAX", 10)
    read, write = pipe
    handler = LogQueue(write)
    line = "x" * 100_000  # More than a pipe holds, so that the writer hangs at the first.
    for number in range(100):
        handler.emit(record_of(f"{number:03}{line}"))
    assert 80 <= handler.dropped <= 90
    lines: list[bytes] = []
    rest = b""
    while not any(b"dropped" in one for one in lines):
        rest += os.read(read, 1 << 16)
        *more, rest = rest.split(b"\n")
        lines += more
    kept = len(lines) - 1
    numbers = [int(one[:3]) for one in lines[:-1]]
    assert numbers == sorted(set(numbers))
    assert 10 <= kept <= 20
    assert int(lines[-1].split()[0]) == 100 - kept
    handler.close()


def test_bytes_that_wait_are_bounded(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line larger than the bound is dropped; small ones still get through."""
    monkeypatch.setattr(log_queue, "BYTES_MAX", 1000)
    read, write = pipe
    handler = LogQueue(write)
    handler.emit(record_of("x" * 2000))
    handler.emit(record_of("small"))
    handler.close()
    os.close(write)
    text = read_all(read)
    assert b"small\n" in text
    assert b"1 log lines dropped" in text


def test_closing_does_not_wait_for_a_reader_for_ever(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe nobody reads does not keep the process from ending."""
    monkeypatch.setattr(log_queue, "CLOSE_WAIT_S", 0.01)
    handler = LogQueue(pipe[1])
    handler.emit(record_of("x" * 1_000_000))
    handler.close()
    os.close(pipe[0])  # Frees the thread.


@pytest.mark.parametrize("is_human", [True, False])
def test_guests_lines_are_escaped(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, *, is_human: bool
) -> None:
    """No control character of a guest, in text or fields, reaches whoever reads the log."""
    read, write = pipe
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    with os.fdopen(os.dup(write), "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        try:
            with configure_logs(level="info", is_human=is_human):
                logging.getLogger("lithox.guest").info(
                    "%s", "hi\x1b]0;x\x07\x9b\nforged", extra={"fields": {"a\x1b": "\x1b[2J\x9b"}}
                )
        finally:
            root.handlers[:] = before
            root.setLevel(level)
    os.close(write)
    # Other tests' left-overs may log as well: only the one line counts.
    [text] = [one for one in read_all(read).decode().split("\n") if "]0;x" in one]
    assert not {"\x07", "\x9b", "\x1b]", "\x1b[2J"} & {
        text[at : at + size] for size in (1, 2, 4) for at in range(len(text))
    }
    assert "forged" in text
    if not is_human:
        assert json.loads(text)["message"].startswith("hi\x1b")
