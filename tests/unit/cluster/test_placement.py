"""Placement: the same entity lives in the same volume in every process and for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithox.cluster.placement import Placement
from lithox.errors import ConfigError

KNOWN = [7, 15, 2, 1, 11, 7, 0, 2]
"""Volumes of counter/e0 to counter/e7 among 16."""
SEGMENT = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)


def test_what_no_pattern_names_lives_in_volume_0() -> None:
    """Without a pattern all entities are together, however many volumes there are."""
    placement = Placement(7, ("cart/*/*",))
    assert {placement.volume_of(name) for name in ("counter/a", "cart/1", "cart", "x/y/z")} == {0}


@given(st.lists(SEGMENT, min_size=1, max_size=3))
def test_what_is_below_a_spread_entity_lives_beside_it(rest: list[str]) -> None:
    """The first segments decide, as many as the pattern has."""
    placement = Placement(8, ("cart/*",))
    assert placement.volume_of("/".join(["cart", "7", *rest])) == placement.volume_of("cart/7")


def test_the_hash_is_the_same_in_every_release() -> None:
    """Known answers: another hash would lose every spread entity of every data directory."""
    placement = Placement(16, ("counter/*",))
    found = [placement.volume_of(f"counter/e{number}") for number in range(8)]
    assert found == KNOWN


def test_entities_are_spread_evenly() -> None:
    """With 4 volumes each has a quarter of 4,000 entities, give or take a fifth."""
    placement = Placement(4, ("counter/*",))
    counts = [0] * 4
    for number in range(4_000):
        counts[placement.volume_of(f"counter/{number}")] += 1
    assert all(800 < count < 1_200 for count in counts)


def test_the_nodes_own_entities_are_never_spread() -> None:
    """No pattern names what a node keeps for itself."""
    assert Placement(8, ("~lithox/*",)).prefix_of("~lithox/templates") is None


@pytest.mark.parametrize(
    "spread",
    [
        ("*/a",),
        ("a/**",),
        ("a//b",),
        ("a/*", "a/b/*"),
        ("a/*/c", "a/b"),
        tuple(f"a{number}/*" for number in range(101)),
    ],
)
def test_patterns_that_could_mean_two_things_are_refused(spread: tuple[str, ...]) -> None:
    """No `**`, a literal first segment, no two patterns for one entity, a bound on their number."""
    with pytest.raises(ConfigError):
        Placement(2, spread)


@pytest.mark.parametrize("volumes", [0, 257])
def test_the_number_of_volumes_is_bounded(volumes: int) -> None:
    """One to 256."""
    with pytest.raises(ConfigError):
        Placement(volumes)
