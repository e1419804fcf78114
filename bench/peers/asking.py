"""The load generator that is the same for every wire: callers that each wait for their answer.

A process of its own: it reads a plan (JSON) on stdin and prints what it saw (JSON). `connections`
sockets carry `outstanding` requests each, so callers are their product. Each answer is followed by
the next request; what one read of a socket completed goes out again in one write, as a pipelined
client does. Messages are encoded beforehand and lie in a file (msgpack list of bytes), so that the
generator costs the same whatever is asked.

Latency counts from the write to the read that completes the answer. Two ends: after `seconds`
(answers after that do not count), or when each message was asked `once`.

Usage: python -m bench.peers.asking < plan.json
"""

from __future__ import annotations

import json
import random
import select
import socket
import sys
import time
from array import array
from collections import deque
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.figures import percentile
from bench.peers.wires import READERS, number_in

READ_BYTES: Final = 1 << 18
ORDER_LENGTH: Final = 1 << 16
SEED: Final = 7
LAST_ANSWERS_S: Final = 0.5
"""How long after the end answers under way are waited for, so that the server ends them."""
CONNECT_S_MAX: Final = 10.0


class Plan(msgspec.Struct, kw_only=True):
    """What is to be done; `seconds` bounds it in any case."""

    kind: str
    host: str
    port: int
    messages: str
    connections: int = 1
    outstanding: int = 1
    seconds: float = 2.0
    is_once: bool = False
    is_recorded: bool = False


class Connection:
    """One socket with its reader, and the requests under way on it, oldest first."""

    __slots__ = ("indexes", "reader", "sent_ns", "sock")

    def __init__(self, plan: Plan) -> None:
        self.sock = socket.create_connection((plan.host, plan.port), CONNECT_S_MAX)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = READERS[plan.kind]()
        self.sent_ns: deque[int] = deque()
        self.indexes: deque[int] = deque()


class Asker:
    """Does one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._messages: list[bytes] = msgspec.msgpack.decode(
            Path(plan.messages).read_bytes(), type=list[bytes]
        )
        draw = random.Random(SEED)
        count = len(self._messages)
        self._order = (
            range(count) if plan.is_once else [draw.randrange(count) for _ in range(ORDER_LENGTH)]
        )
        self._next = 0
        self.latencies_ns = array("q")
        self.failed = 0
        self.first_failure = ""
        self.is_closed = False
        self.highest: dict[int, int] = {}

    def _take(self, wanted: int) -> list[int]:
        """Returns the indexes of the next messages, fewer than wanted at the end of a plan."""
        order, first = self._order, self._next
        if self._plan.is_once:
            wanted = min(wanted, len(order) - first)
        self._next += wanted
        length = len(order)
        return [order[(first + number) % length] for number in range(wanted)]

    def _send(self, connection: Connection, wanted: int) -> None:
        indexes = self._take(wanted)
        if not indexes:
            return
        messages = self._messages
        connection.sock.sendall(b"".join([messages[index] for index in indexes]))
        now = time.perf_counter_ns()
        connection.sent_ns.extend([now] * len(indexes))
        connection.indexes.extend(indexes)

    def _receive(self, connection: Connection) -> int:
        """Takes what has come; returns how many answers it completed. Raises OSError."""
        data = connection.sock.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError("the server closed")
        answers = connection.reader.feed(data)
        now = time.perf_counter_ns()
        for answer in answers:
            taken_ns = now - connection.sent_ns.popleft()
            index = connection.indexes.popleft()
            if not answer.is_ok:
                self.failed += 1
                self.first_failure = self.first_failure or str(answer.value)[:300]
                continue
            self.latencies_ns.append(taken_ns)
            if self._plan.is_recorded:
                value = number_in(self._plan.kind, answer.value)
                if value is not None and value > self.highest.get(index, 0):
                    self.highest[index] = value
        return len(answers)

    def run(self) -> dict[str, Any]:
        """Returns what was seen. Blocks until the plan's end, or until the server is gone."""
        plan = self._plan
        connections: dict[int, Connection] = {}
        poll = select.epoll()
        begun = time.perf_counter()
        cpu_begun = time.process_time()
        try:
            for _ in range(plan.connections):
                made = Connection(plan)
                connections[made.sock.fileno()] = made
            begun = time.perf_counter()
            end = begun + plan.seconds
            for number, connection in connections.items():
                poll.register(number, select.EPOLLIN)
                self._send(connection, plan.outstanding)
            while (left := end - time.perf_counter()) > 0 and not self._is_done(connections):
                for number, _ in poll.poll(left, len(connections)):
                    connection = connections[number]
                    self._send(connection, self._receive(connection))
        except OSError as error:
            self.is_closed = True
            self.first_failure = self.first_failure or str(error)
        elapsed = time.perf_counter() - begun
        used_s = time.process_time() - cpu_begun
        found = self._found(elapsed, used_s)
        if not self.is_closed:
            self._drain(poll, connections)
        poll.close()
        for connection in connections.values():
            connection.sock.close()
        return found

    def _is_done(self, connections: dict[int, Connection]) -> bool:
        if not self._plan.is_once or self._next < len(self._messages):
            return False
        return not any(connection.indexes for connection in connections.values())

    def _drain(self, poll: select.epoll, connections: dict[int, Connection]) -> None:
        end = time.perf_counter() + LAST_ANSWERS_S
        try:
            while any(c.indexes for c in connections.values()):
                left = end - time.perf_counter()
                if left <= 0:
                    return
                for number, _ in poll.poll(left):
                    self._receive(connections[number])
        except OSError:
            return

    def _found(self, elapsed_s: float, used_s: float) -> dict[str, Any]:
        count = len(self.latencies_ns)
        return {
            "answered": count,
            "failed": self.failed,
            "first_failure": self.first_failure,
            "is_closed": self.is_closed,
            "seconds": elapsed_s,
            "rate": count / elapsed_s if elapsed_s else 0.0,
            "p50_us": percentile(self.latencies_ns, 0.5) / 1e3 if count else None,
            "p99_us": percentile(self.latencies_ns, 0.99) / 1e3 if count else None,
            "cpu_s": used_s,
            "highest": self.highest,
        }


def main() -> None:
    """Does the plan on stdin."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    found = Asker(plan).run()
    found["highest"] = {str(index): value for index, value in found["highest"].items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
