"""Redis with functions in Lua: `FCALL`, and the append-only file synced before each answer."""

from __future__ import annotations

from typing import Any

from bench.peers.packages import APPS, version_of
from bench.peers.peer import EACH, ONE, Peer, Road
from bench.peers.processes import free_port, is_listening, wait_until
from bench.peers.wires import Action, RespReader, Wire, resp_message

_KEYS = {"give": 2}


def _words(action: Action) -> list[str]:
    keys = [action.entity, *[str(one) for one in action.arguments]]
    if action.handler == "look":
        return ["FCALL_RO", "look", "1", action.entity]
    return ["FCALL", action.handler, str(_KEYS.get(action.handler, 1)), *keys]


class Redis(Peer):
    """One redis-server."""

    name = "redis"
    durability = "append-only file, appendfsync always"

    def start(self) -> None:
        command, environment = self.packages.find_command("redis-server", "redis-server")
        self.version = version_of([command, "--version"], environment).split(" sha")[0]
        self.port = free_port()
        settings = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self.settings = ["appendonly yes", "appendfsync always", "save ''"]
        words = [command, "--port", str(self.port), "--bind", "127.0.0.1", *settings]
        child = self.launch(
            [*words, "--dir", str(self.folder)], log="redis.log", environment=environment
        )
        wait_until(lambda: is_listening(self.port), child)
        wait_until(self._is_loaded, child)
        code = (APPS / "redis" / "counter.lua").read_text()
        self._ask("FUNCTION", "LOAD", "REPLACE", code)

    def _is_loaded(self) -> bool:
        return self._ask("PING") in (b"PONG", "PONG")

    def _ask(self, *words: str) -> Any:
        import socket

        with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
            sock.sendall(resp_message(words))
            reader = RespReader()
            while not (found := reader.feed(sock.recv(4096))):
                pass
            return found[0].value

    def roads(self) -> list[Road]:
        wire = Wire(kind="resp", host="127.0.0.1", port=self.port, words=_words)
        return [
            Road(label="Redis FCALL, pipelined", wire=wire, shape=ONE),
            Road(label="Redis FCALL", wire=wire, shape=EACH, is_main=False),
        ]
