"""Rows of the server as records of the store."""

from __future__ import annotations

from typing import Any, Final

from lithox.store.contract import AuditRecord, Item, ResultRecord
from lithox.store.engine import text_bytes

LOAD_KEYS_MAX: Final = 8_192
"""An entity with more keys is not loaded whole, however small they are."""


def result_of(row: tuple[Any, ...]) -> ResultRecord:
    identity, entity, request_id, account, asked_digest, answer, expires_ns = row
    return ResultRecord(
        identity=identity.decode(),
        entity=entity.decode(),
        request_id=request_id.decode(),
        account=account.decode(),
        asked_digest=asked_digest,
        answer=answer,
        expires_ns=expires_ns,
    )


def audit_of(row: tuple[Any, ...]) -> AuditRecord:
    at_ns, identity, act, entity, outcome, detail = row
    return AuditRecord(
        at_ns=at_ns,
        identity=identity.decode(),
        act=act.decode(),
        entity=entity.decode(),
        outcome=outcome.decode(),
        detail=detail.decode(),
    )


def items_of(rows: list[tuple[Any, ...]], bytes_max: int) -> dict[str, Item] | None:
    """Returns the items in rows of LOAD, None when they are too many or too large."""
    if len(rows) > LOAD_KEYS_MAX:
        return None
    items: dict[str, Item] = {}
    size = 0
    for _, key, value, version in rows:
        if key is None:
            continue
        name = key.decode()
        size += text_bytes(name) + len(value)
        items[name] = Item(value, version)
    return None if size > bytes_max else items
