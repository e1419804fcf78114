"""The shapes of bodies about groups of calls and requests answered later; see `gateway.bodies`."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from lithox.dispatch.atomic import CALLS_MAX
from lithox.gateway.bodies import Deadline, LimitsBody

Callback = Annotated[str, Meta(min_length=1, max_length=2_000)]


class GroupCallBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """One call of a group."""

    entity: str
    handler: str
    args: list[Any] = []


class AtomicBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Calls that commit together, in this order, and what bounds each of their runs."""

    calls: Annotated[list[GroupCallBody], Meta(min_length=1, max_length=CALLS_MAX)]
    limits: LimitsBody | None = None
    deadline_ms: Deadline | None = None
    callback: Callback | None = None


class AcceptedAnswer(Struct, kw_only=True):
    """A request that is accepted (`accepted`) or is on its way (`running`)."""

    request: str
    status: str


class OutcomeAnswer(Struct, kw_only=True):
    """What a request came to: `value` if `status` is `ok`, else `error` with message and fields."""

    request: str
    status: str
    value: Any = None
    error: dict[str, Any] | None = None


class DeadCallbackAnswer(Struct, kw_only=True):
    """A call-back that has failed as often as it may."""

    identity: str
    request: str
    url: str
    tries: int
    error: str
    at_ms: int


class DeadCallbacksAnswer(Struct, kw_only=True):
    """Dead call-backs in order of identity and request id; `more` says that others follow."""

    callbacks: list[DeadCallbackAnswer]
    more: bool


class CallbackBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which dead call-back."""

    identity: str
    request: str
