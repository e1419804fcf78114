"""What a service is: a program that is kept running, and the rules by which. Pure.

The same table stands as `[[service]]` in a manifest and is what `lithox service add` takes; in the
registry it is kept as plain data, every quantity in one unit (`to_plain`), for init to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lithox.errors import BadArguments, ConfigError, LithoxError
from lithox.model.limits import PRIORITY_DEFAULT, Limits
from lithox.model.quantities import parse_duration_ns, parse_size_bytes
from lithox.model.values import encode_value
from lithox.modules.fields import (
    format_limits,
    parse_limits,
    parse_priority,
    read_flag,
    read_name,
    read_table,
    read_text,
    refuse_unknown,
)

RESTARTS: Final = ("always", "on-failure", "never")
READY: Final = ("started", "notify")
QUOTA_BYTES_MIN: Final = 4096
QUOTA_BYTES_MAX: Final = 256 << 20
MODES: Final = ("preemptive", "cooperative")
DEPENDENCIES_MAX: Final = 64
CONTEXTS_MAX: Final = 128
ARGS_BYTES_MAX: Final = 16 << 10
DURATION_MS_MAX: Final = 24 * 3600 * 1000
LOG_BYTES_MAX: Final = 1 << 30
LOG_FILES_MAX: Final = 100
BURST_MAX: Final = 1_000
CONTEXTS_DEFAULT: Final = ("log.*", "time.*", "library.get")
"""What a service may call in context 0 when nothing is said: nothing that changes anything."""
_PATTERN: Final = re.compile(r"(?=.{1,128}\Z)[A-Za-z0-9_.-]*\*?\Z")
MILLISECOND_NS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSpec:
    """How much of what a service prints is kept: `files` files of `bytes_max` each."""

    bytes_max: int = 1 << 20
    files: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One service.

    Attributes:
        program: name in the program store.
        runtime: which one; None: what the program's own info says.
        args: plain data.
        restart: "always", "on-failure" (any end but status 0) or "never".
        backoff_min_ms, backoff_max_ms: pause before a restart, doubled each time between them.
        burst: ends within `burst_window_ms` after which it is given up as failed; 0: never.
        requires: services that must run before it starts and whose end ends it.
        after: services it waits for if they are there, and no more.
        contexts: names it may call in context 0; one may end in `*`.
        storage: whether it gets a context of the storage service.
        limits: of its process, as far as said.
        stop_deadline_ms: how long it may take to stop before it is killed.
        mode: "preemptive" or "cooperative"; None: the node's.
        ready: it counts as running once it is "started", or when it says so ("notify").
        autostart: whether it starts when it is defined and when the node does.
        quota_bytes: what it may keep in its storage; None: the storage service's default.
    """

    name: str
    program: str
    runtime: str | None = None
    args: list[Any] = field(default_factory=list[Any])
    restart: str = "on-failure"
    backoff_min_ms: int = 100
    backoff_max_ms: int = 30_000
    burst: int = 5
    burst_window_ms: int = 10_000
    requires: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    contexts: tuple[str, ...] = CONTEXTS_DEFAULT
    storage: bool = False
    limits: Limits = field(default_factory=Limits)
    priority: int = PRIORITY_DEFAULT
    stop_deadline_ms: int = 5_000
    mode: str | None = None
    ready: str = "started"
    autostart: bool = True
    quota_bytes: int | None = None
    log: LogSpec = field(default_factory=LogSpec)

    def to_plain(self) -> dict[str, Any]:
        """Returns the plain data the registry keeps: durations in ms, sizes in bytes.

        `runtime` and `mode` are left out when not said; limits as `format_limits` shows them.
        """
        said: dict[str, Any] = {
            "name": self.name,
            "program": self.program,
            "args": list(self.args),
            "restart": self.restart,
            "backoff_min_ms": self.backoff_min_ms,
            "backoff_max_ms": self.backoff_max_ms,
            "burst": self.burst,
            "burst_window_ms": self.burst_window_ms,
            "requires": list(self.requires),
            "after": list(self.after),
            "contexts": list(self.contexts),
            "storage": self.storage,
            "limits": format_limits(self.limits),
            "priority": self.priority,
            "stop_deadline_ms": self.stop_deadline_ms,
            "log": {"bytes_max": self.log.bytes_max, "files": self.log.files},
            "ready": self.ready,
            "autostart": self.autostart,
        }
        if self.quota_bytes is not None:
            said["quota"] = self.quota_bytes
        if self.runtime is not None:
            said["runtime"] = self.runtime
        if self.mode is not None:
            said["mode"] = self.mode
        return said


