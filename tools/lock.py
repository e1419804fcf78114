"""Chooses dependency versions anew: writes requirements/*.txt with hashes.

The files are universal (every supported Python and platform) and name no index.
"""

from __future__ import annotations

import subprocess
import sys

from places import ROOT, tool

_OPTIONS = [
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--upgrade",
    "--quiet",
    "--custom-compile-command=make lock",
]


def main() -> int:
    """Writes the files; returns the exit status."""
    runtime, dev = ROOT / "requirements" / "runtime.txt", ROOT / "requirements" / "dev.txt"
    peers = ROOT / "requirements" / "peers.txt"
    for inputs, constraints, output in (
        (["pyproject.toml"], [], runtime),
        (["pyproject.toml", "requirements/dev.in"], ["-c", "requirements/runtime.txt"], dev),
        (["requirements/peers.in"], [], peers),
    ):
        command = [tool("uv"), "pip", "compile", *_OPTIONS, *inputs, *constraints]
        command += ["-o", str(output.relative_to(ROOT))]
        print(f"  writing {output.relative_to(ROOT)}", flush=True)
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        if status != 0:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
