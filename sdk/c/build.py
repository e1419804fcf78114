"""Builds a handler module from one C file, with the C compiler of the `ziglang` package.

    python sdk/c/build.py counter.c [-o counter.wasm]

Any clang that knows wasm32 does as well: `FLAGS` is all there is to it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

SDK: Final = Path(__file__).resolve().parent
CACHE: Final = SDK.parent.parent / ".cache" / "c-modules"
"""What was built for tests, under the digest of all that went in."""
FLAGS: Final = (
    *("-target", "wasm32-freestanding", "-Os", "-s", "-nostdlib", "-Wall", "-Wextra"),
    *("-Wl,--no-entry", "-Wl,-z,stack-size=32768"),
)


class BuildError(Exception):
    """The compiler refused the file; the text is what it said."""


def build_module(source: Path, to: Path) -> None:
    """Compiles `source` into the module `to`.

    Raises:
        BuildError: with what the compiler said.

    Blocks: a second or two.
    """
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, f"-I{SDK}", str(source)]
    done = subprocess.run([*command, "-o", str(to)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{source.name} does not compile:\n{done.stderr[-8000:]}")


def read_module(source: Path) -> bytes:
    """Returns the module of `source`, built unless nothing has changed since it was.

    Raises:
        BuildError: with what the compiler said.

    Blocks: a second or two the first time.
    """
    whole = hashlib.sha256(repr((FLAGS, importlib.metadata.version("ziglang"))).encode())
    headers = [*sorted((SDK / "lithox").glob("*.h")), *sorted(source.parent.glob("*.h"))]
    for path in (SDK / "lithox.h", *headers, source):
        whole.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    kept = CACHE / f"{source.stem}-{whole.hexdigest()[:24]}.wasm"
    if not kept.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            made = Path(scratch, kept.name)
            build_module(source, made)
            made.replace(kept)
    return kept.read_bytes()


def _main() -> None:
    parser = argparse.ArgumentParser(description="Builds a lithox handler module from a C file.")
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="default: the source's name with .wasm")
    options = parser.parse_args()
    to = options.output or options.source.with_suffix(".wasm")
    try:
        build_module(options.source, to)
    except BuildError as error:
        sys.exit(f"error: {error}")
    print(f"{to}: {to.stat().st_size} bytes")


if __name__ == "__main__":
    _main()
