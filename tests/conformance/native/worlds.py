"""Runs cases on a real node, each as a process of an operator's with a context 0 of all rights.

They are started beside `init`, so that a case sees exactly the contexts it was given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import lithox
from lithox.dispatch.programs.natives import Grant
from lithox.dispatch.programs.process import Exit, ProgramOrder, ProgramProcess
from lithox.runtimes.registry import runtime_of
from lithox.security.identities import LOCAL_OPERATOR
from tests.conformance.native.cases import Case

CASE_SECONDS_MAX: Final = 20


@dataclass(slots=True, kw_only=True)
class Lines:
    """A terminal that keeps what is written, and has all its input from the start."""

    input: bytes = b""
    written: dict[str, bytes] = field(default_factory=lambda: {"out": b"", "err": b""})

    def write(self, frame: ProgramProcess, stream: str, data: bytes) -> bool:
        """Takes everything."""
        del frame
        self.written[stream] += data
        return True

    def when_writable(self, then: Callable[[], None]) -> None:
        """Never asked: `write` takes everything."""
        raise AssertionError(then)

    def read(self, bytes_max: int) -> bytes | None:
        """Returns the next bytes, None at the end."""
        data, self.input = self.input[:bytes_max], self.input[bytes_max:]
        return data or None

    def when_readable(self, then: Callable[[], None]) -> None:
        """Never asked: the input is there or over."""
        raise AssertionError(then)

    def on_start(self, frame: ProgramProcess) -> None:
        """Nothing to remember."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a run printed and how it ended."""

    output: str
    errors: str
    exit: tuple[int, str]
    message: str


async def run_case(node: lithox.Node, case: Case, *, mode: str, runtime: str) -> Ended:
    """Runs one case, with its programs in the store."""
    for name, text in case.programs.items():
        await node.store_set("program", name, text)
    spec = runtime_of(runtime)
    ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    lines = Lines(input=case.input.encode())
    node.program_side.programs.run(
        ProgramOrder(
            name="main",
            text=case.main.encode(),
            engine=spec.engine,
            preludes=spec.preludes,
            runtime=spec.name,
            caller=LOCAL_OPERATOR,
            mode=mode,
            grant=Grant(names=("*",), caller=LOCAL_OPERATOR),
            terminal=lines,
            on_exit=lambda _, exit_: ended.set_result(exit_),
        )
    )
    async with asyncio.timeout(CASE_SECONDS_MAX):
        end = await ended
    return Ended(
        output=lines.written["out"].decode(),
        errors=lines.written["err"].decode(),
        exit=(end.status, end.code),
        message=end.message,
    )


def run_all(
    folder: Path, cases: list[Case], *, mode: str, runtime: str
) -> dict[str, Ended | Exception]:
    """Returns case name -> what came of it, or the error that stopped it; one node for all."""

    async def run() -> dict[str, Ended | Exception]:
        found: dict[str, Ended | Exception] = {}
        async with lithox.Node(folder / "data") as node:
            for case in cases:
                try:
                    found[case.name] = await run_case(node, case, mode=mode, runtime=runtime)
                except (lithox.LithoxError, TimeoutError) as error:
                    found[case.name] = error
        return found

    return asyncio.run(run())
