"""The contracts of layers.toml hold, and each of them still bites."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.checkout import ROOT, name_of, tracked

ONE_WAY = "a higher room may import a lower one, never back, never sideways"
PURE = "kernel, model and errors are pure: no clock, chance, I/O or third party"
WASMTIME = "only the sandbox sees wasmtime"
DATABASES = "only the store sees database drivers"
BUS = "only the cluster sees the bus"
TESTING = "shipped code never imports the test helpers"
ROOMS = {path.name for path in (ROOT / "src" / "lithox").iterdir() if path.is_dir()} | {"errors"}
ALL = {ONE_WAY, PURE, WASMTIME, DATABASES, BUS, TESTING}


@pytest.fixture(scope="module")
def skeleton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives a folder with every room, each with an empty `__init__.py` only."""
    folder = tmp_path_factory.mktemp("skeleton")
    package = folder / "lithox"
    package.mkdir()
    for name in ("__init__.py", "errors.py"):
        (package / name).touch()
    for room in (ROOT / "src" / "lithox").iterdir():
        if (room / "__init__.py").is_file():
            (package / room.name).mkdir()
            (package / room.name / "__init__.py").touch()
    shutil.copy(ROOT / "layers.toml", folder)
    return folder


def broken_contracts(folder: Path) -> set[str]:
    """Returns the names of the contracts that lint-imports finds broken in `folder`."""
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(command), "--config", "layers.toml", "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = {
        line.removesuffix(" BROKEN")
        for line in done.stdout.splitlines()
        if line.endswith(" BROKEN") and not line.startswith("Contracts:")
    }
    assert (done.returncode != 0) == bool(found), done.stdout + done.stderr
    return found


def test_empty_rooms_break_nothing(skeleton: Path) -> None:
    """Rooms without imports keep every contract."""
    assert broken_contracts(skeleton) == set()


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("kernel/scheduler.py", "import time", PURE),
        ("model/clock.py", "import os", PURE),
        ("store/writer.py", "import lithox.dispatch", ONE_WAY),
        ("sandbox/keeper.py", "import lithox.store", ONE_WAY),
        ("client/short_cut.py", "import lithox.gateway", ONE_WAY),
        ("dispatch/direct.py", "import wasmtime", WASMTIME),
        ("node/direct.py", "import apsw", DATABASES),
        ("gateway/direct.py", "import nats", BUS),
        ("node/fake.py", "import lithox.testing", TESTING),
        ("undeclared/__init__.py", "", ONE_WAY),
    ],
)
def test_a_planted_fault_breaks_its_contract_only(
    skeleton: Path, module: str, line: str, contract: str
) -> None:
    """Each kind of forbidden import breaks exactly the contract that forbids it."""
    path = skeleton / "lithox" / module
    path.parent.mkdir(exist_ok=True)
    path.write_text(line + "\n")
    try:
        assert broken_contracts(skeleton) == {contract}
    finally:
        path.unlink()
        if path.name == "__init__.py":
            path.parent.rmdir()


def test_no_room_goes_through_the_face_of_the_package() -> None:
    """Inside the package nothing but the version is imported from `lithox` itself."""
    detours = [
        f"{name_of(path)}:{node.lineno}"
        for path in tracked(".py", under="src")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.Import) and any(name.name == "lithox" for name in node.names))
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "lithox"
            and {name.name for name in node.names} - ROOMS - {"__version__"}
        )
    ]
    assert detours == []


def test_every_contract_has_a_planted_fault() -> None:
    """layers.toml holds the contracts these faults are planted against, and no other."""
    names = {
        line.split('"')[1]
        for line in (ROOT / "layers.toml").read_text().splitlines()
        if line.startswith("name = ")
    }
    assert names == ALL
