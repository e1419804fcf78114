"""What an operator may set: `--config FILE`, a TOML file. Unknown keys are refused by name."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, cast

from lithox.dispatch.accepted_records import DEFAULT_RESULTS, ResultBounds
from lithox.dispatch.messages.bounds import DEFAULT_BOUNDS, MessageBounds
from lithox.dispatch.schedules.bounds import DEFAULT_TIMER_BOUNDS, TimerBounds
from lithox.errors import BadArguments, ConfigError
from lithox.kernel.limits import smallest
from lithox.kernel.policy import DEFAULT_POLICY, Policy
from lithox.model.big_values import BIG_VALUE_BYTES_MAX
from lithox.model.ids import AccountName, check_entity_path, check_identity
from lithox.model.limits import HANDLER_DEFAULT_LIMITS, NODE_DEFAULT_LIMITS, UNBOUNDED, Limits
from lithox.model.quantities import parse_duration_ns, parse_size_bytes
from lithox.modules.manifest import parse_limits
from lithox.node.bound_tables import read_bounds
from lithox.node.callback_settings import CallbackSettings, read_callbacks
from lithox.sandbox.cache import DEFAULT_BOUNDS as DEFAULT_BOUNDS_OF_CODE
from lithox.sandbox.cache import CacheBounds
from lithox.security.identities import KnownIdentity

_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}\Z")
IDENTITIES_MAX: Final = 100_000
BIG_VALUE_BYTES_CEILING: Final = 64 << 20
"""A quarter of what may wait for the disk (`store.visible`): four at once are taken."""

LIMIT_NAMES: Final = tuple(one.name for one in fields(Limits))
POLICY_NAMES: Final = frozenset(one.name for one in fields(Policy))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """Everything a node needs to know before it starts.

    Attributes:
        node_entity: path under which the node answers as an entity.
        limits: the most a request may use; nothing that handles one gets more.
        handler_limits: what a handler gets when nobody says anything.
        program_limits: the most a program may use that init starts, with all it starts itself.
        identities: callers and the digests of their tokens.
        allowed_hosts: Host headers accepted besides loopback names.
        body_bytes_max: HTTP bodies above it are answered 413.
        big_value_bytes_max: size of one big value, by whatever way it comes.
        cache_bytes: entity state kept in memory.
        code_cache: machine code kept on the disk.
        results_per_account_max: recorded answers one account may keep.
        results: how long results are kept, and how many requests may be accepted.
        callbacks: where outcomes may be sent.
        messages: how many messages may wait, and how often one is tried.
        timers: how many timers may be armed.
        policy: scheduling and admission.
        is_cooperative: programs switch at system calls only.
        store: address of a database server, `postgresql://...`; None: a file in the data directory.
            Not shown, since it may have a password.
        store_schema: name of the schema there.
        store_migrate: "verify" refuses a schema there that is not current, "apply" makes it so.
        store_unsafe: whether a server may be used that can lose what it has confirmed.
        spread: patterns of entities that are placed over all volumes (`cluster/placement.py`).
    """

    node_entity: str = "~node"
    limits: Limits = NODE_DEFAULT_LIMITS
    handler_limits: Limits = HANDLER_DEFAULT_LIMITS
    program_limits: Limits = UNBOUNDED
    identities: tuple[KnownIdentity, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    body_bytes_max: int = 1 << 20
    big_value_bytes_max: int = BIG_VALUE_BYTES_MAX
    cache_bytes: int = 64 << 20
    code_cache: CacheBounds = DEFAULT_BOUNDS_OF_CODE
    results_per_account_max: int = 1_000_000
    results: ResultBounds = DEFAULT_RESULTS
    callbacks: CallbackSettings = field(default_factory=CallbackSettings)
    messages: MessageBounds = DEFAULT_BOUNDS
    timers: TimerBounds = DEFAULT_TIMER_BOUNDS
    policy: Policy = field(default=DEFAULT_POLICY)
    is_cooperative: bool = False
    store: str | None = field(default=None, repr=False)
    store_schema: str = "lithox"
    store_migrate: str = "verify"
    store_unsafe: bool = False
    spread: tuple[str, ...] = ()


_KNOWN: Final = {
    "node_entity",
    "limits",
    "handler_limits",
    "program_limits",
    "identity",
    "allowed_hosts",
    "body_max",
    "big_value_max",
    "cache",
    "code_cache",
    "results_per_account",
    "results",
    "callbacks",
    "messages",
    "timers",
    "scheduler",
    "cooperative",
    "store",
    "store_schema",
    "store_migrate",
    "store_unsafe",
    "volumes",
}


def read_config(path: Path) -> NodeConfig:
    """Returns the configuration in the TOML file `path`. Blocks for the disk.

    Raises:
        ConfigError: unreadable, malformed, an unknown key or a wrong value; names file and key.
    """
    return parse_config(read_config_text(path), path)


def read_config_text(path: Path) -> str:
    """Returns the text of a configuration file; raises ConfigError. Blocks for the disk."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None


