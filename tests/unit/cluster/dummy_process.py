"""A process for the tests of the parent: does what its first line says, and notes it in a file.

Run as `python -m tests.unit.cluster.dummy_process FD`. Its note is one line an event, written at
once: `begun N PID`, `drained N`, `closed N`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from lithox.cluster.control import Control
from lithox.errors import NotFound


async def main() -> None:
    end = socket.socket(fileno=int(sys.argv[1]))
    end.setblocking(False)
    control = await Control.open(end)
    said = await control.hear()
    assert said is not None
    number = said["number"]

    def note(what: str) -> None:
        with Path(said["file"]).open("a") as file:
            file.write(f"{what}\n")

    note(f"begun {number} {os.getpid()}")
    if said["act"] == "die":
        sys.exit(3)
    if said["act"] == "fail":
        control.fail(NotFound("no such thing", thing="x"))
        await control.flush()
        return
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    if said["act"] == "serve":
        control.say("ready")
    await stop.wait()
    note(f"drained {number}")
    control.say("drained")
    while (line := await control.hear()) is not None:
        if line["say"] == "close":
            note(f"closed {number}")
            return


if __name__ == "__main__":
    asyncio.run(main())
