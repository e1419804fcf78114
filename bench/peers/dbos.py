"""DBOS on a PostgreSQL of its own, behind the least HTTP server there is (apps/dbos)."""

from __future__ import annotations

from pathlib import Path

from bench.peers.packages import APPS, Packages, version_of
from bench.peers.peer import EACH, Peer, Road
from bench.peers.processes import MissingError, free_port, is_listening, kill_all, tree, wait_until
from bench.peers.wires import Action, Wire
from lithox.testing.postgres_server import PostgresServer


def _words(action: Action) -> tuple[str, str]:
    others = "".join(f"/{one}" for one in action.arguments)
    return f"/{action.entity}/{action.handler}{others}", "{}"


class Database:
    """A PostgreSQL that a peer brings along; its processes are the peer's."""

    def __init__(self, folder: Path) -> None:
        try:
            self.server = PostgresServer(parent=folder)
        except (FileNotFoundError, RuntimeError) as error:
            raise MissingError(str(error)) from None
        self.version = version_of([str(self.server.programs / "postgres"), "--version"])

    def pids(self) -> list[int]:
        """Returns its processes."""
        process = self.server._process
        return [] if process is None else tree([process.pid])

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        kill_all(self.pids())
        self.server.kill()


class Dbos(Peer):
    """One Python process with DBOS, one PostgreSQL."""

    name = "dbos"
    durability = "PostgreSQL, synchronous_commit on"
    round_times = 4.0

    def __init__(self, packages: Packages, folder: Path) -> None:
        super().__init__(packages, folder)
        self._database: Database | None = None
        self.port = 0

    def start(self) -> None:
        python = self.packages.python_with_dbos()
        if self._database is None:
            self._database = Database(self.folder)
        elif not self._database.pids():
            self._database.server.start()
        asked = "import importlib.metadata as m; print('dbos', m.version('dbos'))"
        self.version = f"{version_of([str(python), '-c', asked])}, {self._database.version}"
        self.settings = [
            "each call a workflow with one SERIALIZABLE transaction (the default)",
            "pool of 20",
            "Python's ThreadingHTTPServer in the same process",
        ]
        self.port = free_port()
        url = self._database.server.address().replace("postgresql://", "postgresql+psycopg://", 1)
        words = [str(python), str(APPS / "dbos" / "counter.py"), str(self.port), url]
        child = self.launch(words, log="dbos.log")
        wait_until(lambda: is_listening(self.port), child)

    def pids(self) -> list[int]:
        found = super().pids()
        return found if self._database is None else [*found, *self._database.pids()]

    def stop(self) -> None:
        super().stop()
        if self._database is not None:
            self._database.server.close()
            self._database = None

    def kill(self) -> None:
        if self._database is not None:
            self._database.kill()
        super().kill()

    def roads(self) -> list[Road]:
        wire = Wire(kind="http", host="127.0.0.1", port=self.port, words=_words)
        return [Road(label="DBOS on PostgreSQL, HTTP", wire=wire, shape=EACH)]
