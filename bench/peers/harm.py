"""What harm does to the others and to the data: loops, memory eaters, failing handlers, SIGKILL.

Each of them has a peer on fresh data to itself, because some remember the harm and repeat it after
a restart. Nothing here fails the run: what happens is the result.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import Any, Final

from bench.peers.loading import Loader, said_by
from bench.peers.peer import EACH, Peer, Road
from bench.peers.processes import MemoryWatch, MissingError
from bench.peers.wires import READERS, Action, number_in
from bench.peers.workloads import INCREMENTS

CALLERS: Final = 16
KILL_CALLERS: Final = 64
KILL_AFTER_S: Final = 1.5
KILL_LOAD_S: Final = 30.0
EATER_MB_MAX: Final = 2048.0
ALONE_S: Final = 3.0
HARM_BEGIN_S: Final = 0.3
HARM_END_S: Final = 0.7
"""How long harm goes on after the load beside it has ended; the generator starts meanwhile."""
ASK_S_MAX: Final = 5.0
FIRST_ANSWER_S_MAX: Final = 60.0
SPOILED: Final = 999


def _each(road: Road) -> Road:
    """Returns the road with a connection for each caller: here answers are matched to requests."""
    return Road(label=road.label, wire=road.wire, shape=EACH)


def ask_once(road: Road, action: Action, *, seconds: float = ASK_S_MAX) -> tuple[bool, int | None]:
    """Returns (whether it was answered well, the number in the answer). Raises OSError."""
    wire = road.wire
    with socket.create_connection((wire.host, wire.port), seconds) as sock:
        sock.sendall(wire.encode(action))
        reader = READERS[wire.kind]()
        while not (found := reader.feed(data := sock.recv(65536))):
            if not data:
                raise ConnectionResetError("the server closed")
    one = found[0]
    return one.is_ok, number_in(wire.kind, one.value) if one.is_ok else None


def spoil(road: Road) -> dict[str, Any]:
    """Returns what is left of `state = 999; error()` on an entity whose count is 1."""
    try:
        ask_once(road, Action("increment", "spoiled"))
        was_ok, _ = ask_once(road, Action("spoil", "spoiled"))
        _, left = ask_once(road, Action("look", "spoiled"))
    except OSError as error:
        return {"is_clean": False, "left": None, "words": str(error)}
    return {"is_clean": left == 1, "left": left, "words": "the call succeeded" if was_ok else ""}


def _words_of(found: dict[str, Any]) -> str:
    """Returns what became of the harmful calls."""
    ended = found["failed"] + found["answered"]
    if found["is_closed"]:
        return f"connection lost: {found['first_failure'][:120]}"
    return (
        f"ended and called again {ended} times: {found['first_failure'][:120]}"
        if ended
        else ("runs on")
    )


def beside(
    loader: Loader, peer: Peer, road: Road, handler: str, *, seconds: float
) -> dict[str, Any]:
    """Returns the counter's rate of CALLERS alone and beside one caller of `handler`.

    That caller calls again whenever a call of its ended, so that limits give no relief.
    """
    road = _each(road)
    loader.ask(road, INCREMENTS, callers=CALLERS, seconds=HARM_BEGIN_S)
    alone = loader.ask(road, INCREMENTS, callers=CALLERS, seconds=ALONE_S)
    harmful = [Action(handler, handler)]
    harm_s = HARM_BEGIN_S + seconds + HARM_END_S
    with (
        MemoryWatch(peer.pids(), mb_max=EATER_MB_MAX) as watch,
        loader.begin(road, harmful, callers=1, seconds=harm_s) as process,
    ):
        time.sleep(HARM_BEGIN_S)
        found = loader.ask(road, INCREMENTS, callers=CALLERS, seconds=seconds)
        said = said_by(process, seconds=harm_s)
    rate = found["answered"] / seconds
    return {
        "alone": alone["rate"],
        "beside": rate,
        "kept": rate / alone["rate"] if alone["rate"] else 0.0,
        "failed": found["failed"],
        "first_failure": found["first_failure"],
        "words": _words_of(json.loads(said)),
        "highest_mb": watch.highest_mb,
        "was_ended": watch.has_ended_it,
        "is_alive": all(child.process.poll() is None for child in peer.children),
        "seconds": seconds,
    }


def kill_and_restart(loader: Loader, peer: Peer, road: Road) -> dict[str, Any]:
    """Returns what SIGKILL under load lost, and how long the first answer took afterwards."""
    road = _each(road)
    callers, seconds = KILL_CALLERS, KILL_LOAD_S
    loader.ask(road, INCREMENTS, callers=callers, seconds=seconds, is_once=True)
    with loader.begin(
        road, INCREMENTS, callers=callers, seconds=seconds, is_recorded=True
    ) as process:
        time.sleep(KILL_AFTER_S)
        peer.kill()
        said = said_by(process, seconds=seconds)
    acknowledged = _highest(said)
    begun = time.perf_counter()
    peer.start()
    road = _each(peer.roads()[0])
    first_s = _first_answer(road, begun)
    found = loader.ask(
        road, INCREMENTS, callers=callers, seconds=seconds, is_once=True, is_recorded=True
    )
    kept = {int(index): value - 1 for index, value in found["highest"].items()}
    lost = sum(max(0, value - kept.get(index, 0)) for index, value in acknowledged.items())
    return {
        "acknowledged": sum(acknowledged.values()),
        "entities": len(acknowledged),
        "lost": lost,
        "first_answer_s": first_s,
    }


def _highest(said: str) -> dict[int, int]:
    return {int(index): value for index, value in json.loads(said)["highest"].items()}


def _first_answer(road: Road, begun: float) -> float:
    """Returns the seconds from `begun` to the first good answer; of another entity than counted."""
    while time.perf_counter() - begun < FIRST_ANSWER_S_MAX:
        with contextlib.suppress(OSError):
            is_ok, _ = ask_once(road, Action("increment", "first"))
            if is_ok:
                return time.perf_counter() - begun
        time.sleep(0.02)
    raise MissingError(f"no answer {FIRST_ANSWER_S_MAX:.0f} s after the restart")
