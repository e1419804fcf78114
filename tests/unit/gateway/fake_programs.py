"""The part of the fake node that runs programs: scripted output, remembered input."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from lithox.errors import NotFound, NotPermitted
from lithox.model.limits import Limits
from lithox.model.request import Caller

FIRST_PID = 40


@dataclass
class FakeRun:
    """One program: what it was ordered with, its output so far, its input, its end."""

    order: dict[str, Any]
    chunks: list[tuple[str, bytes]] = field(default_factory=list)
    input: bytes = b""
    is_input_over: bool = False
    is_reading: bool = False
    missed: int = 0
    exit: dict[str, Any] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, stream: str, data: bytes) -> None:
        """The program writes."""
        self.chunks.append((stream, data))
        self.changed.set()

    def read(self) -> None:
        """The program waits for input."""
        self.is_reading = True
        self.changed.set()

    def end(self, status: int = 0, code: str = "", message: str = "", values: Any = ()) -> None:
        """The program ends."""
        self.exit = {"status": status, "code": code, "message": message, "values": list(values)}
        self.changed.set()


class FakePrograms:
    """Programs by name: `hello`, `binary`, `fail`, `raise`, `lost`, `loop`, `cat`."""

    runs: dict[int, FakeRun]

    def arrival(self, name: str) -> asyncio.Event:
        """Is set once what is called so has happened; the node has it."""
        raise KeyError(name)

    async def run_program(self, *, caller: Caller | None = None, **order: Any) -> int:
        if caller is not None and not caller.is_admin:
            raise NotPermitted(f"{caller.identity} may not run programs")
        name = order.get("program") or order.get("name")
        pid = FIRST_PID + len(self.runs)
        run = FakeRun({**order, "caller": caller})
        begin = getattr(self, f"_begin_{name}", None)
        if begin is None:
            raise NotFound(f"no program {name!r}")
        self.runs[pid] = run
        begin(run)
        return pid

    def _begin_hello(self, run: FakeRun) -> None:
        words = " ".join(map(str, run.order["args"]))
        run.write("out", f"hello {words}\n".encode())
        run.write("err", b"\x1b[2J\n")
        run.end(values=[1, b"\xfe"])

    def _begin_binary(self, run: FakeRun) -> None:
        run.write("err", b"\xff\x1b[2J\n")
        run.end()

    def _begin_fail(self, run: FakeRun) -> None:
        status = int(run.order["args"][0])
        run.end(status, "process.exited", f"exit status {status}")

    def _begin_raise(self, run: FakeRun) -> None:
        run.write("err", b"raise: it broke\n")
        run.end(30, "guest.raised", "it broke")

    def _begin_lost(self, run: FakeRun) -> None:
        run.missed = 7
        run.write("out", b"rest\n")
        run.end()

    def _begin_loop(self, run: FakeRun) -> None:
        run.write("out", b"looping\n")

    def _begin_cat(self, run: FakeRun) -> None:
        run.read()

    async def read_output(
        self, pid: int, *, after: int = 0, wait_ms: int = 0, caller: Caller | None = None
    ) -> dict[str, Any]:
        run = self._find(pid, caller)
        while wait_ms and len(run.chunks) <= after and run.exit is None and not run.is_reading:
            run.changed.clear()
            await run.changed.wait()
        # Offsets count chunks here: nobody but the node looks into them.
        found = run.chunks[after:]
        is_reading, run.is_reading = run.is_reading, False
        missed, run.missed = run.missed, 0
        return {
            "chunks": [
                {"offset": after + place, "stream": stream, "data": data}
                for place, (stream, data) in enumerate(found)
            ],
            "next": len(run.chunks),
            "missed": missed,
            "reading": is_reading,
            "exit": None if found else run.exit,
        }

    async def write_input(
        self, pid: int, data: bytes, *, is_end: bool = False, caller: Caller | None = None
    ) -> None:
        run = self._find(pid, caller)
        run.input += data
        if run.order.get("program") == "cat":
            if data:
                run.write("out", b"got " + data)
            if is_end:
                run.end()
        run.is_input_over = run.is_input_over or is_end
        if is_end:
            self.arrival("end of input").set()
        if not is_end:
            run.read()

    def kill_program(self, pid: int) -> bool:
        """Ends a run; False when there is none."""
        run = self.runs.get(pid)
        if run is None or run.exit is not None:
            return False
        run.end(20, "request.cancelled", "an operator ended the run")
        return True

    def _find(self, pid: int, caller: Caller | None) -> FakeRun:
        if caller is not None and not caller.is_admin:
            raise NotPermitted(f"{caller.identity} may not read programs")
        if pid not in self.runs:
            raise NotFound(f"no run as process {pid} is being watched")
        return self.runs[pid]

    def limits_of(self, pid: int) -> Limits | None:
        """Returns the limits a run was ordered with."""
        return self.runs[pid].order.get("limits")
