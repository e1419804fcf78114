"""Policies for the machine of interactions: every bound is met soon, or never."""

from __future__ import annotations

from hypothesis import strategies as st

from lithox.kernel import Policy
from lithox.kernel.events import EVENT_BYTES


def tight_or_wide(tight: st.SearchStrategy[int], wide: int) -> st.SearchStrategy[int]:
    """A bound that is met within a few steps, or never: each alone, so that none hides another."""
    return st.just(wide) | st.just(wide) | tight


policies = st.builds(
    Policy,
    contexts_max=tight_or_wide(st.integers(2, 6), 1_000),
    contexts_per_account_max=tight_or_wide(st.integers(5, 15), 1_000),
    bindings_max=tight_or_wide(st.integers(1, 3), 1_000),
    calls_out_max=tight_or_wide(st.integers(1, 4), 1_000),
    calls_in_max=tight_or_wide(st.integers(1, 4), 1_000),
    calls_in_per_account_max=tight_or_wide(st.integers(1, 3), 1_000),
    chain_max=tight_or_wide(st.integers(1, 3), 1_000),
    listens_max=tight_or_wide(st.integers(1, 3), 1_000),
    queue_limit_default=st.just(2),
    queue_limit_max=st.just(3),
    mailbox_bytes_max=tight_or_wide(st.integers(2, 12), 1_000).map(lambda n: n * EVENT_BYTES),
    mailbox_bytes_per_account_max=tight_or_wide(st.integers(4, 24), 9_000).map(
        lambda n: n * EVENT_BYTES
    ),
    message_bytes_max=tight_or_wide(st.just(100), 1_000),
    processes_max=st.just(6),
    processes_per_account_max=st.just(5),
    children_reserve=st.just(0),
    call_timeout_ns=st.integers(20, 100),
    call_timeout_max_ns=st.just(1_000),
)
