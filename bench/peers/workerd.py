"""workerd with a Durable Object on SQLite; its output gate holds an answer until it is synced."""

from __future__ import annotations

from bench.peers.packages import APPS, version_of
from bench.peers.peer import EACH, Peer, Road
from bench.peers.processes import MissingError, free_port, is_listening, wait_until
from bench.peers.wires import Action, Wire


def _words(action: Action) -> tuple[str, str]:
    return f"/{action.entity}/{action.handler}", "{}"


class Workerd(Peer):
    """One workerd."""

    name = "workerd"
    durability = "SQLite of each object, output gate"

    def start(self) -> None:
        modules = self.packages.node_modules()
        found = sorted(modules.glob("@cloudflare/workerd-*/bin/workerd"))
        if not found:
            raise MissingError("npm has no workerd for this processor")
        self.version = version_of([str(found[0]), "--version"])
        self.settings = ["enableSql", "localDisk", "ctx.storage.kv"]
        self.cannot["transfer"] = "two objects have no transaction in common"
        self.port = free_port()
        config = (APPS / "workerd" / "config.capnp").read_text().replace("PORT", str(self.port))
        (self.folder / "config.capnp").write_text(config)
        (self.folder / "counter.mjs").write_text((APPS / "workerd" / "counter.mjs").read_text())
        (self.folder / "objects").mkdir(exist_ok=True)
        child = self.launch([str(found[0]), "serve", "config.capnp"], log="workerd.log")
        wait_until(lambda: is_listening(self.port), child)

    def roads(self) -> list[Road]:
        wire = Wire(kind="http", host="127.0.0.1", port=self.port, words=_words)
        return [Road(label="workerd Durable Object, HTTP", wire=wire, shape=EACH)]
