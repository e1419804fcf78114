"""Which peers and packages a run takes, and when a long load counts as flat."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.peers.alone import flatness
from bench.peers.packages import HERE, check_pins
from bench.peers.peers import MAKERS, chosen
from bench.peers.processes import MissingError
from bench.peers.workloads import WORKLOADS, mixed
from tests.repo import checkout  # noqa: F401 - puts tools/ on the path

import bench_peers  # isort: skip  (tools/ is put on the path by checkout)


def make_rows(
    *rates: float, p99_us: float = 1000.0, pss_mb: float = 100.0
) -> list[dict[str, float]]:
    return [{"rate": rate, "p99_us": p99_us, "pss_mb": pss_mb} for rate in rates]


def test_a_load_that_stays_is_flat() -> None:
    """Throughput, p99 and memory of the last third are those of the first."""
    assert flatness(make_rows(1000, 700, 950))["is_flat"]


@pytest.mark.parametrize(
    "last",
    [
        make_rows(800),
        make_rows(1000, p99_us=2000.0),
        make_rows(1000, pss_mb=150.0),
    ],
)
def test_a_load_that_fades_or_grows_is_not_flat(last: list[dict[str, float]]) -> None:
    """Any one of the three is enough."""
    assert not flatness([*make_rows(1000, 1000), *last])["is_flat"]


def test_a_name_chooses_a_peer_and_lithox_all_of_ours() -> None:
    """No name chooses everybody; an unknown one is refused with those there are."""
    assert chosen("") == list(MAKERS)
    assert chosen("redis,lithox") == ["redis", "lithox-1", "lithox-2", "lithox-postgres"]
    with pytest.raises(ValueError, match="there is no peer 'mysql'; there are lithox-1, "):
        chosen("mysql")


def test_a_package_that_was_not_pinned_is_refused(tmp_path: Path) -> None:
    """Version and hash must be those of the repository, and what else came is removed."""
    wanted = HERE / "npm" / "package-lock.json"
    pins = json.loads(wanted.read_text())["packages"]
    modules = tmp_path / "node_modules"
    modules.mkdir()
    lock = modules / ".package-lock.json"
    lock.write_text(
        json.dumps({"packages": {"node_modules/workerd": pins["node_modules/workerd"]}})
    )
    check_pins(wanted, lock)
    other = pins["node_modules/workerd"] | {"integrity": "sha512-other"}
    lock.write_text(json.dumps({"packages": {"node_modules/workerd": other}}))
    with pytest.raises(MissingError, match="npm brought another node_modules/workerd than"):
        check_pins(wanted, lock)
    assert not modules.exists()


def test_every_dependency_of_npm_has_a_hash() -> None:
    """Nothing comes by its name alone, and no address of a registry stands there."""
    packages = json.loads((HERE / "npm" / "package-lock.json").read_text())["packages"]
    asked = packages.pop("")["dependencies"]
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())
    assert not any("resolved" in one for one in packages.values())
    assert asked == json.loads((HERE / "npm" / "package.json").read_text())["dependencies"]


def test_workloads_ask_what_every_peer_has() -> None:
    """Names are their own, and each asks some entities; the mixture reads and writes."""
    names = [one.name for one in WORKLOADS]
    assert len(set(names)) == len(names)
    assert all(one.actions and one.callers for one in WORKLOADS)
    assert {one.handler for one in mixed()} == {"increment", "look"}


def test_a_mixed_load_keeps_its_own_time_and_commit() -> None:
    """Put beside the results of another run it does not pass for a part of it."""
    whole = {"at": "Monday", "commit": "a", "mixed": {"lithox-1": {"is_flat": True}}}
    found = {"at": "Friday", "commit": "b", "mixed": {"lithox-2": {"is_flat": False}}}
    bench_peers.join_mixed(whole, found)
    assert whole["mixed"] == {
        "lithox-1": {"is_flat": True},
        "lithox-2": {"is_flat": False, "at": "Friday", "commit": "b"},
    }
    assert (whole["at"], whole["commit"]) == ("Monday", "a")
