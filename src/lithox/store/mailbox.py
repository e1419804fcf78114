"""How the writer's thread tells the node's thread something: in order, one post for many."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from lithox.store.contract import Post


class Mailbox:
    """Functions for the node's thread; `deliver` runs them there."""

    __slots__ = ("_calls", "_is_posted", "_post")

    def __init__(self, post: Post) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._is_posted = False
        self._post = post

    def tell(self, call: Callable[[], None]) -> None:
        """Has `call` run on the node's thread. Called on any thread; never blocks or raises."""
        self._calls.append(call)
        if not self._is_posted:
            self._post_deliver()

    def deliver(self) -> None:
        """Runs what waits. Called on the node's thread."""
        # Lowered first: what is told from here on posts again, at worst once too often.
        self._is_posted = False
        calls = self._calls
        try:
            while calls:
                calls.popleft()()
        finally:
            # A call that raises is the loop's to report; the ones behind it get their turn.
            if calls:
                self._post_deliver()

    def _post_deliver(self) -> None:
        self._is_posted = True
        try:
            self._post(self.deliver)
        except RuntimeError:
            # The loop is closed already; `close` of the store, which must still come, delivers.
            self._is_posted = False
