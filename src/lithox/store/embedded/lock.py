"""Who may open the database: one store at a time, on one machine.

SQLite itself lets several processes write in turn, which would be wrong here: the core holds what
is visible in memory. So a store holds an exclusive `flock` on a file beside the database. It is a
file of its own because closing any descriptor of the database would drop SQLite's own locks (they
are POSIX locks); the kernel drops it with the process, so a crash leaves nothing to clean up.
Other programs may read the database meanwhile; they must not write.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from lithox.errors import ConfigError, StoreInUse

LOCK_SUFFIX = "-lock"


class StoreLock:
    """The held lock; `release` gives it up."""

    __slots__ = ("_descriptor",)

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
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise StoreInUse(
                f"{database} is in use by process {holder or 'unknown'}; stop it first, or open "
                "another database"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Gives the lock up; the file stays, since removing it would race with the next holder."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
