"""The example in CPython, with a third-party package inside, on a node of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.modules.bundle import Bundle
from tests.built_components import ROOT, build_component

EXAMPLE = ROOT / "examples" / "python-component"

pytestmark = pytest.mark.timeout(900)


class Releases:
    """A node that serves the example."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self.node = lithox.Node(folder)
        self.run(self.node.open())
        wasm = build_component(EXAMPLE / "releases.py", packages=("packaging",))
        manifest = (EXAMPLE / "lithox.toml").read_text()
        self.run(self.node.deploy(Bundle(manifest=manifest, files={"releases.wasm": wasm})))

    def run(self, work: Any) -> Any:
        """Runs `work` on the node's loop."""
        return self._runner.run(work)

    def call(self, path: str, handler: str, *args: Any) -> Any:
        """Returns the handler's value, or raises its error."""
        return self.run(self.node.call(path, handler, *args))

    def fail(self, path: str, handler: str, *args: Any) -> lithox.LithoxError:
        """Returns the error of a call that must fail."""
        with pytest.raises(lithox.LithoxError) as caught:
            self.call(path, handler, *args)
        return caught.value

    def close(self) -> None:
        """Closes the node."""
        self.run(self.node.close())
        self._runner.close()


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releases]:
    """One node for all tests here: the deploy takes half a minute."""
    opened = Releases(tmp_path_factory.mktemp("releases") / "data")
    yield opened
    opened.close()


def test_python_component_serves_with_its_package(releases: Releases) -> None:
    """Versions are published, ordered and picked as `packaging` says; edits in place are kept."""
    kept = [
        releases.call("releases/picked", "publish", text)
        for text in ("1.2", "v1.10.0", "1.9rc1", "2.0")
    ]
    assert kept == ["1.2", "1.10.0", "1.9rc1", "2.0"]
    assert releases.call("releases/picked", "versions") == ["1.2", "1.9rc1", "1.10.0", "2.0"]
    assert releases.call("releases/picked", "pick") == "2.0"
    assert releases.call("releases/picked", "pick", ">=1.2,<2") == "1.10.0"
    releases.call("releases/picked", "yank", "v1.10.0")
    assert releases.call("releases/picked", "pick", ">=1.2,<2") == "1.2"
    assert releases.call("releases/picked", "pick", ">=3") is None


def test_python_component_raises_errors_of_its_own(releases: Releases) -> None:
    """An error with a code arrives with it, and what the run wrote is gone."""
    assert releases.fail("releases/failing", "publish", "one").code == "app.bad_version"
    assert releases.fail("releases/failing", "pick", "~~1").code == "app.bad_requirement"
    releases.call("releases/failing", "publish", "2.0")
    assert releases.fail("releases/failing", "publish", "2.0").fields["data"] == {"version": "2.0"}


def test_python_component_tells_file_and_line(releases: Releases) -> None:
    """An error nobody meant names the Python file, its line and what it was."""
    error = releases.fail("releases/traced", "yank", "never")
    assert error.code == "guest.raised"
    assert error.message == "packaging.version.InvalidVersion: Invalid version: 'never'"
    line = next(
        number
        for number, text in enumerate((EXAMPLE / "releases.py").read_text().split("\n"), 1)
        if "Version(version)}" in text
    )
    assert f'releases.py", line {line}' in error.fields["traceback"]
