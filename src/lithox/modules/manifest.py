"""What a `lithox.toml` says: templates and the code they name. Pure: text in, records out.

Unknown keys are refused by name, so that a misspelt limit is an error and not a surprise.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import Any, Final

from lithox.errors import BadArguments, ConfigError, LithoxError
from lithox.model.ids import check_handler_name
from lithox.model.limits import PRIORITY_DEFAULT, PRIORITY_HIGHEST, PRIORITY_LOWEST, Limits
from lithox.model.patterns import check_pattern
from lithox.model.quantities import parse_duration_ns, parse_size_bytes

LANGUAGES: Final = ("lua", "python", "javascript", "wasm")
TEMPLATES_MAX: Final = 1000
MANIFEST_NAME: Final = "lithox.toml"
_SOURCE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}(?:/[A-Za-z0-9_.-]{1,128}){0,8}\Z")
_LINE_OF_TOML_ERROR: Final = re.compile(r"at line (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerSpec:
    """What a template says of one handler."""

    priority: int = PRIORITY_DEFAULT
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSpec:
    """One `[[template]]`: entities whose path matches `match` run `source`.

    Attributes:
        access: plain data of an access list (`security.access.parse_access`), or None: owner only.
        owner: `deployer` or `caller` (who first writes the entity owns it).
        pin: True keeps entities on the module they were created with.
    """

    match: str
    language: str
    source: str
    limits: Limits
    handlers: dict[str, HandlerSpec]
    access: list[Any] | None = None
    owner: str = "deployer"
    pin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    templates: tuple[TemplateSpec, ...]


def parse_manifest(text: str, *, file_name: str = MANIFEST_NAME) -> Manifest:
    """Returns what the text of a `lithox.toml` says.

    Raises:
        ConfigError: malformed TOML (with `line`), an unknown or missing key, a value out of range;
            the message names the file and the key.
    """
    try:
        return _parse_manifest(text, file_name)
    except RecursionError:
        # In the parser, or where a message shows what was found.
        raise ConfigError(f"{file_name}: malformed TOML: nests too deep", file=file_name) from None


def _parse_manifest(text: str, file_name: str) -> Manifest:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _LINE_OF_TOML_ERROR.search(str(error))
        line = int(found[1]) if found else None
        raise ConfigError(
            f"{file_name}: malformed TOML: {error}", file=file_name, line=line
        ) from None
    except ValueError as error:
        # tomllib lets through what int() and datetime say of digits and dates out of range.
        raise ConfigError(f"{file_name}: malformed TOML: {error}", file=file_name) from None
    _refuse_unknown(data, {"template"}, f"{file_name}")
    templates = data.get("template", [])
    if not isinstance(templates, list) or not templates:
        raise ConfigError(f"{file_name}: needs at least one [[template]]", file=file_name)
    if len(templates) > TEMPLATES_MAX:  # pyright: ignore[reportUnknownArgumentType]
        raise ConfigError(f"{file_name}: at most {TEMPLATES_MAX} templates", file=file_name)
    specs = tuple(
        _parse_template(item, f"{file_name}: template {number}", file_name)
        for number, item in enumerate(templates, 1)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    )
    matches = [spec.match for spec in specs]
    for match in matches:
        if matches.count(match) > 1:
            raise ConfigError(f"{file_name}: two templates match {match!r}", file=file_name)
    return Manifest(templates=specs)


def _refuse_unknown(table: dict[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}; known are {', '.join(sorted(known))}")


def _parse_template(item: Any, where: str, file_name: str) -> TemplateSpec:
    if not isinstance(item, dict):
        raise ConfigError(f"{where}: a template is a table")
    table: dict[str, Any] = item  # pyright: ignore[reportUnknownVariableType]
    known = {"match", "language", "source", "limits", "handlers", "access", "owner", "pin"}
    _refuse_unknown(table, known, where)
    for key in ("match", "language", "source"):
        if not isinstance(table.get(key), str):
            raise ConfigError(f'{where}: needs {key} = "..."', file=file_name, key=key)
    if table["language"] not in LANGUAGES:
        raise ConfigError(
            f"{where}: language is one of {', '.join(LANGUAGES)}; found {table['language']!r}"
        )
    if _SOURCE_NAME.match(table["source"]) is None or ".." in table["source"].split("/"):
        raise ConfigError(f"{where}: source is a relative file name; found {table['source']!r}")
    if table.get("owner", "deployer") not in ("deployer", "caller"):
        raise ConfigError(f"{where}: owner is 'deployer' or 'caller'")
    if not isinstance(table.get("pin", False), bool):
        raise ConfigError(f"{where}: pin is true or false; found {table['pin']!r:.80}")
    try:
        check_pattern(table["match"])
        return TemplateSpec(
            match=table["match"],
            language=table["language"],
            source=table["source"],
            limits=parse_limits(table.get("limits", {}), f"{where}.limits"),
            handlers={
                name: _parse_handler(name, spec, f"{where}.handlers.{name}")
                for name, spec in _table(table.get("handlers", {}), f"{where}.handlers").items()
            },
            access=table.get("access"),
            owner=table.get("owner", "deployer"),
            pin=table.get("pin", False),
        )
    except BadArguments as error:
        raise ConfigError(f"{where}: {error.message}", file=file_name) from None


def _table(data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: is a table")
    return data  # pyright: ignore[reportUnknownVariableType]


def _parse_handler(name: str, data: Any, where: str) -> HandlerSpec:
    check_handler_name(name)
    table = _table(data, where)
    _refuse_unknown(table, {"priority", "limits"}, where)
    return HandlerSpec(
        priority=parse_priority(table.get("priority", PRIORITY_DEFAULT), where),
        limits=parse_limits(table.get("limits", {}), f"{where}.limits"),
    )


def parse_priority(data: Any, where: str) -> int:
    """Returns `data` as a priority; raises ConfigError unless it is an integer of 0-9."""
    if type(data) is not int or not PRIORITY_LOWEST <= data <= PRIORITY_HIGHEST:
        raise ConfigError(
            f"{where}: priority is {PRIORITY_LOWEST} to {PRIORITY_HIGHEST}; found {data!r}"
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
}


def parse_limits(data: Any, where: str) -> Limits:
    """Returns limits from a table such as `{fuel = 1000, memory = "8MiB", wall_ms = 5_000}`.

    Sizes are bytes or text with a unit, `wall` is a duration, `wall_ms` milliseconds.

    Raises:
        ConfigError: an unknown key, or a value that is not a positive amount.
    """
    table = _table(data, where)
    _refuse_unknown(table, set(_LIMIT_KEYS), where)
    amounts: dict[str, int] = {}
    for key, value in table.items():
        try:
            amount = _parse_amount(key, value)
        except LithoxError as error:
            raise ConfigError(f"{where}.{key}: {error.message}") from None
        if amount <= 0:
            raise ConfigError(f"{where}.{key}: is more than 0; found {value!r}")
        amounts[_LIMIT_KEYS[key]] = amount
    return Limits(**amounts)


def _parse_amount(key: str, value: Any) -> int:
    if type(value) is int and key != "wall":
        if not 0 <= value < 1 << 62:
            raise BadArguments(f"is 0 to 2^62; found {value}")
        return value * 1_000_000 if key == "wall_ms" else value
    if isinstance(value, str) and key in ("memory", "output", "state"):
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
    }
    return {key: amount for key, amount in named.items() if amount is not None}
