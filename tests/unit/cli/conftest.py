"""A command line over a fake node: `run("call", ...)` gives status, stdout and stderr."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from lithox.cli import main
from lithox.cli.backend import EmbeddedBackend
from tests.unit.gateway.fake_node import FakeNode


class Ended(NamedTuple):
    status: int
    out: str
    err: str


class FakeClient:
    """Stands where `lithox.Client` stands; remembers how it was opened."""

    node: FakeNode
    opened: list[tuple[str, str | None]]

    def __init__(self, url: str, token: str | None = None) -> None:
        self.opened.append((url, token))

    async def __aenter__(self) -> EmbeddedBackend:
        node: Any = self.node
        return EmbeddedBackend(node)

    async def __aexit__(self, *_: object) -> None:
        return


@pytest.fixture
def node(monkeypatch) -> FakeNode:
    """The node that `--node` reaches."""
    fake = FakeNode()
    FakeClient.node, FakeClient.opened = fake, []
    monkeypatch.setattr("lithox.client.Client", FakeClient)
    # Nothing listens where the fake one is said to be.
    monkeypatch.setattr("lithox.cli.waiting_node.ATTEMPTS_MAX", 0)
    monkeypatch.setenv("LITHOX_NODE", "http://127.0.0.1:1")
    for name in ("LITHOX_TOKEN", "LITHOX_DATA", "LITHOX_TRACE"):
        monkeypatch.delenv(name, raising=False)
    return fake


@pytest.fixture
def run(node, capsys) -> Callable[..., Ended]:
    """Runs one command line in this process."""

    def typed(*arguments: str) -> Ended:
        status = main.run(list(arguments))
        captured = capsys.readouterr()
        return Ended(status, captured.out, captured.err)

    return typed
