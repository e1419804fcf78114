"""What arrives of another process's messages and is no run: that one is given up.

A message that has failed as often as it may becomes a dead letter in its sender's volume. A copy of
it may still be under way here, from a try whose answer was lost; if that took effect afterwards,
the message would be dead and done. So the sender first has the receiver's volume move the pair's
mark behind it: then no copy can commit any more, and whether one already had is known for certain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lithox.dispatch.messages.marks import MARKS, SentElsewhere, decode_mark, mark_key
from lithox.errors import Conflict, LithoxError
from lithox.model.ids import RequestId
from lithox.model.request import Answer
from lithox.store.contract import Cell, Commit, Store

if TYPE_CHECKING:
    from lithox.dispatch.job import OnAnswer


def give_up_here(store: Store, origin: SentElsewhere, on_answer: OnAnswer) -> None:
    """Moves a pair's mark behind a message that is given up, unless that has taken effect.

    Args:
        on_answer: told once, when it is durable, whether the message HAS taken effect (the answer's
            value), or why that cannot be said.
    """

    def tell(value: object, error: Exception | None) -> None:
        on_answer(Answer(request_id=RequestId(origin.id), value=value, error=error))

    cell = (MARKS, mark_key(origin.sender, origin.receiver))
    snapshot = store.open_snapshot()
    try:
        item = snapshot.find(*cell)
        row = None if item is None else item.value
        is_behind = origin.is_behind(row)
        is_done = row is not None and decode_mark(row).id == origin.id
        writes: dict[Cell, bytes | None] = {} if is_behind else {cell: origin.to_mark()}
        version = store.submit(
            Commit(snapshot.version, reads=[cell], writes=writes),
            lambda failure: tell(is_done if failure is None else None, failure),
        )
    except LithoxError as error:
        tell(None, error)
        return
    finally:
        snapshot.release()
    if version is None:
        # Read and submitted in one go on the node's thread: only another node can come between.
        tell(None, Conflict("the mark has changed; try again", retry_after_ms=50))
