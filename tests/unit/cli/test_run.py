"""`lithox run`: what is ordered, what is printed, and the exit status."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

from lithox.cli import following
from lithox.cli.following import follow, read_program
from lithox.cli.standard_input import InputSource
from lithox.errors import BadArguments, NotFound, PeerUnreachable, TooLarge
from lithox.model.limits import Limits
from tests.unit.gateway.fake_programs import FIRST_PID


def test_output_goes_to_its_streams_and_all_is_well(run, node):
    """Standard output and error apart, bytes as they are where no terminal is."""
    ended = run("run", "hello", "you", "-x", "--json")
    assert ended == (0, "hello you -x --json\n", "\x1b[2J\n")


def test_everything_said_arrives_in_the_order(run, node):
    """Limits, priority, mode and runtime; arguments are text as they stand."""
    ended = run(
        *("run", "--fuel", "5", "--memory", "1MiB", "--wall", "2s", "--priority", "7"),
        *("--mode", "cooperative", "cc#hello", "5", "null"),
    )
    assert ended.status == 0
    order = node.runs[FIRST_PID].order
    assert (order["program"], order["runtime"], order["args"]) == ("hello", "cc", ["5", "null"])
    assert order["limits"] == Limits(fuel=5, memory_bytes=1 << 20, wall_ns=2_000_000_000)
    assert (order["priority"], order["mode"]) == (7, "cooperative")


def test_arguments_are_json_when_asked(run, node):
    """As those of `lithox call`."""
    run("run", "--json-args", "hello", "5", "word", "[1]", "-7")
    assert node.runs[FIRST_PID].order["args"] == [5, "word", [1], -7]


@pytest.mark.parametrize(("said", "status"), [("1", 1), ("3", 3), ("125", 125), ("300", 1)])
def test_the_programs_own_status_is_the_commands(run, node, said, status):
    """1 to 125 as they are; nothing is added to what it printed."""
    assert run("run", "fail", said) == (status, "", "")


def test_why_a_program_was_ended_is_one_line(run, node):
    """The program's own words, then ours with the code."""
    ended = run("run", "raise")
    assert ended == (1, "", "raise: it broke\nlithox: it broke [guest.raised]\n")


def test_dropped_output_is_told(run, node):
    """Nothing is lost without a word."""
    ended = run("run", "lost")
    assert ended.out == "rest\n"
    assert "7 bytes of output were dropped" in ended.err


def test_with_json_each_event_is_a_line(run, node):
    """The PID, output with its stream, the end."""
    ended = run("run", "--json", "hello", "you")
    assert [json.loads(line) for line in ended.out.splitlines()] == [
        {"pid": FIRST_PID},
        {"stream": "out", "data": "hello you\n"},
        {"stream": "err", "data": "\x1b[2J\n"},
        {"exit": {"status": 0, "code": "", "message": "", "values": [1, {"$bytes": "/g=="}]}},
    ]


def test_with_json_bytes_that_are_no_text_are_escaped(run, node):
    """As everywhere in JSON; control characters are escapes, too."""
    lines = run("run", "--json", "binary").out.splitlines()
    assert json.loads(lines[1]) == {"stream": "err", "data": {"$bytes": "/xtbMkoK"}}
    assert "\x1b" not in run("run", "--json", "hello").out


def test_input_comes_from_a_pipe_once_the_program_asks(run, node, monkeypatch):
    """`cat` gets what stands in the pipe and its end; `hello`, which reads nothing, gets none."""
    reading, writing = os.pipe()
    os.write(writing, b"one\ntwo\n")
    os.close(writing)
    monkeypatch.setattr(following, "input_of_command", lambda: reading)
    assert run("run", "hello").status == 0
    assert node.runs[FIRST_PID].input == b""
    ended = run("run", "cat")
    assert (ended.status, ended.out) == (0, "got one\ntwo\n")
    os.close(reading)


