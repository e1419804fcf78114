"""Who may open the database: one store at a time, on one machine.

SQLite itself lets several processes write in turn, which would be wrong here: the core holds what
is visible in memory. So a store holds an exclusive `flock` on a file beside the database. It is a
file of its own because closing any descriptor of the database would drop SQLite's own locks (they
are POSIX locks); the kernel drops it with the process, so a crash leaves nothing to clean up.
The file also remembers that the database was made: one that is empty later was emptied.
Other programs may read the database meanwhile; they must not write.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from lithox.errors import ConfigError, StoreInUse

LOCK_SUFFIX = "-lock"
_MARK = "the database is made\n"


class StoreLock:
    """The held lock; `release` gives it up.

    Attributes:
        had_state: the database beside it has been made at some time.
    """

    __slots__ = ("_descriptor", "had_state")

    def __init__(self, database: Path) -> None:
        """Takes the lock of `database`.

        Raises:
            StoreInUse: another store, of this process or another, holds it.
            ConfigError: the folder does not exist or cannot be written.
        """
        path = database.with_name(database.name + LOCK_SUFFIX)
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"cannot open {path}: {error.strerror}; the store needs a folder it may write to"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._read().partition("\n")[0].strip()
            os.close(self._descriptor)
            raise StoreInUse(
                f"{database} is in use by process {holder or 'unknown'}; stop it first, or open "
                "another database"
            ) from error
        self.had_state = self._read().endswith(_MARK)
        self._write()

    def mark_state(self) -> None:
        """Notes that the database is made; to be called after its first sync."""
        if not self.had_state:
            self.had_state = True
            self._write()

    def _read(self) -> str:
        return os.pread(self._descriptor, 64, 0).decode("ascii", "replace")

    def _write(self) -> None:
        content = f"{os.getpid()}\n{_MARK if self.had_state else ''}".encode()
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))

    def release(self) -> None:
        """Gives the lock up; the file stays, since removing it would race with the next holder."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
