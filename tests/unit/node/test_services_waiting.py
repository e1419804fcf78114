"""Waiting for news of services: it ends with the news, with the time, and when the node stops."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from lithox.dispatch.programs.process import ProgramProcess
from lithox.errors import NotAvailable
from lithox.node.service_logs import ServiceLogs
from lithox.node.services import Services
from lithox.security.identities import LOCAL_OPERATOR
from lithox.testing.clock import FakeClock

FRAME = cast("ProgramProcess", None)
SHOWN = {"name": "web", "state": "running", "restarts": 0, "changes": 4, "since_ms": 0,
         "wanted": True, "builtin": False}  # fmt: skip


class FakeInit:
    """Answers `service.show` at once, but never when it is to wait for a change."""

    def __init__(self) -> None:
        self.waiting = 0

    async def call(self, name: str, *args: Any, timeout_ms: int) -> list[Any]:
        assert name == "service.show"
        if args[1] is None:
            return [SHOWN]
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            self.waiting -= 1


class FakeRegistry:
    """Knows every service."""

    @staticmethod
    def find(name: str) -> dict[str, Any]:
        return {"name": name}


async def settle() -> None:
    """Lets tasks go as far as they can: each `await` on the way takes a turn of the loop."""
    for _ in range(10):
        await asyncio.sleep(0)


def make(tmp_path: Path) -> tuple[Services, FakeInit]:
    init = FakeInit()
    services = Services(
        init=cast("Any", init),
        registry=cast("Any", FakeRegistry()),
        logs=ServiceLogs(tmp_path, FakeClock(), lambda _: None),
        record_act=cast("Any", None),
    )
    return services, init


def test_waiting_ends_when_the_node_stops(tmp_path: Path) -> None:
    """Those who wait are told what there is; later ones may look, but not wait."""

    async def main() -> None:
        services, init = make(tmp_path)
        log = services.logs.open("web")
        polls = [
            asyncio.create_task(services.show(LOCAL_OPERATOR, "web", seen=4, wait_ms=60_000)),
            asyncio.create_task(services.read_logs(LOCAL_OPERATOR, "web", after=0, wait_ms=60_000)),
        ]
        await settle()
        assert init.waiting
        assert log._watchers
        assert not any(poll.done() for poll in polls)
        services.release_waiting()
        shown, page = await asyncio.wait_for(asyncio.gather(*polls), 10)
        assert (shown["changes"], page) == (4, {"text": b"", "next": 0, "missed": 0})
        await settle()
        assert (init.waiting, log._watchers) == (0, {})
        with pytest.raises(NotAvailable):
            await services.show(LOCAL_OPERATOR, "web", seen=4, wait_ms=60_000)
        with pytest.raises(NotAvailable):
            await services.read_logs(LOCAL_OPERATOR, "web", after=0, wait_ms=60_000)
        assert (await services.show(LOCAL_OPERATOR, "web"))["name"] == "web"

    asyncio.run(main())


def test_polls_that_time_out_or_hang_up_leave_nothing(tmp_path: Path) -> None:
    """However many polls came to nothing, no watcher of the log stays."""

    async def main() -> None:
        services, _ = make(tmp_path)
        log = services.logs.open("web")
        for _ in range(3):
            await services.read_logs(LOCAL_OPERATOR, "web", after=0, wait_ms=1)
        poll = asyncio.create_task(
            services.read_logs(LOCAL_OPERATOR, "web", after=0, wait_ms=60_000)
        )
        await settle()
        assert log._watchers
        poll.cancel()
        await asyncio.wait({poll})
        await settle()
        assert log._watchers == {}

    asyncio.run(main())


def test_output_ends_the_wait(tmp_path: Path) -> None:
    """A poll hears what is written while it waits."""

    async def main() -> None:
        services, _ = make(tmp_path)
        log = services.logs.open("web")
        poll = asyncio.create_task(
            services.read_logs(LOCAL_OPERATOR, "web", after=0, wait_ms=60_000)
        )
        await settle()
        assert log._watchers
        log.write(FRAME, "out", b"news\n")
        page = await asyncio.wait_for(poll, 10)
        assert page["text"].endswith(b" out news\n")
        services.logs.close()

    asyncio.run(main())
