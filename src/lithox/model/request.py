"""Requests and answers, the two ends of every way in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lithox.model.ids import AccountName, EntityPath, HandlerName, Identity, RequestId
from lithox.model.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who acts, as `security` named them.

    Attributes:
        identity: the name access lists speak of.
        account: who pays; fair share is per account.
        is_admin: may use every entity's administrative interface.
    """

    identity: Identity
    account: AccountName
    is_admin: bool = False


@dataclass(slots=True, kw_only=True)
class Call:
    """One call of a group that commits together. Unfrozen for speed; nobody changes one."""

    entity: EntityPath
    handler: HandlerName
    args: list[Any]


@dataclass(slots=True, kw_only=True)
class Request:
    """Run `handler` of `entity` with `args`. Unfrozen for speed; nobody changes one.

    Attributes:
        args: plain data (`model.values`), a list.
        limits: what the requester lowers; never raises anything.
        deadline_ns: absolute, in the node's monotonic clock, or None.
        request_id: makes the request idempotent, or None.
        origin: the `dispatch.origin.Origin` it came from, or None for a caller who waits.
        hops: how many messages and requests led from one to the next up to this one.
        owner: who owns what it makes, when that is not the caller: an entity's owner.
        calls: instead of one handler, these in order, all in one commit (`dispatch.atomic`);
            `entity` and `handler` then say where the answer is recorded and nothing else.
    """

    entity: EntityPath
    handler: HandlerName
    args: list[Any]
    caller: Caller
    limits: Limits | None = None
    deadline_ns: int | None = None
    request_id: RequestId | None = None
    origin: Any = None
    hops: int = 0
    owner: str | None = None
    calls: tuple[Call, ...] = ()


@dataclass(slots=True, kw_only=True)
class Usage:
    """What a run used over all its attempts."""

    fuel: int = 0
    cpu_ns: int = 0
    wall_ns: int = 0
    memory_bytes: int = 0
    attempts: int = 0
    calls: int = 0

    def to_json(self) -> dict[str, Any]:
        """Returns the `usage` object of the HTTP contract."""
        return {
            "fuel": self.fuel,
            "cpu_us": self.cpu_ns // 1000,
            "ms": round(self.wall_ns / 1e6, 3),
            "memory": self.memory_bytes,
            "attempts": self.attempts,
        }


@dataclass(slots=True, kw_only=True)
class Answer:
    """What a request came to. Exactly one of `value` (when `error` is None) and `error` counts."""

    request_id: RequestId | None = None
    value: Any = None
    error: Exception | None = None
    usage: Usage = field(default_factory=Usage)
    is_recorded: bool = False
    """True when this is the recorded answer of an earlier request with the same id."""
