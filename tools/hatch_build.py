"""Puts into the wheel what is not below `src`: guests, built where they are missing; wit/ and sdk/.

An editable install does not build them: tools/setup.py does that as a step of its own, so that its
progress is seen.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KITS = ("wit", "sdk")
"""What authors of components and core modules build against: folders of the checkout, and of the
installed package."""


class GuestBuildHook(BuildHookInterface):
    """Runs guests/build.py before a wheel is packed."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds every guest of `guests/build.py` for a `standard` wheel.

        They get in by the `artifacts` pattern of pyproject.toml, which git's ignoring of them would
        keep out, and Lua for handlers by name; the wheel stays portable, since WebAssembly is.
        What `KITS` names gets in as it is.

        Blocks: about three minutes when nothing is cached.
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
        for name in KITS:
            build_data["force_include"][str(Path(self.root) / name)] = f"lithox/{name}"
