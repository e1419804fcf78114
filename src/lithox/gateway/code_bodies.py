"""The shapes of bodies about the stores of code; see `gateway.bodies` for the rest."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from lithox.modules.code import VERSION_MAX

Version = Annotated[int, Meta(ge=0, le=VERSION_MAX)]


class SetCodeBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """A new version: its text, or {"$bytes": base64}; `runtime` null keeps the one before.

    `check` names a runtime under which the text must load before it is set.
    """

    text: str | dict[str, str]
    note: str | None = None
    runtime: str | None = None
    check: str | None = None


class RollbackBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """The version whose text is to be the newest again; 0 is the package's copy."""

    version: Version
    note: str | None = None


class VersionAnswer(Struct, kw_only=True):
    """The number of the version that a change made."""

    version: int


class InfoAnswer(Struct, kw_only=True):
    """One version: `removed` is true for the one that removed the name, which has no text."""

    version: int
    digest: str
    by: str
    at_ms: int
    note: str
    size: int
    runtime: str | None
    removed: bool


class NamedInfoAnswer(InfoAnswer, kw_only=True):
    """The newest version of one name."""

    name: str


class CodeAnswer(Struct, kw_only=True):
    """A text, {"$bytes": base64} where it is not UTF-8, and its version."""

    text: Any
    info: InfoAnswer


class CodeListAnswer(Struct, kw_only=True):
    """Names in order; `more` says that others follow after the last one."""

    items: list[NamedInfoAnswer]
    more: bool


class HistoryAnswer(Struct, kw_only=True):
    """Versions, newest first; the package's copy is the last, as version 0."""

    versions: list[InfoAnswer]
