"""How a served node begins and ends: one holder per directory, nobody's work lost on the way."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node.serving import (
    COMMAND,
    SECONDS_MAX,
    copy_data,
    make_data,
    serving,
    surroundings,
    wait_until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EXIT_UNAVAILABLE = 4
PAGE_BYTES = 4096
SLOW = """
local slow = {}
function slow.work(self, rounds)
  local sum = 0
  for i = 1, rounds do sum = sum + i % 7 end
  self.state.done = (self.state.done or 0) + 1
  return self.state.done
end
function slow.done(self) return self.state.done or 0 end
return slow
"""
MANIFEST = (
    '[[template]]\nmatch = "slow/*"\nlanguage = "lua"\nsource = "slow.lua"\n'
    'limits = { fuel = 2_000_000_000, wall = "30s" }\n'
)
ROUNDS = 4_000_000
"""Some hundred milliseconds: long enough to be seen running."""


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives a data directory with entities that take their time."""
    folder = tmp_path_factory.mktemp("life")
    return make_data(folder, manifest=MANIFEST, modules={"slow.lua": SLOW})


def serve_in_vain(data: Path) -> tuple[int, str]:
    """Returns (exit status, stderr) of a node that is expected not to start."""
    done = subprocess.run(
        [*COMMAND, "serve", "--data", str(data), "--listen", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        check=False,
        env=surroundings(),
        timeout=SECONDS_MAX,
    )
    return done.returncode, done.stderr


def test_a_second_node_on_one_directory_refuses(deployed: Path, tmp_path: Path) -> None:
    """The second node names the process that holds the directory, ends with 4, and harms nobody."""
    data = copy_data(deployed, tmp_path / "data")
    with serving(data) as served:
        status, words = serve_in_vain(data)
        assert status == EXIT_UNAVAILABLE
        assert f"is in use by process {served.process.pid};" in words
        assert "[store.in_use]" in words
        assert served.call("slow/one", "work", 1)["value"] == 1


def test_a_directory_is_free_as_soon_as_its_holder_is_killed(
    deployed: Path, tmp_path: Path
) -> None:
    """A killed node leaves no lock that anybody would have to remove."""
    data = copy_data(deployed, tmp_path / "data")
    with serving(data) as served:
        assert served.call("slow/one", "work", 1)["value"] == 1
        served.stop(signal.SIGKILL)
    with serving(data) as served:
        assert served.call("slow/one", "done")["value"] == 1


def test_a_run_goes_on_when_its_client_has_gone(deployed: Path, tmp_path: Path) -> None:
    """A client that hangs up does not end its run: it commits, and its id has the answer."""
    data = copy_data(deployed, tmp_path / "data")
    with serving(data) as served:
        connection = served.connect()
        connection.request(
            "POST",
            "/v1/entities/slow/one:work",
            json.dumps({"args": [ROUNDS]}),
            {"Content-Type": "application/json", "Idempotency-Key": "gone"},
        )
        wait_until(lambda: bool(served.get("/v1/processes")["processes"]), "the run begins")
        connection.close()
        wait_until(lambda: served.call("slow/one", "done")["value"] == 1, "the run commits")
        assert served.call("slow/one", "work", ROUNDS, key="gone")["value"] == 1


def test_sigterm_lets_runs_finish(deployed: Path, tmp_path: Path) -> None:
    """A run under way when SIGTERM comes is answered, and what it wrote is there afterwards."""
    data = copy_data(deployed, tmp_path / "data")
    answers: list[dict[str, Any]] = []
    with serving(data) as served:
        caller = threading.Thread(
            target=lambda: answers.append(served.call("slow/one", "work", ROUNDS))
        )
        caller.start()
        wait_until(lambda: bool(served.get("/v1/processes")["processes"]), "the run begins")
        assert served.stop(signal.SIGTERM) == 0
        caller.join(SECONDS_MAX)
    assert [(one["status"], one["value"]) for one in answers] == [("ok", 1)]
    with serving(data) as served:
        assert served.call("slow/one", "done")["value"] == 1


def test_a_newer_database_is_refused(deployed: Path, tmp_path: Path) -> None:
    """A file of a newer version is not touched, and the message says what to do."""
    data = copy_data(deployed, tmp_path / "data")
    path = data / "lithox.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        database.execute(f"PRAGMA user_version = {version + 41}")
        database.commit()
    before = path.read_bytes()
    status, words = serve_in_vain(data)
    assert status == EXIT_UNAVAILABLE
    assert words.startswith(
        f"lithox: {path} has schema version {version + 41}, this lithox knows up to {version}; "
        "start the newer lithox that wrote it"
    )
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(deployed: Path, tmp_path: Path) -> None:
    """A file of somebody else is neither repaired nor overwritten."""
    data = copy_data(deployed, tmp_path / "data")
    path = data / "lithox.db"
    foreign = b"not a database " * 300
    path.write_bytes(foreign)
    status, words = serve_in_vain(data)
    assert status == EXIT_UNAVAILABLE
    assert words.startswith(f"lithox: {path} is not a database of lithox")
    assert path.read_bytes() == foreign


def test_a_damaged_database_is_refused(deployed: Path, tmp_path: Path) -> None:
    """A database with a broken page is refused with its code, and left as it is."""
    data = copy_data(deployed, tmp_path / "data")
    path = data / "lithox.db"
    whole = path.read_bytes()
    damaged = whole[:PAGE_BYTES] + bytes(reversed(whole[PAGE_BYTES:]))
    path.write_bytes(damaged)
    status, words = serve_in_vain(data)
    assert status == EXIT_UNAVAILABLE
    assert "[store.corrupt]" in words
    assert "Traceback" not in words
    assert path.read_bytes() == damaged
