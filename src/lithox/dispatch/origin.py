"""Where a request comes from when nobody waits for it alone: what it owes to its own commit.

A message, a durably accepted request: each has a row that says it is still due. The run reads that
row and the commit of the run changes it, so what is due takes effect exactly once however often
it is begun (docs/decisions/0012-messages.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lithox.dispatch.transaction import Transaction


class Origin(Protocol):
    """Takes part in the transaction of a run it caused. Both methods may be called once for each
    attempt; what they read and write is validated and committed with the run.
    """

    records_result: bool
    """Whether the run's value is also recorded under its request id."""

    def is_due(self, transaction: Transaction) -> bool:
        """Reads what makes the run due; False when it has been done: the run ends with None."""
        ...

    def complete(self, transaction: Transaction, body: bytes) -> None:
        """Adds to the run's writes that it is done; `body` is the encoded value."""
        ...
