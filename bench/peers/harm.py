"""What harm does to the others and to the data: loops, memory eaters, failing handlers, SIGKILL.

Each of them has a peer on fresh data to itself, because some remember the harm and repeat it after
a restart. Nothing here fails the run: what happens is the result.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any, Final

from bench.peers.loading import Loader
from bench.peers.peer import EACH, Peer, Road
from bench.peers.processes import MemoryWatch, MissingError
from bench.peers.wires import Action, number_in, READERS
from bench.peers.workloads import INCREMENTS

CALLERS: Final = 16
KILL_CALLERS: Final = 64
KILL_AFTER_S: Final = 1.5
KILL_LOAD_S: Final = 30.0
EATER_MB_MAX: Final = 2048.0
HARM_BEGIN_S: Final = 0.3
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


@contextlib.contextmanager
def _harmful(road: Road, handler: str) -> Iterator[socket.socket]:
    """Keeps one call of a harmful handler under way, as far as the server lets it."""
    wire = road.wire
    with socket.create_connection((wire.host, wire.port), ASK_S_MAX) as sock:
        sock.sendall(wire.encode(Action(handler, handler)))
        time.sleep(HARM_BEGIN_S)
        yield sock


def _words_of(road: Road, sock: socket.socket) -> str:
    """Returns how the harmful call ended so far."""
    sock.setblocking(False)
    try:
        data = sock.recv(65536)
    except BlockingIOError:
        return "runs on"
    except OSError:
        return "its connection is gone"
    answers = READERS[road.wire.kind]().feed(data) if data else []
    if not answers:
        return "its connection is gone" if not data else "runs on"
    return "ended well" if answers[0].is_ok else f"ended: {str(answers[0].value)[:160]}"


def beside(
    loader: Loader, peer: Peer, road: Road, handler: str, *, seconds: float
) -> dict[str, Any]:
    """Returns the counter's rate of CALLERS alone and beside one call of `handler`."""
    road = _each(road)
    loader.ask(road, INCREMENTS, callers=CALLERS, seconds=HARM_BEGIN_S)
    alone = loader.ask(road, INCREMENTS, callers=CALLERS, seconds=seconds)
    with MemoryWatch(peer.pids(), mb_max=EATER_MB_MAX) as watch:
        try:
            with _harmful(road, handler) as sock:
                found = loader.ask(road, INCREMENTS, callers=CALLERS, seconds=seconds)
                words = _words_of(road, sock)
        except OSError as error:
            found, words = {"answered": 0, "failed": 0, "first_failure": str(error)}, str(error)
    rate = found["answered"] / seconds
    return {
        "alone": alone["rate"],
        "beside": rate,
        "kept": rate / alone["rate"] if alone["rate"] else 0.0,
        "failed": found["failed"],
        "first_failure": found["first_failure"],
        "words": words,
        "highest_mb": watch.highest_mb,
        "was_ended": watch.has_ended_it,
        "is_alive": all(child.process.poll() is None for child in peer.children),
        "seconds": seconds,
    }


def kill_and_restart(loader: Loader, peer: Peer, road: Road) -> dict[str, Any]:
    """Returns what SIGKILL under load lost, and how long the first answer took afterwards."""
    road = _each(road)
    plan = {"is_recorded": True}
    with loader.begin(
        road, INCREMENTS, callers=KILL_CALLERS, seconds=KILL_LOAD_S, **plan
    ) as process:
        time.sleep(KILL_AFTER_S)
        peer.kill()
        said, words = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"the load generator failed: {words[-800:]}")
    acknowledged = _highest(said)
    begun = time.perf_counter()
    peer.start()
    road = _each(peer.roads()[0])
    first_s = _first_answer(road, begun)
    found = loader.ask(
        road, INCREMENTS, callers=KILL_CALLERS, seconds=KILL_LOAD_S, is_once=True, is_recorded=True
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
    import json

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
