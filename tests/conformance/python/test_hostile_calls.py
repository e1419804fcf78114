"""A module that speaks to the node by itself pays for it, is bounded, and holds up nobody."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from lithox.model.limits import Limits
from lithox.sandbox.contract import Step, StepKind
from lithox.sandbox.python.conversation import Conversation
from lithox.sandbox.python.engine import PythonEngine
from lithox.sandbox.python.guest import LARGE_BYTES
from lithox.sandbox.python.meters import BYTE_FUEL, ITEM_FUEL
from lithox.sandbox.python.values import LIST_ITEMS
from lithox.sandbox.python.worker import Worker
from tests.conformance.python.running import LIMITS, load, run, start, wait_until_gone

TEXT = r"""
def lists(self, n):
    try:
        return __lithox__("get", "j[" + "[]," * n + "0]")  # type: ignore
    except Exception as error:
        return "caught"

def text(self, n):
    return __lithox__("get", "j[\"" + "x" * n + "\"]")  # type: ignore

def errors(self, n):
    for i in range(n):
        __lithox__("error", "j[\"c\",\"m" + str(i) + "\",0]")  # type: ignore
    return n

def name(self, n):
    while True:
        try:
            __lithox__("nope" * n, "j[]")  # type: ignore
        except BaseException:
            pass

def result(self, n):
    return [[] for _ in range(n)]
"""


@pytest.mark.parametrize(
    ("handler", "size", "code"),
    [
        ("lists", 1_000_000, "guest.protocol"),
        ("text", 20_000_000, "guest.protocol"),
        ("name", 1, "guest.protocol"),
        ("name", 200_000, "guest.protocol"),
        ("errors", 1001, "guest.out_of_calls"),
        ("result", 100_000, "guest.out_of_output"),
    ],
)
def test_what_is_too_much_ends_the_run(
    engine: PythonEngine, handler: str, size: int, code: str
) -> None:
    """Nothing in the handler can catch that, and no call reaches the node."""
    ran = run(load(engine, TEXT), handler, size)
    assert (ran.step.kind, ran.step.code) == (StepKind.ENDED, code)
    assert len(ran.step.detail) < 200


def test_errors_count_as_calls(engine: PythonEngine) -> None:
    """As many as are allowed, and each is counted."""
    ran = run(load(engine, TEXT), "errors", 1000)
    assert (ran.outcome[1], ran.guest.calls) == (1000, 1000)


def test_calls_are_paid_for_by_their_size(engine: PythonEngine) -> None:
    """Bytes and items burn fuel, before anything is decoded when it is not enough."""
    program = load(engine, TEXT)
    ran = run(program, "text", 1_000_000)
    assert ran.guest.fuel_used >= 1_000_000 * BYTE_FUEL
    ran = run(program, "lists", 50_000)
    price = 50_000 * LIST_ITEMS * ITEM_FUEL
    assert ran.step.kind is StepKind.FINISHED
    assert ran.guest.fuel_used >= price
    limits = Limits(fuel=price, memory_bytes=64 << 20, calls=1000)
    ran = run(program, "lists", 50_000, limits=limits)
    assert (ran.step.code, ran.guest.calls) == ("guest.out_of_fuel", 0)


@pytest.mark.parametrize(
    ("handler", "size"), [("lists", 40_000), ("text", 100_000), ("result", 40_000)]
)
def test_large_events_are_left_to_the_other_thread(
    engine: PythonEngine, monkeypatch: pytest.MonkeyPatch, handler: str, size: int
) -> None:
    """The event loop's thread decodes none of them."""
    decoded: list[bool] = []
    is_on_loop = True

    def watch(name: str) -> None:
        original: Any = getattr(Conversation, name)

        def spy(self: Conversation, *args: Any) -> Any:
            decoded.append(is_on_loop)
            return original(self, *args)

        monkeypatch.setattr(Conversation, name, spy)

    watch("call")
    watch("outcome")
    program = load(engine, TEXT)
    guest = start(program, handler, size, limits=LIMITS)
    try:
        step = Step(StepKind.YIELDED)
        while step.kind is StepKind.YIELDED and (guest._held is None or not has_said(guest._held)):
            step = guest.step(8_000_000, frees_lock=False)
        for _ in range(3):
            assert guest.step(8_000_000, frees_lock=False).kind is StepKind.YIELDED
        is_on_loop = False
        while step.kind is StepKind.YIELDED:
            step = guest.step(8_000_000, frees_lock=True)
        assert decoded == [False]
    finally:
        guest.close()


def has_said(held: Any) -> bool:
    """Returns whether a large event has arrived."""
    return (held.worker.waiting_bytes() or 0) > LARGE_BYTES


def test_worker_that_has_not_spoken_is_not_held(tmp_path: Path) -> None:
    """A stopped launcher would outlive the node; once the worker has spoken, it may be stopped."""
    program = tmp_path / "mute"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.stdin.buffer.read1(1)\n"
        "sys.stdout.buffer.write(b'ok')\nsys.stdout.flush()\nsys.stdin.read()\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    worker = Worker(program)
    try:
        worker.stop()
        assert not worker.is_stopped
        worker.send(b"x")
        while not worker.exchange(1000):
            pass
        worker.stop()
        stopped = os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WNOWAIT)
        assert worker.is_stopped
        assert stopped is not None
    finally:
        worker.reap()
    assert wait_until_gone(worker.pid)
