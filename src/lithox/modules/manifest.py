"""What a `lithox.toml` says: templates, code for the stores, services. Pure: text in, records out.

Unknown keys are refused by name and line, so that a misspelt limit is an error and not a surprise.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from lithox.errors import BadArguments, ConfigError
from lithox.model.ids import check_handler_name, check_state_key
from lithox.model.limits import PRIORITY_DEFAULT, Limits
from lithox.model.patterns import check_pattern
from lithox.modules.code import KINDS, PROGRAM
from lithox.modules.fields import (
    format_limits,
    parse_limits,
    parse_priority,
    read_flag,
    read_name,
    read_source,
    read_table,
    read_text,
    refuse_unknown,
)
from lithox.modules.lines import find_line
from lithox.modules.services import ServiceSpec, parse_service

__all__ = [
    "LANGUAGES",
    "MANIFEST_NAME",
    "SOURCE_SECTIONS",
    "CodeSpec",
    "HandlerSpec",
    "Manifest",
    "ServiceSpec",
    "TemplateSpec",
    "format_limits",
    "parse_limits",
    "parse_manifest",
    "parse_priority",
]

LANGUAGES: Final = ("lua", "python", "javascript", "wasm")
TEMPLATES_MAX: Final = 1000
CODE_MAX: Final = 1000
SERVICES_MAX: Final = 1000
PRELOAD_MAX: Final = 64
"""Keys and prefixes one template may name."""
PREFIX_MARK: Final = "*"
MANIFEST_NAME: Final = "lithox.toml"
SOURCE_SECTIONS: Final = ("template", *KINDS)
"""Tables that name a source file."""
_SECTIONS: Final = frozenset({*SOURCE_SECTIONS, "service"})
_LINE_OF_TOML_ERROR: Final = re.compile(r"at line (\d+)")
_Spec = TypeVar("_Spec")


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
        preload: keys, and prefixes that end with `*`, sent along with a call where not all is;
            None: not said.
    """

    match: str
    language: str
    source: str
    limits: Limits
    handlers: dict[str, HandlerSpec]
    access: list[Any] | None = None
    owner: str = "deployer"
    pin: bool = False
    preload: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSpec:
    """One `[[program]]`, `[[library]]` or `[[runtime]]`: a text for the store of its kind.

    Attributes:
        runtime: for a program, the runtime it asks for; None: none.
    """

    kind: str
    name: str
    source: str
    runtime: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything a manifest says, each in the order it stands there."""

    templates: tuple[TemplateSpec, ...] = ()
    code: tuple[CodeSpec, ...] = ()
    services: tuple[ServiceSpec, ...] = ()

    def sources(self) -> list[tuple[str, str, str | None]]:
        """Returns (what names it, file name, language) of every source, doubles included.

        They are in order. The language is a template's; None for code of the stores.
        """
        of_templates: list[tuple[str, str, str | None]] = [
            (f"template {one.match!r}", one.source, one.language) for one in self.templates
        ]
        return of_templates + [(f"{one.kind} {one.name!r}", one.source, None) for one in self.code]


def parse_manifest(text: str, *, file_name: str = MANIFEST_NAME) -> Manifest:
    """Returns what the text of a `lithox.toml` says.

    Raises:
        ConfigError: malformed TOML, an unknown or missing key, a value out of range; the message
            names the file and the key, field `line` the line where it is known.
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
    sections = _Sections(text, file_name, data)
    templates = sections.parse("template", TEMPLATES_MAX, _parse_template, lambda one: one.match)
    code = [
        spec
        for kind in KINDS
        for spec in sections.parse(kind, CODE_MAX, _code_parser(kind), lambda one: one.name)
    ]
    services = sections.parse("service", SERVICES_MAX, parse_service, lambda one: one.name)
    return Manifest(templates=templates, code=tuple(code), services=services)


