"""Worker processes die, hang, lie and are left behind: each costs its own run and nothing else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from lithox.errors import GuestTrapped, LithoxError, Overloaded
from lithox.sandbox.contract import StepKind
from lithox.sandbox.python.engine import PythonEngine
from lithox.sandbox.python.guest import PythonGuest
from lithox.sandbox.python.launcher import FILES_MAX
from lithox.sandbox.python.pool import WorkerPool
from lithox.sandbox.python.worker import ADDRESS_BYTES, Worker, find_binary
from tests.conformance.python.running import LIMITS, finish, load, run, start, wait_until_gone

QUANTUM_FUEL = 8_000_000
TEXT = """
def add(self, by):
    return by + 1


def loop(self):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass


def ask(self):
    return self.usage()
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[PythonEngine]:
    """An engine of the test's own, whose workers it may harm."""
    opened = PythonEngine(tmp_path)
    yield opened
    opened.close()


def read_limits(pid: int) -> dict[str, list[str]]:
    """Returns the soft and hard limits of a process by name."""
    lines = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()[1:]
    return {line[:26].strip(): line[26:].split()[:2] for line in lines}


def step_until_running(guest: PythonGuest) -> int:
    """Steps a guest that loops until its worker is held, and long; returns the worker's pid.

    A busy machine may give a worker no time at all in a slice; then the pool still counts on it.
    """
    while guest._held is None or not (guest._held.worker.is_stopped and guest._held.is_long):
        assert guest.step(QUANTUM_FUEL, frees_lock=True).kind is StepKind.YIELDED
    return guest._held.worker.pid


def test_no_worker_before_one_is_needed(tmp_path: Path) -> None:
    """An engine that is opened and used for nothing starts no process and no thread."""
    engine = PythonEngine(tmp_path)
    assert engine.statistics()["made_guests"] == 0
    assert engine._pool._thread is None
    engine.close()


def test_worker_killed_in_the_middle_costs_its_run(own: PythonEngine) -> None:
    """SIGKILL, as the system's memory killer sends it, is told; the next run has a fresh worker."""
    program = load(own, TEXT)
    guest = start(program, "loop")
    os.kill(step_until_running(guest), signal.SIGKILL)
    ran = finish(guest)
    assert ran.step.kind is StepKind.ENDED
    assert ran.step.code == "guest.trapped"
    assert "SIGKILL" in ran.step.detail
    assert run(program, "add", 1).outcome[1] == 2


def test_worker_killed_while_it_waits_for_an_answer(own: PythonEngine) -> None:
    """Its run ends at the answer; nobody else hears of it."""
    program = load(own, TEXT)
    guest = start(program, "ask")
    while guest.step(QUANTUM_FUEL, frees_lock=True).kind is not StepKind.ASKED:
        pass
    assert guest._held is not None
    os.kill(guest._held.worker.pid, signal.SIGKILL)
    assert wait_until_gone(guest._held.worker.pid)
    guest.answer(b"\x92\x00\x01")
    assert finish(guest).step.code == "guest.trapped"
    assert run(program, "add", 1).outcome[1] == 2


def test_worker_killed_while_idle_is_noticed_by_nobody(own: PythonEngine) -> None:
    """Dead workers in the pool are passed over."""
    program = load(own, TEXT)
    assert run(program, "add", 1).outcome[1] == 2
    pids = [held.worker.pid for held in own._pool._idle]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        assert wait_until_gone(pid)
    assert run(program, "add", 2).outcome[1] == 3


def test_run_is_held_between_its_slices(own: PythonEngine) -> None:
    """A worker that yielded is stopped: it burns nothing until its next slice."""
    guest = start(load(own, TEXT), "loop")
    pid = step_until_running(guest)
    stopped = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    assert stopped is not None
    assert stopped.si_status == signal.SIGSTOP
    held = guest._held
    assert held is not None
    before = held.worker.cpu_ns()
    assert held.worker.cpu_ns() == before
    guest.close()
    assert wait_until_gone(pid)


