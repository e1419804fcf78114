"""What does a run see of its entity's state, and what must the node be told of it?

A component asks key by key. What the run message brought is answered here; the rest is asked of the
node once. Values are kept encoded, as they are stored. What was written is told to the node before
anything that may depend on it (a scan, a call, the end), and only if it differs from what is there.

Invariants: a key whose loaded value was shown is in `reads`; `pending` holds what the node has not
been told yet; a value that is put back as it was is no write, if it was read.
"""

from __future__ import annotations

from typing import Final

import msgspec

from lithox.sandbox.messages import NIL, RunMessage

UNKNOWN: Final = object()
"""What `find` gives for a key that only the node can tell of."""


class StateView:
    """The state as one run sees it.

    Attributes:
        generation: how often others have changed it.
        reads: keys whose value, or absence, the run has been shown from the run message.
        pending: key -> value to be written, NIL to delete, that the node has not been told.
    """

    __slots__ = (
        "_asked",
        "_is_complete",
        "_seen",
        "_stored",
        "generation",
        "pending",
        "reads",
    )

    def __init__(self, message: RunMessage) -> None:
        """Begins with what the run message says."""
        self._stored: dict[str, bytes] = {key: bytes(raw) for key, raw in message.state.items()}
        self._is_complete = message.complete
        self._seen: dict[str, bytes] = {}
        self._asked: set[str] = set()
        self.generation = 0
        self.reads: set[str] = set()
        self.pending: dict[str, bytes] = {}

    def find(self, key: str) -> bytes | object:
        """Returns the value, NIL when it is absent, UNKNOWN when the node must be asked."""
        value = self._seen.get(key)
        if value is not None:
            return value
        value = self._stored.get(key)
        if value is None:
            if not self._is_complete:
                return UNKNOWN
            value = NIL
        if key not in self._asked:
            self.reads.add(key)
        return value

    def learn(self, key: str, value: bytes) -> None:
        """Takes what the node answered; it counts that as read itself."""
        self._stored[key] = value
        self._asked.add(key)

    def put(self, key: str, value: bytes) -> None:
        """Writes a value, NIL to delete."""
        self._seen[key] = value
        is_read = key in self.reads or key in self._asked
        if is_read and self._stored.get(key, NIL) == value:
            self.pending.pop(key, None)
        else:
            self.pending[key] = value

    def take_pending(self) -> dict[str, msgspec.Raw]:
        """Returns what the node is to be told now; from then on it knows."""
        writes = {key: msgspec.Raw(value) for key, value in self.pending.items()}
        self._stored.update(self.pending)
        self.pending = {}
        return writes

    def forget(self) -> None:
        """Drops everything known: others have written. What was pending must have been taken."""
        assert not self.pending
        self.generation += 1
        self._stored.clear()
        self._seen.clear()
        self._asked.clear()
        self._is_complete = False

    def drop(self, key: str) -> None:
        """Forgets what the run put under `key`: a big value takes its place."""
        self._seen.pop(key, None)
        self.pending.pop(key, None)
