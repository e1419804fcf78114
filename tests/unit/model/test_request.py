"""Records of requests and answers."""

from __future__ import annotations

import dataclasses

import pytest

from lithox.model.ids import AccountName, Identity
from lithox.model.limits import (
    HANDLER_DEFAULT_LIMITS,
    LIMIT_FIELDS,
    NODE_DEFAULT_LIMITS,
    Limits,
)
from lithox.model.request import Answer, Caller, Usage


def test_usage_is_printed_in_the_units_of_the_contract() -> None:
    """Processor time is in microseconds, time in milliseconds, whatever is kept inside."""
    usage = Usage(fuel=7, cpu_ns=1_999, wall_ns=1_234_567, memory_bytes=65_536, attempts=2, calls=3)
    assert usage.to_json() == {
        "fuel": 7,
        "cpu_us": 1,
        "ms": 1.235,
        "memory": 65_536,
        "attempts": 2,
    }


def test_answers_do_not_share_usage() -> None:
    """Each answer has a usage of its own."""
    first, second = Answer(), Answer()
    first.usage.fuel = 5
    assert second.usage.fuel == 0


def test_a_caller_cannot_be_changed() -> None:
    """Nobody becomes an administrator after having been named."""
    caller = Caller(identity=Identity("alice"), account=AccountName("alice"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        caller.is_admin = True  # type: ignore[misc]


def test_limit_fields_are_the_fields_of_limits() -> None:
    """The list others walk names every limit, in order."""
    assert tuple(field.name for field in dataclasses.fields(Limits)) == LIMIT_FIELDS


def test_defaults_say_every_limit_and_fit() -> None:
    """No limit is unbounded by default, and a handler's default is never above the node's."""
    for name in LIMIT_FIELDS:
        assert 0 < getattr(HANDLER_DEFAULT_LIMITS, name) <= getattr(NODE_DEFAULT_LIMITS, name)
