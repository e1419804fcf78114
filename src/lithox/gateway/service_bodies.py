"""The shapes of bodies about services; see `gateway.bodies` for the rest."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType

Maybe = UnsetType


class LogBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """How much of what a service prints is kept: `files` files of `max_size` each."""

    max_size: int | str | Maybe = UNSET
    files: int | Maybe = UNSET


class ServiceBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """A definition, as `[[service]]` of a manifest: durations and sizes with their units."""

    program: str
    runtime: str | Maybe = UNSET
    args: list[Any] | Maybe = UNSET
    restart: str | Maybe = UNSET
    backoff_min: str | Maybe = UNSET
    backoff_max: str | Maybe = UNSET
    burst: int | Maybe = UNSET
    burst_window: str | Maybe = UNSET
    requires: list[str] | Maybe = UNSET
    after: list[str] | Maybe = UNSET
    contexts: list[str] | Maybe = UNSET
    storage: bool | Maybe = UNSET
    quota: int | str | Maybe = UNSET
    limits: dict[str, int | str] | Maybe = UNSET
    priority: int | Maybe = UNSET
    stop_deadline: str | Maybe = UNSET
    mode: str | Maybe = UNSET
    ready: str | Maybe = UNSET
    autostart: bool | Maybe = UNSET
    log: LogBody | Maybe = UNSET


class LastExitAnswer(Struct, kw_only=True):
    """How its last process ended; `asked` is true when it was to end."""

    status: int
    code: str | None
    message: str | None
    at_ms: int
    asked: bool


class ServiceAnswer(Struct, kw_only=True):
    """One service: what it is doing, and why; `definition` only where one service is shown."""

    name: str
    state: str
    reason: str | None
    pid: int | None
    program: str | None
    restarts: int
    changes: int
    since_ms: int
    wanted: bool
    builtin: bool
    last_exit: LastExitAnswer | None
    next_start_in_ms: int | None
    definition: dict[str, Any] | Maybe = UNSET


class ServicesAnswer(Struct, kw_only=True):
    """All services, by name."""

    services: list[ServiceAnswer]


class LogsAnswer(Struct, kw_only=True):
    """Lines of a log, {"$bytes": base64} where they are not UTF-8; `next` is asked `after` next."""

    text: Any
    next: int
    missed: int
