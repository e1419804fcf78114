"""Nodes that are made to end badly and start again over what is left.

Invariants: one process at a time holds a data directory; `kill` does not wait; whatever `start` has
started `close` ends, by its own pid.
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path
from random import Random

from lithox.testing.postgres_server import NOT_INSTALLED, PostgresServer, find_programs
from tests.e2e.node.serving import COMMAND, Served

CHILD = Path(__file__).with_name("power_cut_node.py")
STORE_NAME = "lithox.db"


class EmbeddedNode:
    """A node on SQLite; its end is SIGKILL.

    Args:
        data: a data directory with everything deployed.
        random: decides what the end is like.
    """

    key = "sqlite"
    name = "SQLite"

    @classmethod
    def find_lack(cls) -> str | None:
        """Returns what this machine lacks for it; None: nothing."""
        return None

    def __init__(self, data: Path, random: Random) -> None:
        self.data = data
        self.random = random
        self.served: Served | None = None

    @property
    def url(self) -> str:
        """Where the node listens, which is another place after each start."""
        assert self.served is not None
        return self.served.url

    def start(self) -> None:
        """Starts the node. Blocks until it is ready."""
        self.served = Served(self.data, *self.arguments(), command=self.command())

    def command(self) -> list[str]:
        """Returns what runs `lithox`."""
        return COMMAND

    def arguments(self) -> list[str]:
        """Returns further options of `serve`."""
        return []

    def disturb(self) -> None:
        """Takes away for a moment what the node needs. Blocks until it is back; mostly nothing."""

    def kill(self) -> None:
        """Ends the node in the middle of what it does; does not wait."""
        assert self.served is not None
        self.served.process.send_signal(signal.SIGKILL)

    def bury(self) -> None:
        """Waits for the end and leaves the data as the next start is to find it."""
        assert self.served is not None
        assert self.served.wait() == -signal.SIGKILL
        self.served.close()

    def stop(self) -> None:
        """Ends the node as an operator would."""
        assert self.served is not None
        assert self.served.stop(signal.SIGTERM) == 0
        self.served.close()

    def close(self) -> None:
        """Leaves no process behind."""
        if self.served is not None:
            self.served.close()


class PowerCutNode(EmbeddedNode):
    """A node on SQLite over a disk that forgets what was not synced; its end is a power cut."""

    key = "power"
    name = "SQLite on a disk that loses power"
    synchronous = "FULL"

    @property
    def image(self) -> Path:
        """Where the child puts what the disk might hold."""
        return self.data.with_name(f"{self.data.name}.image")

    def command(self) -> list[str]:
        """Returns what runs `lithox` over the lossy disk."""
        shutil.rmtree(self.image, ignore_errors=True)
        self.image.mkdir()
        seed = str(self.random.randrange(1 << 30))
        return [sys.executable, str(CHILD), str(self.image), seed, self.synchronous]

    def kill(self) -> None:
        """Asks for a power cut a few writes from now."""
        assert self.served is not None
        self.served.process.send_signal(signal.SIGUSR1)

    def bury(self) -> None:
        """Puts the image of the disk in the place of the files that the page cache has kept."""
        super().bury()
        for end in ("", "-wal", "-shm", "-journal"):
            (self.data / f"{STORE_NAME}{end}").unlink(missing_ok=True)
        for path in self.image.iterdir():
            shutil.copy(path, self.data / path.name)


class UnsyncedNode(PowerCutNode):
    """The same with a planted fault: the disk is not waited for."""

    key = "unsynced"
    name = "SQLite without syncs"
    synchronous = "OFF"


class PostgresNode(EmbeddedNode):
    """A node whose state is on a PostgreSQL server, which is killed too: alone or with the node."""

    key = "postgres"
    name = "PostgreSQL"

    def __init__(self, data: Path, random: Random) -> None:
        super().__init__(data, random)
        self._is_server_dead = False
        self.server = PostgresServer()
        self.config = data.with_name(f"{data.name}.toml")
        self.config.write_text(f'store = "{self.server.address()}"\nstore_migrate = "apply"\n')

    @classmethod
    def find_lack(cls) -> str | None:
        """Returns what this machine lacks for it; None: nothing."""
        return NOT_INSTALLED if find_programs() is None else None

    def arguments(self) -> list[str]:
        """Returns further options of `serve`."""
        return ["--config", str(self.config)]

    def disturb(self) -> None:
        """Kills the server in two rounds of three, and starts it again."""
        if self.random.random() < 2 / 3:
            self.server.kill()
            self.server.start()

    def kill(self) -> None:
        """Kills the node; in one round of three the server before it."""
        self._is_server_dead = self.random.random() < 1 / 3
        if self._is_server_dead:
            self.server.kill()
        super().kill()

    def bury(self) -> None:
        """Waits for the node's end; the server is started again."""
        super().bury()
        if self._is_server_dead:
            self.server.start()

    def close(self) -> None:
        """Leaves no process behind, and no database."""
        super().close()
        self.server.close()


NODES: dict[str, type[EmbeddedNode]] = {
    kind.key: kind for kind in (EmbeddedNode, PowerCutNode, PostgresNode)
}
"""Every kind of node that must survive."""
