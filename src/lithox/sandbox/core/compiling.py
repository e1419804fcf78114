"""How is untrusted WebAssembly compiled?

In a child process (`compile_child.py`), never on the node's own heap: a compiler is a large program
that a hostile module may drive into any amount of time or memory. The child has bounds of processor
time, address space and output, and a time by the clock after which it is killed. What it wrote is
machine code of ours, kept in the cache (`sandbox.cache`) under the digest of the module. Module and
machine code go to the child and back in files without a name, in the directory of the cache: where
the system keeps temporary files may be memory, and half a gigabyte is no small part of it.

Invariants: one child at a time in this process, at most `WAITING_MAX` callers wait for their turn;
a module that somebody else has compiled meanwhile is taken from the cache. Any thread may call.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal

from lithox.errors import CompileFailed, NotAvailable, Overloaded
from lithox.sandbox.cache import PART_SUFFIX, ModuleCache, make_key
from lithox.sandbox.capi import WASMTIME_VERSION, find_library_path
from lithox.sandbox.core.configuration import CONFIGURATION

WASM_BYTES_MAX: Final = 64 << 20
"""Size of a module or component that is compiled."""
WAITING_MAX: Final = 16
"""Callers that wait for the child of another one."""
RETRY_AFTER_MS: Final = 5_000
ERROR_TEXT_MAX: Final = 600
"""Letters of the compiler's message that are passed on."""
_CHILD: Final = Path(__file__).with_name("compile_child.py")
_EXIT_REFUSED: Final = 3
_OFFSET: Final = re.compile(r"at offset (0x[0-9a-f]{1,8}|\d{1,9})")
_NUMBERED: Final = re.compile(r"^\d+: ")
_ENVIRONMENT: Final = {"MALLOC_ARENA_MAX": "2"}
"""All the child gets of the environment: arenas would cost address space, not memory."""

