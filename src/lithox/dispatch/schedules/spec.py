"""What a handler asks for with `self:schedule`: checked, and made into a timer."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from lithox.dispatch.messages.outbox import check_args
from lithox.dispatch.schedules.bounds import TimerBounds
from lithox.dispatch.schedules.calendar import check_cron, next_cron_ms
from lithox.dispatch.schedules.records import MISSED, MISSED_ONCE, TIME_MS_MAX
from lithox.errors import BadArguments, GuestProtocolError
from lithox.model.ids import HandlerName, check_handler_name
from lithox.sandbox.said import GuestDecoder

WAYS: Final = ("after", "at", "every", "cron")
_KNOWN: Final = frozenset((*WAYS, "handler", "args", "zone", "name", "missed"))
_NAME: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}\Z")
_decoder: Final = GuestDecoder(msgspec.msgpack.Decoder(dict[str, msgspec.Raw]))
_any: Final = GuestDecoder(msgspec.msgpack.Decoder())
_EMPTY_LIST: Final = msgspec.Raw(b"\x90")


class TimerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A checked order for a timer.

    Attributes:
        name: the id it is to have, or None for one of the node's choice.
        due_ms: when it is due first, wall-clock milliseconds since 1970.
    """

    handler: HandlerName
    args: msgspec.Raw
    name: str | None
    due_ms: int
    every_ms: int
    cron: str
    zone: str
    missed: str


def parse_spec(raw: msgspec.Raw, now_ms: int, bounds: TimerBounds) -> TimerSpec:
    """Returns the order that a handler's map says.

    Args:
        raw: {handler, args?, one of after | at | every | cron, zone?, name?, missed?}; `after` and
            `every` in milliseconds, `at` in milliseconds since 1970.
        now_ms: wall-clock milliseconds since 1970.
        bounds: for the shortest interval.

    Raises:
        BadArguments: what is wrong with it.
    """
    try:
        said = _decoder.decode(raw)
    except GuestProtocolError:
        raise BadArguments("a timer is described by a map with text keys") from None
    unknown = sorted(set(said) - _KNOWN)
    if unknown:
        raise BadArguments(
            f"a timer has no {unknown[0][:40]!r}; it has {', '.join(sorted(_KNOWN))}"
        )
    ways = [way for way in WAYS if way in said]
    if len(ways) != 1:
        raise BadArguments(f"a timer says one of {', '.join(WAYS)}; found {len(ways)} of them")
    check_args(said.get("args", _EMPTY_LIST))
    way, value = ways[0], _any.decode(said[ways[0]])
    zone, missed = _text(said, "zone", "UTC"), _text(said, "missed", MISSED_ONCE)
    if missed not in MISSED:
        raise BadArguments(f"missed is one of {', '.join(MISSED)}; found {missed[:40]!r}")
    if "zone" in said and way != "cron":
        raise BadArguments("zone is for cron lines only")
    return TimerSpec(
        handler=check_handler_name(_text(said, "handler", "")),
        args=said.get("args", _EMPTY_LIST),
        name=_name(said),
        due_ms=_first_due(way, value, now_ms, zone, bounds),
        every_ms=value if way == "every" else 0,
        cron=value if way == "cron" else "",
        zone=zone if way == "cron" else "",
        missed=missed,
    )


def check_timer_id(text: str) -> str:
    """Returns `text` as the id or name of a timer; raises BadArguments if it is none."""
    if _NAME.match(text) is None:
        raise BadArguments(f"a timer's name is 1-128 of [A-Za-z0-9._~-]; found {text[:80]!r}")
    return text


def _name(said: dict[str, msgspec.Raw]) -> str | None:
    return check_timer_id(_text(said, "name", "")) if "name" in said else None


def _text(said: dict[str, msgspec.Raw], key: str, default: str) -> str:
    if key not in said:
        return default
    value: Any = _any.decode(said[key])
    if not isinstance(value, str):
        raise BadArguments(f"a timer's {key} is text; found {type(value).__name__}")
    return value


def _first_due(way: str, value: Any, now_ms: int, zone: str, bounds: TimerBounds) -> int:
    if way == "cron":
        if not isinstance(value, str):
            raise BadArguments("cron is a line of five fields")
        check_cron(value, zone)
        due_ms = next_cron_ms(value, zone, now_ms)
        if due_ms is None:
            raise BadArguments(f"no day in the next 50 years matches the cron line {value!r}")
        return due_ms
    value = _whole(way, value)
    if way == "every" and value < bounds.interval_min_ms:
        raise BadArguments(
            f"every is at least {bounds.interval_min_ms} milliseconds; found {value}"
        )
    due_ms = max(value, 0) if way == "at" else now_ms + value
    if value < 0 and way == "after":
        raise BadArguments(f"after is not negative; found {value}")
    if due_ms > TIME_MS_MAX:
        raise BadArguments(f"{way} is before the year 10,000; found {value}")
    return due_ms


def _whole(way: str, value: Any) -> int:
    """Returns a number of milliseconds; guests whose numbers are floats may give those."""
    if type(value) is float and value.is_integer() and abs(value) <= TIME_MS_MAX:
        return int(value)
    if type(value) is not int:
        raise BadArguments(f"{way} is a whole number of milliseconds; found {value!r:.40}")
    return value
