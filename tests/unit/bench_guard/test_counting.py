"""What is counted is the work's own, by room, and the same each time."""

from __future__ import annotations

import msgspec

from bench.guard.counting import (
    OWN,
    Calls,
    count_bytecodes,
    count_cyclic_garbage,
    measure_peak_bytes,
    room_of,
    total,
)
from bench.guard.resp import DEPTH, RespWire
from lithox.model.patterns import is_match


def test_a_file_belongs_to_its_room_or_package() -> None:
    """Rooms of lithox, packages, Python itself, and what the guard does for itself."""
    assert room_of("/x/src/lithox/dispatch/messages/mail.py") == "dispatch"
    assert room_of("/x/site-packages/uvicorn/server.py") == "uvicorn"
    assert room_of("<string>") == "python"
    assert room_of("/x/bench/guard/house.py") == OWN
    assert room_of("/x/src/lithox/testing/clock.py") == OWN
    assert room_of("/x/src/lithox/store/embedded/lossy_vfs.py") == OWN


def test_calls_are_counted_where_they_are_made() -> None:
    """Ten calls of a function of the model are ten, and C functions it calls are its own."""
    calls = Calls()
    calls.count(lambda: [is_match("a/*", "a/b") for _ in range(10)])
    assert calls.python["model"] >= 10
    assert calls.python["model"] % 10 == 0
    assert total(calls.python) == sum(n for room, n in calls.python.items() if room != OWN)
    calls.clear()
    assert total(calls.python) == total(calls.c) == 0


def test_bytecodes_are_those_of_the_work() -> None:
    """Twice the work is twice the instructions of Python's machine."""
    once = total(count_bytecodes(lambda: is_match("a/*", "a/b")))
    twice = total(count_bytecodes(lambda: (is_match("a/*", "a/b"), is_match("a/*", "a/b"))))
    assert once > 0
    assert twice == 2 * once


def test_cycles_are_seen_and_trees_are_not() -> None:
    """Only what the cycle collector alone can free is garbage."""

    def tie() -> None:
        knot: list[object] = []
        knot.append(knot)

    assert count_cyclic_garbage(tie) == 1
    assert count_cyclic_garbage(lambda: [[], []]) == 0


def test_the_peak_counts_what_is_gone_again() -> None:
    """Memory that is freed before the work ends is in the peak."""
    assert measure_peak_bytes(lambda: len(bytearray(1 << 20))) >= 1 << 20
    assert measure_peak_bytes(lambda: msgspec.msgpack.encode(None)) < 1 << 16


def test_the_same_work_makes_the_same_calls() -> None:
    """Two warm rounds of the same commands enter the same functions as often."""
    wire = RespWire()
    wire.ask(2)
    found: list[tuple[int, int]] = []
    for _ in range(2):
        calls = Calls()
        calls.count(lambda: wire.ask(2))
        found.append((total(calls.python), total(calls.c)))
    wire.close()
    assert found[0] == found[1]
    assert found[0][0] > 2 * DEPTH
