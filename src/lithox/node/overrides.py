"""What an operator says of single handlers of one entity, checked before anything is written."""

from __future__ import annotations

import re
from typing import Any, Final

from lithox.dispatch.records import HandlerOverride
from lithox.errors import BadArguments, LithoxError
from lithox.model.ids import check_handler_name
from lithox.modules.manifest import format_limits, parse_limits, parse_priority

OVERRIDES_MAX: Final = 256
"""Handlers one entity may override; its record is read with every first run."""
_KNOWN: Final = frozenset({"priority", "limits", "module"})
_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")


def parse_overrides(data: Any) -> dict[str, HandlerOverride]:
    """Returns {handler: override} of plain data {handler: {"priority"?, "limits"?, "module"?}}.

    What is not said stays unsaid, so that the template's word counts.

    Raises:
        BadArguments: another shape, more than `OVERRIDES_MAX`, a value out of its range.
    """
    if not isinstance(data, dict):
        raise BadArguments("handlers are a map: name to {priority, limits, module}")
    table: dict[Any, Any] = data  # pyright: ignore[reportUnknownVariableType]
    if len(table) > OVERRIDES_MAX:
        raise BadArguments(f"{len(table)} handlers; an entity overrides at most {OVERRIDES_MAX}")
    found: dict[str, HandlerOverride] = {}
    for name, said in table.items():
        if not isinstance(name, str):
            raise BadArguments(f"a handler name is a text; found {name!r:.80}")
        found[check_handler_name(name)] = _parse_override(name, said)
    return found


def _parse_override(name: str, said: Any) -> HandlerOverride:
    if not isinstance(said, dict) or not _KNOWN.issuperset(said):  # pyright: ignore[reportUnknownArgumentType]
        raise BadArguments(f"handler {name}: known keys are priority, limits, module")
    fields: dict[str, Any] = said  # pyright: ignore[reportUnknownVariableType]
    priority, module = fields.get("priority"), fields.get("module")
    if module is not None and (not isinstance(module, str) or _DIGEST.match(module) is None):
        raise BadArguments(
            f"handler {name}: module is a digest, 64 hexadecimal digits; found {module!r:.80}"
        )
    try:
        return HandlerOverride(
            priority=None if priority is None else parse_priority(priority, name),
            limits=format_limits(parse_limits(fields.get("limits", {}), name)),
            module=module,
        )
    except LithoxError as error:
        raise BadArguments(f"handler {error.message}") from None