def test_worker_is_bounded_by_the_system(own: PythonEngine) -> None:
    """A live run's worker cannot map more than its run needs, write a file or gain a right."""
    limits = replace(LIMITS, memory_bytes=32 << 20)
    guest = start(load(own, TEXT), "loop", limits=limits)
    pid = step_until_running(guest)
    bounds = read_limits(pid)
    image_bytes = guest._memory_bytes_max
    assert image_bytes <= 32 << 20
    assert bounds["Max address space"][0] == str(ADDRESS_BYTES + 2 * image_bytes)
    assert bounds["Max file size"] == ["0", "0"]
    assert bounds["Max core file size"] == ["0", "0"]
    assert bounds["Max open files"] == [str(FILES_MAX), str(FILES_MAX)]
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    guest.close()


def test_closing_a_run_ends_its_worker_at_once(own: PythonEngine) -> None:
    """Whatever the handler catches, its process is gone when the run is killed."""
    guest = start(load(own, TEXT), "loop")
    pid = step_until_running(guest)
    guest.close()
    assert wait_until_gone(pid)


def test_long_run_gives_its_place_to_a_fresh_worker(own: PythonEngine) -> None:
    """Runs that loop keep their workers, and a short one still finds one."""
    program = load(own, TEXT)
    loops = [start(program, "loop", account=f"tenant {n}") for n in range(6)]
    pids = [step_until_running(guest) for guest in loops]
    assert len(set(pids)) == len(pids)
    assert run(program, "add", 4, account="another").outcome[1] == 5
    for guest in loops:
        guest.close()


def test_accounts_leave_room_for_another(tmp_path: Path) -> None:
    """However many runs busy accounts want, one more account gets a worker."""
    pool = WorkerPool(partial(Worker, find_binary()), workers_max=16)
    engine = PythonEngine(tmp_path, pool=pool)
    program = load(engine, TEXT)
    wanted = ["a"] * 10 + ["b"] * 10 + ["c"] * 10
    guests = [start(program, "loop", account=account) for account in wanted]
    waiting = guests
    while True:
        before = len(waiting)
        for guest in waiting:
            guest.step(QUANTUM_FUEL, frees_lock=False)
        waiting = [guest for guest in waiting if not guest._is_reserved]
        if len(waiting) == before:
            break
    assert len(waiting) > 15
    for guest in guests:
        if guest._is_reserved:
            step_until_running(guest)
    assert run(program, "add", 1, account="late").outcome[1] == 2
    nested = [start(program, "add", 1, account="a", is_nested=True) for _ in range(3)]
    assert [finish(guest).outcome[1] for guest in nested] == [2, 2, 2]
    for guest in guests:
        guest.close()
    assert run(program, "add", 1, account="a").outcome[1] == 2
    assert engine.statistics()["live_guests"] == 0
    engine.close()


def test_nested_runs_are_refused_and_never_wait(tmp_path: Path) -> None:
    """When those that wait for each other hold everything, or their share, the next is an error."""
    pool = WorkerPool(partial(Worker, find_binary()), workers_max=4, first_max=0)
    engine = PythonEngine(tmp_path, pool=pool)
    program = load(engine, TEXT)
    guests = [start(program, "add", 1, is_nested=True) for _ in range(4)]
    with pytest.raises(Overloaded):
        start(program, "add", 1, is_nested=True)
    guests.append(start(program, "add", 1, account="another", is_nested=True))
    for account in ("tester", "another", "a third"):
        with pytest.raises(Overloaded):
            start(program, "add", 1, account=account, is_nested=True)
    for guest in guests:
        guest.close()
    engine.close()


FAKES = {
    "says nothing and ends": "pass",
    "ends with a status": "sys.exit(3)",
    "noise": "sys.stdout.buffer.write(bytes(range(256)) * 8)",
    "a frame of 4 GiB": "sys.stdout.buffer.write(b'\\xff\\xff\\xff\\xff' + b'x' * 100)",
    "a frame of zeros": "sys.stdout.buffer.write(b'\\x08\\0\\0\\0' + bytes(8))",
    "half a frame": "sys.stdout.buffer.write(b'\\x08\\0\\0\\0abc')",
    "fields without end": (
        "sys.stdout.buffer.write((200_000).to_bytes(4, 'little') + b'\\x08\\1' * 100_000)"
    ),
    "an answer nobody asked for": "sys.stdout.buffer.write(b'\\2\\0\\0\\0\\x4a\\0')",
    "closes its pipe and stays": "os.close(1); time.sleep(1000)",
    "kills itself": "os.kill(os.getpid(), 9)",
}


