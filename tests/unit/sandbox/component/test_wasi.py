"""Tests of `lithox.sandbox.component.wasi`: a world in which nothing is real."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lithox.sandbox.component import wasi
from lithox.sandbox.component.ended import Ended
from lithox.sandbox.component.host import Ask
from lithox.sandbox.component.run import HANDLES_MAX, LINE_BYTES_MAX, Run
from lithox.sandbox.component.values import Resource
from lithox.sandbox.messages import RunMessage

OUT = Resource(wasi.STDOUT, wasi.RESOURCES["output-stream"])
ERR = Resource(wasi.STDERR, wasi.RESOURCES["output-stream"])
SECOND_NS = 1_000_000_000


def make_run(seed: int = 7) -> Run:
    """Returns a run that starts 1,000 seconds after 1970; its handles are their numbers."""
    message = RunMessage(
        handler="h",
        args=msgspec.Raw(b"\x90"),
        entity="e",
        caller="c",
        request_id=None,
        attempt=1,
        now_ms=1_000_000,
        seed=seed,
        state={},
        complete=True,
    )
    run = Run(msgspec.msgpack.encode(message))
    run.open_handle = lambda rep, _type_id: rep
    return run


def call(run: Run, name: str, *arguments: Any) -> Any:
    """Calls a function of WASI."""
    return wasi.FUNCTIONS[name][2](run, list(arguments))


def pollable(run: Run, name: str, *arguments: Any) -> Resource:
    """Returns the handle a function of WASI makes."""
    return Resource(call(run, name, *arguments)(), wasi.RESOURCES["pollable"])


def test_wasi_clock_is_the_runs_start() -> None:
    """Both clocks show the run's start, and stand."""
    run = make_run()
    assert call(run, "clocks/wall-clock#now") == (1_000, 0)
    assert call(run, "clocks/monotonic-clock#now") == 1_000 * SECOND_NS
    assert call(run, "clocks/monotonic-clock#now") == 1_000 * SECOND_NS


def test_wasi_sleep_moves_the_clock_alone() -> None:
    """To sleep sets the run's clock forward; nothing waits."""
    run = make_run()
    waiting = pollable(run, "clocks/monotonic-clock#subscribe-duration", 5 * SECOND_NS)
    assert not call(run, "io/poll#[method]pollable.ready", waiting)
    call(run, "io/poll#[method]pollable.block", waiting)
    assert call(run, "clocks/wall-clock#now") == (1_005, 0)
    assert call(run, "io/poll#[method]pollable.ready", waiting)


def test_wasi_poll_ends_with_the_first() -> None:
    """Of several pollables the first that is due ends the waiting, and is told."""
    run = make_run()
    late = pollable(run, "clocks/monotonic-clock#subscribe-duration", 9 * SECOND_NS)
    soon = pollable(run, "clocks/monotonic-clock#subscribe-instant", 1_002 * SECOND_NS)
    assert call(run, "io/poll#poll", [late, soon]) == [1]
    assert call(run, "clocks/wall-clock#now") == (1_002, 0)


def test_wasi_poll_of_nothing_ends_the_guest() -> None:
    """To wait for nothing would never end, so the guest does."""
    with pytest.raises(Ended, match="waits for nothing"):
        call(make_run(), "io/poll#poll", [])


def test_wasi_end_of_time_is_bounded() -> None:
    """Waiting for the largest moment there is leaves a clock that can be written."""
    run = make_run()
    waiting = pollable(run, "clocks/monotonic-clock#subscribe-duration", (1 << 64) - 1)
    call(run, "io/poll#[method]pollable.block", waiting)
    assert call(run, "clocks/wall-clock#now")[0] < 1 << 63


def test_wasi_randomness_is_the_seeds() -> None:
    """Runs of one seed draw the same numbers, runs of another others."""
    names = ("random/random#get-random-u64", "random/insecure-seed#insecure-seed")
    drawn = [[call(run, name) for name in names] for run in map(make_run, (7, 7, 8))]
    assert drawn[0] == drawn[1] != drawn[2]
    first, second = (call(make_run(), "random/random#get-random-bytes", 16) for _ in range(2))
    assert first == second
    assert len(first) == 16


