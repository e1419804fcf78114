"""What the parent settles before its processes start."""

from __future__ import annotations

import pytest

from lithox.cli.serving_parent import warn_of_spread
from lithox.errors import ConfigError


@pytest.mark.parametrize(("processes", "spread", "is_told"), [
    (1, ("counter/*",), True),
    (1, (), False),
    (2, ("counter/*",), False),
])  # fmt: skip
def test_one_process_that_was_to_spread_says_that_it_does_not(processes, spread, is_told, caplog):
    """An operator learns it before the first entity is made where it stays."""
    warn_of_spread(processes, spread)
    assert ("counter/*" in caplog.text) is is_told


def test_a_pattern_that_is_none_is_refused_by_one_process_too():
    """Nobody finds out only when the second core comes."""
    with pytest.raises(ConfigError):
        warn_of_spread(1, ("*",))
