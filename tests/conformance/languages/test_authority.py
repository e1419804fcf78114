"""A handler reaches nothing but its endpoints: it tries, and tells what it got."""

from __future__ import annotations

import pytest

from tests.conformance.languages.world import World

WAYS = {
    *("files", "network", "environment", "process"),
    *("clock", "randomness", "code", "host"),
}


def test_nothing_is_reached(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way to the machine is absent, refused or answered with the run's own."""
    monkeypatch.setenv("LITHOX_CONFORMANCE_SECRET", "secret")
    reached = world.call(world.fresh(), "reach")
    assert set(reached) == WAYS
    wrong = {
        way: what for way, what in reached.items() if what not in {"absent", "refused", "virtual"}
    }
    assert wrong == {}


def test_only_the_clock_and_randomness_are_virtual(world: World) -> None:
    """Files, network, environment, processes, code and host give no answer of any kind."""
    reached = world.call(world.fresh(), "reach")
    virtual = {way for way, what in reached.items() if what == "virtual"}
    assert virtual <= {"clock", "randomness", "environment"}
