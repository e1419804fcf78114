"""Which ends are the node's own fault: they say nothing about what was asked.

Invariant: no guest is told such a fault of its own run, of a callee or of a request it made. Were
it an error like others, `pcall` would make of "the node could not look" a "no" that is committed.
"""

from __future__ import annotations

from typing import Final

RETRIED: Final = frozenset(
    ("request.overloaded", "store.unavailable", "store.results_full", "transaction.conflict")
)
"""Codes of faults that pass: accepted requests and messages are tried again until they do."""
ENDING: Final = RETRIED | {"store.corrupt", "store.in_use", "internal"}
"""Codes of faults that end the whole run, its callers and its parents too, passing or not."""


def is_retried(error: Exception | None) -> bool:
    """Returns whether what ended with `error` is to be tried again, whoever asked."""
    return getattr(error, "code", "") in RETRIED


def ends_run(error: Exception) -> bool:
    """Returns whether `error` is one no guest may catch; what is no LithoxError is our own bug."""
    return getattr(error, "code", "internal") in ENDING