def test_ctrl_c_ends_the_process(run, node, monkeypatch):
    """130, and nothing runs on."""
    original = node.read_output
    # What is started in the background by a script ignores Ctrl-C, and so do these tests.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    async def interrupted(pid, **kwargs):
        if kwargs["after"]:
            signal.raise_signal(signal.SIGINT)
        return await original(pid, **kwargs)

    monkeypatch.setattr(node, "read_output", interrupted)
    assert run("run", "loop").status == 130
    assert node.runs[FIRST_PID].exit["code"] == "request.cancelled"
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_a_file_is_a_path_that_exists_or_ends_in_lua(tmp_path, monkeypatch):
    """Everything else is a name in the store."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.lua").write_bytes(b"\xff")
    (tmp_path / "tool").write_bytes(b"return 1")
    (tmp_path / "odd#name").write_bytes(b"return 2")
    assert read_program("a.lua") == {"code": b"\xff", "name": "a.lua"}
    assert read_program("./tool") == {"code": b"return 1", "name": "tool"}
    assert read_program("odd#name") == {"code": b"return 2", "name": "odd#name"}
    assert read_program("cc#a.lua") == {"code": b"\xff", "name": "a.lua", "runtime": "cc"}
    assert read_program("name") == {"program": "name"}
    assert read_program("cc#name") == {"program": "name", "runtime": "cc"}


def test_a_file_that_cannot_be_read_is_the_callers_fault(tmp_path, monkeypatch):
    """Not there, a folder, or too long."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.lua").mkdir()
    (tmp_path / "long.lua").write_bytes(b" " * (following.CODE_BYTES_MAX + 1))
    with pytest.raises(NotFound):
        read_program("none.lua")
    with pytest.raises(BadArguments):
        read_program("folder.lua")
    with pytest.raises(TooLarge):
        read_program("long.lua")


class Sink:
    """Collects output."""

    def __init__(self) -> None:
        self.data = b""

    async def take(self, stream, data):
        self.data += data

    async def note_missed(self, missed):
        raise AssertionError(missed)


class BrokenLine:
    """A node behind a connection that breaks a number of times before each answer."""

    def __init__(self, breaks):
        self.breaks = breaks
        self.asked = []

    async def read_output(self, pid, *, after=0, wait_ms=0):
        self.asked.append(after)
        if self.breaks:
            self.breaks -= 1
            raise PeerUnreachable("gone")
        ended = {"status": 0, "code": "", "message": "", "values": []} if after else None
        chunks = [] if after else [{"offset": 0, "stream": "out", "data": b"x"}]
        return {"chunks": chunks, "next": 1, "missed": 0, "reading": False, "exit": ended}

    async def write_input(self, pid, data, *, is_end=False):
        raise AssertionError

    async def kill(self, pid):
        raise AssertionError


@pytest.mark.parametrize(("breaks", "is_well"), [(0, True), (3, True), (100, False)])
def test_a_broken_connection_costs_no_output(monkeypatch, breaks, is_well):
    """The same offset is asked for again, a bounded number of times."""
    monkeypatch.setattr(following, "RETRY_FIRST_S", 0)
    node, sink = BrokenLine(breaks), Sink()

    async def work():
        return await follow(node, 1, sink, InputSource(node, 1, None))

    if is_well:
        asyncio.run(work())
        assert (sink.data, node.asked) == (b"x", [0] * (breaks + 1) + [1])
    else:
        with pytest.raises(PeerUnreachable):
            asyncio.run(work())
        assert len(node.asked) == following.RETRIES_MAX + 1


def test_a_slow_reader_says_that_it_is_there(monkeypatch):
    """While output waits to be shown, the node hears that somebody still reads."""
    monkeypatch.setattr(following, "ALIVE_S", 0)
    node = BrokenLine(0)

    class SlowSink(Sink):
        async def take(self, stream, data):
            while len(node.asked) < 3:  # noqa: ASYNC110 - until the node has heard it twice
                await asyncio.sleep(0)
            await super().take(stream, data)

    sink = SlowSink()
    asyncio.run(follow(node, 1, sink, InputSource(node, 1, None)))
    assert sink.data == b"x"
    assert set(node.asked[:-1]) == {0}
