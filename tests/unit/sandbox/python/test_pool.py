"""The pool hands out workers, makes them ahead, replaces what dies and shares what is scarce."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from lithox.errors import Overloaded
from lithox.sandbox.python.pool import (
    FIRST_MAX,
    IDLE_BYTES_MAX,
    NESTED_SHARE,
    RUNS_MAX,
    WORKERS_MAX,
    Image,
    WorkerPool,
)
from lithox.sandbox.python.wire import RESET, encode_load
from lithox.sandbox.python.worker import Worker

WAIT_S = 10.0


class FakeWorker:
    """A worker that is no process."""

    def __init__(self) -> None:
        self.runs = 0
        self.sent = b""
        self.is_up = True
        self.is_reaped = False
        self.bytes = 1 << 20

    def send(self, request: bytes) -> None:
        """Keeps what it was sent."""
        self.sent += request

    def is_alive(self) -> bool:
        """Says whether it was not killed."""
        return self.is_up

    def memory_bytes(self) -> int:
        """Says what the test chose."""
        return self.bytes

    def kill(self) -> None:
        """Is dead from now on."""
        self.is_up = False

    def reap(self) -> None:
        """Is buried."""
        self.kill()
        self.is_reaped = True


@pytest.fixture
def made() -> list[FakeWorker]:
    """Workers the pool has started."""
    return []


@pytest.fixture
def pool(made: list[FakeWorker]) -> Iterator[WorkerPool]:
    """A pool of fakes for four guests, that keeps eight."""

    def make() -> Worker:
        made.append(FakeWorker())
        return cast("Worker", made[-1])

    opened = WorkerPool(make, workers_max=4, idle_max=8)
    yield opened
    opened.close()


def take(pool: WorkerPool, image: Image | None = None) -> Any:
    """Returns a worker, waiting for it as a run would."""
    while (held := pool.take(image)) is None:
        pool.wait(WAIT_S)
    return held


def test_nothing_is_started_before_it_is_wanted(made: list[FakeWorker], pool: WorkerPool) -> None:
    """A pool that nobody asks has no worker."""
    assert pool.statistics()["made_guests"] == 0
    assert made == []


def test_idle_worker_holds_its_image_again(pool: WorkerPool) -> None:
    """What a run leaves is forgotten, and its image loaded ahead of the next one."""
    image = Image("digest", 1 << 20, b"state")
    held = take(pool, image)
    assert held.worker.sent == encode_load(b"state")
    held.owed = 0
    held.worker.sent = b""
    pool.give(held)
    assert held.worker.sent == RESET + encode_load(b"state")
    while (again := take(pool, image)) is not held:
        pool.give(again)
    assert again.owed == 2


def test_worker_of_another_image_is_made_to_forget(pool: WorkerPool) -> None:
    """No session of one module is entered by a run of another."""
    one, other = Image("one", 1, b"1"), Image("other", 1, b"2")
    held = take(pool, one)
    pool.give(held)
    held.worker.sent = b""
    while (again := take(pool, other)) is not held:
        pass
    assert again.worker.sent == RESET + encode_load(b"2")


def test_dead_grown_and_old_workers_are_not_used(made: list[FakeWorker], pool: WorkerPool) -> None:
    """What died while idle is passed over; what grew or served long is replaced."""
    dead = take(pool)
    pool.give(dead)
    dead.worker.kill()
    grown = take(pool)
    assert grown is not dead
    grown.worker.bytes = IDLE_BYTES_MAX + 1
    pool.give(grown)
    old = take(pool)
    assert old is not grown
    old.worker.runs = RUNS_MAX - 1
    pool.give(old)
    for _ in range(8):
        held = take(pool)
        pool.note_long(held, is_long=True)
        assert held not in (dead, grown, old)
    assert pool.statistics()["lost_guests"] == 3
    pool.close()
    assert all(one.is_reaped for one in made if not one.is_up)


def hold_all(reserve: Callable[[str], bool], account: str) -> int:
    """Returns how many workers an account gets until it is told to wait."""
    return sum(1 for _ in iter(lambda: reserve(account), False))


def test_shares_follow_what_is_free(pool: WorkerPool) -> None:
    """Of four: one account gets two, the next one more, and there is one left for a third."""
    taken = [pool.reserve(account) for account in ("a", "a", "a", "b", "b", "c", "c", "a")]
    assert taken == [True, True, False, True, False, True, False, False]
    pool.release("a")
    assert not pool.reserve("b")
    pool.release("a")
    assert pool.reserve("a")
    assert pool.statistics()["live_guests"] == 3


def test_account_that_holds_none_gets_one_however_many_others_are_busy() -> None:
    """Greedy accounts share what there is; behind them each gets one, so many as are named."""
    pool = WorkerPool(cast("Any", FakeWorker))
    greedy = [hold_all(pool.reserve, f"greedy {n}") for n in range(9)]
    assert greedy == [128, 64, 32, 16, 8, 4, 2, 1, 1]
    quiet = [hold_all(pool.reserve, f"quiet {n}") for n in range(FIRST_MAX)]
    assert quiet == [1] * FIRST_MAX
    for n in range(9):
        assert not pool.reserve(f"greedy {n}")
    pool.close()


def test_first_ones_are_bounded(pool: WorkerPool) -> None:
    """Accounts without number do not get workers without number."""
    count = sum(pool.reserve(f"account {n}") for n in range(1000))
    assert count == 4 + 4 // NESTED_SHARE + FIRST_MAX
    assert not pool.reserve("one more")
    pool.release("account 0")
    assert pool.reserve("one more")


def test_nested_guests_have_shares_too() -> None:
    """An account whose runs call and call leaves others a worker and one more for their calls."""

    def reserve_nested(account: str) -> bool:
        try:
            pool.reserve_nested(account)
        except Overloaded:
            return False
        return True

    pool = WorkerPool(cast("Any", FakeWorker))
    assert hold_all(pool.reserve, "a") == 128
    assert hold_all(reserve_nested, "a") == 112
    with pytest.raises(Overloaded) as caught:
        pool.reserve_nested("a")
    assert caught.value.retry_after_ms == 200
    assert hold_all(pool.reserve, "b") == 8
    assert hold_all(reserve_nested, "b") == 52
    for account in "cdefghijk":
        assert hold_all(pool.reserve, account) == 1
        assert hold_all(reserve_nested, account) >= 1
    whole = WORKERS_MAX + WORKERS_MAX // NESTED_SHARE + FIRST_MAX
    assert pool.statistics()["live_guests"] < whole
    for n in range(1000):
        if pool.reserve(f"account {n}"):
            hold_all(reserve_nested, f"account {n}")
    assert pool.statistics()["live_guests"] == whole
    pool.close()


def test_worker_made_while_the_pool_closes_is_not_left(made: list[FakeWorker]) -> None:
    """One that was being started as `close` came is ended by `close`, which waits for it."""
    closers: list[threading.Thread] = []

    def make() -> Worker:
        if not closers:
            closers.append(threading.Thread(target=pool.close))
            closers[0].start()
            while not pool._is_closed:
                time.sleep(0)
        made.append(FakeWorker())
        return cast("Worker", made[-1])

    pool = WorkerPool(make)
    pool.warm()
    while not closers:
        pool.wait(WAIT_S)
    closers[0].join(WAIT_S)
    assert not closers[0].is_alive()
    assert made
    assert all(one.is_reaped for one in made)


def test_thread_that_cannot_be_started_is_told_and_tried_again(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system without room for a thread costs those who ask meanwhile, not the pool."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert pool.take(None) is None
        assert pool.problem == "can't start new thread"
    assert take(pool) is not None
    assert pool.problem == ""


def test_worker_that_cannot_be_started_is_told() -> None:
    """The reason stands in `problem`, and nobody waits for ever."""

    def make() -> Worker:
        raise OSError("no more processes")

    pool = WorkerPool(make)
    assert pool.take(None) is None
    while not pool.problem:
        pool.wait(WAIT_S)
    assert pool.problem == "no more processes"
    pool.close()


def test_worker_that_comes_back_after_the_end_is_buried(
    made: list[FakeWorker], pool: WorkerPool
) -> None:
    """A load that was under way while the pool closed leaves no dead process behind."""
    first, second = take(pool), take(pool)
    pool.close()
    pool.give(first)
    pool.drop(second)
    assert all(one.is_reaped for one in made)
