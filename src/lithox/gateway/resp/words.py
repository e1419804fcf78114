"""Words of a command as names, amounts and values: the rules of the command line, over bytes."""

from __future__ import annotations

import functools
from typing import Any, Final

import msgspec

from lithox.errors import BadArguments
from lithox.model.ids import EntityPath, HandlerName, check_entity_path, check_handler_name
from lithox.model.values import INT_MAX, INT_MIN, decode_json

TARGETS_KEPT_MAX: Final = 4096
_SHOWN: Final = 80
_JSON_STARTS: Final = frozenset(b'{["')
_MAYBE_JSON: Final = frozenset(b"-0123456789tfn \t\r\n")
"""First bytes of what may be a number, true, false, null, or JSON behind white space."""
_parse: Final = msgspec.json.Decoder().decode
_DIGITS_MAX: Final = 19


def read_text(word: bytes, what: str) -> str:
    """Returns a word that is text; raises BadArguments for bytes that are not UTF-8."""
    try:
        return word.decode()
    except UnicodeDecodeError:
        raise BadArguments(f"{what} is UTF-8; found {_shown(word)}") from None


@functools.lru_cache(maxsize=TARGETS_KEPT_MAX)
def read_target(entity: bytes, handler: bytes) -> tuple[EntityPath, HandlerName]:
    """Returns what is called; raises BadArguments. Kept: most calls name what another named."""
    return (
        check_entity_path(read_text(entity, "an entity path")),
        check_handler_name(read_text(handler, "a handler name")),
    )


def read_argument(word: bytes) -> Any:
    """Returns the value a word stands for: JSON, or itself as text.

    Raises:
        BadArguments: it begins like a JSON map, list or text and is none; it is no UTF-8 (bytes
            go as `{"$bytes": base64}` or in MessagePack); an integer above 64 bits.
    """
    if not word:
        return ""
    first = word[0]
    if first in _JSON_STARTS:
        try:
            return decode_json(word)
        except BadArguments as error:
            raise BadArguments(
                f"argument {_shown(word)}: {error.message}; what begins like a list, a map or a "
                "text in quotes is JSON"
            ) from None
    if first in _MAYBE_JSON:
        try:
            value = _parse(word)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return read_text(word, "an argument")
        except RecursionError:
            return decode_json(word)
        if type(value) is int and INT_MIN <= value <= INT_MAX:
            return value
        return decode_json(word)
    return read_text(word, "an argument")


def read_amount(word: bytes, what: str, bounds: tuple[int, int]) -> int:
    """Returns a decimal integer within `bounds` (both included); raises BadArguments."""
    low, high = bounds
    is_amount = word.isdigit() and len(word) <= _DIGITS_MAX and low <= int(word) <= high
    if not is_amount:
        raise BadArguments(f"{what} is an integer of {low} to {high}; found {_shown(word)}")
    return int(word)


def _shown(word: bytes) -> str:
    return repr(word[:_SHOWN].decode("utf-8", "backslashreplace"))
