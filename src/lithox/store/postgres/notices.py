"""What nodes tell each other of their commits, so that caches stay fresh.

A notice is news, never a promise: it may be lost, cut, late, or somebody else's words on the
channel. A node that hears none finds out at its next commit or answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

PAYLOAD_BYTES_MAX: Final = 7_900
"""The server takes less than 8,000 bytes; see NOTIFY in its manual."""
NOTICES_MAX: Final = 8
"""Notices of one batch; entities that do not fit go untold."""


class Notice(msgspec.Struct, array_like=True):
    """Who committed, and (entity, version) of what it wrote."""

    node: str
    changed: list[tuple[str, int]]


def encode_notices(node_id: bytes, written: Mapping[str, int]) -> Iterator[bytes]:
    """Yields up to NOTICES_MAX payloads that name what was written."""
    node = node_id.hex()
    changed: list[tuple[str, int]] = []
    size, count = len(node) + 16, 0
    for pair in written.items():
        more = len(msgspec.json.encode(pair)) + 1
        if size + more > PAYLOAD_BYTES_MAX:
            if changed:
                yield msgspec.json.encode(Notice(node, changed))
                count += 1
            if count >= NOTICES_MAX:
                return
            changed, size = [], len(node) + 16
            if size + more > PAYLOAD_BYTES_MAX:
                continue
        changed.append(pair)
        size += more
    if changed:
        yield msgspec.json.encode(Notice(node, changed))


def decode_notice(payload: str) -> Notice | None:
    """Returns the notice, None for what no node of ours has sent."""
    try:
        return msgspec.json.decode(payload, type=Notice)
    except (msgspec.MsgspecError, UnicodeError):
        return None
