"""Telling outcomes to call-backs: signed, tried again, dead at last, across restarts."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from lithox.dispatch.accepted_records import AcceptedRecord
from lithox.errors import NotFound, NotPermitted, Overloaded, StoreUnavailable
from lithox.model.ids import RequestId
from lithox.model.request import Answer
from lithox.node import callbacks as module
from lithox.node.callback_records import CALLBACKS
from lithox.node.callback_settings import CallbackSettings
from lithox.node.callbacks import Callbacks
from lithox.store.contract import Commit
from lithox.store.memory import MemoryDisk, MemoryStore
from lithox.testing.clock import FakeClock

URL = "https://example.org/hook"
OTHER = "https://other.example/hook"
SECOND_MS = 1_000
SETTINGS = CallbackSettings(
    allow=("https://example.org:443", "https://other.example:443"),
    keys=(bytes(24),),
    tries_max=3,
    sending_max=4,
    sending_origin_max=2,
)


class Receiver:
    """What sending comes to: `answers` in turn, then success; those of `gates` wait."""

    def __init__(self) -> None:
        self.answers: list[str | None] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.got: list[tuple[str, dict[str, str], Any]] = []
        self.now = 0
        self.most = 0

    async def send(self, url: str, headers: dict[str, str], body: bytes) -> str | None:
        self.got.append((url, headers, json.loads(body)))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if url in self.gates:
                await self.gates[url].wait()
        finally:
            self.now -= 1
        return self.answers.pop(0) if self.answers else None


class Desk:
    """Call-backs over a memory store, a clock that stands still and a receiver."""

    def __init__(
        self,
        *,
        disk: MemoryDisk | None = None,
        settings: CallbackSettings = SETTINGS,
        clock: FakeClock | None = None,
    ) -> None:
        self.disk = disk or MemoryDisk()
        self.queue: list[Callable[[], None]] = []
        self.store = MemoryStore(post=self.queue.append, disk=self.disk)
        self.clock = clock or FakeClock()
        self.receiver = Receiver()
        self.outcomes: dict[tuple[str, str], Answer] = {}
        self.due: list[int] = []
        self.callbacks = Callbacks(
            store=self.store,
            clock=self.clock,
            settings=settings,
            find=lambda identity, request_id: self.outcomes.get((identity, request_id)),
            send=self.receiver.send,
            schedule=self.queue.append,
            is_shared=True,
        )
        self.callbacks.on_deadline = self.due.append
        self.callbacks.start()

    def finish(self, request_id: str, url: str = URL) -> None:
        """An outcome becomes known, with its call-back."""
        self.outcomes["alice", request_id] = Answer(request_id=RequestId(request_id), value=7)
        record = AcceptedRecord(
            entity="a",
            handler="b",
            args=b"\x90",
            identity="alice",
            account="alice",
            digest=b"",
            accepted_ms=1,
            callback=url,
        )
        writes = self.callbacks.writes_of("alice", request_id, record)
        self.store.submit(Commit(self.store.visible_version, writes=writes), lambda _: None)
        self.callbacks.notify_finished("alice", request_id)

    async def run(self) -> None:
        """Lets everything happen that waits for nothing but its turn."""
        for _ in range(50):
            queue, self.queue[:] = list(self.queue), []
            for call in queue:
                call()
            await asyncio.sleep(0)

    async def pass_ms(self, duration_ms: int) -> None:
        self.clock.advance(duration_ms * 1_000_000)
        self.callbacks.notify_time()
        await self.run()

    @property
    def rows(self) -> int:
        return self.store.measure_entity(CALLBACKS)[0]


async def ask(desk: Desk, act: Coroutine[Any, Any, None]) -> None:
    """Does what an administrator asks for, until it is durable."""
    task = asyncio.ensure_future(act)
    await desk.run()
    await task


def run(work: Callable[[], Any]) -> None:
    asyncio.run(work())


def test_outcome_is_sent_signed_and_the_row_goes() -> None:
    """The body is what a lookup says; the headers are those of Standard Webhooks."""

    async def work() -> None:
        desk = Desk()
        desk.finish("r-1")
        await desk.run()
        ((url, headers, body),) = desk.receiver.got
        assert (url, body) == (URL, {"request": "r-1", "status": "ok", "value": 7})
        assert headers["content-type"] == "application/json"
        assert headers["webhook-timestamp"] == str(desk.clock.wall_ns() // 1_000_000_000)
        assert headers["webhook-signature"].startswith("v1,")
        assert "." not in headers["webhook-id"]
        assert desk.rows == 0

    run(work)


def test_failing_receiver_is_tried_again_and_dead_at_last() -> None:
    """Each rest is four times the one before; every try has the same id."""

    async def work() -> None:
        desk = Desk()
        desk.receiver.answers = ["answered with status 500"] * 3
        desk.finish("r-1")
        await desk.run()
        for rest_ms in (SECOND_MS, 4 * SECOND_MS):
            tried = len(desk.receiver.got)
            await desk.pass_ms(rest_ms - 1)
            assert len(desk.receiver.got) == tried
            await desk.pass_ms(1)
            assert len(desk.receiver.got) == tried + 1
        await desk.pass_ms(3_600 * SECOND_MS)
        assert len(desk.receiver.got) == 3
        assert len({headers["webhook-id"] for _, headers, _ in desk.receiver.got}) == 1
        dead, more = desk.callbacks.list_dead("", 10)
        assert [(one["request"], one["tries"], one["error"]) for one in dead] == [
            ("r-1", 3, "answered with status 500")
        ]
        assert (more, desk.rows) == (False, 1)

    run(work)


def test_dead_callback_is_sent_again_or_purged() -> None:
    """Each once: what is not dead (any more) is not found."""

    async def work() -> None:
        desk = Desk()
        desk.receiver.answers = ["no"] * 3
        desk.finish("r-1")
        await desk.run()
        with pytest.raises(NotFound):
            await ask(desk, desk.callbacks.retry("alice", "r-1"))
        await desk.pass_ms(SECOND_MS)
        await desk.pass_ms(4 * SECOND_MS)
        await ask(desk, desk.callbacks.retry("alice", "r-1"))
        with pytest.raises(NotFound):
            await ask(desk, desk.callbacks.retry("alice", "r-1"))
        await desk.run()
        assert (len(desk.receiver.got), desk.rows) == (4, 0)
        with pytest.raises(NotFound):
            await ask(desk, desk.callbacks.purge("alice", "r-1"))

    run(work)


def test_tries_and_rests_outlast_a_restart() -> None:
    """What was waiting is tried when its rest is over, with the tries it has left."""

    async def work() -> None:
        desk = Desk()
        desk.receiver.answers = ["no"]
        desk.finish("r-1")
        await desk.run()
        await desk.callbacks.stop()
        desk.store.close()
        again = Desk(disk=desk.disk, clock=desk.clock)
        again.outcomes = desk.outcomes
        again.receiver.answers = ["no", "no"]
        await again.run()
        assert again.receiver.got == []
        await again.pass_ms(SECOND_MS)
        await again.pass_ms(4 * SECOND_MS)
        assert len(again.receiver.got) == 2
        assert len(again.callbacks.list_dead("", 10)[0]) == 1

    run(work)


def test_receiver_that_never_answers_keeps_no_other_waiting() -> None:
    """So many at once to one origin, so many in all; what ends makes room."""

    async def work() -> None:
        desk = Desk()
        gate = desk.receiver.gates[URL] = asyncio.Event()
        for number in range(5):
            desk.finish(f"r-{number}")
        for number in range(5, 8):
            desk.finish(f"r-{number}", OTHER)
        await desk.run()
        urls = [url for url, _, _ in desk.receiver.got]
        assert (urls.count(URL), urls.count(OTHER)) == (2, 3)
        gate.set()
        await desk.run()
        assert len(desk.receiver.got) == 8
        assert (desk.rows, desk.receiver.most <= SETTINGS.sending_max) == (0, True)

    run(work)


def test_closing_breaks_a_try_off_and_keeps_its_row() -> None:
    """It is sent by the next node, as if it had not been tried."""

    async def work() -> None:
        desk = Desk()
        desk.receiver.gates[URL] = asyncio.Event()
        desk.finish("r-1")
        await desk.run()
        await desk.callbacks.stop()
        await desk.run()
        assert desk.rows == 1
        again = Desk(disk=desk.disk, clock=desk.clock)
        again.outcomes = desk.outcomes
        await again.run()
        assert len(again.receiver.got) == 1

    run(work)


def test_origin_that_is_listed_no_more_is_not_called() -> None:
    """What was allowed when it was accepted may not be now."""

    async def work() -> None:
        desk = Desk()
        desk.receiver.gates[URL] = asyncio.Event()
        desk.finish("r-1")
        await desk.run()
        await desk.callbacks.stop()
        shut = Desk(disk=desk.disk, clock=desk.clock, settings=CallbackSettings(keys=(bytes(24),)))
        shut.outcomes = desk.outcomes
        await shut.run()
        assert shut.receiver.got == []
        ((dead,), _) = shut.callbacks.list_dead("", 10)
        assert "are not allowed" in dead["error"]
        with pytest.raises(NotPermitted):
            shut.callbacks.check(URL, "alice")

    run(work)


def test_waiting_and_dead_callbacks_are_bounded() -> None:
    """Beyond the bounds acceptances are refused, and what dies is dropped."""

    async def work() -> None:
        settings = CallbackSettings(
            allow=SETTINGS.allow, keys=SETTINGS.keys, tries_max=1, waiting_max=2, dead_max=1
        )
        desk = Desk(settings=settings)
        desk.receiver.answers = ["no"] * 9
        for number in range(3):
            desk.finish(f"r-{number}")
            await desk.run()
        assert (desk.rows, len(desk.callbacks.list_dead("", 10)[0])) == (1, 1)
        settings = CallbackSettings(allow=SETTINGS.allow, keys=SETTINGS.keys, waiting_max=1)
        desk = Desk(settings=settings)
        desk.receiver.answers = ["no"]
        desk.finish("r-1")
        await desk.run()
        with pytest.raises(Overloaded):
            desk.callbacks.check(URL, "alice")

    run(work)


def test_sweep_sends_what_another_node_should_have_sent() -> None:
    """Rows that are late by a minute are taken over, others are left to their node."""

    async def work() -> None:
        one = Desk()
        one.receiver.gates[URL] = asyncio.Event()
        one.finish("r-1")
        row = one.store.open_snapshot().find(CALLBACKS, "alice/r-1")
        assert row is not None
        two = Desk(clock=one.clock)
        await two.run()
        two.outcomes = one.outcomes
        writes = {(CALLBACKS, "alice/r-1"): row.value}
        two.store.submit(Commit(two.store.visible_version, writes=writes), lambda _: None)
        two.callbacks.sweep()
        await two.run()
        assert two.receiver.got == []
        await two.pass_ms(61 * SECOND_MS)
        two.callbacks.sweep()
        await two.run()
        assert len(two.receiver.got) == 1
        await one.callbacks.stop()

    run(work)


def test_what_an_administrator_asks_for_is_told_once_it_is_durable() -> None:
    """Neither a retry nor a purge is done while the disk is slow, and a failed one is told."""

    async def work() -> None:
        desk = Desk()
        desk.receiver.answers = ["no"] * 3
        desk.finish("r-1")
        await desk.run()
        await desk.pass_ms(SECOND_MS)
        await desk.pass_ms(4 * SECOND_MS)
        desk.disk.hold()
        task = asyncio.ensure_future(desk.callbacks.purge("alice", "r-1"))
        await desk.run()
        assert not task.done()
        desk.disk.release()
        await desk.run()
        assert task.done()
        assert (desk.rows, desk.callbacks.statistics()["dead"]) == (0, 0)

    run(work)


def test_a_try_that_fails_by_a_bug_is_a_failed_try(caplog: pytest.LogCaptureFixture) -> None:
    """It rests and is tried again, and those that waited for its place are sent."""

    async def work() -> None:
        desk = Desk(settings=dataclasses.replace(SETTINGS, sending_origin_max=1))
        send, failures = desk.receiver.send, [ValueError("a bug")]

        async def fail_once(url: str, headers: dict[str, str], body: bytes) -> str | None:
            if failures:
                raise failures.pop()
            return await send(url, headers, body)

        desk.callbacks._send = fail_once
        for name in ("r-1", "r-2", "r-3"):
            desk.finish(name)
        await desk.run()
        assert len(desk.receiver.got) == 2
        await desk.pass_ms(SECOND_MS)
        assert (len(desk.receiver.got), desk.rows) == (3, 0)

    run(work)
    assert "a bug" in caplog.text


def test_rows_are_read_a_page_a_turn_and_a_broken_one_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What stands behind a row that cannot be read is sent all the same."""
    monkeypatch.setattr(module, "PAGE_MAX", 2)

    async def work() -> None:
        desk = Desk()
        desk.finish("r-3")
        row = desk.store.open_snapshot().find(CALLBACKS, "alice/r-3")
        assert row is not None
        rows: dict[Any, Any] = {(CALLBACKS, f"alice/r-{n}"): row.value for n in range(5)}
        rows[CALLBACKS, "alice/r-1"] = b"\xc1"
        await desk.callbacks.stop()
        desk.queue.clear()
        desk.store.submit(Commit(desk.store.visible_version, writes=rows), lambda _: None)
        desk.queue.clear()
        again = Callbacks(
            store=desk.store,
            clock=desk.clock,
            settings=SETTINGS,
            find=lambda _, name: Answer(request_id=RequestId(name), value=7),
            send=desk.receiver.send,
            schedule=desk.queue.append,
        )
        again.start()
        pages = 0
        while again._is_scanning:
            pages += 1
            for call in [desk.queue.pop(0) for _ in desk.queue]:
                call()
        assert pages == 3
        await desk.run()
        assert sorted(got[2]["request"] for got in desk.receiver.got) == [
            f"r-{n}" for n in (0, 2, 3, 4)
        ]
        again.sweep()
        assert not again._is_scanning, "nobody else writes this store"

    run(work)
    assert "alice/r-1" in caplog.text