Kind = Literal["module", "component"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileBounds:
    """What one child may use.

    Attributes:
        cpu_s: seconds of processor time, all its threads together.
        wall_s: seconds by the clock; more, since the child is nice and the machine may be busy.
        address_space_bytes: all of its memory, the library's 30 MB and its threads' included.
        output_bytes: size of the machine code.
    """

    cpu_s: int = 60
    wall_s: int = 300
    address_space_bytes: int = 3 << 30
    output_bytes: int = 512 << 20


DEFAULT_BOUNDS: Final = CompileBounds()

_turn: Final = threading.Lock()
_waiting: Final = threading.BoundedSemaphore(WAITING_MAX + 1)


def compile_wasm(
    wasm: bytes,
    *,
    kind: Kind,
    file: str,
    cache: ModuleCache,
    configuration: Mapping[str, bool | int] = CONFIGURATION,
) -> bytes:
    """Returns serialized machine code of `wasm`, from the cache when it is there.

    Args:
        wasm: the binary, whoever wrote it; the caller has looked at its first 8 bytes.
        kind: a core module or a component.
        file: its name for messages.
        cache: where machine code is kept.
        configuration: of the engine that will load it, `wasmtime_config_<key>_set`.

    Raises:
        CompileFailed: fields file, expected: it is too large, wrong, or too costly to compile.
        Overloaded: too many wait to be compiled.
        NotAvailable: this machine cannot start the child.

    Blocks: for seconds; for milliseconds with a cache entry.
    """
    return Compilation(kind=kind, configuration=configuration).compile(wasm, file=file, cache=cache)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """How modules of one engine are compiled.

    Attributes:
        kind: core module or component.
        configuration: of the engine that will load the code.
        bounds: of the child.
        is_scanned: one byte more at the end says whether the instance of a run can be restored
            for the next (`sandbox.core.scan`); core modules only.
    """

    kind: Kind
    configuration: Mapping[str, bool | int] = field(default_factory=lambda: CONFIGURATION)
    bounds: CompileBounds = DEFAULT_BOUNDS
    is_scanned: bool = False

    def key_of(self, wasm: bytes) -> str:
        """Returns the name of the cache entry of `wasm`."""
        how = f"{self.kind};{self._settings()}"
        if self.is_scanned:
            how += ";scanned"
        return make_key(wasm, version=WASMTIME_VERSION, configuration=how)

    def _settings(self) -> str:
        return ";".join(f"{key}={value}" for key, value in self.configuration.items())

    def compile(
        self,
        wasm: bytes,
        *,
        file: str,
        cache: ModuleCache,
        original_offset: Callable[[int], int] = int,
    ) -> bytes:
        """Returns serialized machine code; see `compile_wasm`.

        Args:
            wasm: the binary.
            file: its name for messages.
            cache: where machine code is kept.
            original_offset: from an offset in `wasm` to that in the file it was made of.
        """
        if len(wasm) > WASM_BYTES_MAX:
            raise CompileFailed(
                f"{file} has {len(wasm)} bytes; at most {WASM_BYTES_MAX} are compiled",
                file=file,
                expected=f"at most {WASM_BYTES_MAX} bytes",
            )
        key = self.key_of(wasm)
        kept = cache.find(key)
        if kept is not None:
            return kept
        with _take_turn():
            kept = cache.find(key)
            if kept is not None:
                return kept
            code = self._run_child(wasm, file, original_offset, cache.find_scratch())
            cache.save(key, code)
            return code

    def _run_child(
        self,
        wasm: bytes,
        file: str,
        original_offset: Callable[[int], int],
        folder: Path | None,
    ) -> bytes:
        """Starts the child, waits for its end and returns what it wrote.

        Its files are in `folder`; None: where the system keeps temporary files.
        """
        if not sys.executable:
            raise NotAvailable("WebAssembly is compiled by another Python; this one has no path")
        bounds = self.bounds
        command = [
            *(sys.executable, "-I", "-S", str(_CHILD), str(find_library_path())),
            *(self.kind, self._settings(), str(bounds.cpu_s), str(bounds.address_space_bytes)),
            *(str(bounds.output_bytes), str(int(self.is_scanned)), str(os.getpid())),
        ]
        try:
            with (
                _open_scratch(folder) as source,
                _open_scratch(folder) as code,
                _open_scratch(folder) as said,
            ):
                source.write(wasm)
                source.seek(0)
                status = _wait(command, (source, code, said), bounds.wall_s)
                code.seek(0)
                if status == 0:
                    return code.read()
                said.seek(0)
                text = said.read(4 * ERROR_TEXT_MAX).decode("utf-8", "replace")
        except OSError as error:
            raise NotAvailable(f"WebAssembly cannot be compiled here: {error}") from None
        if status == _EXIT_REFUSED:
            raise _refusal(text, file, original_offset)
        raise CompileFailed(
            f"{file} cannot be compiled within {bounds.cpu_s} s of processor time, "
            f"{bounds.address_space_bytes >> 20} MiB of memory and "
            f"{bounds.output_bytes >> 20} MiB of machine code",
            file=file,
            expected="smaller functions, or fewer",
        )


def _open_scratch(folder: Path | None) -> IO[bytes]:
    """Returns a file that is gone when it is closed, whatever becomes of this process."""
    # Where files must be made with a name, one that is left behind is removed as any of the cache.
    return tempfile.TemporaryFile(dir=folder, suffix=PART_SUFFIX)


def _wait(command: list[str], files: tuple[IO[bytes], ...], wall_s: int) -> int | None:
    """Returns the exit status of `command` (negative: a signal), None when it was killed late."""
    source, code, said = files
    child = subprocess.Popen(  # noqa: S603 - our own program, told nothing a stranger wrote
        command,
        stdin=source,
        stdout=code,
        stderr=said,
        cwd="/",
        env=_ENVIRONMENT,
        start_new_session=True,
    )
    try:
        return child.wait(wall_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def _refusal(text: str, file: str, original_offset: Callable[[int], int]) -> CompileFailed:
    """Returns the error for what wasmtime says of a module; field offset where it says that."""
    fields: dict[str, Any] = {
        "file": file,
        "expected": "valid WebAssembly without the features docs/abi.md leaves out",
    }
    found = _OFFSET.search(text)
    if found is not None:
        offset = fields["offset"] = original_offset(int(found[1], 0))
        text = text[: found.start(1)] + f"{offset:#x}" + text[found.end(1) :]
    # It speaks in lines, from the general to the particular; the last ones say what is wrong.
    lines = [_NUMBERED.sub("", line.strip()) for line in text.splitlines()]
    reason = "; ".join(line for line in lines if line and line != "Caused by:")
    return CompileFailed(f"{file} is refused: {reason[:ERROR_TEXT_MAX]}", **fields)


@contextmanager
def _take_turn() -> Generator[None]:
    """Holds the right to have a child.

    Raises:
        Overloaded: `WAITING_MAX` others wait for it.
    """
    if not _waiting.acquire(blocking=False):
        raise Overloaded(
            f"{WAITING_MAX} modules wait to be compiled; try again later",
            retry_after_ms=RETRY_AFTER_MS,
        )
    try:
        with _turn:
            yield
    finally:
        _waiting.release()
