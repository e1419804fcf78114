"""Writes NOTICE: whose work lithox is built on, from the metadata of what is installed.

Two kinds of parts are told apart: what is linked into the Lua guest that the wheel carries, and
the packages that pip installs beside it.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from places import ROOT

_HEAD = """\
lithox
Licensed under the Apache License, Version 2.0; see LICENSE.

This product is built on the work of others.

Linked into the Lua guest (src/lithox/sandbox/guests/lua54.wasm), which the wheel carries
=========================================================================================

Lua 5.4
  Copyright (C) 1994-2025 Lua.org, PUC-Rio. MIT License.
  Built from the sources inside the `lupa` source distribution, which set-up fetches and checks by
  hash; no file of Lua is in this repository.

wasi-libc, which includes parts of musl, cloudlibc and dlmalloc
  wasi-libc: Apache License 2.0 with LLVM exceptions, Apache License 2.0 or MIT License.
  musl: Copyright (C) 2005-2020 Rich Felker and others. MIT License.
  cloudlibc: Copyright (c) 2015-2017 Nuxi and others. BSD 2-Clause License.
  dlmalloc: by Doug Lea, released to the public domain (CC0).
  They come with the `ziglang` package, which compiles the guest.

compiler-rt (from the LLVM project) and the Zig compiler's own runtime parts
  compiler-rt: Apache License 2.0 with LLVM exceptions.
  Zig: Copyright (c) Zig contributors. MIT License.

The MIT License, as it holds for Lua, musl and Zig:

  Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
  associated documentation files (the "Software"), to deal in the Software without restriction,
  including without limitation the rights to use, copy, modify, merge, publish, distribute,
  sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
  furnished to do so, subject to the following conditions:

  The above copyright notice and this permission notice shall be included in all copies or
  substantial portions of the Software.

  THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
  NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
  NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
  DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT
  OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

Installed beside lithox (none of their files are in this repository or its wheel)
=================================================================================

"""

_LONGEST_LICENCE_NAME = 60
"""Some packages put the whole text where a name belongs."""


def names_in(requirements: str) -> list[str]:
    """Returns the names pinned in a requirements file, sorted."""
    return sorted(set(re.findall(r"^([A-Za-z0-9_.-]+)==", requirements, flags=re.MULTILINE)))


def licence_of(found: Distribution) -> str:
    """Returns what a distribution's metadata calls its licence."""
    meta = found.metadata
    expression = meta.get("License-Expression")
    if expression:
        return expression
    named = meta.get("License")
    if named and len(named) <= _LONGEST_LICENCE_NAME and "\n" not in named:
        return named
    classifiers = [
        value.rsplit(" :: ", 1)[-1]
        for value in meta.get_all("Classifier") or []
        if value.startswith("License ::")
    ]
    return ", ".join(classifiers) or "see its own files"


def main() -> int:
    """Writes NOTICE; returns the exit status."""
    lines: list[str] = []
    for name in names_in((ROOT / "requirements" / "runtime.txt").read_text()):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            print(f"  {name} is not installed here; NOTICE leaves it out", file=sys.stderr)
            continue
        lines.append(f"{name}: {licence_of(found)}\n")
    (ROOT / "NOTICE").write_text(_HEAD + "".join(lines), encoding="utf-8")
    print("  writing NOTICE")
    return 0


if __name__ == "__main__":
    sys.exit(main())