def parse_config(text: str, path: Path) -> NodeConfig:
    """Returns the configuration that `text` says; `path` is where it came from.

    Raises:
        ConfigError: see `read_config`.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: malformed TOML: {error}") from None
    for key in data:
        if key not in _KNOWN:
            raise ConfigError(f"{path}: unknown key {key!r}; known are {', '.join(sorted(_KNOWN))}")
    try:
        return _build(data, str(path))
    except BadArguments as error:
        raise ConfigError(f"{path}: {error.message}") from None


def _build(data: dict[str, Any], where: str) -> NodeConfig:
    changes: dict[str, Any] = {}
    if "node_entity" in data:
        changes["node_entity"] = check_entity_path(str(data["node_entity"]))
    if "limits" in data:
        said = parse_limits(data["limits"], f"{where}: limits")
        changes["limits"] = _over(said, NODE_DEFAULT_LIMITS)
    if "handler_limits" in data:
        said = parse_limits(data["handler_limits"], f"{where}: handler_limits")
        changes["handler_limits"] = _over(said, HANDLER_DEFAULT_LIMITS)
    if "program_limits" in data:
        changes["program_limits"] = _program_limits(data["program_limits"], where)
    if "identity" in data:
        changes["identities"] = _identities(data["identity"], where)
    if "allowed_hosts" in data:
        changes["allowed_hosts"] = tuple(str(host).lower() for host in data["allowed_hosts"])
    for key, name in (("body_max", "body_bytes_max"), ("cache", "cache_bytes")):
        if key in data:
            changes[name] = _size(data[key], f"{where}: {key}")
    if "big_value_max" in data:
        changes["big_value_bytes_max"] = _size(data["big_value_max"], f"{where}: big_value_max")
        if changes["big_value_bytes_max"] > BIG_VALUE_BYTES_CEILING:
            raise ConfigError(
                f"{where}: big_value_max is at most {BIG_VALUE_BYTES_CEILING} bytes, since one "
                "commit takes a whole value"
            )
    if "code_cache" in data:
        changes["code_cache"] = _code_cache(data["code_cache"], f"{where}: code_cache")
    if "results_per_account" in data:
        changes["results_per_account_max"] = _positive(data["results_per_account"], where)
    if "results" in data:
        changes["results"] = _results(data["results"], f"{where}: results")
    if "callbacks" in data:
        changes["callbacks"] = read_callbacks(data["callbacks"], where)
    if "messages" in data:
        changes["messages"] = read_bounds(MessageBounds, data["messages"], f"{where}: messages")
    if "timers" in data:
        changes["timers"] = read_bounds(TimerBounds, data["timers"], f"{where}: timers")
    if "scheduler" in data:
        changes["policy"] = _policy(data["scheduler"], where)
    if "cooperative" in data:
        changes["is_cooperative"] = _boolean(data["cooperative"], f"{where}: cooperative")
    for key in ("store", "store_schema", "store_migrate"):
        if key in data:
            if not isinstance(data[key], str):
                # Its value is not told: it may be an address with a password.
                raise ConfigError(f"{where}: {key} needs a text")
            changes[key] = data[key]
    if "store_unsafe" in data:
        changes["store_unsafe"] = _boolean(data["store_unsafe"], f"{where}: store_unsafe")
    if "volumes" in data:
        changes["spread"] = _spread(data["volumes"], f"{where}: volumes")
    return NodeConfig(**changes)


_RESULTS: Final = {
    "accepted": "accepted_max",
    "accepted_per_account": "accepted_account_max",
    "running": "running_max",
    "running_per_account": "running_account_max",
}
_RESULT_SIZES: Final = {
    "accepted_bytes": "accepted_bytes_max",
    "accepted_bytes_per_account": "accepted_account_bytes_max",
}


def _results(data: Any, where: str) -> ResultBounds:
    if not isinstance(data, dict):
        raise ConfigError(f"{where} is a table")
    table: dict[str, Any] = data  # pyright: ignore[reportUnknownVariableType]
    changes: dict[str, int] = {}
    for key, value in table.items():
        place = f"{where}: {key}"
        if key == "kept":
            changes["kept_ns"] = parse_duration_ns(value) if isinstance(value, str) else 0
            if changes["kept_ns"] < 1:
                raise ConfigError(f'{place}: needs a duration such as "24h"; found {value!r:.40}')
        elif key in _RESULT_SIZES:
            changes[_RESULT_SIZES[key]] = _size(value, place)
        elif key in _RESULTS:
            changes[_RESULTS[key]] = _positive(value, place)
        else:
            known = ", ".join(("kept", *_RESULT_SIZES, *_RESULTS))
            raise ConfigError(f"{where}: unknown key {key!r}; known are {known}")
    return ResultBounds(**changes)


def _code_cache(data: Any, where: str) -> CacheBounds:
    if not isinstance(data, dict):
        raise ConfigError(f"{where} is a table")
    table: dict[str, Any] = data  # pyright: ignore[reportUnknownVariableType]
    changes: dict[str, int] = {}
    for key, value in table.items():
        if key == "size":
            changes["bytes_max"] = _size(value, f"{where}: size")
        elif key == "entries":
            changes["entries_max"] = _positive(value, f"{where}: entries")
        else:
            raise ConfigError(f"{where}: unknown key {key!r}; known are size, entries")
    return CacheBounds(**changes)


def _spread(data: Any, where: str) -> tuple[str, ...]:
    if not isinstance(data, dict) or set(data) - {"spread"}:  # pyright: ignore[reportUnknownArgumentType]
        raise ConfigError(f"{where} is a table with spread, a list of patterns")
    listed: Any = data.get("spread", [])  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):  # pyright: ignore[reportUnknownVariableType]
        raise ConfigError(f'{where}: spread is a list of patterns such as "counter/*"')
    return tuple(cast("list[str]", listed))


def _program_limits(value: Any, where: str) -> Limits:
    said = parse_limits(value, f"{where}: program_limits")
    if said.state_bytes is not None:
        raise ConfigError(f"{where}: program_limits: state is for handlers; programs have none")
    return said


def _boolean(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: needs true or false; found {value!r:.40}")
    return value


def _over(said: Limits, default: Limits) -> Limits:
    """Returns `said`, with the default where it says nothing."""
    chosen = {
        name: getattr(said, name) if getattr(said, name) is not None else getattr(default, name)
        for name in LIMIT_NAMES
    }
    return smallest(Limits(**chosen))


def _policy(data: Any, where: str) -> Policy:
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: scheduler is a table")
    table: dict[str, Any] = data  # pyright: ignore[reportUnknownVariableType]
    for key in table:
        if key not in POLICY_NAMES:
            raise ConfigError(f"{where}: scheduler: unknown key {key!r}")
    if "quanta_fuel" in table:
        table = {**table, "quanta_fuel": tuple(table["quanta_fuel"])}
    try:
        return Policy(**table)
    except TypeError as error:
        raise ConfigError(f"{where}: scheduler: {error}") from None


def _positive(value: Any, where: str) -> int:
    if type(value) is not int or value <= 0:
        raise ConfigError(f"{where}: needs a whole number above 0; found {value!r}")
    return value


def _size(value: Any, where: str) -> int:
    return parse_size_bytes(value) if isinstance(value, str) else _positive(value, where)


def _identities(data: Any, where: str) -> tuple[KnownIdentity, ...]:
    if not isinstance(data, list) or len(data) > IDENTITIES_MAX:  # pyright: ignore[reportUnknownArgumentType]
        raise ConfigError(f"{where}: [[identity]] is a list of at most {IDENTITIES_MAX}")
    return tuple(_identity(item, where) for item in data)  # pyright: ignore[reportUnknownVariableType]


def _identity(item: Any, where: str) -> KnownIdentity:
    known = {"name", "account", "token_sha256", "admin"}
    if not isinstance(item, dict) or not {"name", "token_sha256"} <= set(item) <= known:  # pyright: ignore[reportUnknownArgumentType]
        raise ConfigError(
            f"{where}: an [[identity]] has name, token_sha256 and, if you like, account and admin"
        )
    table: dict[str, Any] = item  # pyright: ignore[reportUnknownVariableType]
    name = check_identity(str(table["name"]))
    digest = str(table["token_sha256"])
    if _SHA256.match(digest) is None:
        raise ConfigError(f"{where}: identity {name}: token_sha256 is 64 hexadecimal digits")
    return KnownIdentity(
        name=name,
        account=AccountName(str(table.get("account", name))),
        token_sha256=digest,
        is_admin=bool(table.get("admin", False)),
    )
