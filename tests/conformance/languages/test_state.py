"""State reads like memory, what was changed however deep is written, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.languages.world import World, is_refusal

CART: dict[str, Any] = {
    "inner": {"count": 1, "list": ["a"], "kept": {"x": [1.5, None, b"\xff"]}},
    "other": [{"deep": {"deeper": ["end"]}}],
}
EDITED: dict[str, Any] = {
    "inner": {"count": 2, "list": ["a", "added"], "kept": {"x": [1.5, None, b"\xff"]}},
    "other": [{"deep": {"deeper": ["end"]}}],
}


def test_counter_counts(world: World) -> None:
    """A key that is absent counts as nothing; what one run writes the next one reads."""
    entity = world.fresh()
    assert [world.call(entity, "increment") for _ in range(3)] == [1, 2, 3]
    assert world.call(entity, "increment", 10) == 13
    assert world.state(entity) == {"count": 13}


def test_absent_key_is_null(world: World) -> None:
    """An absent key reads as null, is not there, and stays absent after it was read."""
    entity = world.fresh()
    assert world.call(entity, "get", "none") is None
    assert world.call(entity, "has", "none") is False
    assert world.state(entity) == {}


@pytest.mark.parametrize("value", [False, 0, "", [], {}, b""], ids=repr)
def test_empty_value_is_there(world: World, value: Any) -> None:
    """What counts as false in some languages is a value like any other."""
    entity = world.fresh()
    world.call(entity, "put", "key", value)
    assert world.call(entity, "has", "key") is True
    assert world.state(entity) == {"key": value if value != b"" else world.state(entity)["key"]}


def test_deleted_key_is_gone(world: World) -> None:
    """Deleting takes the key away; deleting what is not there is nothing."""
    entity = world.fresh()
    world.call(entity, "put", "key", 1)
    world.call(entity, "put", "other", 2)
    assert world.call(entity, "delete", "key") is None
    assert world.state(entity) == {"other": 2}
    assert world.call(entity, "has", "key") is False
    assert world.call(entity, "delete", "key") is None
    assert world.call(entity, "keys") == ["other"]


def test_null_put_is_a_delete(world: World) -> None:
    """Putting null under a key makes it absent."""
    entity = world.fresh()
    world.call(entity, "put", "key", 1)
    world.call(entity, "put", "key", None)
    assert world.state(entity) == {}


@pytest.mark.parametrize(
    "key", ["a", "with space", "ä\U0001f600", "__proto__", "constructor", "toString", "length", "1"]
)
def test_any_text_is_a_key(world: World, key: str) -> None:
    """No name means something else to a language than to the node."""
    entity = world.fresh()
    assert world.call(entity, "has", key) is False
    assert world.call(entity, "get", key) is None
    world.call(entity, "put", key, [key])
    assert world.state(entity) == {key: [key]}
    assert world.call(entity, "get", key) == [key]
    assert world.call(entity, "keys") == [key]
    world.call(entity, "delete", key)
    assert world.state(entity) == {}


@pytest.mark.parametrize("key", ["x" * 513, "\x00a"], ids=["too long", "NUL first"])
def test_key_that_may_not_be_is_refused(world: World, key: str) -> None:
    """A key the store does not take is refused when the run ends at the latest; nothing remains."""
    entity = world.fresh()
    refusal = world.fail(entity, "put", key, 1)
    assert is_refusal(refusal.code), refusal
    assert world.state(entity) == {}


def test_nested_edit_is_written(world: World) -> None:
    """An edit deep inside a value is found and written, and all around it stays."""
    entity = world.fresh()
    world.put(entity, "cart", CART)
    world.call(entity, "edit", "cart")
    assert world.state(entity)["cart"] == EDITED


def test_only_what_changed_is_written(world: World) -> None:
    """Of several keys only the edited one gets a new version."""
    entity = world.fresh()
    for key in ("cart", "other", "more"):
        world.put(entity, key, CART)
    before = world.versions(entity)
    world.call(entity, "edit", "cart")
    after = world.versions(entity)
    assert after.pop("cart") > before.pop("cart")
    assert after == before


def test_reading_writes_nothing(world: World) -> None:
    """A run that only goes through values makes no version of anything."""
    entity = world.fresh()
    world.put(entity, "cart", CART)
    before = world.node.statistics()["store_visible_version"]
    assert world.call(entity, "look", "cart") == 6
    assert world.call(entity, "get", "cart") == CART
    assert world.call(entity, "has", "cart") is True
    assert world.call(entity, "keys") == ["cart"]
    assert world.node.statistics()["store_visible_version"] == before


@pytest.mark.needs("unchanged_is_not_written")
def test_what_is_as_before_is_not_written(world: World) -> None:
    """A value that was edited and put back as it was is not written."""
    entity = world.fresh()
    world.put(entity, "cart", CART)
    before = world.node.statistics()["store_visible_version"]
    world.call(entity, "unedit", "cart")
    assert world.node.statistics()["store_visible_version"] == before
    assert world.state(entity)["cart"] == CART


def test_replaced_value_is_not_followed(world: World) -> None:
    """Who replaces a value and then edits the old one has changed nothing by the edit."""
    entity = world.fresh()
    world.put(entity, "cart", CART)
    world.call(entity, "detach", "cart")
    assert world.state(entity)["cart"] == {"new": True}


@pytest.mark.needs("share_then_edit")
def test_value_under_two_keys_is_two_values(world: World) -> None:
    """Put under a second key a value is stored twice; later edits change one of them."""
    entity = world.fresh()
    world.put(entity, "cart", CART)
    world.call(entity, "share", "cart", "copy")
    world.call(entity, "edit", "copy")
    assert world.state(entity) == {"cart": CART, "copy": EDITED}


def test_entities_share_nothing(world: World) -> None:
    """Each entity has its own state under the same keys."""
    one, other = world.fresh(), world.fresh()
    world.call(one, "put", "key", "one")
    world.call(other, "put", "key", "other")
    assert (world.call(one, "get", "key"), world.call(other, "get", "key")) == ("one", "other")


def test_state_larger_than_what_travels_along(world: World) -> None:
    """Keys of a state of a megabyte are read, edited and deleted like those of a small one."""
    entity = world.fresh()
    world.call(entity, "fill", "k", 1000, 1000)
    world.put(entity, "zcart", CART)
    assert world.call(entity, "get", "k00500") == "x" * 1000
    assert world.call(entity, "get", "none") is None
    world.call(entity, "edit", "zcart")
    world.call(entity, "delete", "k00500")
    assert world.call(entity, "has", "k00500") is False
    assert world.call(entity, "get", "zcart") == EDITED
    assert world.call(entity, "increment") == 1
    assert len(world.call(entity, "keys")) == 1001


def test_who_runs_is_told(world: World) -> None:
    """A handler knows its entity, its caller, the request's id and its attempt."""
    entity = world.fresh()
    told = {"id": entity, "caller": "operator", "request_id": None, "attempt": 1}
    assert world.call(entity, "who") == told
    named = f"r-{entity.replace('/', '-')}"
    assert world.call(entity, "who", request_id=named) == told | {"request_id": named}
    inner = world.fresh()
    assert world.call(entity, "call", inner, "who") == told | {
        "id": inner,
        "caller": f"entity:{entity}",
    }


def test_identity_is_no_matter_of_the_handler(world: World) -> None:
    """What a handler writes over its own names changes nothing that the node goes by."""
    entity = world.fresh()
    who = world.call(entity, "forge")
    assert who["id"] in {entity, "forged"}
    assert world.call(entity, "who")["id"] == entity
    world.call(entity, "put", "key", 1)
    assert world.state(entity) == {"key": 1}
