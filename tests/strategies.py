"""Hypothesis strategies shared by all property tests: what our own records can look like."""

from __future__ import annotations

from hypothesis import strategies as st

from lithox.kernel import Policy
from lithox.model.limits import LIMIT_FIELDS, PRIORITY_HIGHEST, PRIORITY_LOWEST, Limits
from lithox.model.request import Usage

amounts = st.integers(min_value=0, max_value=1 << 40)
"""Fuel, bytes, nanoseconds, calls."""

priorities = st.integers(min_value=PRIORITY_LOWEST, max_value=PRIORITY_HIGHEST)

limits = st.builds(Limits, **{name: st.none() | amounts for name in LIMIT_FIELDS})
"""Limits of which any field may be unsaid."""

full_limits = st.builds(Limits, **dict.fromkeys(LIMIT_FIELDS, amounts))
"""Limits that say every field."""

usages = st.builds(
    Usage, fuel=amounts, cpu_ns=amounts, wall_ns=amounts, memory_bytes=amounts, calls=amounts
)

quanta_fuel = st.lists(st.integers(min_value=1, max_value=50), min_size=2, max_size=5).map(
    lambda quanta: tuple(sorted(quanta))
)

policies = st.builds(
    Policy,
    quanta_fuel=quanta_fuel,
    slice_fuel_min=st.integers(min_value=1, max_value=5),
    fuel_per_us=st.just(1_000),
    processes_max=st.integers(min_value=1, max_value=12),
    processes_per_account_max=st.integers(min_value=1, max_value=8),
    children_reserve=st.integers(min_value=0, max_value=3),
    starvation_ns=st.integers(min_value=1, max_value=200),
    accounts_idle_max=st.just(100),
)
"""Small policies, so that every bound is met within a few steps; one fuel costs one nanosecond."""
