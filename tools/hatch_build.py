"""Puts into the wheel what is not below `src`: guests, compiled modules, wit/ and sdk/.

An editable install does not build them: tools/setup.py does that as a step of its own, so that its
progress is seen.
"""

from __future__ import annotations

import subprocess
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
        keep out, and Lua for handlers by name. What `KITS` names gets in as it is. The hot path is
        compiled where that is possible: then the wheel is for this Python and machine only.

        Blocks: about four minutes when nothing is cached.
        """
        if version != "standard":
            return
        self._compile(build_data)
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

    def _compile(self, build_data: dict[str, Any]) -> None:
        """Puts extension modules beside their sources; plain Python where none can be made."""
        tools = str(Path(self.root) / "tools")
        sys.path.insert(0, tools)
        try:
            import compiled  # pyright: ignore[reportMissingImports]
        finally:
            sys.path.remove(tools)
        reason = compiled.why_not()
        if not reason:
            folder = Path(self.root) / ".cache" / "compiled-wheel"
            try:
                for path in compiled.compile_into(folder):
                    build_data["force_include"][str(folder / path)] = str(path)
            except subprocess.CalledProcessError as error:
                reason = f"the compiler ended with {error.returncode}"
            else:
                build_data["pure_python"] = False
                build_data["infer_tag"] = True
        if reason:
            self.app.display_warning(f"plain Python, at half its speed: {reason}")
