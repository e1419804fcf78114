"""What an SQLite error means to the rest of the node, and what the operator can do about it."""

from __future__ import annotations

from typing import Final

import apsw

from lithox.errors import StoreCorrupt, StoreUnavailable, TransactionError

RETRY_AFTER_MS: Final = 1_000

_CORRUPT: Final = (apsw.CorruptError, apsw.NotADBError)


def meaning_of_failure(error: Exception, *, act: str) -> TransactionError:
    """Returns the error to raise or to tell for `error`, met while doing `act`."""
    if isinstance(error, _CORRUPT):
        return StoreCorrupt(
            f"the database is damaged: {act} found: {error}; nothing was repaired: stop the "
            "node, keep a copy of the file, and restore a backup"
        )
    if isinstance(error, apsw.FullError):
        what = "the disk is full; writing resumes by itself when there is room"
    elif isinstance(error, apsw.ReadOnlyError):
        what = "the disk is read-only; writing resumes by itself when it is writable"
    elif isinstance(error, (apsw.BusyError, apsw.LockedError)):
        what = "another program holds the database; close it, writing then resumes by itself"
    elif isinstance(error, apsw.Error):
        what = "the disk failed; writing resumes by itself when it works again"
    else:
        what = "the writer met an error of ours"
    return StoreUnavailable(f"{what} ({act}: {error})", retry_after_ms=RETRY_AFTER_MS)