_DURATIONS: Final = ("backoff_min", "backoff_max", "burst_window", "stop_deadline")
_KNOWN: Final = frozenset(
    {
        *("name", "program", "runtime", "args", "restart", "burst", "requires", "after"),
        *("contexts", "storage", "limits", "priority", "mode", "log"),
        *("ready", "autostart", "quota"),
        *_DURATIONS,
    }
)


def parse_service(data: Any, where: str) -> ServiceSpec:
    """Returns the service a table such as `{name = "web", program = "web"}` says.

    Raises:
        ConfigError: an unknown or missing key, or a value out of range; field `key` names it.
    """
    table = read_table(data, where)
    refuse_unknown(table, _KNOWN, where)
    durations = {
        f"{key}_ms": _read_duration(table[key], key, where) for key in _DURATIONS if key in table
    }
    spec = ServiceSpec(
        name=read_name(read_text(table, "name", where), "name", where),
        program=read_name(read_text(table, "program", where), "program", where),
        runtime=read_name(table["runtime"], "runtime", where) if "runtime" in table else None,
        args=_read_args(table.get("args", []), where),
        restart=_read_choice(table, "restart", RESTARTS, where) or "on-failure",
        burst=_read_number(table.get("burst", 5), "burst", (0, BURST_MAX), where),
        requires=_read_services(table.get("requires", []), "requires", where),
        after=_read_services(table.get("after", []), "after", where),
        contexts=_read_contexts(table.get("contexts", list(CONTEXTS_DEFAULT)), where),
        storage=read_flag(table, "storage", where),
        limits=parse_limits(table.get("limits", {}), f"{where}.limits"),
        priority=parse_priority(table.get("priority", PRIORITY_DEFAULT), where),
        mode=_read_choice(table, "mode", MODES, where),
        ready=_read_choice(table, "ready", READY, where) or "started",
        autostart=read_flag(table, "autostart", where) if "autostart" in table else True,
        quota_bytes=_read_quota(table["quota"], where) if "quota" in table else None,
        log=_read_log(table.get("log", {}), f"{where}.log"),
        **durations,
    )
    if spec.backoff_min_ms > spec.backoff_max_ms:
        raise ConfigError(
            f"{where}: backoff_min ({spec.backoff_min_ms}ms) is more than backoff_max "
            f"({spec.backoff_max_ms}ms)",
            key="backoff_min" if "backoff_min" in table else "backoff_max",
        )
    if spec.name in (*spec.requires, *spec.after):
        raise ConfigError(f"{where}: {spec.name!r} cannot wait for itself", key="requires")
    return spec


def find_unknown(fresh: Iterable[ServiceSpec], known: Mapping[str, Any]) -> tuple[str, str] | None:
    """Returns (service, a required one that is not in `known`) of the first such, or None."""
    for spec in fresh:
        for name in spec.requires:
            if name not in known:
                return spec.name, name
    return None


def find_cycle(waits: Mapping[str, Iterable[str]], starts: Iterable[str]) -> list[str] | None:
    """Returns services that wait for each other in a ring, the first one again at the end, or None.

    Args:
        waits: service -> those it requires or comes after; others are taken to wait for nothing.
        starts: where to look from.
    """
    done: set[str] = set()
    for start in starts:
        path: list[str] = []
        # An explicit stack: a chain may be longer than Python nests.
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            name, is_left = stack.pop()
            if is_left:
                done.add(path.pop())
            elif name in path:
                return [*path[path.index(name) :], name]
            elif name not in done:
                path.append(name)
                stack.append((name, True))
                stack.extend((other, False) for other in waits.get(name, ()))
    return None


