"""The options of a request as words: a name and a value, by the names of HTTP's bodies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lithox.errors import BadArguments
from lithox.gateway.bodies import DEADLINE_MS_MAX, LimitsBody
from lithox.gateway.resp.answers import SLOTS
from lithox.gateway.resp.parsing import Command
from lithox.gateway.resp.slots import Slot
from lithox.gateway.resp.words import read_amount, read_text
from lithox.model.ids import RequestId, check_request_id
from lithox.model.limits import Limits
from lithox.model.values import INT_MAX


@dataclass(slots=True, kw_only=True)
class Options:
    """What was said of one request. Unfrozen for speed."""

    request_id: RequestId | None = None
    deadline_ms: int | None = None
    limits: dict[str, int] = field(default_factory=dict[str, int])
    slot: type[Slot] = Slot

    def to_limits(self) -> Limits | None:
        """Returns what is lowered, or None when nothing was said."""
        return LimitsBody(**self.limits).to_limits() if self.limits else None


def read_options(words: Command, at: int, options: Options) -> int:
    """Returns where the first word stands that is no option."""
    end = len(words)
    find = _SETTERS.get
    while at < end:
        word = words[at]
        setter = find(word) or find(word.upper())
        if setter is None:
            return at
        if at + 1 >= end:
            raise BadArguments(f"option {word[:20].decode('ascii', 'replace')} has a value")
        setter(options, words[at + 1])
        at += 2
    return at


def _set_id(options: Options, word: bytes) -> None:
    options.request_id = check_request_id(read_text(word, "a request id"))


def _set_deadline(options: Options, word: bytes) -> None:
    options.deadline_ms = read_amount(word, "DEADLINE_MS", (1, DEADLINE_MS_MAX))


def _set_form(options: Options, word: bytes) -> None:
    found = SLOTS.get(word.upper())
    if found is None:
        raise BadArguments(f"REPLY is VALUE, FULL, JSON or MSGPACK; found {word[:20]!r}")
    options.slot = found


def _limit(name: str, bound: int) -> Callable[[Options, bytes], None]:
    def set_limit(options: Options, word: bytes) -> None:
        options.limits[name] = read_amount(word, name.upper(), (1, bound))

    return set_limit


_AMOUNTS: Final = ("fuel", "memory", "output", "calls", "state", "big")
_SETTERS: Final[dict[bytes, Callable[[Options, bytes], None]]] = {
    b"ID": _set_id,
    b"DEADLINE_MS": _set_deadline,
    b"REPLY": _set_form,
    b"WALL_MS": _limit("wall_ms", DEADLINE_MS_MAX),
    **{name.upper().encode(): _limit(name, INT_MAX) for name in _AMOUNTS},
}
