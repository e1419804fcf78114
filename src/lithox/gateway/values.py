"""State values as plain bytes: `application/octet-stream` on the routes of one state key.

The entity tag of a value is its digest (SHA-256), so `If-Match` and `If-None-Match` compare what is
there and not when it was written. A body is read only once the caller may write; one that ends
early has written nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lithox.errors import BadArguments, NotFound, PreconditionFailed
from lithox.gateway.answers import Header, Reply
from lithox.gateway.guards import Facts
from lithox.gateway.streams import StreamReply, close_chunks
from lithox.node.big_values import ABSENT, ANY, too_large

if TYPE_CHECKING:
    from lithox.gateway.routes import Asked

BYTES: Final = "application/octet-stream"
_TAG: Final = re.compile(r'\s*(?:W/)?"([0-9a-f]{64})"\s*\Z')
TAGS_MAX: Final = 16
"""Entity tags in one header."""


def wants_bytes(facts: Facts) -> bool:
    """Returns whether the caller asks for bytes and not for JSON."""
    return BYTES.encode() in facts.get(b"accept", b"").lower()


async def get_value(asked: Asked) -> Reply | StreamReply:
    """The bytes of a big value, or of one that is text or bytes; 304 when the caller has it."""
    wanted, known = _tags(asked.facts, b"if-match"), _tags(asked.facts, b"if-none-match")
    try:
        value = asked.node.open_value(asked.entity, asked.key, caller=asked.caller)
    except NotFound:
        if wanted is not None:
            raise PreconditionFailed(f"there is no value under {asked.key!r}") from None
        raise
    digest = value.told.digest
    headers: list[Header] = [_etag(digest), (b"cache-control", b"no-store")]
    if wanted is not None and wanted != {ANY} and digest not in wanted:
        await close_chunks(value.pieces)
        raise PreconditionFailed(f"{asked.key!r} holds another value than expected", digest=digest)
    if known is not None and (known == {ANY} or digest in known):
        await close_chunks(value.pieces)
        return Reply(304, b"", headers)
    headers += [
        (b"content-type", BYTES.encode()),
        (b"content-length", b"%d" % value.told.size),
        (b"x-content-type-options", b"nosniff"),
    ]
    return StreamReply(200, value.pieces, headers)


async def put_value(asked: Asked) -> Reply:
    """Writes a big value from the body; its digest comes back as the entity tag."""
    node = asked.node
    length = asked.facts.get(b"content-length")
    if length is not None and int(length) > node.big_value_bytes_max:
        raise too_large(node.big_value_bytes_max)
    told = await node.write_value(
        asked.entity,
        asked.key,
        asked.chunks,
        expected=_expected(asked.facts),
        caller=asked.caller,
    )
    return Reply(204, b"", [_etag(told.digest)])


def _etag(digest: str) -> Header:
    return b"etag", f'"{digest}"'.encode()


def _tags(facts: Facts, header: bytes) -> set[str] | None:
    """Returns the digests a header lists, {"*"} for any; None when it was not sent.

    Raises:
        BadArguments: it lists something else.
    """
    raw = facts.get(header)
    if raw is None:
        return None
    text = raw.decode("latin-1").strip()
    if text == ANY:
        return {ANY}
    found = [_TAG.match(part) for part in text.split(",", TAGS_MAX)]
    tags = {one.group(1) for one in found if one is not None}
    if len(found) > TAGS_MAX or None in found:
        raise BadArguments(
            f"{header.decode()} is * or up to {TAGS_MAX} entity tags, each a digest of 64 digits "
            f"in quotes; found {text[:80]!r}"
        )
    return tags


def _expected(facts: Facts) -> str | None:
    """Returns what a writer says is there now: a digest, "*", "" for nothing, None for no word."""
    wanted, unwanted = _tags(facts, b"if-match"), _tags(facts, b"if-none-match")
    if unwanted is not None:
        if unwanted != {ANY} or wanted is not None:
            raise BadArguments("with PUT, if-none-match is * and stands alone: only if absent")
        return ABSENT
    if wanted is None:
        return None
    if len(wanted) != 1:
        raise BadArguments("with PUT, if-match is * or one entity tag")
    return wanted.pop()
