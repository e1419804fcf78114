"""A policy that would break the scheduler cannot be made."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.errors import ConfigError
from lithox.kernel import DEFAULT_POLICY, Policy


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quanta_fuel", (5,)),
        ("quanta_fuel", (5, 4)),
        ("quanta_fuel", (0, 4)),
        ("processes_max", 0),
        ("starvation_ns", 0),
        ("slice_fuel_min", 0),
        ("accounts_idle_max", 0),
        ("children_reserve", -1),
        ("mailbox_bytes_max", 0),
        ("queue_limit_default", 2_000),
    ],
)
def test_a_wrong_number_is_refused_by_name(field: str, value: Any) -> None:
    """The refusal names the field that is wrong."""
    with pytest.raises(ConfigError, match=field):
        Policy(**{field: value})


def test_the_default_leaves_room_for_ten_thousand_processes() -> None:
    """One account may hold the 10,000 live processes a node must carry."""
    assert DEFAULT_POLICY.processes_per_account_max >= 10_000
    assert DEFAULT_POLICY.processes_max >= DEFAULT_POLICY.processes_per_account_max
