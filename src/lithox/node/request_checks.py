"""Is what Python code says of a request of the right kind? Asked where it comes in.

What is behind is compiled, and there a wrong kind is a TypeError of a line nobody knows, or a text
of a subclass that cannot be written down. Over HTTP and RESP all of this is checked by its decoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lithox.errors import BadArguments
from lithox.model.ids import check_entity_path, check_handler_name
from lithox.model.limits import LIMIT_FIELDS, Limits
from lithox.model.request import Call, Caller

CallSpec = Sequence[Any]
"""(entity, handler, *arguments)."""


def read_text(value: object, what: str) -> str:
    """Returns a text as a plain one, as members of a `StrEnum` are none; raises BadArguments."""
    if type(value) is str:
        return value
    if isinstance(value, str):
        # Not `str(value)`, which may say something else.
        return str.__str__(value)
    raise BadArguments(f"{what} is a text; found {value!r:.80}")


def read_optional_text(value: object, what: str) -> str | None:
    """Returns a text as a plain one, or None for None; raises BadArguments."""
    return None if value is None else read_text(value, what)


def check_limits(limits: object) -> None:
    """Raises BadArguments unless `limits` are `Limits` of whole numbers that are not negative.

    Where `Limits` is compiled it has refused numbers that are not whole by a TypeError already.
    """
    if not isinstance(limits, Limits):
        raise BadArguments(f"limits is a lithox.Limits or None; found {limits!r:.80}")
    for name in LIMIT_FIELDS:
        found: Any = getattr(limits, name)
        if found is not None and (type(found) is not int or found < 0):
            raise BadArguments(
                f"limit {name} is a whole number that is not negative, or None; found {found!r:.80}"
            )


def check_caller(caller: object) -> None:
    """Raises BadArguments unless `caller` is a `Caller`."""
    if not isinstance(caller, Caller):
        raise BadArguments(f"caller is a lithox.model.request.Caller or None; found {caller!r:.80}")


def read_calls(calls: Iterable[CallSpec]) -> tuple[Call, ...]:
    """Returns (entity, handler, *arguments) tuples as calls; raises BadArguments."""
    found: list[Call] = []
    if not isinstance(calls, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise BadArguments(f"calls are (entity, handler, *arguments) each; found {calls!r:.80}")
    for index, spec in enumerate(calls):
        if isinstance(spec, str) or not isinstance(spec, Sequence) or len(spec) < 2:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise BadArguments(
                f"call {index} is (entity, handler, *arguments); found {spec!r:.80}", call=index
            )
        entity, handler, *args = spec
        found.append(
            Call(
                entity=check_entity_path(read_text(entity, "an entity")),
                handler=check_handler_name(read_text(handler, "a handler")),
                args=args,
            )
        )
    return tuple(found)
