"""Handing requests to the process that owns their entity, and taking in what others hand over.

What stands behind it is in `elsewhere.py`; this is the dispatcher's side of that seam. A dispatcher
without it owns every entity.

Invariants: what arrives is never handed on, so that two processes that disagree about who owns an
entity refuse it instead of sending it to and fro; one answer is given for each request, even if a
link should give two, or raise; a transaction has entities of one volume only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lithox.dispatch.atomic import CALLS_MAX, name_call
from lithox.dispatch.elsewhere import Elsewhere, asked_elsewhere, other_volume
from lithox.dispatch.job import Frame, OnAnswer
from lithox.dispatch.messages.arriving import give_up_here
from lithox.dispatch.messages.marks import SentElsewhere
from lithox.errors import LithoxError, StoreUnavailable
from lithox.model.limits import Limits
from lithox.model.request import Answer, Request
from lithox.store.contract import Store


@dataclass(slots=True, kw_only=True)
class Handover:
    """Sends away what is not this process's own. Every method is called on the node's thread.

    Attributes:
        on_bug: told of a bug of ours; returns what its caller is told.
        on_returned: called when what was sent away has been answered.
        count: requests that are sent away and not answered yet.
    """

    elsewhere: Elsewhere
    store: Store
    on_bug: Callable[[Exception], Exception]
    on_returned: Callable[[], None]
    count: int = 0

    def is_elsewhere(self, entity: str) -> bool:
        """Returns whether another process owns an entity."""
        return self.elsewhere.is_elsewhere(entity)

    def volume_of(self, entity: str) -> int:
        """Returns the number of the volume an entity lives in."""
        return self.elsewhere.volume_of(entity)

    def is_away(self, request: Request) -> bool:
        """Returns whether another process owns what a request is for: all of it, for a group."""
        if not request.calls:
            return self.elsewhere.is_elsewhere(request.entity)
        first = request.calls[0].entity
        return self.elsewhere.is_elsewhere(first) and self._find_split(request) is None

    def send(self, request: Request, on_answer: OnAnswer) -> None:
        """Has the owner of its entity answer a request."""
        self.count += 1
        is_answered = False

        def pass_on(answer: Answer) -> None:
            nonlocal is_answered
            if is_answered:
                return
            is_answered = True
            self.count -= 1
            on_answer(answer)
            self.on_returned()

        try:
            self.elsewhere.send(request, pass_on)
        except LithoxError as error:
            # Before it had left: what it holds cannot be put on a link.
            pass_on(Answer(error=error))
        except Exception as bug:  # noqa: BLE001 - the border: our bug must not stop the node
            pass_on(Answer(error=self.on_bug(bug)))

    def send_child(
        self, request: Request, on_answer: OnAnswer, parent: Frame, bound: Limits
    ) -> None:
        """Has the owner of its entity answer what the run of `parent` asks for.

        Args:
            bound: what is left of the limits of that run.
        """
        origin = asked_elsewhere(parent.job.depth + 1, bound)
        self.send(replace(request, origin=origin), on_answer)

    def check_here(self, request: Request) -> None:
        """Checks a request that is to be done in this process.

        Raises:
            OtherVolume: entities of several volumes in one group.
            StoreUnavailable: another process owns its entity: somebody is wrong about that.
        """
        entity = request.entity
        if request.calls:
            split, entity = self._find_split(request), request.calls[0].entity
            if split is not None:
                call = request.calls[split]
                error = other_volume(entity, call.entity)
                raise name_call(error, split, call.entity, call.handler)
        if self.elsewhere.is_elsewhere(entity):
            raise StoreUnavailable(
                f"{entity} belongs to another process of this server; try again",
                retry_after_ms=1_000,
            )

    def _find_split(self, request: Request) -> int | None:
        """Returns the first call of a group whose entity is not where that of call 0 is."""
        calls = request.calls[:CALLS_MAX]
        volume_of = self.elsewhere.volume_of
        home = volume_of(calls[0].entity)
        for index, call in enumerate(calls):
            if volume_of(call.entity) != home:
                return index
        return None

    def end_here(self, request: Request, on_answer: OnAnswer) -> bool:
        """Returns whether what has arrived is no run: a message that its sender gives up.

        `on_answer` is told then, once, when that is durable.
        """
        origin = request.origin
        if not isinstance(origin, SentElsewhere) or not origin.is_void:
            return False
        give_up_here(self.store, origin, on_answer)
        return True


def without_value(on_answer: OnAnswer) -> OnAnswer:
    """Returns what tells how a message ended and not what its handler returned: nobody asks."""

    def tell(answer: Answer) -> None:
        on_answer(replace(answer, value=None))

    return tell
