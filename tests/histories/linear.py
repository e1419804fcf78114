"""Is one plain register's history linearizable? A search, independent of the graph, and bounded.

Each operation is put somewhere between its question and its answer; the search takes any of those
that may come next, and remembers the states it has been in. Source: J. Wing, C. Gong, "Testing and
Verifying Concurrent Objects" (1993), with the memory of G. Lowe, "Testing for linearizability"
(2017). It is exponential in how many operations overlap, so it gives up at a bound, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tests.histories.records import Look, Operation, Outcome, Write

STATES_MAX = 2_000_000
"""Configurations looked at before the search gives up; some seconds."""


class Verdict(StrEnum):
    """What the search found."""

    YES = "linearizable"
    NO = "not linearizable"
    TOO_MUCH = "not decided within the bound"


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """One operation on the register.

    Attributes:
        is_write: it writes `value`; else it has read `value` (None: never written).
        ended_ns: None: its outcome is not known, so it may never have happened.
    """

    is_write: bool
    value: int | None
    invoked_ns: int
    ended_ns: int | None


def touches(history: list[Operation], key: str) -> list[Touch]:
    """Returns the plain writes and looks of one key; each operation has but one step.

    A look of unknown outcome says nothing, and what was refused has not happened.
    """
    found: list[Touch] = []
    for one in history:
        step = one.steps[0]
        if one.outcome is Outcome.FAIL or not isinstance(step, Write | Look) or step.key != key:
            continue
        assert len(one.steps) == 1, "a plain register is touched by itself"
        is_write = isinstance(step, Write)
        if is_write or one.outcome is Outcome.OK:
            found.append(
                Touch(
                    is_write=is_write,
                    value=step.value,
                    invoked_ns=one.invoked_ns,
                    ended_ns=one.ended_ns,
                )
            )
    return found


def decide(operations: list[Touch], *, states_max: int = STATES_MAX) -> Verdict:
    """Returns whether some order of `operations` explains what was read."""
    ordered = sorted(operations, key=lambda one: one.invoked_ns)
    must = sum(1 << n for n, one in enumerate(ordered) if one.ended_ns is not None)
    known: set[tuple[int, int | None]] = set()
    work: list[tuple[int, int | None]] = [(0, None)]
    while work:
        done, value = state = work.pop()
        if done & must == must:
            return Verdict.YES
        if state in known:
            continue
        known.add(state)
        if len(known) > states_max:
            return Verdict.TOO_MUCH
        for number in _may_be_next(ordered, done):
            one = ordered[number]
            if one.is_write:
                work.append((done | 1 << number, one.value))
            elif one.value == value:
                work.append((done | 1 << number, value))
    return Verdict.NO


def _may_be_next(ordered: list[Touch], done: int) -> Iterator[int]:
    """Gives what is not done and was asked before anything else that is not done had ended."""
    first_end_ns: int | None = None
    begin = (~done & (done + 1)).bit_length() - 1
    candidates: list[int] = []
    for number in range(begin, len(ordered)):
        one = ordered[number]
        if first_end_ns is not None and one.invoked_ns > first_end_ns:
            break
        if done >> number & 1:
            continue
        candidates.append(number)
        if one.ended_ns is not None and (first_end_ns is None or one.ended_ns < first_end_ns):
            first_end_ns = one.ended_ns
    for number in candidates:
        if first_end_ns is None or ordered[number].invoked_ns <= first_end_ns:
            yield number
