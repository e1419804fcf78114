"""`lithox service`: what its options say becomes a definition, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from lithox.cli import commands_service
from lithox.cli.commands_service import service
from lithox.modules.services import parse_service

ALL = {
    "--runtime": "compat-5.1",
    "--restart": "always",
    "--backoff-min": "1ms",
    "--backoff-max": "1s",
    "--burst": "3",
    "--burst-window": "5s",
    "--requires": "base",
    "--after": "log",
    "--context": "program.*",
    "--quota": "1MiB",
    "--limit": "memory=8MiB",
    "--priority": "6",
    "--mode": "cooperative",
    "--ready": "notify",
    "--stop-deadline": "2s",
    "--log-size": "64KiB",
    "--log-files": "2",
}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Gives what a node would have been asked; none is opened."""
    heard: list[Any] = []

    class Node:
        async def service_put(self, name: str, definition: dict[str, Any]) -> dict[str, Any]:
            heard.append((name, definition))
            return {"name": name, "state": "waiting", "reason": "requires 'base'"}

    class Opened:
        async def __aenter__(self) -> Node:
            return Node()

        async def __aexit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(commands_service, "open_backend", lambda *_args, **_options: Opened())
    return heard


def test_every_option_is_a_key_the_node_takes(said: list[Any]) -> None:
    """All options together make a definition that is accepted, with every value in its place."""
    words = [word for pair in ALL.items() for word in pair]
    arguments = ["add", "web", "prog", *words, "--arg", "1", "--arg", "two", "--storage"]
    done = CliRunner().invoke(service, [*arguments, "--no-autostart"])
    assert done.output == "web is waiting: requires 'base'\n"
    [(name, definition)] = said
    assert name == "web"
    spec = parse_service({**definition, "name": name}, "test")
    assert (spec.program, spec.args, spec.autostart, spec.storage) == (
        "prog",
        ["1", "two"],
        False,
        True,
    )
    assert (spec.quota_bytes, spec.limits.memory_bytes, spec.log.files) == (1 << 20, 8 << 20, 2)
    assert (spec.requires, spec.after, spec.contexts) == (("base",), ("log",), ("program.*",))


def test_what_is_not_said_is_left_to_the_node(said: list[Any]) -> None:
    """Without options the definition has its program only."""
    CliRunner().invoke(service, ["add", "web", "prog"])
    assert said == [("web", {"program": "prog"})]


def test_a_limit_without_an_amount_is_a_wrong_command(said: list[Any]) -> None:
    """`--limit memory` is refused before any node is asked."""
    done = CliRunner().invoke(service, ["add", "web", "prog", "--limit", "memory"])
    assert done.exit_code == 2
    assert "--limit is NAME=AMOUNT" in done.output
    assert said == []


def test_every_command_has_its_help() -> None:
    """The group lists all eight commands."""
    names = {"add", "ls", "show", "start", "stop", "restart", "logs", "rm"}
    assert set(service.commands) == names
    assert all(command.help for command in service.commands.values())
