"""How a database gets from any released schema to the newest: ordered steps, each one transaction.

A step is never changed once released; the newest schema is what all steps make. After the last
one the schema is compared with the expected one, object by object, before the transaction ends.
"""

from __future__ import annotations

from typing import Final

from lithox.store.migrations import v0001_first

APPLICATION_ID: Final = 0x4C545831
"""Marks the file as ours in its header: "LTX1"."""

STEPS: Final[tuple[tuple[str, ...], ...]] = (v0001_first.STATEMENTS,)
"""STEPS[n] leads from schema version n to n + 1; version 0 is an empty database."""

SCHEMA_VERSION: Final = len(STEPS)

EXPECTED_OBJECTS: Final = v0001_first.OBJECTS
"""Names of all tables and indices of the newest schema."""
