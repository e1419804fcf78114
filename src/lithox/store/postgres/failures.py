"""What an error of the server means to the rest of the node, and what the operator can do."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import errors

from lithox.errors import StoreCorrupt, StoreUnavailable, TransactionError

RETRY_AFTER_MS: Final = 1_000

AGAIN: Final = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    errors.QueryCanceled,
)
"""The transaction was rolled back through nobody's fault: the same again may succeed."""
GUARD: Final = errors.DivisionByZero
"""What the guards of `statements.py` raise when something is not as the batch expects."""
_CORRUPT: Final = (errors.DataCorrupted, errors.IndexCorrupted)


def meaning_of_failure(error: Exception, *, act: str) -> TransactionError:
    """Returns the error to raise or to tell for `error`, met while doing `act`."""
    # The first line only: what follows may quote a statement and so somebody's data.
    lines = str(error).strip().splitlines()
    said = lines[0][:200] if lines else type(error).__name__
    if isinstance(error, _CORRUPT):
        return StoreCorrupt(
            f"the database is damaged: {act} found: {said}; nothing was repaired: restore a backup"
        )
    if isinstance(error, errors.DiskFull):
        what = "the database server's disk is full; writing resumes by itself when there is room"
    elif isinstance(error, errors.InsufficientPrivilege):
        what = "the database server does not let this node write; grant it its tables"
    elif isinstance(error, errors.ReadOnlySqlTransaction):
        what = "the database server takes no writes (a standby?); writing resumes by itself"
    elif isinstance(error, psycopg.OperationalError):
        what = "the database server does not answer; this resumes by itself"
    elif isinstance(error, psycopg.Error):
        what = "the database server refused; this resumes by itself when it accepts"
    else:
        what = "the store met an error of ours"
    return StoreUnavailable(f"{what} ({act}: {said})", retry_after_ms=RETRY_AFTER_MS)
