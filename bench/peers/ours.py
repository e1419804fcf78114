"""lithox as a user starts it: `lithox serve`, with one process or two, on SQLite or PostgreSQL."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from bench.peers.dbos import Database
from bench.peers.packages import APPS, Packages, version_of
from bench.peers.peer import EACH, ONE, Peer, Road
from bench.peers.processes import MissingError, free_port, is_listening, wait_until
from bench.peers.wires import Action, RespReader, Wire, resp_message

COMMAND: Final = str(Path(sys.executable).parent / "lithox")
DEPLOY_S_MAX: Final = 60.0
RESP_WAIT_S: Final = 2.0


@cache
def _serve_help() -> str:
    done = subprocess.run([COMMAND, "serve", "--help"], capture_output=True, text=True, check=False)
    return done.stdout


def _http_words(action: Action) -> tuple[str, str]:
    arguments = [f"counter/{one}" for one in action.arguments]
    body = json.dumps({"args": arguments}) if arguments else "{}"
    return f"/v1/entities/counter/{action.entity}:{action.handler}", body


def _resp_words(action: Action) -> list[str]:
    arguments = [f"counter/{one}" for one in action.arguments]
    return ["CALL", f"counter/{action.entity}", action.handler, *arguments]


class Lithox(Peer):
    """One `lithox serve`."""

    durability = "SQLite, synchronous FULL, group commit"

    def __init__(self, packages: Packages, folder: Path, *, processes: int) -> None:
        super().__init__(packages, folder)
        self.processes = processes
        self.name = f"lithox-{processes}"
        self.port = 0
        self._has_resp = False
        self._is_deployed = False

    def start(self) -> None:
        self.version = version_of([COMMAND, "--version"])
        if not self.port:
            self.port = free_port()
        command = [COMMAND, "serve", "--data", str(self.folder / "data")]
        command += ["--listen", f"127.0.0.1:{self.port}", "--json", "--log-level", "error"]
        command += self._process_words()
        if config := self.write_config():
            path = self.folder / "node.toml"
            path.write_text(config)
            command += ["--config", str(path)]
        child = self.launch(command, log="lithox.log")
        wait_until(lambda: is_listening(self.port), child)
        wait_until(lambda: '"url"' in child.last_words(), child)
        if not self._is_deployed:
            self._deploy()
            self._is_deployed = True
            self._has_resp = self._speaks_resp()

    def _process_words(self) -> list[str]:
        if "--processes" not in _serve_help():
            if self.processes > 1:
                raise MissingError("this lithox has no --processes yet")
            return []
        words = ["--processes", str(self.processes)]
        if self.processes > 1:
            words += ["--spread", "counter/*"]
            self.cannot["transfer"] = "entities that are spread over processes join no transaction"
        self.settings = [" ".join(words)]
        return words

    def write_config(self) -> str:
        """Returns the node's configuration, or nothing for the defaults."""
        return ""

    def _deploy(self) -> None:
        done = subprocess.run(
            [COMMAND, "deploy", str(APPS / "lithox")],
            env={**os.environ, "LITHOX_NODE": f"http://127.0.0.1:{self.port}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=DEPLOY_S_MAX,
        )
        if done.returncode != 0:
            raise MissingError(f"deploying failed: {done.stdout}{done.stderr}"[:300])

    def _speaks_resp(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as sock:
            sock.settimeout(RESP_WAIT_S)
            sock.sendall(resp_message(["PING"]))
            data = sock.recv(4096)
            return data.startswith(b"+") and RespReader().feed(data)[0].is_ok
        return False

    def roads(self) -> list[Road]:
        where = ("127.0.0.1", self.port)
        http = Wire(kind="http", host=where[0], port=where[1], words=_http_words)
        found = [Road(label=f"{self.name}, HTTP", wire=http, shape=EACH)]
        if self._has_resp:
            resp = Wire(kind="resp", host=where[0], port=where[1], words=_resp_words)
            found.append(Road(label=f"{self.name}, RESP, pipelined", wire=resp, shape=ONE))
            found.append(Road(label=f"{self.name}, RESP", wire=resp, shape=EACH, is_main=False))
        return found


class LithoxOnPostgres(Lithox):
    """One `lithox serve` whose store is a PostgreSQL of its own."""

    durability = "PostgreSQL, synchronous_commit on"

    def __init__(self, packages: Packages, folder: Path) -> None:
        super().__init__(packages, folder, processes=1)
        self.name = "lithox-postgres"
        self._database: Database | None = None

    def write_config(self) -> str:
        assert self._database is not None, "made by start"
        return f'store = "{self._database.server.address()}"\nstore_migrate = "apply"\n'

    def start(self) -> None:
        if self._database is None:
            self._database = Database(self.folder)
        elif not self._database.pids():
            self._database.server.start()
        super().start()
        self.version = f"{self.version}, {self._database.version}"

    def pids(self) -> list[int]:
        found = super().pids()
        return found if self._database is None else [*found, *self._database.pids()]

    def roads(self) -> list[Road]:
        """Returns HTTP, as DBOS has it, and one connection of RESP beside it."""
        http, *others = super().roads()
        return [http, *(replace(road, is_main=False) for road in others if road.shape == ONE)]

    def stop(self) -> None:
        super().stop()
        if self._database is not None:
            self._database.server.close()
            self._database = None

    def kill(self) -> None:
        if self._database is not None:
            self._database.kill()
        super().kill()
