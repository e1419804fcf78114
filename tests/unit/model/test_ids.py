"""Names are admitted or refused, never repaired."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lithox.errors import BadArguments
from lithox.model import ids

DEEPEST = "/".join(["a"] * ids.ENTITY_SEGMENTS_MAX)


@pytest.mark.parametrize(
    "text", ["a", "shop/cart/alice", "~node", "a.b@c-d_e", "...", ".a", "a..", "A" * 64, DEEPEST]
)
def test_entity_path_is_admitted(text: str) -> None:
    """One to sixteen good segments are a path, and come back unchanged."""
    assert ids.check_entity_path(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/.",
        "a/..",
        "../a",
        "a/../b",
        "./a",
        "a b",
        "a\n",
        "a\x00",
        "é",
        "a:b",
        "a%2fb",
        "a*",
        "A" * 65,
        DEEPEST + "/a",
    ],
)
def test_entity_path_is_refused(text: str) -> None:
    """Anything else is refused, and the message shows the beginning of it."""
    with pytest.raises(BadArguments) as refused:
        ids.check_entity_path(text)
    assert refused.value.message == (
        "an entity path is 1-16 segments of [A-Za-z0-9_.~@-]{1,64} joined by '/', "
        f"none of them '.' or '..'; found {text[:80]!r}"
    )


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            ids.check_handler_name,
            ["a", "_", "increment", "a" * 64, "_hidden9"],
            ["", "A", "9a", "a-b", "a" * 65, "a\n", "ä", "a.b"],
        ),
        (
            ids.check_request_id,
            ["a", "0", "A-b_c.d~e", "a" * 128],
            ["", "a" * 129, "a b", "a/b", "a\n", "é", "a:b"],
        ),
        (
            ids.check_identity,
            ["operator", "a@b", "a" * 64],
            ["", "a" * 65, "entity:a", "a/b", "*", "a\n"],
        ),
        (
            ids.check_state_key,
            ["a", "é", "a b", "a\x00b", "\x01", "a" * 512, "é" * 256, "a/b:c%"],
            ["", "\x00", "\x00a", "a" * 513, "é" * 257, "\ud800"],
        ),
    ],
)
def test_names_are_admitted_or_refused(
    check: Callable[[str], str], good: list[str], bad: list[str]
) -> None:
    """Each check gives good names back unchanged and raises for each bad one."""
    assert [check(text) for text in good] == good
    for text in bad:
        with pytest.raises(BadArguments, match="; found "):
            check(text)


def test_messages_stay_short() -> None:
    """However long the text, the message shows at most its first 80 characters."""
    with pytest.raises(BadArguments) as refused:
        ids.check_handler_name("x" * 1_000_000 + "!")
    assert len(refused.value.message) < 200


def test_system_entities_are_told_apart() -> None:
    """Only what lies below ~lithox/ belongs to the node."""
    assert ids.is_system_entity("~lithox/modules")
    assert not ids.is_system_entity("~lithoxy")
    assert not ids.is_system_entity("a/~lithox/b")


def test_an_entity_acts_under_its_own_name() -> None:
    """No configured caller can have the identity of an entity."""
    identity = ids.identity_of_entity(ids.check_entity_path("shop/cart"))
    assert identity == "entity:shop/cart"
    with pytest.raises(BadArguments):
        ids.check_identity(identity)
