"""Looking up what a request with an id came to, and waiting for it from anywhere.

A request is found under who asked, where its answer is recorded and its id. While it runs its
answer is not told, even if its commit is visible: it leaves when it is durable, to everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lithox.dispatch.accepted_records import ACCEPTED, ASYNC_PLACE, decode_pointer, key_of
from lithox.dispatch.inflight import InFlight, Key, OnEnd
from lithox.dispatch.job import ATOMIC_PLACE, Clock
from lithox.errors import rebuild
from lithox.model.ids import RequestId
from lithox.model.request import Answer
from lithox.model.values import decode_value
from lithox.store.contract import ResultRecord, Store


def find_recorded(store: Store, clock: Clock, key: Key) -> ResultRecord | None:
    """Returns what is recorded under `key` and has not expired; raises what reading it raises."""
    record = store.find_result(*key)
    if record is None or record.expires_ns <= clock.wall_ns():
        return None
    return record


@dataclass(slots=True, kw_only=True)
class Results:
    """Recorded and coming answers. Every method is called on the node's thread."""

    store: Store
    clock: Clock
    in_flight: InFlight

    def is_running(self, identity: str, place: str, request_id: str) -> bool:
        """Returns whether a request is on its way on this node."""
        return self.in_flight.is_running((identity, place, request_id))

    def watch(
        self, identity: str, place: str, request_id: str, on_end: OnEnd
    ) -> Callable[[], object]:
        """Has `on_end` told what a running request comes to; returns how to stop.

        Raises:
            Overloaded: too many wait for it already.
        """
        return self.in_flight.watch((identity, place, request_id), on_end)

    def is_accepted(self, identity: str, request_id: str) -> bool:
        """Returns whether a request is accepted, on whichever node, and has no outcome yet."""
        snapshot = self.store.open_snapshot()
        try:
            return snapshot.find(ACCEPTED, key_of(identity, request_id)) is not None
        finally:
            snapshot.release()

    def find(self, identity: str, place: str, request_id: str) -> Answer | None:
        """Returns the recorded answer under `place`, or None; not for one that is running."""
        record = self._find_record(identity, place, request_id)
        if record is None:
            return None
        return Answer(
            request_id=RequestId(request_id), value=decode_value(record.answer), is_recorded=True
        )

    def find_accepted(self, identity: str, request_id: str) -> Answer | None:
        """Returns the outcome of an accepted request, or None when there is none (yet)."""
        record = self._find_record(identity, ASYNC_PLACE, request_id)
        if record is None:
            return None
        pointer = decode_pointer(record.answer)
        if pointer.code is None:
            return self.find(identity, pointer.place, request_id)
        return Answer(
            request_id=RequestId(request_id),
            error=rebuild(pointer.code, pointer.fields),
            is_recorded=True,
        )

    def find_place(self, identity: str, request_id: str) -> str | None:
        """Returns where the answer of an id may be found that was given without its entity.

        Returns:
            `ASYNC_PLACE` for an accepted request, `ATOMIC_PLACE` for a group, else None.
        """
        if self._find_record(identity, ASYNC_PLACE, request_id) is not None:
            return ASYNC_PLACE
        if self.is_accepted(identity, request_id):
            return ASYNC_PLACE
        if self.is_running(identity, ATOMIC_PLACE, request_id):
            return ATOMIC_PLACE
        if self._find_record(identity, ATOMIC_PLACE, request_id) is not None:
            return ATOMIC_PLACE
        return None

    def asked_digest(self, identity: str, place: str, request_id: str) -> bytes | None:
        """Returns what was asked under an id that runs or is recorded, or None."""
        digest = self.in_flight.digest_of((identity, place, request_id))
        if digest is not None:
            return digest
        record = self._find_record(identity, place, request_id)
        return None if record is None else record.asked_digest

    def _find_record(self, identity: str, place: str, request_id: str) -> ResultRecord | None:
        return find_recorded(self.store, self.clock, (identity, place, request_id))
