"""What the client sends to start a program."""

from __future__ import annotations

import json

import pytest

from lithox.client.processes import encode_limits, encode_order
from lithox.errors import BadArguments
from lithox.model.limits import Limits


def test_only_what_was_said_is_sent():
    """None is left out; arguments are always there."""
    body = encode_order({"program": "p", "runtime": None}, args=[], limits=None)
    assert json.loads(body) == {"program": "p", "args": []}


def test_arguments_and_limits_are_written_as_the_contract_says():
    """Bytes are escaped, times are milliseconds, rounded up."""
    body = encode_order(
        {"program": "p", "priority": 0},
        args=[b"\xff", {"$a": 1}],
        limits=Limits(fuel=1, wall_ns=1, calls=2),
    )
    assert json.loads(body) == {
        "program": "p",
        "priority": 0,
        "args": [{"$bytes": "/w=="}, {"$map": {"$a": 1}}],
        "limits": {"fuel": 1, "wall_ms": 1, "calls": 2},
    }


def test_what_is_no_plain_value_is_refused_before_anything_is_sent():
    """Objects, NaN and limits a program does not have."""
    with pytest.raises(BadArguments):
        encode_order({}, args=[object()], limits=None)
    with pytest.raises(BadArguments, match="a program has no limit on state"):
        encode_order({}, args=[], limits=Limits(state_bytes=1))


def test_limits_nobody_set_are_left_out():
    """An empty record says nothing."""
    assert encode_limits(Limits()) == {}
