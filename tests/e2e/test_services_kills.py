"""SIGKILL anywhere in the commit path, while a service writes into its storage."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from lithox.store.crash_points import COMMIT_POINTS
from tests.e2e.node.serving import COMMAND, SECONDS_MAX, copy_data, serving, surroundings

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BATCHES_BEFORE = 12
"""Commits the node makes before it dies, so that there is something to lose."""
WRITER = """
local S = os.contexts.storage
local WIDTH = 70000
local function ask(...)
  local status, value, message = os.request(S, ...)
  if status ~= 0 then error(tostring(value) .. ": " .. tostring(message)) end
  return value
end
local n, size = ask("get", "n") or 0, ask("size")
if size ~= n * WIDTH and size ~= (n - 1) * WIDTH then
  error("half of a write: " .. n .. " writes and " .. size .. " bytes")
end
if size < n * WIDTH then ask("append", ("x"):rep(WIDTH)) end
local token = ask("lock", "only me")
if token <= (ask("get", "token") or 0) then error("a fencing token came again") end
ask("put", "token", token)
print("resumed", n)
for i = n + 1, 200 do
  ask("add", "n")
  print("said", i)
  ask("append", ("x"):rep(WIDTH))
end
os.pull()
"""


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=surroundings(),
        timeout=SECONDS_MAX,
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives a data directory with a service that writes and another that requires it."""
    folder = tmp_path_factory.mktemp("services")
    data = folder / "prepared"
    (folder / "writer.lua").write_text(WRITER)
    (folder / "user.lua").write_text("print('up') os.pull()")
    for name in ("writer", "user"):
        run_command(
            "store", "set", "program", name, str(folder / f"{name}.lua"), "--data", str(data)
        )
    options = ("--storage", "--backoff-min", "1ms", "--quota", "64MiB", "--data", str(data))
    run_command("service", "add", "writer", "writer", *options)
    done = run_command(
        "service", "add", "user", "user", "--requires", "writer", "--data", str(data), "--json"
    )
    assert json.loads(done.stdout)["state"] == "stopped", "a command keeps no service running"
    return data


def last_said(data: Path, word: str) -> int:
    """Returns the last number the writer printed behind `word`, from its log files."""
    text = b"".join(file.read_bytes() for file in sorted((data / "logs").glob("writer.log*")))
    numbers = [
        int(line.rsplit("\t", 1)[1])
        for line in text.decode().splitlines()
        if f" out {word}\t" in line
    ]
    return numbers[-1] if numbers else -1


@pytest.mark.parametrize("point", COMMIT_POINTS)
def test_a_kill_loses_nothing_of_a_services_storage(
    point: str, prepared: Path, tmp_path: Path
) -> None:
    """What storage had acknowledged is there after the kill, the rest whole or not at all."""
    data = copy_data(prepared, tmp_path / "data")
    with serving(data, crash_at=f"{point}:{BATCHES_BEFORE}") as served:
        assert served.wait() == -signal.SIGKILL
    said = last_said(data, "said")
    assert said >= 1, "nothing was acknowledged before the kill"
    with serving(data) as served:
        row = served.get("/v1/services/writer")
        while row["state"] != "running" or last_said(data, "resumed") < 1:
            assert row["state"] != "failed", row["reason"]
            seen = row["changes"]
            row = served.get(f"/v1/services/writer?seen={seen}&wait_ms=200")
        assert said <= last_said(data, "resumed") <= said + 1
        row = served.get("/v1/services/user")
        while row["state"] != "running":
            row = served.get(f"/v1/services/user?seen={row['changes']}&wait_ms=2000")
        listed = served.get("/v1/services")["services"]
        assert {one["name"]: one["state"] for one in listed} == {
            "storage": "running",
            "user": "running",
            "writer": "running",
        }
        assert served.stop(signal.SIGTERM) == 0
