"""What does a command cost beside its run? The RESP side of the gateway over an idle node.

A connection is given reads of as many commands as `--depth` says, by a transport that only counts
what is written. The node answers in the same turn (`at once`), or all of a read in a later turn
(`later`), as a real one does. Processor time of the thread, medians over rounds; no sockets: those
cost what they cost (about 10 us a read and write of one command, shared by all of a pipeline).

Usage: python -m bench.resp [--rounds 7] [--commands 20000] [--profile]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import uvloop

from lithox.gateway.resp.connection import RespConnection
from lithox.gateway.resp.parsing import CommandParser
from lithox.gateway.resp.service import open_resp
from lithox.gateway.settings import GatewaySettings
from lithox.model.request import Answer, Caller, Request
from lithox.security.identities import LOCAL_OPERATOR

ENTITIES: Final = 256
DEPTHS: Final = (1, 16, 64)
WORDS: Final[dict[str, Callable[[int], list[bytes]]]] = {
    "PING": lambda _: [b"PING"],
    "CALL": lambda n: [b"CALL", b"counter/e%d" % (n % ENTITIES), b"increment", b"1"],
    "CALLWITH": lambda n: [
        *(b"CALLWITH", b"counter/e%d" % (n % ENTITIES), b"increment"),
        *(b"REPLY", b"MSGPACK", b"ID", b"r-%d" % n, b"MSGPACK", b"\x91\x01"),
    ],
}


class Still:
    """A node that runs nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, is_at_once: bool) -> None:
        self._loop = loop
        self._is_at_once = is_at_once
        self._waiting: list[tuple[Callable[[Answer], None], Answer]] = []

    def identify(self, _token: str | None, *, is_loopback: bool) -> Caller:
        del is_loopback
        return LOCAL_OPERATOR

    def submit_to(self, request: Request, on_answer: Callable[[Answer], None]) -> None:
        answer = Answer(request_id=request.request_id, value=12345)
        if self._is_at_once:
            on_answer(answer)
            return
        if not self._waiting:
            self._loop.call_soon(self._answer)
        self._waiting.append((on_answer, answer))

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        for on_answer, answer in waiting:
            on_answer(answer)


class Peers:
    def __init__(self) -> None:
        self.connections: set[Any] = set()
        self.tasks: set[Any] = set()


class Sink:
    """A transport that counts bytes."""

    def __init__(self) -> None:
        self.bytes = self.writes = 0

    def write(self, data: bytes) -> None:
        self.bytes += len(data)
        self.writes += 1

    def __getattr__(self, _name: str) -> Any:
        return lambda *_: None


def encode(words: list[bytes]) -> bytes:
    """Returns a command as it is sent."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


async def measure(reads: list[bytes], depth: int, *, is_at_once: bool) -> float:
    """Returns microseconds of processor time a command."""
    loop = asyncio.get_running_loop()
    node: Any = Still(loop, is_at_once=is_at_once)
    peers, sink = Peers(), Sink()
    connection = RespConnection(open_resp(node, GatewaySettings()), peers)
    connection.take_over(sink, reads[0])  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    began = time.thread_time()
    for read in reads:
        connection.data_received(read)
        if not is_at_once:
            while connection.slots:  # noqa: ASYNC110 - an event would cost more than a turn
                await asyncio.sleep(0)
    spent = time.thread_time() - began
    assert not connection.slots
    assert sink.writes == len(reads) + 1
    connection.connection_lost(None)
    return spent / len(reads) / depth * 1e6


def measure_parser(reads: list[bytes], depth: int) -> float:
    """Returns microseconds of processor time a command, for finding its words."""
    parser = CommandParser(1 << 20)
    began = time.thread_time()
    for read in reads:
        parser.feed(read)
        parser.take()
    return (time.thread_time() - began) / len(reads) / depth * 1e6


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--commands", type=int, default=20_000)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    reads_of = {
        (name, depth): [
            b"".join(encode(words(n + i)) for i in range(depth))
            for n in range(0, arguments.commands, depth)
        ]
        for name, words in WORDS.items()
        for depth in DEPTHS
    }
    if arguments.profile:
        profile = cProfile.Profile()
        profile.enable()
        await measure(reads_of["CALL", 1], 1, is_at_once=True)
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(16)
        return
    rows: dict[tuple[str, int], list[list[float]]] = {key: [[], [], []] for key in reads_of}
    for _ in range(arguments.rounds):
        for (name, depth), reads in reads_of.items():
            row = rows[name, depth]
            row[0].append(measure_parser(reads, depth))
            row[1].append(await measure(reads, depth, is_at_once=True))
            row[2].append(await measure(reads, depth, is_at_once=False))
    print("| command | in one read | finding the words | in all, at once | in all, later |")
    print("|---|---|---|---|---|")
    for (name, depth), row in rows.items():
        shown = " | ".join(f"{statistics.median(one):.1f} us" for one in row)
        print(f"| {name} | {depth} | {shown} |")


if __name__ == "__main__":
    uvloop.run(main())
