"""The part of `lithox.Node` that runs a program to its end, as `lithox.Client` does.

Built on the methods that start, follow and feed a program; adds nothing they cannot do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Protocol

from lithox.errors import LithoxError, NotFound
from lithox.model.limits import Limits
from lithox.model.program_result import (
    OUTPUT_KEPT_BYTES_DEFAULT,
    OutputCollector,
    ProgramResult,
)
from lithox.model.request import Caller
from lithox.node.program_side import ProgramSide
from lithox.security.identities import LOCAL_OPERATOR

WAIT_MS: Final = 25_000
"""Of one read; only bounds how long a reader that is cancelled would be waited for."""


class _Running(Protocol):
    """What stands below: the node's own methods."""

    async def run_program(  # noqa: PLR0913 - as the node words it
        self,
        *,
        program: str | None = None,
        runtime: str | None = None,
        args: Sequence[Any] = (),
        limits: Limits | None = None,
        priority: int | None = None,
        caller: Caller | None = None,
    ) -> int: ...

    async def read_output(
        self, pid: int, *, after: int = 0, wait_ms: int = 0, caller: Caller | None = None
    ) -> dict[str, Any]: ...

    async def write_input(
        self, pid: int, data: bytes, *, is_end: bool = False, caller: Caller | None = None
    ) -> None: ...

    def processes(self, caller: Caller) -> list[dict[str, Any]]: ...

    def kill(self, pid: int, caller: Caller) -> None: ...


class ProgramMethods:
    """Methods of a node that can run programs."""

    program_side: ProgramSide

    async def run(  # noqa: PLR0913 - one run, described whole
        self: _Running,
        program: str,
        *args: Any,
        runtime: str | None = None,
        limits: Limits | None = None,
        priority: int | None = None,
        kept_bytes_max: int = OUTPUT_KEPT_BYTES_DEFAULT,
        caller: Caller | None = None,
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
                program=program,
                runtime=runtime,
                args=args,
                limits=limits,
                priority=priority,
                caller=caller,
            )
        )
        try:
            pid = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Only what has a number can be ended.
            _end_quietly(self, await starting, caller or LOCAL_OPERATOR)
            raise
        collector = OutputCollector(pid, kept_bytes_max=kept_bytes_max)
        try:
            await self.write_input(pid, b"", is_end=True, caller=caller)
            while collector.result is None:
                page = await self.read_output(
                    pid, after=collector.after, wait_ms=WAIT_MS, caller=caller
                )
                collector.take(page)
        except asyncio.CancelledError:
            _end_quietly(self, pid, caller or LOCAL_OPERATOR)
            raise
        return collector.result

    def release_waiting(self) -> None:
        """Tells everybody who waits for output or for news of services that the node stops."""
        self.program_side.release_waiting()

    def process_show(self: _Running, pid: int, caller: Caller) -> dict[str, Any]:
        """Returns the row of one process; raises NotFound for one that is not the caller's."""
        for row in self.processes(caller):
            if row["pid"] == pid:
                return row
        raise NotFound(f"no process {pid}")


def _end_quietly(node: _Running, pid: int, caller: Caller) -> None:
    """Ends a process of somebody who was cancelled; that it is gone already is fine."""
    try:
        node.kill(pid, caller)
    except LithoxError:
        return
