"""The shapes of answers about moved data; see `bodies.py`."""

from __future__ import annotations

from msgspec import Struct


class ImportAnswer(Struct, kw_only=True):
    """What an import did.

    `in_pieces` names entities too large for one commit (the first of them), which others could see
    half there.
    """

    imported: int
    skipped: int
    keys: int
    in_pieces: list[str]
