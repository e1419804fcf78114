"""Where is machine code kept between starts?

One file per (module, engine version, engine configuration, machine), so that a node starts in
milliseconds where compiling takes seconds. A cache and nothing more: safe to delete at any time,
also while a node runs.

What is in a file becomes machine code of this process, so a file is believed only when this node
has written it, under the name it has. It begins with a keyed digest of its name and content; the
key is 32 random bytes in a file of its own beside the directory (`cache` -> `cache.key`), which
nobody but us may read. So an entry that is torn, changed, given another's name, copied from another
node or written by somebody else is removed and made again. Besides, the directory must be ours and
nobody else may write to it; in any other the cache is simply off.

An engine may keep its entries in a part of the cache, a folder in the directory. The key and the
bounds are those of the whole; who writes in one part removes what is beyond them in any.

Trusted: who can read the key file is the node itself, or the administrator of its machine.

File: 8 bytes magic, 32 bytes HMAC-SHA-256 of (name, payload), payload.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import platform
import secrets
import stat
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

MAGIC: Final = b"lxmod\0\0\2"
DIGEST_BYTES: Final = 32
HEADER_BYTES: Final = len(MAGIC) + DIGEST_BYTES
KEY_BYTES: Final = 32
KEY_SUFFIX: Final = ".key"
PART_SUFFIX: Final = ".part"
"""What the name of a file ends with that is being written."""
PART_AGE_S_MAX: Final = 3600
"""A file that was begun so long ago belongs to a node that died while it wrote."""
_SUFFIX: Final = ".lxmod"
_WRITE_BY_OTHERS: Final = 0o022
_ANY_BY_OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheBounds:
    """How much a directory may hold; what was used longest ago goes first.

    Attributes:
        entries_max: files.
        bytes_max: all files together. A compiled interpreter has 1.5 to 6 MB, a component with
            CPython in it above 100 MB.
    """

    entries_max: int = 256
    bytes_max: int = 2 << 30

    @property
    def entry_bytes_max(self) -> int:
        """Bytes of one payload: a quarter of all, so that one does not drive out the others."""
        return self.bytes_max // 4


DEFAULT_BOUNDS: Final = CacheBounds()
_bounds: Final[dict[Path, CacheBounds]] = {}
"""Directory -> its bounds, from `set_bounds` to `forget_bounds`: one entry a node that is open."""
_key_lock: Final = threading.Lock()


def set_bounds(directory: Path, bounds: CacheBounds) -> None:
    """Bounds a directory for every `ModuleCache` of this process, whichever engine made it.

    Blocks: for a look at each file there.
    """
    _bounds[directory] = bounds
    ModuleCache(directory).trim()


def forget_bounds(directory: Path) -> None:
    """Ends what `set_bounds` began; the default holds again. Harmless where nothing was set."""
    _bounds.pop(directory, None)


def make_key(wasm: bytes, *, version: str, configuration: str) -> str:
    """Returns the name of the entry of `wasm` for this engine on this machine."""
    parts = (hashlib.sha256(wasm).hexdigest(), version, configuration, platform.machine())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class ModuleCache:
    """Compiled modules in a directory. Several threads and processes may share it.

    Attributes:
        hits: entries found and intact.
        misses: entries absent.
        refused: entries that were not as this node wrote them, and removed.
        compiled: payloads given to be kept, so how often something was compiled.
    """

    __slots__ = ("_directory", "_lock", "_root", "compiled", "hits", "misses", "refused")

    def __init__(self, directory: Path, *, part: str = "") -> None:
        """Keeps entries in `directory`, which is made when the first one is written.

        Args:
            directory: the whole cache.
            part: name of the folder in it for these entries; "" for the directory itself.
        """
        self._root = directory
        self._directory = directory / part
        self._lock = threading.Lock()
        self.hits = 0
        self.misses = 0
        self.refused = 0
        self.compiled = 0

    @property
    def bounds(self) -> CacheBounds:
        """What the directory may hold, all parts together."""
        return _bounds.get(self._root, DEFAULT_BOUNDS)

    def find(self, key: str) -> bytes | None:
        """Returns the payload kept under `key`, or None.

        Blocks: reads a file and takes its digest, 1.5 ms a megabyte at most.
        """
        secret = self._find_secret() if self._is_safe() else None
        if secret is None:
            self._count("misses")
            return None
        try:
            with _open_own(self._path(key)) as file:
                size = os.fstat(file.fileno()).st_size - HEADER_BYTES
                if size > self.bounds.entry_bytes_max:
                    raise OSError("larger than anything that was kept here")
                header = file.read(HEADER_BYTES)
                payload = file.read(max(0, size))
        except FileNotFoundError:
            self._count("misses")
            return None
        except OSError:
            self.refuse(key)
            return None
        if not hmac.compare_digest(header, MAGIC + _digest(secret, key, payload)):
            self.refuse(key)
            return None
        self._count("hits")
        with contextlib.suppress(OSError):
            os.utime(self._path(key))
        return payload

    def refuse(self, key: str) -> None:
        """Removes an entry that cannot be used."""
        self._count("refused")
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def save(self, key: str, payload: bytes) -> None:
        """Keeps `payload` under `key`, whole or not at all; a full disk is no error.

        Blocks: writes a file.
        """
        self._count("compiled")
        if len(payload) > self.bounds.entry_bytes_max:
            return
        with contextlib.suppress(OSError):
            if not self._make_directory():
                return
            header = MAGIC + _digest(self._make_secret(), key, payload)
            descriptor, temporary = tempfile.mkstemp(dir=self._directory, suffix=PART_SUFFIX)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(header)
                    file.write(payload)
                Path(temporary).replace(self._path(key))
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise
        self.trim()

    def find_scratch(self) -> Path | None:
        """Returns the directory for large files without a name; None where the cache is off.

        It is on the disk, where a system's directory for temporary files may be memory.
        """
        with contextlib.suppress(OSError):
            if self._make_directory():
                return self._root
        return None

    def trim(self) -> None:
        """Removes what is beyond the bounds, longest unused first, and what was left half written.

        Of all parts together. Blocks: for a look at each file.
        """
        with contextlib.suppress(OSError):
            if not _is_ours_alone(self._root):
                return
            entries: list[tuple[float, int, Path]] = []
            folders = [path for path in self._root.iterdir() if _is_ours_alone(path)]
            for folder in (self._root, *folders):
                with contextlib.suppress(OSError):
                    entries += _list_entries(folder)
            entries.sort(reverse=True)
            total_bytes = 0
            for count, (_, size, path) in enumerate(entries, 1):
                total_bytes += size
                if count > self.bounds.entries_max or total_bytes > self.bounds.bytes_max:
                    path.unlink(missing_ok=True)

    def _count(self, name: str) -> None:
        with self._lock:
            setattr(self, name, getattr(self, name) + 1)

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}{_SUFFIX}"

    def _make_directory(self) -> bool:
        """Makes the directory where there is none; says whether it is safe. Raises OSError."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.mkdir(mode=0o700, exist_ok=True)
        return self._is_safe()

    def _is_safe(self) -> bool:
        """Says whether the directory is there and nobody but us may write to it."""
        return _is_ours_alone(self._root) and _is_ours_alone(self._directory)

    # -- the key ------------------------------------------------------------------------------

    @property
    def _secret_path(self) -> Path:
        return self._root.with_name(self._root.name + KEY_SUFFIX)

    def _find_secret(self) -> bytes | None:
        """Returns the key, or None: there is none, or somebody else may know it."""
        try:
            with _open_own(self._secret_path) as file:
                if os.fstat(file.fileno()).st_mode & _ANY_BY_OTHERS:
                    return None
                secret = file.read(KEY_BYTES + 1)
        except OSError:
            return None
        return secret if len(secret) == KEY_BYTES else None

    def _make_secret(self) -> bytes:
        """Returns the key, made anew where there is none to trust; raises OSError."""
        with _key_lock:
            known = self._find_secret()
            if known is not None:
                return known
            path = self._secret_path
            path.unlink(missing_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=PART_SUFFIX)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(secrets.token_bytes(KEY_BYTES))
                # Not replaced: of two processes that make one at a time, the first has it.
                with contextlib.suppress(FileExistsError):
                    os.link(temporary, path)
            finally:
                Path(temporary).unlink(missing_ok=True)
            made = self._find_secret()
            if made is None:
                raise OSError(f"no key can be kept in {path.name}")
            return made


