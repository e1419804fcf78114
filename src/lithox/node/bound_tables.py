"""Tables of the configuration that are records of bounds: `[messages]` and `[timers]`.

A key is the field's name without `_max`, `_bytes` and `_ms`; sizes and durations may be written
with a unit.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final, TypeVar

from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.schedules.bounds import TimerBounds
from lithox.errors import ConfigError
from lithox.model.quantities import parse_duration_ns, parse_size_bytes

_Bounds = TypeVar("_Bounds", MessageBounds, TimerBounds)
NS_PER_MS: Final = 1_000_000
_KEYS: Final = {
    "account_bytes_max": "account_size",
    "node_bytes_max": "node_size",
    "message_bytes_max": "message_size",
    "dead_bytes_max": "dead_size",
}


def key_of_field(name: str) -> str:
    """Returns the key under which a table has the field `name`."""
    if name in _KEYS:
        return _KEYS[name]
    return name.removesuffix("_ms").removesuffix("_max").removesuffix("_min")


def read_bounds(kind: type[_Bounds], data: Any, where: str) -> _Bounds:
    """Returns the bounds that a table says, defaults for what it does not say.

    Raises:
        ConfigError: an unknown key or a wrong value; names it.
        BadArguments: a quantity without sense.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{where} is a table")
    table: dict[str, Any] = data  # pyright: ignore[reportUnknownVariableType]
    names = {key_of_field(field.name): field.name for field in fields(kind)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in names:
            known = ", ".join(sorted(names))
            raise ConfigError(f"{where}: unknown key {key!r}; known are {known}")
        values[names[key]] = _read(names[key], value)
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}") from None


def _read(name: str, value: Any) -> Any:
    if isinstance(value, str) and "_bytes" in name:
        return parse_size_bytes(value)
    if isinstance(value, str) and name.endswith("_ms"):
        return parse_duration_ns(value) // NS_PER_MS
    return value