def _read_choice(
    table: dict[str, Any], key: str, choices: tuple[str, ...], where: str
) -> str | None:
    value = table.get(key)
    if key in table and value not in choices:
        raise ConfigError(
            f"{where}: {key} is one of {', '.join(choices)}; found {value!r:.80}", key=key
        )
    return value


def _read_number(value: Any, key: str, bounds: tuple[int, int], where: str) -> int:
    low, high = bounds
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(f"{where}: {key} is {low} to {high}; found {value!r:.80}", key=key)
    return value


def _read_duration(value: Any, key: str, where: str) -> int:
    """Returns milliseconds of a text such as "100ms"."""
    try:
        if not isinstance(value, str):
            raise BadArguments(f'is a duration such as "500ms"; found {value!r:.80}')
        amount_ms = parse_duration_ns(value) // MILLISECOND_NS
        if not 1 <= amount_ms <= DURATION_MS_MAX:
            raise BadArguments(f"is 1ms to 24h; found {value!r:.80}")
    except BadArguments as error:
        raise ConfigError(f"{where}: {key}: {error.message}", key=key) from None
    return amount_ms


def _read_args(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f"{where}: args is a list", key="args")
    args: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
    try:
        size = len(encode_value(args))
    except LithoxError as error:  # TOML's dates and times are no plain data.
        raise ConfigError(f"{where}: args: {error.message}", key="args") from None
    if size > ARGS_BYTES_MAX:
        raise ConfigError(f"{where}: args have at most {ARGS_BYTES_MAX} bytes", key="args")
    return args


def _read_texts(value: Any, key: str, count_max: int, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):  # pyright: ignore[reportUnknownVariableType]
        raise ConfigError(f"{where}: {key} is a list of texts", key=key)
    texts: list[str] = value  # pyright: ignore[reportUnknownVariableType]
    if len(texts) > count_max or len(set(texts)) != len(texts):
        raise ConfigError(f"{where}: {key} has at most {count_max}, each once", key=key)
    return tuple(texts)


def _read_services(value: Any, key: str, where: str) -> tuple[str, ...]:
    names = _read_texts(value, key, DEPENDENCIES_MAX, where)
    return tuple(read_name(one, key, where) for one in names)


def _read_contexts(value: Any, where: str) -> tuple[str, ...]:
    patterns = _read_texts(value, "contexts", CONTEXTS_MAX, where)
    for pattern in patterns:
        if _PATTERN.match(pattern) is None:
            raise ConfigError(
                f"{where}: contexts are names such as 'log.write' or 'log.*'; "
                f"found {pattern!r:.80}",
                key="contexts",
            )
    return patterns


def _read_quota(value: Any, where: str) -> int:
    """Returns bytes of a number or of a text such as "64MiB"."""
    try:
        size = parse_size_bytes(value) if isinstance(value, str) else value
    except BadArguments as error:
        raise ConfigError(f"{where}: quota: {error.message}", key="quota") from None
    return _read_number(size, "quota", (QUOTA_BYTES_MIN, QUOTA_BYTES_MAX), where)


def _read_log(data: Any, where: str) -> LogSpec:
    table = read_table(data, where)
    refuse_unknown(table, {"max_size", "files"}, where)
    standard = LogSpec()
    size = table.get("max_size", standard.bytes_max)
    try:
        size = parse_size_bytes(size) if isinstance(size, str) else size
    except BadArguments as error:
        raise ConfigError(f"{where}.max_size: {error.message}", key="max_size") from None
    files = table.get("files", standard.files)
    return LogSpec(
        bytes_max=_read_number(size, "max_size", (4096, LOG_BYTES_MAX), where),
        files=_read_number(files, "files", (1, LOG_FILES_MAX), where),
    )
