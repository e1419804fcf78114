"""Appends that were sent as messages: each arrives once, those of a pair in the order of sending.

The history alone cannot say so: there such an append is of unknown outcome, since nobody is told
when it takes effect. This knows which were acknowledged as sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Sent(NamedTuple):
    """One message that a client knows was sent.

    Attributes:
        sender: the entity that sent it.
        key: the list it is for, `ENTITY:KEY`.
        asked_ns, told_ns: before and after the client asked for it.
    """

    sender: str
    key: str
    value: int
    asked_ns: int
    told_ns: int


def find_missing(sent: Sequence[Sent], lists: Mapping[str, Sequence[int]]) -> list[Sent]:
    """Returns what has not arrived (yet)."""
    there = {key: set(values) for key, values in lists.items()}
    return [one for one in sent if one.value not in there.get(one.key, ())]


def find_disorder(sent: Sequence[Sent], lists: Mapping[str, Sequence[int]]) -> list[str]:
    """Returns pairs of messages of one sender to one list that arrived in the wrong order."""
    places = {
        (key, value): place for key, values in lists.items() for place, value in enumerate(values)
    }
    wrong: list[str] = []
    lanes: dict[tuple[str, str], list[Sent]] = {}
    for one in sent:
        lanes.setdefault((one.sender, one.key), []).append(one)
    for (sender, key), lane in lanes.items():
        arrived = sorted(lane, key=lambda one: places[one.key, one.value])
        # What arrived later was not acknowledged before something earlier was asked for.
        first_told = None
        for one in reversed(arrived):
            if first_told is not None and first_told.told_ns < one.asked_ns:
                wrong.append(f"{sender} sent {first_told.value} to {key} before {one.value}")
            if first_told is None or one.told_ns < first_told.told_ns:
                first_told = one
    return wrong
