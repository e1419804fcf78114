"""How long rounds are, that a peer's failure is its own, and that the whole run ends in time."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.peers import alone, checks, harm, run
from bench.peers.loading import LoadError, Measured, said_by
from bench.peers.ours import Lithox
from bench.peers.peer import EACH, Peer, Road
from bench.peers.peers import MAKERS
from bench.peers.processes import MissingError
from bench.peers.wires import Wire
from bench.peers.workloads import SIDE_CALLERS, WORKLOADS, Workload
from bench.peers.wrk import Load

WHOLE_S_MAX = 22 * 60
COUNTER = next(one for one in WORKLOADS if one.name == "counter")
READ = next(one for one in WORKLOADS if one.name == "read")
BROKEN = [
    MissingError("broken"),
    LoadError("broken"),
    OSError("broken"),
    ValueError("broken"),
    subprocess.TimeoutExpired("wrk", 9),
]


class Fake(Peer):
    """A peer that is asked by a fake generator."""

    durability = "none"

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(None, folder)  # type: ignore[arg-type]
        self.name = name

    def start(self) -> None:
        """There is nothing to start."""

    def roads(self) -> list[Road]:
        wire = Wire(kind="http", host="127.0.0.1", port=1, words=str)
        return [Road(label=self.name, wire=wire, shape=EACH)]


class FakeLoader:
    """Answers all peers but `bad`, whose measurements break."""

    def __init__(self, error: Exception, *, in_warming: bool) -> None:
        self._error, self._in_warming = error, in_warming
        self._warmed: set[str] = set()

    def ask(self, road: Road, *_: Any, **__: Any) -> dict[str, Any]:
        if road.label == "bad" and self._in_warming:
            raise self._error
        return {"failed": 0, "answered": 10_000, "highest": {}, "first_failure": ""}

    def measure(self, _peer: Peer, road: Road, *_: Any, **__: Any) -> Any:
        is_warm = road.label in self._warmed
        self._warmed.add(road.label)
        if road.label == "bad" and (self._in_warming or is_warm):
            raise self._error
        load = Load(answered=1, failed=0, seconds=1.0, p50_us=1.0, p99_us=1.0, client_cpu_s=0.0)
        return Measured(load=load, server_cpu_us=1.0, client_cpu_us=1.0)


def make_run(folder: Path, loader: Any, *names: str, workloads: str = "") -> run.Run:
    options = argparse.Namespace(
        packages=folder, rounds=2, seconds=2.0, workloads=workloads, mixed_seconds=1.0, only=""
    )
    made = run.Run(options, folder)
    made.loader = loader
    made.peers = [Fake(name, folder / name) for name in names]
    return made


@pytest.mark.parametrize("in_warming", [True, False])
@pytest.mark.parametrize("error", BROKEN)
def test_a_peer_that_breaks_breaks_no_other(
    tmp_path: Path, error: Exception, in_warming: bool
) -> None:
    """Whatever breaks of it or of its generator, while it is warmed or measured, is its result."""
    loader = FakeLoader(error, in_warming=in_warming)
    made = make_run(tmp_path, loader, "bad", "good", workloads="read")
    made.measure_loads()
    made.measure_touches()
    bad, good = made.result["loads"]
    assert [set(one) for one in bad["rounds"]] == [{"failed_with"}] * (1 if in_warming else 2)
    assert [one["answered"] for one in good["rounds"]] == [1, 1]
    assert made.result["touch"]["good"]["is_whole"]


def test_a_peer_that_breaks_under_the_trace_breaks_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting syncs of the next one goes on, for longer where it is slow."""

    @contextmanager
    def trace(_pids: Any) -> Iterator[Any]:
        yield argparse.Namespace(result=argparse.Namespace(total=5, calls={"fsync": 5}))

    monkeypatch.setattr(run, "SyncTrace", trace)
    loader = FakeLoader(LoadError("broken"), in_warming=True)
    made = make_run(tmp_path, loader, "bad", "good")
    made.peers[1].round_times = 4.0
    asked: list[float] = []
    ask = loader.ask

    def note(road: Road, *args: Any, seconds: float, **more: Any) -> dict[str, Any]:
        asked.append(seconds)
        return ask(road, *args, seconds=seconds, **more)

    loader.ask = note  # type: ignore[method-assign]
    made.measure_syncs()
    assert asked == [run.TRACE_HTTP_S, 4 * run.TRACE_HTTP_S]
    assert made.result["syncs"]["bad"] == {"failed_with": "broken"}
    assert made.result["syncs"]["good"]["syncs"] == 5


