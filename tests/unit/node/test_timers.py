"""Periodic duties: one that fails stops neither itself nor the others."""

from __future__ import annotations

import asyncio

import pytest

from lithox.node.timers import every, run_guarded


def test_a_duty_that_fails_is_called_again(caplog: pytest.LogCaptureFixture) -> None:
    """The sweeper goes on, and what went wrong is in the log with its stack."""
    calls: list[int] = []
    done = asyncio.Event()

    def duty() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("broken once")
        done.set()

    async def body() -> None:
        task = asyncio.create_task(every(0, duty))
        waiting = asyncio.create_task(done.wait())
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        assert not task.done()
        task.cancel()

    asyncio.run(body())
    assert len(calls) >= 2
    assert "broken once" in caplog.text


def test_each_duty_is_called_whatever_became_of_the_one_before() -> None:
    """The third of three is called though both before it fail."""
    calls: list[int] = []
    run_guarded(lambda: 1 // 0, lambda: int("no"), lambda: calls.append(3))
    assert calls == [3]
