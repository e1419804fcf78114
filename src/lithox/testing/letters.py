"""What became of every message: the books of a simulation about order, once, and never lost.

The order of a pair (sender, receiver) is that of the commits that sent, then of the sending in
each. A message leaves its pair from the front only: by the commit that is its effect, or, having
failed as often as it may, by the one that puts it among the dead.

Invariants: a message is waiting, delivered or dead, and each of these once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lithox.dispatch.messages.records import (
    DEAD,
    OUTBOX,
    MessageRecord,
    decode_dead,
    decode_message,
)
from lithox.model.values import decode_value
from lithox.store.contract import Cell
from lithox.testing.serial import Sent
from lithox.testing.simulated_disk import SimulatedDisk
from lithox.testing.world import InvariantBroken

Pair = tuple[str, str, str]
"""(sender, receiver, timer id or "")."""


@dataclass(slots=True, kw_only=True)
class Letter:
    """One message that is on the disk and has not taken effect."""

    id: str
    sent: Sent
    pair: Pair

    def __str__(self) -> str:
        sent = self.sent
        return f"message {sent.sender} -> {sent.receiver}:{sent.handler} {sent.args!r}"


class Letters:
    """All messages of a simulation, as the disk has them.

    Args:
        tries_max: failures after which a message is dead.
    """

    def __init__(self, tries_max: int) -> None:
        self._tries_max = tries_max
        self._pairs: dict[Pair, deque[Letter]] = {}
        self._waiting: dict[str, Letter] = {}
        self._dead: dict[str, Letter] = {}
        self.sent = 0
        self.delivered = 0

    @property
    def waiting(self) -> int:
        """Messages that have neither taken effect nor died."""
        return len(self._waiting)

    @property
    def dead(self) -> int:
        """Messages that failed as often as they may."""
        return len(self._dead)

    def note_sent(self, what: str, writes: Mapping[Cell, bytes | None], wanted: list[Sent]) -> None:
        """Takes the messages of a commit, which must be `wanted`, the ones its run sends alone."""
        rows = [
            (decode_message(value), cell[1])
            for cell, value in writes.items()
            if cell[0] == OUTBOX and value is not None
        ]
        rows.sort(key=lambda row: row[0].position)
        found = [_sent_of(record) for record, _ in rows]
        if found != wanted:
            raise InvariantBroken(f"{what} sent {found!r}; alone it sends {wanted!r}")
        for record, message_id in rows:
            self._add(what, message_id, record)

    def _add(self, what: str, message_id: str, record: MessageRecord) -> None:
        if message_id in self._waiting:
            raise InvariantBroken(f"{what} sent another message under the id {message_id}")
        letter = Letter(id=message_id, sent=_sent_of(record), pair=record.pair)
        self._waiting[message_id] = letter
        self._pairs.setdefault(letter.pair, deque()).append(letter)
        self.sent += 1

    def take(self, message_id: str) -> Letter:
        """Takes the message whose effect a commit is; it must be the first of its pair."""
        letter = self._take_first(message_id, "took effect")
        self.delivered += 1
        return letter

    def note_others(self, writes: Mapping[Cell, bytes | None]) -> None:
        """Takes what the node itself has committed about messages: fired timers, and the dead."""
        for (entity, key), value in writes.items():
            if entity == OUTBOX and value is not None:
                self._add("a timer", key, decode_message(value))
            if entity != DEAD or value is None:
                continue
            tries = decode_dead(value).tries
            if tries < self._tries_max:
                raise InvariantBroken(f"message {key} died after {tries} tries")
            self._dead[key] = self._take_first(key, "died")

    def _take_first(self, message_id: str, how: str) -> Letter:
        letter = self._waiting.pop(message_id, None)
        if letter is None:
            raise InvariantBroken(f"message {message_id} {how}, but it did not wait")
        first = self._pairs[letter.pair].popleft()
        if first is not letter:
            raise InvariantBroken(f"{letter} {how} before {first}, which was sent earlier")
        return letter

    def check_disk(self, disk: SimulatedDisk) -> None:
        """Compares the outbox and the dead on the disk with the books."""
        for entity, wanted in ((OUTBOX, self._waiting), (DEAD, self._dead)):
            found = set(disk.read_entity(entity))
            if found != wanted.keys():
                raise InvariantBroken(f"{entity} has {sorted(found ^ wanted.keys())!r} wrong")

    def check_at_rest(self) -> None:
        """Raises InvariantBroken when a message waits, though nothing happens any more."""
        if self._waiting:
            letter = next(iter(self._waiting.values()))
            raise InvariantBroken(f"{letter} waits, and nothing happens any more")


def _sent_of(record: MessageRecord) -> Sent:
    args: list[Any] = decode_value(bytes(record.args))
    return Sent(sender=record.sender, receiver=record.receiver, handler=record.handler, args=args)
