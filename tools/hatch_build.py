"""Puts the Lua guest into the wheel: builds it when it is not there yet.

An editable install does not build it: tools/setup.py does that as a step of its own, so that its
progress is seen.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GuestBuildHook(BuildHookInterface):
    """Runs guests/build.py before a wheel is packed."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds the guest for a `standard` wheel; `build_data` is left as it is.

        The file gets in by the `artifacts` pattern of pyproject.toml; the wheel stays portable,
        since WebAssembly is.

        Blocks: about 40 seconds when nothing is cached.
        """
        if version != "standard":
            return
        folder = Path(self.root) / "guests"
        sys.path.insert(0, str(folder))
        try:
            import build  # pyright: ignore[reportMissingImports]

            made = Path(build.build(progress=self.app.display_info))
        finally:
            sys.path.remove(str(folder))
        inside = made.resolve().relative_to(Path(self.root).resolve() / "src")
        build_data["force_include"][str(made)] = str(inside)
