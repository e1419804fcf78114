"""The whole verdict on a history of `workloads.py`: the graph over all, the search over the plain.

A plain register's steps say no version, so the graph has nothing to say about them, and the search
judges each by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.histories.check import assert_accepted
from tests.histories.linear import Verdict, decide, touches
from tests.histories.records import Operation


def assert_possible(history: Iterable[Operation], plain_keys: Iterable[str]) -> None:
    """Fails unless some serial order explains everything, in the order of real time."""
    operations = list(history)
    assert_accepted([one for one in operations if ":plain" not in one.steps[0].key])
    verdicts = {key: decide(touches(operations, key)) for key in plain_keys}
    wrong = {key: verdict for key, verdict in verdicts.items() if verdict is not Verdict.YES}
    assert not wrong, f"{wrong}"