class _Sections:
    """The arrays of tables of one manifest, and where they stand."""

    def __init__(self, text: str, file_name: str, data: dict[str, Any]) -> None:
        self._text = text
        self._file_name = file_name
        self._data = data
        try:
            refuse_unknown(data, _SECTIONS, file_name)
        except ConfigError as error:
            raise self._place(error, None, 0) from None
        is_listed = {key: isinstance(rows, list) for key, rows in data.items()}
        if not any(data[key] for key, is_so in is_listed.items() if is_so):
            known = ", ".join(f"[[{one}]]" for one in sorted(_SECTIONS))
            raise ConfigError(f"{file_name}: needs at least one of {known}", file=file_name)
        for key, is_so in is_listed.items():
            if not is_so:
                raise ConfigError(
                    f"{file_name}: {key} is written [[{key}]], as often as there are",
                    file=file_name,
                    line=find_line(text, None, 0, key),
                )

    def parse(
        self,
        section: str,
        count_max: int,
        parse: Callable[[Any, str], _Spec],
        name_of: Callable[[_Spec], str],
    ) -> tuple[_Spec, ...]:
        """Returns every `[[section]]` as `parse` reads it; no two may have one name."""
        rows: list[Any] = self._data.get(section, [])
        if len(rows) > count_max:
            raise ConfigError(
                f"{self._file_name}: {len(rows)} times [[{section}]]; at most {count_max}",
                file=self._file_name,
            )
        specs: dict[str, _Spec] = {}
        for number, row in enumerate(rows, 1):
            try:
                spec = parse(row, f"{self._file_name}: {section} {number}")
                name = name_of(spec)
                if name in specs:
                    what = "templates match" if section == "template" else f"times {section}"
                    raise ConfigError(f"{self._file_name}: two {what} {name!r}")
            except (ConfigError, BadArguments) as error:
                raise self._place(error, section, number) from None
            specs[name] = spec
        return tuple(specs.values())

    def _place(
        self, error: ConfigError | BadArguments, section: str | None, number: int
    ) -> ConfigError:
        """Returns `error` with file and line."""
        key: str | None = error.fields.get("key")
        line = find_line(self._text, section, number, key)
        message = error.message
        if not message.startswith(self._file_name):
            message = f"{self._file_name}: {section} {number}: {message}"
        if line is not None:
            message = f"{message} (line {line})"
        return ConfigError(message, file=self._file_name, line=line, key=key)


def _parse_template(item: Any, where: str) -> TemplateSpec:
    table = read_table(item, where)
    known = {
        "match",
        "language",
        "source",
        "limits",
        "handlers",
        "access",
        "owner",
        "pin",
        "preload",
    }
    refuse_unknown(table, known, where)
    match, language = read_text(table, "match", where), read_text(table, "language", where)
    if language not in LANGUAGES:
        raise ConfigError(
            f"{where}: language is one of {', '.join(LANGUAGES)}; found {language!r:.80}",
            key="language",
        )
    source = read_source(table, where)
    if table.get("owner", "deployer") not in ("deployer", "caller"):
        raise ConfigError(f"{where}: owner is 'deployer' or 'caller'", key="owner")
    check_pattern(match)
    handlers = read_table(table.get("handlers", {}), f"{where}.handlers")
    return TemplateSpec(
        match=match,
        language=language,
        source=source,
        limits=parse_limits(table.get("limits", {}), f"{where}.limits"),
        handlers={
            name: _parse_handler(name, spec, f"{where}.handlers.{name}")
            for name, spec in handlers.items()
        },
        access=table.get("access"),
        owner=table.get("owner", "deployer"),
        pin=read_flag(table, "pin", where),
        preload=_parse_preload(table["preload"], where) if "preload" in table else None,
    )


def _parse_preload(value: Any, where: str) -> tuple[str, ...]:
    names = cast("list[Any]", value if isinstance(value, list) else [value])
    if len(names) > PRELOAD_MAX or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"{where}: preload is a list of at most {PRELOAD_MAX} keys, and prefixes that end "
            f"with {PREFIX_MARK!r}; found {value!r:.80}",
            key="preload",
        )
    for name in names:
        try:
            check_state_key(name.removesuffix(PREFIX_MARK) or name)
        except BadArguments as error:
            raise ConfigError(f"{where}: preload: {error.message}", key="preload") from None
    return tuple(names)


def _parse_handler(name: str, data: Any, where: str) -> HandlerSpec:
    check_handler_name(name)
    table = read_table(data, where)
    refuse_unknown(table, {"priority", "limits"}, where)
    return HandlerSpec(
        priority=parse_priority(table.get("priority", PRIORITY_DEFAULT), where),
        limits=parse_limits(table.get("limits", {}), f"{where}.limits"),
    )


def _code_parser(kind: str) -> Callable[[Any, str], CodeSpec]:
    def parse(item: Any, where: str) -> CodeSpec:
        table = read_table(item, where)
        known = {"name", "source", "runtime"} if kind == PROGRAM else {"name", "source"}
        refuse_unknown(table, known, where)
        name = read_name(read_text(table, "name", where), "name", where)
        runtime = read_name(table["runtime"], "runtime", where) if "runtime" in table else None
        return CodeSpec(kind=kind, name=name, source=read_source(table, where), runtime=runtime)

    return parse
