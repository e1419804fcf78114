"""One measurement: a load on one road of one peer, with what it cost on both sides.

HTTP for a time is wrk's; everything else is `bench.peers.asking`. Both run in a process of their
own, so that their processor time is told apart from the server's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.counter import ROOT
from bench.peers import wrk
from bench.peers.peer import ONE, Peer, Road
from bench.peers.processes import MissingError, cpu_seconds
from bench.peers.wires import Action
from bench.peers.wrk import Load

ASKING: Final = [sys.executable, "-m", "bench.peers.asking"]
ASKING_S_MORE: Final = 30.0


class LoadError(Exception):
    """The load generator broke, or did not end; the words say how."""


FAILURES: Final = (
    MissingError,
    LoadError,
    OSError,
    ValueError,
    RuntimeError,
    subprocess.SubprocessError,
)
"""What may break in one measurement of one peer and is its result; all else ends the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A load and its cost; processor time in microseconds for each good answer."""

    load: Load
    server_cpu_us: float | None
    client_cpu_us: float | None

    def to_json(self) -> dict[str, Any]:
        """Returns all of it as plain data, with the rate."""
        return {
            **asdict(self.load),
            "rate": self.load.rate,
            "server_cpu_us": self.server_cpu_us,
            "client_cpu_us": self.client_cpu_us,
        }


class Loader:
    """Makes loads; keeps encoded requests in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def measure(
        self, peer: Peer, road: Road, actions: Sequence[Action], *, callers: int, seconds: float
    ) -> Measured:
        """Returns what `callers` closed loops of random `actions` saw. Blocks for `seconds`."""
        before_s = cpu_seconds(peer.pids())
        if road.wire.kind == "http":
            script = self._folder / "requests.lua"
            script.write_text(wrk.script_of([road.wire.words(one) for one in actions]))
            load = wrk.run(
                script, host=road.wire.host, port=road.wire.port, callers=callers, seconds=seconds
            )
        else:
            load = load_of(self.ask(road, actions, callers=callers, seconds=seconds))
        used_s = cpu_seconds(peer.pids()) - before_s
        count = load.answered
        return Measured(
            load=load,
            server_cpu_us=used_s * 1e6 / count if count else None,
            client_cpu_us=load.client_cpu_s * 1e6 / count if count else None,
        )

    def ask(
        self,
        road: Road,
        actions: Sequence[Action],
        *,
        callers: int,
        seconds: float,
        **plan: bool,
    ) -> dict[str, Any]:
        """Returns what the generator saw (bench.peers.asking). Blocks."""
        with self.begin(road, actions, callers=callers, seconds=seconds, **plan) as process:
            said = said_by(process, seconds=seconds)
        return dict(json.loads(said))

    def begin(
        self,
        road: Road,
        actions: Sequence[Action],
        *,
        callers: int,
        seconds: float,
        **plan: bool,
    ) -> subprocess.Popen[str]:
        """Starts the generator and returns it; what it says at its end is `ask`'s."""
        messages = self._folder / f"messages-{abs(hash((road.label, callers, seconds)))}"
        messages.write_bytes(msgspec.msgpack.encode([road.wire.encode(one) for one in actions]))
        is_one = road.shape == ONE and not plan.get("is_recorded")
        whole = {
            "kind": road.wire.kind,
            "host": road.wire.host,
            "port": road.wire.port,
            "messages": str(messages),
            "connections": 1 if is_one else callers,
            "outstanding": callers if is_one else 1,
            "seconds": seconds,
            **plan,
        }
        process = subprocess.Popen(
            ASKING,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(whole))
        process.stdin.close()
        process.stdin = None
        return process


def said_by(process: subprocess.Popen[str], *, seconds: float) -> str:
    """Returns what the generator said at its end. Blocks.

    Raises:
        LoadError: it broke, or was ended because it did not end ASKING_S_MORE after `seconds`.
    """
    try:
        said, words = process.communicate(timeout=seconds + ASKING_S_MORE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise LoadError("the load generator did not end") from None
    if process.returncode != 0:
        raise LoadError(f"the load generator failed: {words[-800:]}")
    return said


def load_of(found: dict[str, Any]) -> Load:
    """Returns the generator's words as a load."""
    return Load(
        answered=found["answered"],
        failed=found["failed"],
        seconds=found["seconds"],
        p50_us=found["p50_us"],
        p99_us=found["p99_us"],
        client_cpu_s=found["cpu_s"],
        first_failure=found["first_failure"],
    )
