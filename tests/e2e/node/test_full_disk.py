"""A disk without room: writes are refused, reads answered, and with room again all goes on."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from tests.e2e.node.serving import Served, copy_data, make_data, serving, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

VALUE_BYTES = 100_000
WRITES_MAX = 100
ROOM_BYTES = 2 << 20
"""The largest file the node may write at first: some twenty values."""
HEAP = """
local heap = {}
function heap.put(self, key, size)
  self.state[key] = string.rep("x", size)
  return key
end
function heap.size(self, key) return #(self.state[key] or "") end
return heap
"""
MANIFEST = '[[template]]\nmatch = "heap/*"\nlanguage = "lua"\nsource = "heap.lua"\n'


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives a data directory with an entity that fills the disk."""
    return make_data(tmp_path_factory.mktemp("disk"), manifest=MANIFEST, modules={"heap.lua": HEAP})


def limit_files(pid: int) -> None:
    """Lets the process write no file larger than `ROOM_BYTES`, as if the disk were full."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (ROOM_BYTES, hard))


def unlimit_files(pid: int) -> None:
    """Gives the disk its room back."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


def fill(served: Served) -> tuple[list[str], str]:
    """Writes until something is refused; returns the keys acknowledged and the status."""
    acknowledged: list[str] = []
    for number in range(WRITES_MAX):
        body = served.call("heap/one", "put", f"key{number}", VALUE_BYTES)
        if body["status"] != "ok":
            return acknowledged, body["status"]
        acknowledged.append(f"key{number}")
    pytest.fail("the disk did not get full")


def test_a_full_disk_stops_writes_only(deployed: Path, tmp_path: Path) -> None:
    """Writes end as store.unavailable, reads go on, room lets writes resume, nothing is lost."""
    data = copy_data(deployed, tmp_path / "data")
    with serving(data) as served:
        limit_files(served.process.pid)
        acknowledged, status = fill(served)
        assert acknowledged
        assert status == "store.unavailable"
        for key in acknowledged:
            assert served.call("heap/one", "size", key)["value"] == VALUE_BYTES
        assert served.call("heap/one", "size", f"key{len(acknowledged)}")["value"] == 0
        unlimit_files(served.process.pid)
        wait_until(
            lambda: served.call("heap/one", "put", "later", 10)["status"] == "ok",
            "writing resumes by itself",
        )
        served.stop(signal.SIGKILL)
    with serving(data) as served:
        for key in acknowledged:
            assert served.call("heap/one", "size", key)["value"] == VALUE_BYTES
        assert served.call("heap/one", "size", "later")["value"] == 10
