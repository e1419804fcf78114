"""Programs and processes of a node somewhere else: the part of `lithox.Client` that speaks of them.

Nothing is asked twice but a read of output, which is safe to repeat: the node keeps what has not
been confirmed by a read from further on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from lithox.client.wire import Wire
from lithox.errors import BadArguments, LithoxError
from lithox.model.limits import Limits
from lithox.model.program_result import (
    OUTPUT_KEPT_BYTES_DEFAULT,
    OutputCollector,
    ProgramResult,
)
from lithox.model.values import check_value, from_json, to_json

WAIT_MS: Final = 25_000
"""Of one read in `run`; below what a node allows and what proxies commonly endure."""
MILLISECOND_NS: Final = 1_000_000
_encoder: Final = msgspec.json.Encoder()


class ProcessMethods:
    """The methods of a client about processes. Not made by itself: `lithox.Client` is one."""

    _wire: Wire

    async def run_program(  # noqa: PLR0913 - one order, described whole
        self,
        *,
        program: str | None = None,
        code: str | bytes | None = None,
        name: str | None = None,
        runtime: str | None = None,
        args: Sequence[Any] = (),
        limits: Limits | None = None,
        priority: int | None = None,
        mode: str | None = None,
    ) -> int:
        """Starts a program as a process; does not wait for its end.

        Args:
            program: its name in the node's store.
            code: instead of `program`: its source, at most 1 MiB.
            name: what the process is called when `code` is given.
            runtime: what it expects to find; its own, or `native`, if None.
            args: plain data, given to its main code.
            limits: lowers what the process may use.
            priority: 0 lowest to 9 highest; 4 if None.
            mode: "preemptive" or "cooperative"; the node's way if None.

        Returns:
            the PID; its output waits to be read with `read_output`.

        Raises:
            LithoxError: why it does not start; administrators only.
        """
        body = encode_order(
            {
                "program": program,
                "code": to_json(code) if isinstance(code, bytes) else code,
                "name": name,
                "runtime": runtime,
                "priority": priority,
                "mode": mode,
            },
            args=list(args),
            limits=limits,
        )
        started = await self._wire.ask("POST", "/v1/processes", body)
        return int(started["pid"])

    async def read_output(self, pid: int, *, after: int = 0, wait_ms: int = 0) -> dict[str, Any]:
        """Returns a page of what a program has written, from offset `after` on.

        Everything before `after` counts as read and is forgotten by the node.

        Args:
            wait_ms: how long to wait when there is nothing yet; 0 to 30,000.

        Returns:
            {"chunks": [{"offset", "stream": "out" | "err", "data": bytes}], "next": where to go
            on, "missed": bytes dropped because nobody read them, "reading": the program waits
            for input, "exit": None or {"status", "code", "message", "values"}}.

        Raises:
            NotFound: no such process, or its end was told a minute ago.
        """
        path = f"/v1/processes/{int(pid)}/output?after={int(after)}&wait_ms={int(wait_ms)}"
        page = await self._wire.ask("GET", path)
        for chunk in page["chunks"]:
            data = from_json(chunk["data"])
            chunk["data"] = data.encode() if isinstance(data, str) else data
        ended = page["exit"]
        if ended is not None:
            ended["values"] = from_json(ended["values"])
        return page

    async def write_input(self, pid: int, data: bytes, *, is_end: bool = False) -> None:
        """Feeds a program's standard input; waits while the node's buffer for it is full.

        Args:
            is_end: no more will come.

        Raises:
            NotFound: no such process, or it takes no more input.
            DeadlinePassed: it has not read for half a minute.
        """
        body = _encoder.encode({"data": _plain_text(data), "end": is_end})
        await self._wire.ask("POST", f"/v1/processes/{int(pid)}/input", body)

    async def run(
        self,
        program: str,
        *args: Any,
        runtime: str | None = None,
        limits: Limits | None = None,
        priority: int | None = None,
        kept_bytes_max: int = OUTPUT_KEPT_BYTES_DEFAULT,
    ) -> ProgramResult:
        """Runs a stored program to its end and returns how it ended and what it wrote.

        Being cancelled ends the program. Its input is empty.

        Args:
            program, args, runtime, limits, priority: as `run_program` takes them.
            kept_bytes_max: how much of each stream the result keeps.

        Raises:
            LithoxError: why it does not start. How it ended is in the result; `check()` raises it.
        """
        starting = asyncio.ensure_future(
            self.run_program(
                program=program, runtime=runtime, args=args, limits=limits, priority=priority
            )
        )
        try:
            pid = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Only what has a number can be ended.
            await self._end_quietly(await starting)
            raise
        collector = OutputCollector(pid, kept_bytes_max=kept_bytes_max)
        try:
            await self.write_input(pid, b"", is_end=True)
            while collector.result is None:
                page = await self.read_output(pid, after=collector.after, wait_ms=WAIT_MS)
                collector.take(page)
        except asyncio.CancelledError:
            await self._end_quietly(pid)
            raise
        return collector.result

    async def _end_quietly(self, pid: int) -> None:
        """Ends a process of somebody who was cancelled; that it is gone already is fine."""
        try:
            await self.kill(pid)
        except LithoxError:
            return

    async def processes(self) -> list[dict[str, Any]]:
        """Returns one row a process."""
        return (await self._wire.ask("GET", "/v1/processes"))["processes"]

    async def process_show(self, pid: int) -> dict[str, Any]:
        """Returns the row of one process; raises NotFound."""
        return (await self._wire.ask("GET", f"/v1/processes/{int(pid)}"))["process"]

    async def kill(self, pid: int) -> None:
        """Ends a process and what it runs; raises NotFound."""
        await self._wire.ask("DELETE", f"/v1/processes/{int(pid)}")


def encode_order(said: dict[str, Any], *, args: list[Any], limits: Limits | None) -> bytes:
    """Returns the body that starts a program; raises BadArguments when `args` are not plain."""
    check_value(args)
    body = {name: value for name, value in said.items() if value is not None}
    body["args"] = to_json(args)
    if limits is not None:
        if limits.state_bytes is not None or limits.big_bytes is not None:
            raise BadArguments("a program has no limit on state: it has none of its own")
        body["limits"] = encode_limits(limits)
    return _encoder.encode(body)


def encode_limits(limits: Limits) -> dict[str, int]:
    """Returns limits as the HTTP contract words them; those nobody set are left out."""
    said = {
        "fuel": limits.fuel,
        "memory": limits.memory_bytes,
        # A limit below a millisecond rounds up: 0 would not be a limit.
        "wall_ms": None if limits.wall_ns is None else -(-limits.wall_ns // MILLISECOND_NS),
        "output": limits.output_bytes,
        "calls": limits.calls,
        "state": limits.state_bytes,
        "big": limits.big_bytes,
    }
    return {name: amount for name, amount in said.items() if amount is not None}


def _plain_text(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return to_json(data)
