"""One node per data directory: an advisory lock that dies with its holder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from lithox.errors import ConfigError, StoreInUse

LOCK_NAME: Final = "node.lock"


class DirectoryLock:
    """Holds a data directory from `open` to `close`.

    The lock is `flock` on a file that stays: it is freed by the operating system when the process
    ends in whatever way, so nobody has to remove a stale one.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def open(cls, folder: Path) -> DirectoryLock:
        """Makes `folder` if need be and takes its lock. Does not wait.

        Raises:
            StoreInUse: another process (or another node in this one) holds it.
            ConfigError: the folder cannot be made or written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"data directory {folder}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise StoreInUse(
                f"data directory {folder} is in use by process {holder or 'unknown'}; "
                "stop that node, or name another directory"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    @property
    def descriptor(self) -> int:
        """The open file that holds the lock: whoever inherits it holds the directory, too."""
        return self._descriptor

    def close(self) -> None:
        """Frees the directory, unless another process holds what it has inherited. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