@pytest.mark.parametrize("fake", FAKES)
def test_worker_that_lies_is_an_error_of_the_deploy(tmp_path: Path, fake: str) -> None:
    """What does not speak the protocol is ended and told; the node reads no more of it."""
    program = tmp_path / "fake"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys, time\nsys.stdin.buffer.read1(1)\n{FAKES[fake]}\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    engine = PythonEngine(tmp_path / "cache", pool=WorkerPool(partial(Worker, program)))
    with pytest.raises(GuestTrapped, match="its worker"):
        load(engine, TEXT)
    engine.close()


def test_program_that_is_not_there(tmp_path: Path) -> None:
    """A worker that cannot be started is an error of whoever deploys."""
    engine = PythonEngine(tmp_path, pool=WorkerPool(partial(Worker, tmp_path / "nothing")))
    with pytest.raises(LithoxError):
        load(engine, TEXT)
    engine.close()


ORPHANS = """
import sys, tempfile
from pathlib import Path
from lithox.sandbox.python.engine import PythonEngine
from tests.conformance.python.test_workers import TEXT, step_until_running
from tests.conformance.python.running import load, start

engine = PythonEngine(Path(tempfile.mkdtemp()))
program = load(engine, TEXT)
held = start(program, "loop")
pids = [step_until_running(held)]
running = start(program, "loop")
pids.append(step_until_running(running))
running._held.worker.resume()
pids += [one.worker.pid for one in engine._pool._idle]
print(*pids, flush=True)
sys.stdin.read()
"""


def test_no_worker_outlives_its_node() -> None:
    """Busy, held or idle: when the node is killed, its workers are gone."""
    node = subprocess.Popen(
        [sys.executable, "-c", ORPHANS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert node.stdout is not None
    pids = [int(one) for one in node.stdout.readline().split()]
    assert len(pids) >= 2
    node.kill()
    node.communicate()
    assert all(wait_until_gone(pid) for pid in pids)


def test_modules_are_checked_once(tmp_path: Path) -> None:
    """After a restart a module that has passed loads without a check."""
    for hits in (0, 1):
        engine = PythonEngine(tmp_path)
        program = load(engine, TEXT)
        assert program.handler_names == ("add", "ask", "loop")
        assert engine.statistics()["cache_hits"] == hits
        assert run(program, "add", 1).outcome[1] == 2
        engine.close()


def test_fuel_ends_what_nothing_catches(own: PythonEngine) -> None:
    """The allowance is what the worker's processor time comes to."""
    ran = run(load(own, TEXT), "loop", limits=LIMITS)
    assert ran.step.code == "guest.out_of_fuel"
    assert ran.guest.fuel_used == LIMITS.fuel


def test_close_is_idempotent(own: PythonEngine) -> None:
    """Closing twice gives one worker back, once."""
    guest = start(load(own, TEXT), "add", 1)
    finish(guest)
    guest.close()
    assert own.statistics()["live_guests"] == 0


def test_worker_that_dies_as_it_is_taken_is_replaced(
    own: PythonEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker killed a moment ago still looks alive; the run begins again in another, once."""
    program = load(own, TEXT)
    assert run(program, "add", 1).outcome[1] == 2
    for held in own._pool._idle:
        os.kill(held.worker.pid, signal.SIGKILL)
        assert wait_until_gone(held.worker.pid)
    looks = iter([True])
    is_alive = Worker.is_alive
    monkeypatch.setattr(Worker, "is_alive", lambda self: next(looks, False) or is_alive(self))
    assert run(program, "add", 2).outcome[1] == 3
