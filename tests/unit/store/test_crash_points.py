"""How a test asks for a crash."""

from __future__ import annotations

import pytest

from lithox.errors import ConfigError
from lithox.store import crash_points


def test_parse_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends at the counted passing of the named place, at no other."""
    killed: list[int] = []
    monkeypatch.setattr(crash_points.os, "kill", lambda pid, number: killed.append(number))
    reach = crash_points.parse_crash_at("commit.after_sync:2")
    for name in ("commit.after_sync", "commit.before_answer", "commit.after_begin"):
        reach(name)
    assert killed == []
    reach("commit.after_sync")
    reach("commit.after_sync")
    assert killed == [crash_points.signal.SIGKILL]


def test_parse_defaults_to_the_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a count the first passing ends the process."""
    killed: list[int] = []
    monkeypatch.setattr(crash_points.os, "kill", lambda pid, number: killed.append(number))
    crash_points.parse_crash_at("commit.before_begin")("commit.before_begin")
    assert len(killed) == 1


@pytest.mark.parametrize("text", ["", "commit", "commit.after_sync:0", "commit.after_sync:x"])
def test_parse_refuses_nonsense(text: str) -> None:
    """An unknown place or count is the operator's mistake."""
    with pytest.raises(ConfigError):
        crash_points.parse_crash_at(text)


def test_nothing_happens_by_default() -> None:
    """The default passes every place."""
    for name in crash_points.CRASH_POINTS:
        crash_points.reach_nothing(name)
