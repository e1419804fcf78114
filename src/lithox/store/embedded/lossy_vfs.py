"""A disk that can lose power, hold still, or refuse: a test helper, shipped so that anyone can.

SIGKILL proves nothing about syncing, since what was written survives in the page cache. This VFS
passes everything through to real files and keeps beside them what a power cut could leave: of
each file the content at its last sync, and every write since. `write_image` then makes a folder
as the next start might find it: unsynced writes forgotten, kept, or torn into sectors of which
some arrive and some do not. Creating and deleting a file counts as durable at once.

Names of files are compared by their path, so several connections share one state. Writes come
from the writer's thread only; `write_image` is called there, or while it is held.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import apsw

SECTOR_BYTES: Final = 512
"""The smallest unit a disk writes wholly or not at all; SQLite relies on no more."""


class _FileState:
    """One file: what a power cut cannot take, and the changes since, in order."""

    __slots__ = ("durable", "unsynced")

    def __init__(self, durable: bytes) -> None:
        self.durable = bytearray(durable)
        self.unsynced: list[tuple[int, bytes | None]] = []
        """(offset, data), or (size, None) for a truncation."""

    def image(self, random: Random | None, *, keep_share: float) -> bytes:
        """Returns the content after a power cut; `keep_share` of the unsynced sectors arrive."""
        content = bytearray(self.durable)
        for offset, data in self.unsynced:
            if data is None:
                if keep_share > 0 and (random is None or random.random() < keep_share):
                    del content[offset:]
                continue
            position = 0
            while position < len(data):
                size = SECTOR_BYTES - (offset + position) % SECTOR_BYTES
                if keep_share >= 1 or (random is not None and random.random() < keep_share):
                    _put(content, offset + position, data[position : position + size])
                position += size
        return bytes(content)

    def sync(self) -> None:
        for offset, data in self.unsynced:
            if data is None:
                del self.durable[offset:]
            else:
                _put(self.durable, offset, data)
        self.unsynced.clear()


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class LossyDisk(apsw.VFS):
    """The VFS; register it by making it, forget it with `unregister`.

    Attributes:
        refusal: raised by every write while it is not None (`apsw.FullError("no room")`).
        sync_refusal: raised by every sync while it is not None.
        syncs: number of syncs by the end of the file's name: "" or "-wal".
        writes: number of writes, likewise.
        on_write: called with the end of the file's name after every write.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.files: dict[str, _FileState] = {}
        self.refusal: Exception | None = None
        self.sync_refusal: Exception | None = None
        self.syncs: Counter[str] = Counter()
        self.writes: Counter[str] = Counter()
        self.on_write: Callable[[str], None] | None = None
        self._may_write = threading.Event()
        self._may_write.set()
        super().__init__(name, "")

    def hold(self) -> None:
        """Lets every write to the log wait until `release`."""
        self._may_write.clear()

    def release(self) -> None:
        self._may_write.set()

    def wait_allowed(self) -> None:
        self._may_write.wait()

    def write_image(
        self, folder: Path, *, random: Random | None = None, keep_share: float = 0.0
    ) -> None:
        """Writes every file as it might be found after a power cut now into `folder`.

        Args:
            folder: an existing one; files keep their names.
            random: decides which sectors arrive; not needed for a share of 0 or 1.
            keep_share: how many of the unsynced sectors arrive, 0 to 1.
        """
        for path, state in list(self.files.items()):
            (folder / Path(path).name).write_bytes(state.image(random, keep_share=keep_share))

    # The VFS.

    def xOpen(self, name: Any, flags: list[int]) -> LossyFile:  # noqa: N802 - SQLite's name
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        file = Path(path)
        if path not in self.files:
            self.files[path] = _FileState(file.read_bytes() if file.exists() else b"")
        return LossyFile(self, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802, FBT001 - SQLite's
        super().xDelete(filename, syncdir)
        self.files.pop(filename, None)


class LossyFile(apsw.VFSFile):
    """One open file; see LossyDisk."""

    def __init__(self, disk: LossyDisk, path: str, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._path = path
        self._kind = "-wal" if path.endswith("-wal") else ""

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        disk = self._disk
        if self._kind == "-wal":
            disk.wait_allowed()
        if disk.refusal is not None:
            raise disk.refusal
        super().xWrite(data, offset)
        disk.writes[self._kind] += 1
        disk.files[self._path].unsynced.append((offset, bytes(data)))
        if disk.on_write is not None:
            disk.on_write(self._kind)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(newsize)
        self._disk.files[self._path].unsynced.append((newsize, None))

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        disk = self._disk
        if disk.sync_refusal is not None:
            raise disk.sync_refusal
        super().xSync(flags)
        disk.syncs[self._kind] += 1
        disk.files[self._path].sync()
