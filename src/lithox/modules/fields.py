"""Values in a manifest: tables without unknown keys, names, priorities, limits and quantities.

Every refusal is a `ConfigError` that says where, what was found and, where one key is at fault,
names it in its `key` field, from which the manifest finds the line.
"""

from __future__ import annotations

import re
from typing import Any, Final

from lithox.errors import BadArguments, ConfigError, LithoxError
from lithox.model.limits import PRIORITY_HIGHEST, PRIORITY_LOWEST, Limits
from lithox.model.quantities import parse_duration_ns, parse_size_bytes
from lithox.modules.code import check_code_name

_SOURCE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}(?:/[A-Za-z0-9_.-]{1,128}){0,8}\Z")


def read_table(data: Any, where: str) -> dict[str, Any]:
    """Returns `data`; raises ConfigError unless it is a table."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: is a table")
    return data  # pyright: ignore[reportUnknownVariableType]


def refuse_unknown(table: dict[str, Any], known: set[str] | frozenset[str], where: str) -> None:
    """Raises ConfigError for the first key that is not one of `known`."""
    for key in table:
        if key not in known:
            raise ConfigError(
                f"{where}: unknown key {key!r}; known are {', '.join(sorted(known))}", key=key
            )


def read_text(table: dict[str, Any], key: str, where: str) -> str:
    """Returns the text under `key`; raises ConfigError when it is missing or no text."""
    if not isinstance(table.get(key), str):
        raise ConfigError(f'{where}: needs {key} = "..."', key=key)
    return table[key]


def read_flag(table: dict[str, Any], key: str, where: str) -> bool:
    """Returns the boolean under `key`, False when it is left out; raises ConfigError."""
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: {key} is true or false; found {value!r:.80}", key=key)
    return value


def read_name(value: Any, key: str, where: str) -> str:
    """Returns `value` as the name of code or of a service; raises ConfigError."""
    try:
        return check_code_name(value, key)
    except BadArguments as error:
        raise ConfigError(f"{where}: {error.message}", key=key) from None


def read_source(table: dict[str, Any], where: str) -> str:
    """Returns the name under `source`; raises ConfigError unless it is a relative file name."""
    name = read_text(table, "source", where)
    if _SOURCE_NAME.match(name) is None or ".." in name.split("/"):
        raise ConfigError(
            f"{where}: source is a relative file name; found {name!r:.200}", key="source"
        )
    return name


def parse_priority(data: Any, where: str) -> int:
    """Returns `data` as a priority; raises ConfigError unless it is an integer of 0-9."""
    if type(data) is not int or not PRIORITY_LOWEST <= data <= PRIORITY_HIGHEST:
        raise ConfigError(
            f"{where}: priority is {PRIORITY_LOWEST} to {PRIORITY_HIGHEST}; found {data!r}",
            key="priority",
        )
    return data


_LIMIT_KEYS: Final = {
    "fuel": "fuel",
    "memory": "memory_bytes",
    "wall_ms": "wall_ns",
    "wall": "wall_ns",
    "output": "output_bytes",
    "calls": "calls",
    "state": "state_bytes",
    "big": "big_bytes",
}


def parse_limits(data: Any, where: str) -> Limits:
    """Returns limits from a table such as `{fuel = 1000, memory = "8MiB", wall_ms = 5_000}`.

    Sizes are bytes or text with a unit, `wall` is a duration, `wall_ms` milliseconds.

    Raises:
        ConfigError: an unknown key, or a value that is not a positive amount.
    """
    table = read_table(data, where)
    refuse_unknown(table, set(_LIMIT_KEYS), where)
    amounts: dict[str, int] = {}
    for key, value in table.items():
        try:
            amount = _parse_amount(key, value)
        except LithoxError as error:
            raise ConfigError(f"{where}.{key}: {error.message}", key=key) from None
        if amount <= 0:
            raise ConfigError(f"{where}.{key}: is more than 0; found {value!r}", key=key)
        amounts[_LIMIT_KEYS[key]] = amount
    return Limits(**amounts)


def _parse_amount(key: str, value: Any) -> int:
    if type(value) is int and key != "wall":
        if not 0 <= value < 1 << 62:
            raise BadArguments(f"is 0 to 2^62; found {value}")
        return value * 1_000_000 if key == "wall_ms" else value
    if isinstance(value, str) and key in ("memory", "output", "state", "big"):
        return parse_size_bytes(value)
    if isinstance(value, str) and key == "wall":
        return parse_duration_ns(value)
    raise BadArguments(f"is a whole number or a quantity with its unit; found {value!r}")


def format_limits(limits: Limits) -> dict[str, int]:
    """Returns the plain data of `limits`, what is not said left out; `parse_limits` reads it."""
    named = {
        "fuel": limits.fuel,
        "memory": limits.memory_bytes,
        "wall_ms": None if limits.wall_ns is None else max(1, limits.wall_ns // 1_000_000),
        "output": limits.output_bytes,
        "calls": limits.calls,
        "state": limits.state_bytes,
        "big": limits.big_bytes,
    }
    return {key: amount for key, amount in named.items() if amount is not None}
