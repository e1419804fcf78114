"""The demo's node: a real `lithox serve` process that can be killed and started again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import Final

from demo_http import Door

READY_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 30.0
LOG_LINES_MAX: Final = 30
IDENTITIES: Final = ("operator", "loader", "looper", "hoarder")
"""Each is an account of its own; `operator` administers the node."""


class NodeFailedError(Exception):
    """The node did not start; the message has the end of its log."""


class DemoNode:
    """Starts, kills and stops one node on `folder`. Its token table is made anew each time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokens = {name: secrets.token_urlsafe(32) for name in IDENTITIES}
        self._process: asyncio.subprocess.Process | None = None
        self._url = ""
        self.config = folder / "node.toml"
        self.log = folder / "node.log"
        self.config.write_text("".join(map(self._identity, IDENTITIES)))

    def _identity(self, name: str) -> str:
        digest = hashlib.sha256(self._tokens[name].encode()).hexdigest()
        admin = "admin = true\n" if name == "operator" else ""
        return f'[[identity]]\nname = "{name}"\ntoken_sha256 = "{digest}"\n{admin}\n'

    def door(self, identity: str) -> Door:
        """Returns where the node listens now, for one of `IDENTITIES`."""
        host, _, port = self._url.removeprefix("http://").rpartition(":")
        return Door(host, int(port), self._tokens[identity])

    @property
    def pid(self) -> int:
        """Process id of the node that runs, or ran last."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> float:
        """Starts the node on a free port; returns the seconds until it said that it is ready."""
        began = time.monotonic()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "lithox.cli.main", "serve", "--json", "--log-level", "warning"),
                *("--data", str(self._folder / "data"), "--listen", "127.0.0.1:0"),
                *("--config", str(self.config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we end the node.
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                line = await self._process.stdout.readline()
            self._url = json.loads(line)["url"]
        except (TimeoutError, ValueError, KeyError):
            words = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_MAX:]
            raise NodeFailedError("the node did not start:\n" + "\n".join(words)) from None
        return time.monotonic() - began

    async def deploy(self, path: Path) -> None:
        """Publishes `path` with the command a user would type."""
        door = self.door("operator")
        command = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "lithox.cli.main", "deploy", str(path), "--node", self._url),
            *("--token", door.token),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, words = await command.communicate()
        if command.returncode != 0:
            raise NodeFailedError(f"deploy ended with {command.returncode}: {words.decode()}")

    def kill(self) -> None:
        """Sends SIGKILL, which nothing can handle."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()

    async def wait(self) -> int:
        """Returns the exit status once the process has ended."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """Ends the process, gently first. Idempotent; safe when it never started."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        except BaseException:
            self._process.kill()
            await self._process.wait()
            raise