@pytest.mark.parametrize("error", BROKEN)
def test_a_peer_that_breaks_alone_breaks_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The same with the machine to itself, and in the mixed load."""

    def measure(_loader: Any, peer: Peer, _road: Road) -> dict[str, Any]:
        if peer.name == "bad":
            raise error
        return {"is_clean": True}

    def mixed_load(*_: Any, **__: Any) -> dict[str, Any]:
        raise error

    makers = {name: lambda _, folder, name=name: Fake(name, folder) for name in ("bad", "good")}
    monkeypatch.setattr(alone, "MAKERS", makers)
    monkeypatch.setitem(alone.ALONE, "spoil", measure)
    monkeypatch.setattr(alone, "mixed_load", mixed_load)
    found = alone.measure(Any, tmp_path, ["bad", "good"], {"spoil"})
    assert set(found["spoil"]["bad"]) == {"failed_with"}
    assert found["spoil"]["good"] == {"is_clean": True}
    made = make_run(tmp_path, None, workloads="mixed")
    made.run_alone(["lithox-1"])
    assert set(made.result["mixed"]["lithox-1"]) == {"failed_with"}


class FakeProcess:
    """A generator that has ended with `code`, or never does."""

    def __init__(self, code: int | None) -> None:
        self.returncode, self.is_killed = code, False

    def communicate(self, timeout: float) -> tuple[str, str]:
        if self.returncode is None:
            raise subprocess.TimeoutExpired("asking", timeout)
        return "said", "Traceback: words"

    def kill(self) -> None:
        self.is_killed = True


def test_a_generator_that_breaks_or_hangs_is_a_failure_and_ends_no_run() -> None:
    """No SystemExit, which would end the whole run; who hangs is ended."""
    assert said_by(FakeProcess(0), seconds=1.0) == "said"  # type: ignore[arg-type]
    with pytest.raises(LoadError, match="failed: Traceback: words"):
        said_by(FakeProcess(1), seconds=1.0)  # type: ignore[arg-type]
    hanging = FakeProcess(None)
    with pytest.raises(LoadError, match="did not end"):
        said_by(hanging, seconds=1.0)  # type: ignore[arg-type]
    assert hanging.is_killed


def test_slow_peers_have_longer_rounds(tmp_path: Path) -> None:
    """As many times as they say; half the time where no goal stands, at one caller too."""
    slow = Fake("slow", tmp_path)
    slow.round_times = 4.0
    assert run.seconds_of(2.0, COUNTER, Fake("fast", tmp_path), 64) == 2.0
    assert run.seconds_of(2.0, COUNTER, slow, 64) == 8.0
    assert run.seconds_of(2.0, COUNTER, slow, 1) == 4.0
    assert run.seconds_of(2.0, READ, slow, 64) == 4.0
    made = make_run(tmp_path, FakeLoader(OSError(), in_warming=False), "good", workloads="read")
    made.peers[0].round_times = 3.0
    asked: list[float] = []
    measure = made.loader.measure

    def note(*args: Any, seconds: float, **more: Any) -> Any:
        asked.append(seconds)
        return measure(*args, seconds=seconds, **more)

    made.loader.measure = note  # type: ignore[method-assign]
    made.measure_loads()
    assert asked == [run.WARM_S, 3.0, 3.0]
    assert made.result["loads"][0]["seconds"] == 3.0


def make_peers(folder: Path) -> list[Peer]:
    """Returns every peer as if it were started, with all its roads."""
    peers = [make(None, folder / name) for name, make in MAKERS.items()]  # type: ignore[arg-type]
    for peer in peers:
        peer.port = 1  # type: ignore[attr-defined]
        if isinstance(peer, Lithox):
            peer._has_resp = True
    return peers


def loads_s(peers: list[Peer], workload: Workload, *, rounds: int, seconds: float) -> float:
    """Returns what one workload takes over all roads."""
    total = 0.0
    for peer in peers:
        if workload.is_ours_alone and not peer.name.startswith("lithox"):
            continue
        for road in peer.roads():
            if not road.is_main and not workload.is_for_all_roads:
                continue
            total += WARMING_S
            total += sum(
                rounds * (run.seconds_of(seconds, workload, peer, callers) + ROW_S)
                for callers in workload.callers
                if road.is_main or callers in SIDE_CALLERS
            )
    return total


ROW_S = 0.25
"""A generator's start and end around each round; 0.17 in a log of the run, of wrk."""
WARMING_S = run.WARM_S + 0.7
"""And what has to be there before."""
START_S = 3.0
"""Start and end of a fresh peer, on the average of all."""
ATTACH_S = 1.5


def test_the_whole_run_ends_in_time(tmp_path: Path) -> None:
    """All that is measured by time, with what starts take, stays below 22 minutes."""
    peers, ours = make_peers(tmp_path), len(alone.OURS)
    options = run.parser().parse_args(["out"])
    loads = sum(
        loads_s(peers, one, rounds=options.rounds, seconds=options.seconds) for one in WORKLOADS
    )
    syncs = sum(peer.round_times * run.TRACE_HTTP_S + ATTACH_S for peer in peers)
    touch = len(peers) * run.TOUCH_S_MAX
    known = sum(
        checks.REQUESTS / 5_000
        for peer in peers
        for road in peer.roads()
        if road.wire.kind == "resp"
    )
    others = len(peers) - ours - len(alone.LEFT_OUT)
    idle = others * (START_S + alone.IDLE_S_MAX) + ours * (START_S + alone.IDLE_S_MAX_OURS / 4)
    loops = others + ours * alone.OUR_ROUNDS["loop"]
    around = START_S + harm.ALONE_S + 2 * harm.HARM_BEGIN_S + harm.HARM_END_S
    harms = loops * (around + alone.HARM_S) + (others + ours) * (around + alone.EAT_S)
    kills = len(peers) * (2 * START_S + harm.KILL_AFTER_S + 2.0)
    mixed = ours * (START_S + 4.0 + options.mixed_seconds)
    spoils = len(peers) * START_S
    parts = [loads, syncs, touch, known, idle, harms, kills, spoils, mixed]
    assert sum(parts) < WHOLE_S_MAX, [round(part) for part in [sum(parts), *parts]]
