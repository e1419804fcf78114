"""How does the text of a Python module become handlers?

`PythonEngine` is the engine of language `python`: workers of the package `pydantic-monty` in a
pool, programs as images those workers begin every run from. What is slow, the type check and the
first load, is `prepare`'s, away from the event loop; what it found out is kept on disk, so that
after a restart nothing is checked again.

Invariants: no worker is started before the first `prepare` or `load`; a program has at most
`IMAGES_MAX` images, one for each allowance of memory that runs have had lately; programs are kept
by the digest of their text, at most `PROGRAMS_BYTES_MAX` bytes of images.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from lithox.model.limits import NODE_DEFAULT_LIMITS, Limits
from lithox.sandbox.cache import ModuleCache
from lithox.sandbox.contract import AccountedProgram, Source
from lithox.sandbox.meters import fuel_of, memory_bytes_of
from lithox.sandbox.python.guest import Order, PythonGuest
from lithox.sandbox.python.loading import LoadBounds, Loading, opening, read_text
from lithox.sandbox.python.pool import Image, WorkerPool
from lithox.sandbox.python.prelude import PRELUDE
from lithox.sandbox.python.wire import RUNTIME_VERSION
from lithox.sandbox.python.worker import Worker, find_binary

PYTHON: Final = "python"
IMAGES_MAX: Final = 4
PROGRAMS_BYTES_MAX: Final = 64 << 20
PRELOAD_BYTES_MAX: Final = 256_000
"""State that becomes `self.state` whole; translating it takes about 3 ms."""
CACHE_FOLDER: Final = "python"
PREPARED_MAX: Final = 64
"""Programs that were prepared and not loaded yet."""


class PythonProgram(AccountedProgram):
    """A module ready to run: see `contract.Program`.

    Attributes:
        handler_names: names it gives, sorted, without those that begin with `_`.
        name: of its file, for tracebacks.
        digest: of its source.
    """

    preload_bytes_max = PRELOAD_BYTES_MAX
    __slots__ = ("_images", "_pool", "_text", "digest", "handler_names", "name")

    def __init__(
        self, pool: WorkerPool, source: Source, names: tuple[str, ...], image: Image | None
    ) -> None:
        """Made by `PythonEngine`."""
        self._pool = pool
        self._text = read_text(source)
        self._images: OrderedDict[int, Image] = OrderedDict()
        self.name = source.name
        self.digest = source.digest
        self.handler_names = names
        if image is not None:
            self._images[image.memory_bytes_max] = image

    @property
    def size_bytes(self) -> int:
        """Bytes of its text and images."""
        return len(self._text) + sum(len(one.state) for one in self._images.values())

    def find_image(self, memory_bytes_max: int) -> Image | None:
        """Returns the image for runs that may use so much memory; None: the first one makes it."""
        return self._images.get(memory_bytes_max)

    def keep_image(self, image: Image) -> None:
        """Keeps what a run has made of the module for the next ones."""
        self._images[image.memory_bytes_max] = image
        while len(self._images) > IMAGES_MAX:
            self._images.popitem(last=False)

    def opening(self, memory_bytes_max: int) -> bytes:
        """Returns the requests that load it without an image."""
        return opening(self._text, memory_bytes=memory_bytes_max)

    def start(self, message: bytes, limits: Limits) -> PythonGuest:
        """Returns a guest of nobody's account; see `start_for`."""
        return self.start_for("", message, limits, is_nested=False)

    def start_for(
        self, account: str, message: bytes, limits: Limits, *, is_nested: bool
    ) -> PythonGuest:
        """Returns a guest that will run the `RunMessage` in `message` under `limits`.

        It waits for a worker in its steps, unless another guest waits for it.

        Raises:
            Overloaded: it is nested, and there are as many Python runs as there may be.
        """
        return PythonGuest(self, self._pool, Order(account, message, is_nested), limits)


class PythonEngine:
    """Language `python`: see `contract.Engine`.

    Attributes:
        language: its name.
    """

    def __init__(self, cache_dir: Path, *, pool: WorkerPool | None = None) -> None:
        """Starts nothing yet.

        Args:
            cache_dir: where it is kept which modules have passed; safe to delete.
            pool: the workers; None: those of the installed package.

        Raises:
            ConfigError: the package's worker is not installed.
        """
        self.language = PYTHON
        self._pool = pool or WorkerPool(partial(Worker, find_binary()))
        self._cache = ModuleCache(cache_dir, part=CACHE_FOLDER)
        self._programs: OrderedDict[str, PythonProgram] = OrderedDict()
        self._prepared: OrderedDict[str, PythonProgram] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, digest: str) -> PythonProgram | None:
        """Returns a program that is loaded already, or None. Never blocks."""
        program = self._programs.get(digest)
        if program is not None:
            self._programs.move_to_end(digest)
        return program

    def prepare(self, source: Source) -> None:
        """Checks types and takes the first image; `load` then finds it.

        Raises:
            CompileFailed, LimitExceeded, GuestTrapped, NotAvailable: see `loading.Loading.run`.

        Blocks: for as long as a type check takes, at the first time; else milliseconds.
        """
        with self._lock:
            if source.digest in self._prepared:
                return
        program = self._make(source, NODE_DEFAULT_LIMITS)
        with self._lock:
            self._prepared[source.digest] = program
            while len(self._prepared) > PREPARED_MAX:
                self._prepared.popitem(last=False)

    def load(self, source: Source, limits: Limits) -> PythonProgram:
        """Returns the program of `source`, loaded under `limits` unless it is loaded already.

        Raises:
            CompileFailed, LimitExceeded, GuestTrapped, NotAvailable: see `loading.Loading.run`.

        Blocks: not when it was prepared; else while it loads, at most the fuel of `limits`.
        """
        found = self.find(source.digest)
        if found is not None:
            return found
        with self._lock:
            program = self._prepared.pop(source.digest, None)
        if program is None:
            program = self._make(source, limits)
        self._programs[source.digest] = program
        size_bytes = sum(one.size_bytes for one in self._programs.values())
        while size_bytes > PROGRAMS_BYTES_MAX and len(self._programs) > 1:
            size_bytes -= self._programs.popitem(last=False)[1].size_bytes
        return program

    def _make(self, source: Source, limits: Limits) -> PythonProgram:
        key = hashlib.sha256(
            f"{RUNTIME_VERSION}\n{source.digest}\n{PRELUDE}".encode() + source.text
        ).hexdigest()
        kept = self._cache.find(key)
        if kept is not None:
            names = tuple(msgspec.json.decode(kept, type=list[str]))
            self._pool.warm()
            return PythonProgram(self._pool, source, names, None)
        bounds = LoadBounds(
            fuel=fuel_of(limits), memory_bytes=memory_bytes_of(limits), is_checked=True
        )
        names, image = Loading(self._pool, source, bounds).run()
        self._cache.save(key, msgspec.json.encode(names))
        self._pool.warm()
        return PythonProgram(self._pool, source, names, image)

    def statistics(self) -> dict[str, Any]:
        """Returns guests, workers, programs and their bytes."""
        return self._pool.statistics() | {
            "programs": len(self._programs),
            "program_bytes": sum(one.size_bytes for one in self._programs.values()),
            "cache_hits": self._cache.hits,
            "cache_misses": self._cache.misses,
            "cache_refused": self._cache.refused,
        }

    def close(self) -> None:
        """Ends all workers. Guests must be closed before. Blocks: until they are gone."""
        self._programs.clear()
        self._prepared.clear()
        self._pool.close()
