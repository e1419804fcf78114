"""Strict reading of paths and query strings: what is not exactly right is refused, never guessed.

A decoder that replaces bad bytes or lets `%2F` pass for `/` would let two spellings name
different things at different layers; here each name has one reading.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from lithox.errors import BadArguments
from lithox.model.ids import EntityPath, HandlerName, check_entity_path, check_handler_name

_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
QUERY_BYTES_MAX: Final = 8192
TARGETS_KEPT_MAX: Final = 4096


def unquote_strict(raw: bytes, what: str) -> str:
    """Returns the text that percent-encoded `raw` stands for.

    Raises:
        BadArguments: an escape that is not two hexadecimal digits, or bytes that are not UTF-8.
    """
    if b"%" in raw:
        decoded, escapes = _ESCAPE.subn(lambda found: bytes([int(found[1], 16)]), raw)
        if escapes != raw.count(b"%"):
            raise BadArguments(
                f"{what}: a '%' is followed by two hexadecimal digits; found {_shown(raw)}"
            )
        raw = decoded
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadArguments(f"{what}: is percent-encoded UTF-8; found {_shown(raw)}") from None


def _shown(raw: bytes) -> str:
    return repr(raw[:80].decode("ascii", "backslashreplace"))


def read_entity(raw: bytes) -> EntityPath:
    """Returns the entity path in the raw path `raw`; raises BadArguments.

    An encoded slash is refused: it would read as a segment border after decoding.
    """
    text = unquote_strict(raw, "entity path")
    if text.count("/") != raw.count(b"/"):
        raise BadArguments("entity path: segments are joined by a plain '/'; found an encoded one")
    return check_entity_path(text)


@functools.lru_cache(maxsize=TARGETS_KEPT_MAX)
def read_call_target(raw: bytes) -> tuple[EntityPath, HandlerName]:
    """Returns (entity, handler) of `ENTITY:HANDLER`; raises BadArguments.

    Kept, because most calls name what an earlier one named (4 of a call's 29 us); only well-formed
    targets are, which bounds the size of each.
    """
    entity, colon, handler = raw.rpartition(b":")
    if not colon:
        raise BadArguments(f"a call names ENTITY:HANDLER; found {_shown(raw)}")
    return read_entity(entity), check_handler_name(unquote_strict(handler, "handler name"))


def read_query(raw: bytes, known: tuple[str, ...]) -> dict[str, str]:
    """Returns the parameters of a query string, each known and given once.

    Raises:
        BadArguments: unknown, repeated, malformed, or longer than `QUERY_BYTES_MAX`.
    """
    if not raw:
        return {}
    if len(raw) > QUERY_BYTES_MAX:
        raise BadArguments(f"a query has at most {QUERY_BYTES_MAX} bytes; found {len(raw)}")
    found: dict[str, str] = {}
    for part in raw.split(b"&"):
        raw_name, _, raw_value = part.partition(b"=")
        name = unquote_strict(raw_name, "query")
        if name not in known:
            listed = ", ".join(known) or "none"
            raise BadArguments(f"unknown query parameter {name[:80]!r}; known are {listed}")
        if name in found:
            raise BadArguments(f"query parameter {name!r} is given more than once")
        found[name] = unquote_strict(raw_value.replace(b"+", b" "), f"query parameter {name!r}")
    return found


def read_amount(text: str, what: str, bounds: tuple[int, int]) -> int:
    """Returns a decimal integer within `bounds` (both included); raises BadArguments."""
    low, high = bounds
    if not (text.isascii() and text.isdigit() and len(text) < 20) or not low <= int(text) <= high:
        raise BadArguments(f"{what} is an integer of {low} to {high}; found {text[:40]!r}")
    return int(text)
