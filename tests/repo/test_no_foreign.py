"""Nothing in the repository is somebody else's, built, huge, or true on one machine only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.repo.checkout import name_of, tracked_files

FILE_BYTES_MAX = 1 << 20
BUILT = {".wasm", ".o", ".a", ".so", ".dll", ".pyc", ".whl", ".gz", ".zip", ".exe", ".sqlite"}
# Written in pieces, so that this file does not find itself.
INDEXES = [
    "py" + "pi.org",
    "pythonhosted" + ".org",
    "registry." + "npmjs",
    "crates" + ".io",
    "proxy.go" + "lang",
]
MACHINE_PATH = re.compile(
    r"(?<![A-Za-z0-9_.~/-])/(?:" + "|".join(["wo" + "rk", "ro" + "ot", "tmp/" + "lab"]) + r")/"
    r"|/ho" + r"me/[a-z]|/opt/py" + r"pi"
)


@pytest.mark.parametrize("path", tracked_files(), ids=name_of)
def test_file_belongs_here(path: Path) -> None:
    """A tracked file is text of at most 1 MiB without an index address or a machine's own path."""
    data = path.read_bytes()
    assert path.suffix not in BUILT
    assert len(data) <= FILE_BYTES_MAX
    assert b"\0" not in data, "a binary file"
    text = data.decode("utf-8")
    assert [address for address in INDEXES if address in text] == []
    assert MACHINE_PATH.findall(text) == []
