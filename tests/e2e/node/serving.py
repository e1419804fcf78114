"""A real `lithox serve` process for tests, and callers that know what they were told.

Nothing here sleeps: readiness is a line on stdout, ends are waited for, and polls have a deadline.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SECONDS_MAX = 40
COMMAND = [sys.executable, "-m", "lithox.cli.main"]


def surroundings(**more: str) -> dict[str, str]:
    """Returns this process's environment without what somebody may have set for lithox,
    but for whether its sources run as they are.

    A server is one process unless the test says otherwise (`--processes`).
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LITHOX_") or name == "LITHOX_PURE"
    }
    return {**kept, "LITHOX_PROCESSES": "1", **more}


def make_data(folder: Path, *, manifest: str, modules: dict[str, str]) -> Path:
    """Returns a data directory below `folder` with a bundle deployed into it."""
    bundle, data = folder / "bundle", folder / "deployed"
    bundle.mkdir()
    (bundle / "lithox.toml").write_text(manifest)
    for name, text in modules.items():
        (bundle / name).write_text(text)
    subprocess.run(
        [*COMMAND, "deploy", str(bundle), "--data", str(data)],
        check=True,
        stdout=subprocess.DEVNULL,
        env=surroundings(),
        timeout=SECONDS_MAX,
    )
    return data


def copy_data(data: Path, target: Path) -> Path:
    """Returns a copy of a data directory that no node holds."""
    return Path(shutil.copytree(data, target))


class Served:
    """One node as a process of its own on a free port.

    Args:
        crash_at: `name:count` of a crash point.
        command: what runs `lithox`; another one may break something first.
    """

    def __init__(
        self,
        data: Path,
        *arguments: str,
        crash_at: str | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        more = {} if crash_at is None else {"LITHOX_CRASH_AT": crash_at}
        self.log = data.parent / f"{data.name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *command,
                    *("serve", "--json", "--data", str(data), "--listen", "127.0.0.1:0"),
                    *arguments,
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                env=surroundings(**more),
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        said = json.loads(line) if line else {}
        if "url" not in said:
            self.close()
            raise AssertionError(f"the node did not start: {said} {self.log.read_text()}")
        self.url = said["url"]
        self.address = urlsplit(self.url).netloc

    def connect(self) -> http.client.HTTPConnection:
        """Returns a new connection."""
        return http.client.HTTPConnection(self.address, timeout=SECONDS_MAX)

    def call(self, entity: str, handler: str, *args: Any, key: str | None = None) -> dict[str, Any]:
        """Calls once on a connection of its own; returns the answer's body, whatever it says."""
        connection = self.connect()
        try:
            return ask(connection, entity, handler, *args, key=key)
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """Returns the body of a GET."""
        connection = self.connect()
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def stop(self, number: int) -> int:
        """Sends a signal; returns the exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Returns the exit status once the process has ended."""
        return self.process.wait(SECONDS_MAX)

    def close(self) -> None:
        """Leaves no process behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def serving(data: Path, *arguments: str, **options: Any) -> Iterator[Served]:
    """Gives a node that is ready, and leaves no process behind."""
    served = Served(data, *arguments, **options)
    try:
        yield served
    finally:
        served.close()


def ask(
    connection: http.client.HTTPConnection,
    entity: str,
    handler: str,
    *args: Any,
    key: str | None = None,
) -> dict[str, Any]:
    """Calls on a kept connection; returns the answer's body, whatever it says."""
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Idempotency-Key"] = key
    body = json.dumps({"args": args})
    connection.request("POST", f"/v1/entities/{entity}:{handler}", body, headers)
    return json.loads(connection.getresponse().read())


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Returns once `is_so`, which asks the node and so takes its time; else fails in the end."""
    deadline = time.monotonic() + SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain: {what}"


@dataclass(slots=True)
class Caller:
    """Adds 1, 2, 3 ... to one entity until the node is gone; remembers what was acknowledged."""

    entity: str
    has_ids: bool
    last_max: int
    acknowledged: list[int] = field(default_factory=list[int])
    in_flight: int | None = None
    refusals: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def key(self, number: int) -> str | None:
        """Returns the request id of the `number`th request."""
        return f"{self.entity.replace('/', '-')}-{number}" if self.has_ids else None

    def run(self, served: Served) -> None:
        """Calls until the connection ends or `last_max` is reached."""
        connection = served.connect()
        try:
            for number in range(1, self.last_max + 1):
                self.in_flight = number
                body = ask(connection, self.entity, "add", number, key=self.key(number))
                if body["status"] == "ok":
                    self.acknowledged.append(number)
                else:
                    self.refusals.append(body)
                self.in_flight = None
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()


def run_together(callers: list[Caller], served: Served) -> None:
    """Runs all callers at once and returns when each has ended."""
    threads = [threading.Thread(target=caller.run, args=(served,)) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS_MAX)
        assert not thread.is_alive()
