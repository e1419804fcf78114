"""A build back end that builds nothing: it answers pip's question for metadata and runs no code.

pip asks the back end for a project's name and version before it keeps a source distribution. They
are read from the archive's PKG-INFO, which stands in the working directory pip calls us in.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """Returns nothing to install."""
    del config_settings
    return []


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Any = None) -> str:
    """Writes the metadata that came with the sources; returns its folder's name."""
    del config_settings
    lines = Path("PKG-INFO").read_text(encoding="utf-8").splitlines()
    named = dict(line.split(": ", 1) for line in lines if line.startswith(("Name: ", "Version: ")))
    # A folder's name has no hyphen but the one before the version; older pips insist on it.
    name = re.sub(r"[-_.]+", "_", named["Name"])
    folder = Path(metadata_directory, f"{name}-{named['Version']}.dist-info")
    folder.mkdir()
    text = f"Metadata-Version: 2.1\nName: {named['Name']}\nVersion: {named['Version']}\n"
    (folder / "METADATA").write_text(text, encoding="utf-8")
    return folder.name


__legacy__ = sys.modules[__name__]