def _is_ours_alone(directory: Path) -> bool:
    """Says whether it is a directory, no link to one, that nobody but us may write to."""
    try:
        status = directory.lstat()
    except OSError:
        return False
    is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return is_ours and not status.st_mode & _WRITE_BY_OTHERS


def _list_entries(folder: Path) -> list[tuple[float, int, Path]]:
    """Returns (time of last use, bytes, path) of each entry; removes old half-written files."""
    entries: list[tuple[float, int, Path]] = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            status = path.lstat()
            if path.suffix == _SUFFIX:
                entries.append((status.st_mtime, status.st_size, path))
            elif path.suffix == PART_SUFFIX and status.st_mtime < time.time() - PART_AGE_S_MAX:
                path.unlink()
    return entries


def _open_own(path: Path) -> BinaryIO:
    """Returns a plain file of ours, open for reading; raises OSError for anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise PermissionError(f"{path.name} is not a file of ours")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _digest(secret: bytes, name: str, payload: bytes) -> bytes:
    """Returns what only who knows `secret` can make for this name and payload."""
    # HMAC-SHA-256 takes 1 ms a megabyte where the processor knows SHA, keyed BLAKE2b 2.4.
    said = hmac.new(secret, digestmod="sha256")
    encoded = name.encode()
    said.update(len(encoded).to_bytes(8, "little") + encoded)
    said.update(payload)
    return said.digest()
