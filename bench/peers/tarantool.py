"""Tarantool with functions in Lua over iproto, its log synced before each answer."""

from __future__ import annotations

from typing import Any

from bench.peers.packages import APPS, version_of
from bench.peers.peer import EACH, ONE, Peer, Road
from bench.peers.processes import free_port, is_listening, wait_until
from bench.peers.wires import Action, Wire


def _words(action: Action) -> tuple[str, list[Any]]:
    return action.handler, [action.entity, *action.arguments]


class Tarantool(Peer):
    """One tarantool; Debian has an old one, and that is said beside its figures."""

    name = "tarantool"
    durability = "write-ahead log, wal_mode fsync"

    def start(self) -> None:
        command, environment = self.packages.find_command("tarantool", "tarantool")
        self.version = version_of([command, "--version"], environment)
        self.settings = ["wal_mode fsync", "memtx, 2 GiB", "transfer in one box transaction"]
        self.port = free_port()
        words = [command, str(APPS / "tarantool" / "counter.lua"), str(self.port)]
        child = self.launch(
            [*words, str(self.folder)], log="tarantool.log", environment=environment
        )
        wait_until(lambda: is_listening(self.port), child)
        wait_until(lambda: "ready" in child.last_words(), child)

    def roads(self) -> list[Road]:
        wire = Wire(kind="iproto", host="127.0.0.1", port=self.port, words=_words)
        return [
            Road(label="Tarantool, pipelined", wire=wire, shape=ONE),
            Road(label="Tarantool", wire=wire, shape=EACH, is_main=False),
        ]
