"""The shapes of request and answer bodies. The OpenAPI document is generated from these classes.

Unknown fields are refused by name. Values inside (arguments, state, handler tables) are the
contract's values in JSON form; `model.values` checks and unescapes them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from lithox.errors import BadArguments
from lithox.model.limits import Limits
from lithox.model.values import VALUE_DEPTH_MAX

Amount = Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
MILLISECOND_NS: Final = 1_000_000
DEADLINE_MS_MAX: Final = 30 * 24 * 3600 * 1000
Deadline = Annotated[int, Meta(ge=1, le=DEADLINE_MS_MAX)]


class LimitsBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """What the caller lowers for this run; nothing here raises a limit."""

    fuel: Amount | None = None
    memory: Amount | None = None
    wall_ms: Annotated[int, Meta(ge=1, le=DEADLINE_MS_MAX)] | None = None
    output: Amount | None = None
    calls: Amount | None = None
    state: Amount | None = None
    big: Amount | None = None

    def to_limits(self) -> Limits:
        """Returns the same as the model's record."""
        return Limits(
            fuel=self.fuel,
            memory_bytes=self.memory,
            wall_ns=None if self.wall_ms is None else self.wall_ms * MILLISECOND_NS,
            output_bytes=self.output,
            calls=self.calls,
            state_bytes=self.state,
            big_bytes=self.big,
        )


class CallBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Arguments of a handler and what bounds its run.

    `callback` is where the outcome of a request that is answered later is sent.
    """

    args: list[Any] = []
    limits: LimitsBody | None = None
    deadline_ms: Deadline | None = None
    callback: Annotated[str, Meta(min_length=1, max_length=2_000)] | None = None


class StateBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """The value of one state key."""

    value: Any


class HandlersBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """The handler table of one entity: its own overrides by handler name."""

    handlers: dict[str, Any]


class DeployBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """A bundle: the text of lithox.toml and each file it names, as text or {"$bytes": base64}."""

    manifest: str
    files: dict[str, str | dict[str, str]]


class UsageAnswer(Struct, kw_only=True):
    """What a run used over all its attempts."""

    fuel: int
    cpu_us: int
    ms: float
    memory: int
    attempts: int


class CallAnswer(Struct, kw_only=True):
    """The value a handler returned."""

    request: str | None
    status: str
    value: Any
    usage: UsageAnswer


class ErrorAnswer(Struct, kw_only=True):
    """A refusal or failure: `status` is a code of the error table, `error` message and fields."""

    request: str | None
    status: str
    error: dict[str, Any]
    usage: UsageAnswer | None = None


class EntitiesAnswer(Struct, kw_only=True):
    """Entity paths in order; `more` says that others may follow beyond `after`.

    A page may have fewer than asked for, even none, and still say `more`: the node looks at a
    bounded number of entities for each.
    """

    entities: list[str]
    more: bool
    after: str


class EntityAnswer(Struct, kw_only=True):
    """What the node knows of one entity."""

    id: str
    owner: str | None
    template: str | None
    module: str | None
    created_ms: int
    access: Any
    limits: dict[str, Any]
    handlers: dict[str, Any]
    keys: int
    bytes: int


class ItemsAnswer(Struct, kw_only=True):
    """State items in key order; `more` says that others follow after the last one."""

    items: dict[str, Any]
    more: bool


class DeployAnswer(Struct, kw_only=True):
    """What was published: digest by source, template patterns, handler names by pattern.

    `code` has the newest version by kind and name, `services` the names of services.
    """

    modules: dict[str, str]
    templates: list[str]
    handlers: dict[str, list[str]]
    code: dict[str, dict[str, int]]
    services: list[str]


class ProcessesAnswer(Struct, kw_only=True):
    """The process table."""

    processes: list[dict[str, Any]]


class AuditAnswer(Struct, kw_only=True):
    """Audit records, newest first."""

    records: list[dict[str, Any]]


class HealthAnswer(Struct, kw_only=True):
    """Whether the process lives, or whether the store can be written."""

    status: str


Body = TypeVar("Body", bound=Struct)


def read_body(decoder: msgspec.json.Decoder[Body], raw: bytes) -> Body:
    """Returns the body decoded and checked against its shape.

    Raises:
        BadArguments: malformed JSON, not UTF-8, a wrong type, an unknown field, too deep; says
            what was expected, what was found and where.
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise BadArguments(f"the body has another shape than expected: {error}") from None
    except RecursionError:
        raise BadArguments(f"values nest at most {VALUE_DEPTH_MAX} levels deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadArguments(f"the body is not JSON in UTF-8: {error}") from None
