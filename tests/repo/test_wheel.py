"""What an installed package has beside its Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tools import hatch_build

ROOT = Path(__file__).parents[2]


def _included(monkeypatch: pytest.MonkeyPatch, version: str) -> dict[str, str]:
    """Returns what the hook adds to a wheel, with nothing built."""
    made = ROOT / "src" / "lithox" / "sandbox" / "guests" / "lua54.wasm"
    monkeypatch.setitem(sys.modules, "build", SimpleNamespace(build=lambda progress: made))
    hook: Any = SimpleNamespace(
        root=str(ROOT), app=SimpleNamespace(display_info=None), _compile=lambda _: None
    )
    build_data: dict[str, Any] = {"force_include": {}}
    hatch_build.GuestBuildHook.initialize(hook, version, build_data)
    added: dict[str, str] = build_data["force_include"]
    return {str(Path(path).relative_to(ROOT)): to for path, to in added.items()}


def test_wheel_has_what_authors_of_modules_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """The world, the SDKs and the interpreter are in the package, where the documents say."""
    included = _included(monkeypatch, "standard")
    assert included == {
        "src/lithox/sandbox/guests/lua54.wasm": "lithox/sandbox/guests/lua54.wasm",
        "wit": "lithox/wit",
        "sdk": "lithox/sdk",
    }
    for path in ("wit/handler.wit", "sdk/python/lithox_handler.py", "sdk/c/lithox.h"):
        assert (ROOT / path).is_file(), path
    assert not (ROOT / "src" / "lithox" / "wit").exists()
    assert not (ROOT / "src" / "lithox" / "sdk").exists()


def test_editable_install_has_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is copied to where it would grow old."""
    assert _included(monkeypatch, "editable") == {}


def _compiled(monkeypatch: pytest.MonkeyPatch, compiler: Any) -> tuple[dict[str, Any], list[str]]:
    """Returns what the hook says of the wheel, and what it warns of."""
    monkeypatch.setitem(sys.modules, "compiled", compiler)
    warned: list[str] = []
    app = SimpleNamespace(display_warning=warned.append)
    hook: Any = SimpleNamespace(root=str(ROOT), app=app)
    build_data: dict[str, Any] = {"force_include": {}}
    hatch_build.GuestBuildHook._compile(hook, build_data)
    return build_data, warned


def test_wheel_has_extension_modules_beside_their_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is for this Python and machine alone."""
    found = [Path("abc__mypyc.so"), Path("lithox/kernel/kernel.so")]
    compiler = SimpleNamespace(why_not=lambda: "", compile_into=lambda _: found)
    build_data, warned = _compiled(monkeypatch, compiler)
    assert list(build_data["force_include"].values()) == [str(path) for path in found]
    assert build_data["pure_python"] is False
    assert build_data["infer_tag"] is True
    assert warned == []


def test_wheel_without_a_compiler_is_plain_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made all the same, and whoever makes it is told."""

    def fail(_: Path) -> list[Path]:
        raise subprocess.CalledProcessError(2, ["gcc"])

    for compiler in (
        SimpleNamespace(why_not=lambda: "no headers"),
        SimpleNamespace(why_not=lambda: "", compile_into=fail),
    ):
        build_data, warned = _compiled(monkeypatch, compiler)
        assert build_data == {"force_include": {}}
        assert len(warned) == 1
