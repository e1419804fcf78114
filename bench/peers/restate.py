"""Restate's server with a virtual object in its Node SDK, asked at the server's HTTP ingress."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

from bench.peers.packages import APPS, version_of
from bench.peers.peer import EACH, Peer, Road
from bench.peers.processes import MissingError, free_port, is_listening, wait_until
from bench.peers.wires import Action, Wire


def _words(action: Action) -> tuple[str, str]:
    return f"/counter/{action.entity}/{action.handler}", ""


class Restate(Peer):
    """One restate-server and one Node process with the object."""

    name = "restate"
    durability = "its log in RocksDB, synced (the server's default)"
    round_times = 2.0

    def start(self) -> None:
        modules = self.packages.node_modules()
        found = sorted(modules.glob("@restatedev/restate-server-*/bin/restate-server"))
        if not found:
            raise MissingError("npm has no restate-server for this system")
        sdk = json.loads((modules / "@restatedev/restate-sdk/package.json").read_text())
        node = version_of(["node", "--version"])
        self.version = f"{version_of([str(found[0]), '--version'])}, SDK {sdk['version']}, {node}"
        self.settings = ["server's defaults", "telemetry off", "replication 1"]
        self.cannot["transfer"] = "a call to another object commits on its own"
        if not hasattr(self, "port"):
            self._choose_ports()
        self._start_object(modules.parent)
        self._start_server(str(found[0]))

    def _choose_ports(self) -> None:
        """Ports stay the same after a kill: the server remembers where its object is."""
        self.port, self._admin, self._fabric, self._object = (free_port() for _ in range(4))

    def _start_object(self, npm: Path) -> None:
        # Beside node_modules, where Node looks for what it imports.
        script = npm / "counter.mjs"
        script.write_text((APPS / "restate" / "counter.mjs").read_text())
        child = self.launch(["node", str(script), str(self._object)], log="object.log")
        wait_until(lambda: is_listening(self._object), child)

    def _start_server(self, command: str) -> None:
        environment = {
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{self.port}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{self._admin}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{self._fabric}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{self._fabric}",
            "RESTATE_LOG_FILTER": "error",
        }
        words = [command, "--no-logo", "--node-name", "bench", "--base-dir", str(self.folder)]
        child = self.launch(words, log="server.log", environment=environment)
        wait_until(lambda: is_listening(self._admin), child)
        wait_until(lambda: is_listening(self.port), child)
        wait_until(self._is_registered, child)
        wait_until(self._is_answering, child)

    def _is_registered(self) -> bool:
        body = {"uri": f"http://127.0.0.1:{self._object}", "force": True}
        return self._post(self._admin, "/deployments", json.dumps(body)) in (200, 201, 202)

    def _is_answering(self) -> bool:
        return self._post(self.port, "/counter/warm/look", "") == 200

    @staticmethod
    def _post(port: int, path: str, body: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def roads(self) -> list[Road]:
        wire = Wire(kind="http", host="127.0.0.1", port=self.port, words=_words)
        return [Road(label="Restate virtual object, HTTP", wire=wire, shape=EACH)]
