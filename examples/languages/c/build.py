"""Builds the modules of this folder into another one and puts the manifest beside them.

    python examples/languages/c/build.py FOLDER

What is built is kept below `.cache/`, so only the first time takes seconds.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[2]))

from sdk.c.build import read_module  # noqa: E402 - found by the line above


def build(to: Path) -> None:
    """Makes `to` a folder that can be deployed.

    Raises:
        sdk.c.build.BuildError: with what the compiler said.
    """
    to.mkdir(parents=True, exist_ok=True)
    for source in sorted(HERE.glob("*.c")):
        to.joinpath(source.stem + ".wasm").write_bytes(read_module(source))
    shutil.copyfile(HERE / "lithox.toml", to / "lithox.toml")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/languages/c/build.py FOLDER")
    build(Path(sys.argv[1]))
