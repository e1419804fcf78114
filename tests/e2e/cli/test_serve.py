"""The real command in real processes: serve, deploy, call, signals, the table's exit statuses."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

COMMAND = [sys.executable, "-m", "lithox.cli.main"]
COUNTER = Path(__file__).parents[3] / "examples" / "counter"
SECONDS_MAX = 40


def environment(**more: str) -> dict[str, str]:
    """Returns this process's environment without what a user may have set for lithox."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LITHOX_")}
    return {**own, "LITHOX_PROCESSES": "1", **more}


def lithox(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
        env=environment(**more),
    )


class Server:
    """One `lithox serve` on a free port."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--data", str(data), "--listen", "127.0.0.1:0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline()
        self.url = next((w for w in self.ready_line.split() if w.startswith("http")), "")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Sends a signal; returns (exit status, stderr)."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=SECONDS_MAX)
        return self.process.returncode, errors

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def server(tmp_path) -> Generator[Server]:
    """A served node on an empty directory."""
    one = Server(tmp_path / "data")
    yield one
    one.close()


def test_a_handler_is_deployed_called_and_remembered_across_a_restart(server, tmp_path):
    """The README's first steps, and what was answered is there after SIGTERM."""
    assert server.ready_line == f"lithox is ready at {server.url} (data in {tmp_path / 'data'})\n"
    node = {"LITHOX_NODE": server.url}
    deployed = lithox("deploy", str(COUNTER), **node)
    assert (deployed.returncode, deployed.stderr) == (0, "")
    assert lithox("call", "counter/alice", "increment", "5", **node).stdout == "5\n"
    assert lithox("call", "counter/alice", "increment", "-2", **node).stdout == "3\n"
    status, errors = server.stop()
    assert status == 0
    assert [json.loads(line)["message"] for line in errors.splitlines()][-1] == "stopped"
    found = lithox("entity", "get", "counter/alice", "count", "--data", str(tmp_path / "data"))
    assert (found.returncode, found.stdout) == (0, "3\n")


def test_a_request_id_runs_once_however_often_it_is_asked(server):
    """The recorded answer comes again; other content under the id is refused with exit 2."""
    node = {"LITHOX_NODE": server.url}
    lithox("deploy", str(COUNTER), **node)
    first = lithox("call", "counter/bob", "increment", "--id", "r-1", **node)
    again = lithox("call", "counter/bob", "increment", "--id", "r-1", **node)
    other = lithox("call", "counter/bob", "increment", "7", "--id", "r-1", **node)
    assert (first.stdout, again.stdout) == ("1\n", "1\n")
    assert other.returncode == 2
    assert "[request.id_reused]" in other.stderr


def test_what_a_guest_does_wrong_is_exit_1_and_one_line(server, tmp_path):
    """Errors, endless loops and code that does not compile."""
    node = {"LITHOX_NODE": server.url}
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "lithox.toml").write_text(
        '[[template]]\nmatch = "bad/*"\nlanguage = "lua"\nsource = "bad.lua"\n'
        "limits = { fuel = 1_000_000 }\n"
    )
    source = folder / "bad.lua"
    source.write_text("local bad = {}\nfunction bad.go(self)\n  return = 1\nend\nreturn bad\n")
    broken = lithox("deploy", str(folder), **node)
    assert broken.returncode == 1
    first, *rest = broken.stderr.splitlines()
    assert first.startswith("lithox: bad.lua:3:10: ")
    assert rest == ["  3 |   return = 1", "    |          ^"]
    checked = lithox("deploy", "--check", str(folder), **node)
    assert (checked.returncode, checked.stderr) == (1, broken.stderr)
    source.write_text(
        "local bad = {}\n"
        "function bad.loop(self) while true do end end\n"
        "function bad.fail(self) error({ code = 'sold_out', message = 'none left' }) end\n"
        "return bad\n"
    )
    assert lithox("deploy", str(folder), **node).returncode == 0
    looped = lithox("call", "bad/a", "loop", **node)
    assert (looped.returncode, "[guest.out_of_fuel]" in looped.stderr) == (1, True)
    failed = lithox("call", "bad/a", "fail", **node)
    assert (failed.returncode, failed.stderr) == (1, "lithox: none left [app.sold_out]\n")


