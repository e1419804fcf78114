"""Access lists: who may do what."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.errors import BadArguments
from lithox.security.access import (
    RIGHT_ADMIN,
    RIGHT_CALL,
    RIGHT_READ,
    Actor,
    format_access,
    is_allowed,
    parse_access,
)


def may(identity: str, right: str, access: list[Any], *, owner: str = "olga", **who: Any) -> bool:
    actor = Actor(identity=identity, owner=who.pop("acts_for", identity), **who)
    return is_allowed(actor=actor, right=right, owner=owner, access=parse_access(access))


@pytest.mark.parametrize(
    ("identity", "right", "access", "who", "expected"),
    [
        ("olga", RIGHT_CALL, [], {}, True),
        ("olga", RIGHT_ADMIN, [], {}, True),
        ("bob", RIGHT_CALL, [], {}, False),
        ("bob", RIGHT_CALL, ["bob"], {}, True),
        ("bob", RIGHT_READ, ["bob"], {}, False),
        ("bob", RIGHT_READ, [{"who": "bob", "rights": ["read"]}], {}, True),
        ("bob", RIGHT_CALL, ["*"], {}, True),
        ("bob", RIGHT_ADMIN, [], {"is_admin": True}, True),
        ("entity:shop/a", RIGHT_CALL, [], {"acts_for": "olga"}, False),
        ("entity:shop/a", RIGHT_ADMIN, [], {"acts_for": "olga"}, False),
        ("entity:shop/a", RIGHT_CALL, ["entity:shop/*"], {"acts_for": "bob"}, True),
        ("entity:shop/a/b", RIGHT_CALL, ["entity:shop/*"], {"acts_for": "bob"}, False),
        ("entity:shop/a/b", RIGHT_CALL, ["entity:shop/**"], {"acts_for": "bob"}, True),
        ("shop/a", RIGHT_CALL, ["entity:shop/a"], {}, False),
    ],
)
def test_rights(
    identity: str, right: str, access: list[Any], who: dict[str, Any], *, expected: bool
) -> None:
    """Owners, their entities, the listed and administrators are let in; nobody else."""
    assert may(identity, right, access, **who) is expected


@pytest.mark.parametrize(
    "data",
    [
        "bob",
        [""],
        [{"who": "bob"}],
        [{"who": "bob", "rights": []}],
        ["entity:a//b"],
        [1],
        ["x"] * 257,
    ],
)
def test_malformed_lists_are_refused(data: Any) -> None:
    """Only names and {"who", "rights"} are grants, 256 of them at most."""
    with pytest.raises(BadArguments):
        parse_access(data)


def test_format_is_the_inverse_of_parse() -> None:
    """What was parsed is shown as it was written."""
    data = ["*", {"who": "bob", "rights": ["read", "write"]}]
    assert format_access(parse_access(data)) == data
