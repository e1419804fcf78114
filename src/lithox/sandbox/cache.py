"""Where are compiled modules kept between starts?

One file per (module, engine version, engine configuration, machine), so that a node starts in
milliseconds where compiling takes a second. A cache and nothing more: safe to delete at any time.

What is in a file becomes machine code of this process. So a file is only used when the digest it
begins with fits its content (a torn or changed one is removed and rebuilt), and only in a directory
that is ours and that nobody else may write to: who may write there is trusted as the node is. In
any other directory the cache is simply off.

File: 8 bytes magic, 32 bytes SHA-256 of (key, payload), payload.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import tempfile
from pathlib import Path
from typing import Final

MAGIC: Final = b"lxmod\0\0\1"
DIGEST_BYTES: Final = 32
HEADER_BYTES: Final = len(MAGIC) + DIGEST_BYTES
ENTRY_BYTES_MAX: Final = 64 << 20
ENTRIES_MAX: Final = 32
"""A compiled Lua module is 1.5 MB, so the directory stays below about 50 MB in practice."""
_SUFFIX: Final = ".lxmod"
_WRITE_BY_OTHERS: Final = 0o022


def make_key(wasm: bytes, *, version: str, configuration: str) -> str:
    """Returns the name of the entry of `wasm` for this engine on this machine."""
    parts = (hashlib.sha256(wasm).hexdigest(), version, configuration, platform.machine())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class ModuleCache:
    """Compiled modules in a directory. Several processes may share it.

    Attributes:
        hits: entries found and intact.
        misses: entries absent.
        refused: entries that were damaged, and removed.
    """

    __slots__ = ("_directory", "hits", "misses", "refused")

    def __init__(self, directory: Path) -> None:
        """Keeps entries in `directory`, which is made when the first one is written."""
        self._directory = directory
        self.hits = 0
        self.misses = 0
        self.refused = 0

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}{_SUFFIX}"

    def _is_safe(self) -> bool:
        """Says whether the directory is there and nobody but us may write to it."""
        try:
            status = self._directory.stat()
        except OSError:
            return False
        return status.st_uid == os.geteuid() and not status.st_mode & _WRITE_BY_OTHERS

    def find(self, key: str) -> bytes | None:
        """Returns the payload kept under `key`, or None. Blocks: reads a file."""
        path = self._path(key)
        if not self._is_safe():
            self.misses += 1
            return None
        try:
            if path.stat().st_size > ENTRY_BYTES_MAX + HEADER_BYTES:
                raise ValueError
            content = path.read_bytes()
        except FileNotFoundError:
            self.misses += 1
            return None
        except (OSError, ValueError):
            self.refuse(key)
            return None
        payload = content[HEADER_BYTES:]
        if content[:HEADER_BYTES] != MAGIC + _digest(key, payload):
            self.refuse(key)
            return None
        self.hits += 1
        with contextlib.suppress(OSError):
            os.utime(path)
        return payload

    def refuse(self, key: str) -> None:
        """Removes an entry that cannot be used."""
        self.refused += 1
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def save(self, key: str, payload: bytes) -> None:
        """Keeps `payload` under `key`, whole or not at all; a full disk is no error.

        Blocks: writes a file.
        """
        if len(payload) > ENTRY_BYTES_MAX:
            return
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_safe():
                return
            descriptor, temporary = tempfile.mkstemp(dir=self._directory, suffix=".part")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(MAGIC + _digest(key, payload))
                    file.write(payload)
                Path(temporary).replace(self._path(key))
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise
            self._remove_oldest()

    def _remove_oldest(self) -> None:
        """Keeps the `ENTRIES_MAX` entries used last."""
        entries = sorted(self._directory.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime)
        for path in entries[: max(0, len(entries) - ENTRIES_MAX)]:
            path.unlink(missing_ok=True)


def _digest(key: str, payload: bytes) -> bytes:
    return hashlib.sha256(key.encode() + payload).digest()
