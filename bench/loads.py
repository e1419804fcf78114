"""Load from inside the process: callers that wait for each answer, or a fixed rate that does not.

A closed loop has a number of callers, each with one request outstanding: it finds the maximum. An
open loop sends at its own times whether answers have come or not, and counts latency from the time
a request was due, so that a stall is not hidden by requests that were never sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from bench.figures import percentile

Call = Callable[[int], Awaitable[object]]
"""Makes request number n."""
OPEN_LOOP_WAITING_MAX: Final = 20_000
"""Requests an open loop lets wait before it calls the target overrun."""


@dataclass(slots=True, kw_only=True)
class Load:
    """What one round of load saw; times in microseconds."""

    rate: float
    p50_us: float
    p99_us: float


def _load_of(count: int, elapsed_s: float, latencies_us: list[float]) -> Load:
    return Load(
        rate=count / elapsed_s,
        p50_us=percentile(latencies_us, 0.50),
        p99_us=percentile(latencies_us, 0.99),
    )


async def closed_loop(call: Call, *, callers: int, seconds: float) -> Load:
    """Returns what `callers` saw, each with one request outstanding for `seconds`; at least one."""
    latencies_us: list[float] = []
    begun = time.perf_counter()
    end = begun + seconds

    async def caller(first: int) -> None:
        number, now = first, time.perf_counter()
        while True:
            await call(number)
            before, now = now, time.perf_counter()
            latencies_us.append((now - before) * 1e6)
            number += callers
            if now >= end:
                return

    await asyncio.gather(*[caller(index) for index in range(callers)])
    return _load_of(len(latencies_us), time.perf_counter() - begun, latencies_us)


async def open_loop(call: Call, *, rate: float, seconds: float) -> Load:
    """Returns what requests sent at `rate` a second saw; latency counts from when each was due.

    The rate is what was answered within `seconds`, so it falls below `rate` when answers lag.
    """
    latencies_us: list[float] = []
    waiting: set[asyncio.Task[None]] = set()
    begun = time.perf_counter()
    end = begun + seconds
    in_time = 0

    async def one(number: int, due: float) -> None:
        nonlocal in_time
        await call(number)
        now = time.perf_counter()
        latencies_us.append((now - due) * 1e6)
        in_time += now <= end

    number = 0
    while (now := time.perf_counter()) < end:
        while (due := begun + number / rate) <= now:
            if len(waiting) >= OPEN_LOOP_WAITING_MAX:
                raise SystemExit(f"{rate:.0f}/s is more than is answered: an overrun")
            task = asyncio.create_task(one(number, due))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
            number += 1
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    await asyncio.gather(*waiting)
    return _load_of(in_time, seconds, latencies_us)
