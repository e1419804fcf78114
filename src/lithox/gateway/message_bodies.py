"""The shapes of bodies about messages and timers; see `gateway.bodies` for the rest."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType

Maybe = UnsetType


class MessageAnswer(Struct, kw_only=True):
    """One message that waits; `timer` is the timer that sent it."""

    id: str
    sender: str
    receiver: str
    handler: str
    timer: str | None
    account: str
    hops: int
    sent_ms: int
    bytes: int
    tries: int


class MessagesAnswer(Struct, kw_only=True):
    """Messages that wait to be delivered, by id."""

    messages: list[MessageAnswer]
    more: bool


class DeadLetterAnswer(Struct, kw_only=True):
    """One message that failed as often as it may; `code` and `message` are its last error.

    What the message said is there unless it is `unreadable`.
    """

    id: str
    sender: str | Maybe = UNSET
    receiver: str | Maybe = UNSET
    handler: str | Maybe = UNSET
    args: list[Any] | Maybe = UNSET
    timer: str | Maybe | None = UNSET
    account: str | Maybe = UNSET
    hops: int | Maybe = UNSET
    sent_ms: int | Maybe = UNSET
    unreadable: str | Maybe = UNSET
    tries: int
    code: str
    message: str
    died_ms: int


class DeadLettersAnswer(Struct, kw_only=True):
    """Dead letters, by id."""

    dead: list[DeadLetterAnswer]
    more: bool


class RetryBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which dead letters: some by `ids`, or `all` of them; one of the two."""

    ids: list[str] | None = None
    all: bool = False


class CountAnswer(Struct, kw_only=True):
    """How many dead letters were changed."""

    count: int


class TimerAnswer(Struct, kw_only=True):
    """One timer: due next at `due` (ms since 1970), and how it repeats."""

    id: str
    handler: str
    args: list[Any]
    due: int
    every: int | None
    cron: str | None
    zone: str | None
    missed: str | None
    account: str


class TimersAnswer(Struct, kw_only=True):
    """Timers of an entity, by id."""

    timers: list[TimerAnswer]
    more: bool