def test_what_waits_for_a_slow_origin_is_not_read_again_and_again() -> None:
    """Each call-back is read when it comes and when it is sent, however many wait before it."""

    async def work() -> None:
        desk = Desk()
        gate = desk.receiver.gates[URL] = asyncio.Event()
        reads, read = [0], desk.callbacks._read

        def count_reads(key: str) -> Any:
            reads[0] += 1
            return read(key)

        desk.callbacks._read = count_reads  # type: ignore[method-assign]
        for number in range(100):
            desk.finish(f"r-{number}")
        gate.set()
        for _ in range(10):
            await desk.run()
        assert (len(desk.receiver.got), desk.rows) == (100, 0)
        assert reads[0] == 200

    run(work)


def test_an_account_has_a_share_of_what_waits_and_of_what_is_dead() -> None:
    """Beyond it the account's own are refused or dropped; another's are not."""

    async def work() -> None:
        settings = CallbackSettings(
            allow=SETTINGS.allow,
            keys=SETTINGS.keys,
            tries_max=1,
            waiting_account_max=1,
            dead_account_max=2,
        )
        desk = Desk(settings=settings)
        desk.receiver.answers = ["no"] * 3
        for number in range(3):
            desk.finish(f"r-{number}")
            await desk.run()
        assert desk.rows == desk.callbacks.statistics()["dead"] == 2
        gate = desk.receiver.gates[URL] = asyncio.Event()
        for number in range(3, 8):
            desk.finish(f"r-{number}")
        with pytest.raises(Overloaded):
            desk.callbacks.check(URL, "alice")
        desk.callbacks.check(URL, "bob")
        gate.set()
        await desk.run()
        desk.callbacks.check(URL, "alice")

    run(work)


def test_a_call_back_that_cannot_be_read_is_found_by_the_next_sweep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store fails just when an outcome is told: nobody else is disturbed, and it is sent."""

    async def work() -> None:
        desk = Desk()
        await desk.run()

        def fail() -> None:
            raise StoreUnavailable("no server")

        monkeypatch.setattr(desk.store, "open_snapshot", fail)
        monkeypatch.setattr(desk.callbacks, "_is_shared", False)
        desk.finish("r-1")
        await desk.run()
        assert desk.receiver.got == []
        monkeypatch.undo()
        desk.callbacks.sweep()
        await desk.run()
        assert [url for url, _, _ in desk.receiver.got] == [URL]

    run(work)
