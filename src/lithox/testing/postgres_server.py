"""A real PostgreSQL server for tests and benchmarks: its own folder, user, port and passwords.

The programs are Debian's `postgresql` package or whatever `pg_config` names. The server refuses to
run as root, so root starts it as another user. It listens on 127.0.0.1 only, with passwords made
for it, and is ended by its own process id.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

START_S_MAX: Final = 60.0
_POLL_S: Final = 0.02
_USERS: Final = ("postgres", "nobody")
_PROGRAMS: Final = ("initdb", "postgres", "psql")
OWNER: Final = "lithox"
ADMIN: Final = "postgres"
DATABASE: Final = "lithox"
NOT_INSTALLED: Final = "no PostgreSQL server is installed (apt-get install postgresql)"


def find_programs() -> Path | None:
    """Returns the folder of the server's programs, the newest there is; None: not installed."""
    config = shutil.which("pg_config")
    found = [Path("/usr/lib/postgresql"), Path("/usr/local/pgsql")]
    folders = [path for base in found for path in base.glob("*/bin")]
    folders.sort(
        key=lambda path: [int(word) for word in path.parent.name.split(".") if word.isdigit()]
    )
    if config is not None:
        said = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)  # noqa: S603
        folders.insert(0, Path(said.stdout.strip()))
    usable = [path for path in folders if all((path / name).exists() for name in _PROGRAMS)]
    return usable[-1] if usable else None


class PostgresServer:
    """One server in a folder of its own; a context manager.

    Attributes:
        port: where it listens on 127.0.0.1.
        password: of the roles OWNER, who owns the database, and ADMIN, who may do everything.
    """

    def __init__(
        self, settings: Mapping[str, str] | None = None, *, parent: Path | None = None
    ) -> None:
        """Makes the folder and its database. Blocks for about two seconds.

        Args:
            settings: settings of the server besides ours.
            parent: where its folder is made; None: where temporary files are.

        Raises:
            FileNotFoundError: the server is not installed.
        """
        programs = find_programs()
        if programs is None:
            raise FileNotFoundError(NOT_INSTALLED)
        self.programs = programs
        self._settings = dict(settings or {})
        self._user = _unprivileged_user()
        self.folder = Path(tempfile.mkdtemp(prefix="lithox-postgres-", dir=parent))
        self.password = secrets.token_hex(12)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._make()
            self.start()
            self._make_database()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def address(
        self, role: str = OWNER, database: str = DATABASE, *, port: int | None = None
    ) -> str:
        """Returns the address for `role`, password included; `port`: of a proxy before it."""
        return f"postgresql://{role}:{self.password}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Starts it, again after `stop` or `kill`. Blocks until it takes connections.

        Raises:
            RuntimeError: it does not.
        """
        end = time.monotonic() + START_S_MAX
        while True:
            self._process = self._spawn()
            if self._wait_ready(end):
                return
            # After SIGKILL its children need a moment to see that their parent is gone.
            if time.monotonic() > end:
                raise RuntimeError(f"the server does not start; see {self.folder / 'log'}")
            time.sleep(_POLL_S)

    def kill(self) -> None:
        """Ends it and its children with SIGKILL, as a power cut would. Blocks until it is gone."""
        if self._process is not None:
            self._signal_all(signal.SIGKILL)
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stops it and its children until `resume`: connections stay, and nobody answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on after `pause`."""
        self._signal_all(signal.SIGCONT)

    def stop(self) -> None:
        """Ends it in good order; connections are cut. Blocks."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Ends it and removes its folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal_all(self, number: signal.Signals) -> None:
        """Signals it and its children: alone they would go on with what they are doing."""
        assert self._process is not None, "it runs"
        pid = self._process.pid
        with suppress(OSError):
            listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            self._process.send_signal(number)
            for child in listed.split():
                with suppress(ProcessLookupError):
                    os.kill(int(child), number)

    def _make(self) -> None:
        word = self.folder / "password"
        word.write_text(self.password)
        if self._user is not None:
            for path in (self.folder, word):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        arguments = ["--auth=scram-sha-256", f"--username={ADMIN}", f"--pwfile={word}", "--no-sync"]
        arguments += ["--encoding=UTF8", "--locale=C", f"--pgdata={self.folder / 'data'}"]
        log = self.folder / "log"
        with log.open("ab") as output:
            words = [str(self.programs / "initdb"), *arguments]
            if self._run(words, output).wait() != 0:
                said = log.read_text(errors="replace")[-500:]
                raise RuntimeError(f"initdb failed: {said}")

    def _make_database(self) -> None:
        is_made = self._execute(
            f"CREATE ROLE {OWNER} LOGIN PASSWORD '{self.password}';\n"
            f"CREATE DATABASE {DATABASE} OWNER {OWNER};\n"
        )
        if not is_made:
            raise RuntimeError(f"the server makes no database; see {self.folder / 'log'}")

    def _execute(self, statements: str) -> bool:
        """Returns whether the server ran `statements` as ADMIN.

        By the server's own `psql`, since only the store sees a driver; the password goes by its
        environment, where no list of processes shows it.
        """
        address = f"postgresql://{ADMIN}@127.0.0.1:{self.port}/postgres?connect_timeout=2"
        words = [str(self.programs / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
        done = subprocess.run(  # noqa: S603 - words of this module only
            [*words, f"--dbname={address}"],
            input=statements.encode(),
            env={**os.environ, "PGPASSWORD": self.password},
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    def _spawn(self) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            **self._settings,
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as output:
            return self._run(
                [str(self.programs / "postgres"), "-D", str(self.folder / "data"), *words], output
            )

    def _wait_ready(self, end: float) -> bool:
        """Returns whether it takes connections; False: it has ended or does not in time."""
        assert self._process is not None, "called by start"
        while time.monotonic() < end:
            if self._execute("SELECT 1 \\g /dev/null\n"):
                return True
            if self._process.poll() is not None:
                return False
            time.sleep(_POLL_S)
        return False

    def _run(self, words: list[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Starts a program as the user that may run the server."""
        user = self._user
        return subprocess.Popen(  # noqa: S603 - words of this module only
            words,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            user=None if user is None else user.pw_uid,
            group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
        )


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Returns the user to run the server as; None: whoever we are."""
    if os.geteuid() != 0:
        return None
    for name in _USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError(f"root cannot run the server, and there is no user {' or '.join(_USERS)}")