def test_wasi_too_many_random_bytes_end_the_guest() -> None:
    """Nobody has the node make gigabytes."""
    with pytest.raises(Ended, match="at most 65536 are given"):
        call(make_run(), "random/random#get-random-bytes", 1 << 40)


def test_wasi_lines_are_logged() -> None:
    """What is printed goes to the log line by line; a part of a line waits for its end."""
    run = make_run()
    write = "io/streams#[method]output-stream.write"
    assert call(run, write, OUT, b"one") == (True, None)
    ask = call(run, write, OUT, b" line\ntwo")
    assert isinstance(ask, Ask)
    assert msgspec.msgpack.decode(ask.message) == [0, "log", "info", "one line", None]
    assert run.lines == {wasi.STDOUT: b"two"}


def test_wasi_streams_have_lines_of_their_own() -> None:
    """What is written to both streams by turns comes out as two lines, each with its level."""
    run = make_run()
    write = "io/streams#[method]output-stream.write"
    for stream, text in ((OUT, b"all "), (ERR, b"not "), (OUT, b"well"), (ERR, b"well")):
        assert call(run, write, stream, text) == (True, None)
    ended = call(run, write, ERR, b"\n")
    assert msgspec.msgpack.decode(ended.message) == [0, "log", "warning", "not well", None]
    assert call(run, write, ERR, b"more") == (True, None)
    rest = [wasi.take_rest(run) for _ in range(3)]
    assert [ask and msgspec.msgpack.decode(ask.message) for ask in rest] == [
        [0, "log", "info", "all well", None],
        [0, "log", "warning", "more", None],
        None,
    ]


def test_wasi_endless_line_is_bounded() -> None:
    """A line that never ends is written in parts, so that nothing grows."""
    run = make_run()
    write = "io/streams#[method]output-stream.write"
    asked = [isinstance(call(run, write, OUT, b"x" * 4096), Ask) for _ in range(9)]
    assert asked == [False, False, True] * 3
    assert len(run.lines.get(wasi.STDOUT, b"")) <= LINE_BYTES_MAX


def test_wasi_large_write_ends_the_guest() -> None:
    """A stream takes as much as it has said, not more."""
    with pytest.raises(Ended, match="a write of 4097 bytes"):
        call(make_run(), "io/streams#[method]output-stream.write", OUT, b"x" * 4097)


@pytest.mark.parametrize(
    "handle", [Resource(1, wasi.RESOURCES["pollable"]), Resource(0, 0), 5, None, b"1"]
)
def test_wasi_other_handle_ends_the_guest(handle: Any) -> None:
    """A handle of another kind, or none at all, is no stream."""
    with pytest.raises(Ended, match="a output-stream was expected"):
        call(make_run(), "io/streams#[method]output-stream.write", handle, b"x")


def test_wasi_handles_are_bounded() -> None:
    """A flood of handles ends the guest that makes it."""
    run = make_run()
    for _ in range(HANDLES_MAX):
        call(run, "cli/stdout#get-stdout")
    with pytest.raises(Ended, match="more than 1024 handles"):
        call(run, "cli/stdout#get-stdout")
    assert run.handles == HANDLES_MAX + 1


def test_wasi_has_no_authority() -> None:
    """No environment, no arguments, no directory, an input at its end, sockets denied."""
    run = make_run()
    assert list(call(run, "cli/environment#get-environment")) == []
    assert list(call(run, "cli/environment#get-arguments")) == []
    assert list(call(run, "filesystem/preopens#get-directories")) == []
    assert call(run, "io/streams#[method]input-stream.read", None, 10) == (False, b"closed")
    for name in ("tcp", "udp"):
        made = call(run, f"sockets/{name}-create-socket#create-{name}-socket", b"ipv4")
        assert made == (False, b"access-denied")


def test_wasi_what_is_not_there_names_itself() -> None:
    """A function that is not answered ends the guest with its name."""
    with pytest.raises(Ended, match="wasi:http/x#y is not available to handlers"):
        wasi.refuse("wasi:http/x#y")(make_run(), [])
