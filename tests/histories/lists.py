"""List-append: every read of a key shows all its versions in order, so nothing has to be guessed.

Source of the idea: K. Kingsbury, P. Alvaro, "Elle: Inferring Isolation Anomalies from Experimental
Observations" (VLDB 2020), section 4: traceability by unique values, recoverability by appending.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.histories.records import Append, Operation, Outcome, Read
from tests.histories.versions import Problem, Versions

Writers = dict[tuple[str, int], Operation]
"""(key, value) -> who appended it."""


def analyse_lists(history: list[Operation]) -> tuple[list[Versions], list[Problem]]:
    """Returns what is known of each list, and what can be seen to be wrong without a graph."""
    writers: Writers = {}
    problems: list[Problem] = []
    for one in history:
        for step in one.steps:
            if isinstance(step, Append):
                assert (step.key, step.value) not in writers, "appended values are unique"
                writers[step.key, step.value] = one
    longest = _longest_reads(history, problems)
    for one in history:
        problems += _find_inside(one, writers)
        problems += _find_half_read(one, writers)
    found = {key: Versions(key=key) for key, _ in writers} | {
        key: _place(key, values, writers, problems) for key, values in longest.items()
    }
    for one in history:
        for step in one.steps:
            if isinstance(step, Read) and step.values is not None and step.key in found:
                found[step.key].readers.append((one.number, len(step.values)))
    for (key, value), one in writers.items():
        if one.outcome is Outcome.OK and value not in longest.get(key, ()):
            found[key].late.append(one.number)
    return list(found.values()), problems


def _longest_reads(history: list[Operation], problems: list[Problem]) -> dict[str, tuple[int, ...]]:
    """Returns key -> the longest list anybody saw; every other must be a beginning of it."""
    longest: dict[str, tuple[int, ...]] = {}
    reads = [
        (one, step, step.values)
        for one in history
        for step in one.steps
        if isinstance(step, Read) and step.values is not None
    ]
    for _, step, values in reads:
        if len(values) > len(longest.get(step.key, ())):
            longest[step.key] = values
    for one, step, values in reads:
        whole = longest.get(step.key, ())
        if values != whole[: len(values)]:
            problems.append(
                Problem("incompatible order", f"{one}; another read {step.key} as {whole[-6:]}")
            )
        if len(set(values)) < len(values):
            problems.append(Problem("duplicate", f"{one}: a value stands there twice"))
    return longest


def _place(
    key: str, values: tuple[int, ...], writers: Writers, problems: list[Problem]
) -> Versions:
    """Returns the versions of a list that was seen as `values`."""
    known = Versions(key=key)
    for value in values:
        writer = writers.get((key, value))
        if writer is None:
            problems.append(Problem("garbage", f"nobody appended {value} to {key}"))
            # A number no operation has, so that places behind it stay right.
            known.writers.append(-1)
            continue
        if writer.outcome is Outcome.FAIL:
            problems.append(Problem("G1a", f"{key} holds {value}, but it was refused: {writer}"))
        known.writers.append(writer.number)
    return known


def _find_inside(one: Operation, writers: Writers) -> Iterator[Problem]:
    """Gives what contradicts itself within one operation: it must see what it has done itself."""
    expected: dict[str, tuple[int, ...]] = {}
    appended: dict[str, tuple[int, ...]] = defaultdict(tuple)
    for step in one.steps:
        match step:
            case Append(key=key, value=value):
                appended[key] += (value,)
                if key in expected:
                    expected[key] += (value,)
            case Read(key=key, values=values) if values is not None:
                own = appended[key]
                is_own_end = values[len(values) - len(own) :] == own
                if not is_own_end or expected.get(key, values) != values:
                    yield Problem("internal", f"{one}: it does not see what it has done or seen")
                later = [v for v in values if writers.get((key, v)) is one and v not in own]
                if later:
                    yield Problem("internal", f"{one}: it sees {later[0]} before appending it")
                expected[key] = values
            case _:
                pass


def _find_half_read(one: Operation, writers: Writers) -> Iterator[Problem]:
    """Gives reads that end in the middle of what another operation appended to the key (G1b)."""
    for step in one.steps:
        if not isinstance(step, Read) or not step.values:
            continue
        writer = writers.get((step.key, step.values[-1]))
        if writer is None or writer is one:
            continue
        last = [s.value for s in writer.steps if isinstance(s, Append) and s.key == step.key][-1]
        if last != step.values[-1]:
            yield Problem("G1b", f"{one}: it saw half of {writer}")