def test_a_second_node_on_the_directory_refuses(server, tmp_path):
    """Exit 4, the holder's process named, and a way on."""
    second = lithox("ps", "--data", str(tmp_path / "data"))
    assert second.returncode == 4
    assert f"in use by process {server.process.pid}" in second.stderr
    assert "or speak to it with --node" in second.stderr
    served = lithox("serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0")
    assert (served.returncode, served.stdout) == (4, "")


def test_nobody_at_the_address_is_exit_4(server):
    """Unavailable, with the address that was tried; it says that it waits before."""
    server.stop()
    ended = lithox("ps", "--node", server.url)
    assert ended.returncode == 4
    waiting, told = ended.stderr.splitlines()
    assert waiting == f"no node at {server.url} yet; waiting for it, at most 3s"
    assert told.startswith(f"lithox: no answer from the node at {server.url}: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_stop_signals_end_gracefully(server, number):
    """Exit 0 and no stack trace."""
    status, errors = server.stop(number)
    assert status == 0
    assert "Traceback" not in errors


def test_a_stop_answers_what_is_running(server, tmp_path):
    """A request in mid run at SIGTERM gets its answer, and the state it left is there."""
    node = {"LITHOX_NODE": server.url}
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "lithox.toml").write_text(
        '[[template]]\nmatch = "slow/*"\nlanguage = "lua"\nsource = "slow.lua"\n'
        "limits = { fuel = 2_000_000_000 }\n"
    )
    (folder / "slow.lua").write_text(
        "local slow = {}\n"
        "function slow.go(self)\n"
        "  for i = 1, 20000000 do end\n"
        "  self.state.done = true\n"
        "  return 'done'\n"
        "end\n"
        "return slow\n"
    )
    assert lithox("deploy", str(folder), **node).returncode == 0
    calling = subprocess.Popen(
        [*COMMAND, "call", "slow/a", "go"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**node),
    )
    deadline = time.monotonic() + SECONDS_MAX
    while calling.poll() is None and time.monotonic() < deadline:
        if "slow/a" in lithox("ps", **node).stdout:
            break
    status, _ = server.stop()
    out, errors = calling.communicate(timeout=SECONDS_MAX)
    assert (status, out, errors.count("\n") <= 1) == (0, '"done"\n', True)
    found = lithox("entity", "get", "slow/a", "done", "--data", str(tmp_path / "data"))
    assert found.stdout == "true\n"


def test_a_token_is_wanted_where_one_is_configured(tmp_path):
    """No token and a wrong one are exit 3; the right one names its caller."""
    config = tmp_path / "node.toml"
    digest = hashlib.sha256(b"secret-token").hexdigest()
    config.write_text(f'[[identity]]\nname = "ops"\ntoken_sha256 = "{digest}"\nadmin = true\n')
    server = Server(tmp_path / "data", "--config", str(config))
    try:
        for more in ({}, {"LITHOX_TOKEN": "wrong"}):
            refused = lithox("ps", "--node", server.url, **more)
            assert refused.returncode == 3
            assert refused.stderr.endswith("[request.unauthenticated]\n")
        assert lithox("ps", "--node", server.url, "--token", "secret-token").returncode == 0
    finally:
        server.close()


def test_ready_is_told_as_json_when_asked(tmp_path):
    """Scripts read address and process number from one line."""
    server = Server(tmp_path / "data", "--json")
    try:
        ready = json.loads(server.ready_line)
        assert (ready["status"], ready["pid"]) == ("ready", server.process.pid)
        assert ready["url"].startswith("http://127.0.0.1:")
    finally:
        server.close()


def test_an_embedded_node_serves_commands_without_a_server(tmp_path):
    """Deploy, call and read on a data directory alone."""
    data = ("--data", str(tmp_path / "own"))
    assert lithox("deploy", str(COUNTER), *data).returncode == 0
    called = lithox("call", "counter/a", "increment", "41", "--json", *data)
    assert json.loads(called.stdout)["value"] == 41
    assert lithox("call", "counter/a", "increment", *data).stdout == "42\n"
    assert lithox("entity", "ls", *data).stdout == "counter/a\n"
    assert lithox("entity", "ls", "counter/a:", *data).stdout == "count\n"
    refused = lithox("call", "counter/a", "nope", *data)
    assert refused.returncode == 2
