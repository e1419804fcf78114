"""Words of a command line as values: JSON, or a text; negative numbers are no options."""

from __future__ import annotations

import re
from typing import Any, Final

import click

from lithox.errors import BadArguments

_NEGATIVE: Final = re.compile(r"-(?:[0-9]|\.[0-9])")
_SHIELD: Final = "\0"
"""Stands before a negative number while click reads the line; no shell can pass a NUL."""
_JSON_STARTS: Final = ("{", "[", '"')
_QUOTING: Final = """a list, a map or a text in quotes is JSON, quoted for the shell: '["a", 1]'"""


def read_argument(text: str) -> Any:
    """Returns the value a command-line argument stands for: JSON, or itself as text.

    Raises:
        BadArguments: it begins like a JSON map, list or text and is none.
    """
    from lithox.model.values import decode_json, parse_json

    try:
        parse_json(text)
    except BadArguments as error:
        if text.startswith(_JSON_STARTS):
            raise BadArguments(f"argument {text[:80]!r}: {error.message}; {_QUOTING}") from None
        return text
    return decode_json(text)


class NumbersAllowed(click.Command):
    """A command whose arguments may be negative numbers, which click takes for options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        shielded = [_SHIELD + one if _NEGATIVE.match(one) else one for one in args]
        return super().parse_args(ctx, shielded)


def unshield(text: str) -> str:
    """Returns an argument as it was given."""
    return text.removeprefix(_SHIELD)
