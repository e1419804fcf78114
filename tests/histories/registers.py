"""Registers with a version in each value: the version says the order, so nothing is guessed.

A write makes version n+1 of what it found at version n and is told so; a look sees both. The
versions are the handler's own arithmetic, not lithox's, so two writes that do not know of each
other show as one version written twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from tests.histories.records import Look, Operation, Outcome, Write
from tests.histories.versions import Problem, Versions


def analyse_registers(history: list[Operation]) -> tuple[list[Versions], list[Problem]]:
    """Returns what is known of each register, and what can be seen to be wrong without a graph."""
    writers: dict[tuple[str, int], Operation] = {}
    looks: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    problems: list[Problem] = []
    for one in history:
        for step in one.steps:
            if isinstance(step, Write):
                assert (step.key, step.value) not in writers, "written values are unique"
                writers[step.key, step.value] = one
            elif isinstance(step, Look) and step.version is not None:
                looks[step.key].append((one.number, step.version))
    seen = _find_versions(history, problems)
    unplaced = Counter(
        key
        for (key, value), one in writers.items()
        if one.outcome is Outcome.UNKNOWN and value not in seen.get(key, {}).values()
    )
    found: dict[str, Versions] = {}
    for key, values in seen.items():
        known = found[key] = Versions(key=key)
        for number in sorted(values):
            writer = writers.get((key, values[number]))
            if writer is None:
                problems.append(Problem("garbage", f"nobody wrote {values[number]} to {key}"))
            elif writer.outcome is Outcome.FAIL:
                problems.append(Problem("G1a", f"{key} was {values[number]}, refused: {writer}"))
            known.writers.append(-1 if writer is None else writer.number)
        if max(values, default=0) - len(values) > unplaced[key]:
            problems.append(Problem("lost write", f"{key} has versions of nobody's making"))
        places = {number: place for place, number in enumerate(sorted(values), 1)}
        known.readers = [(number, places.get(version, 0)) for number, version in looks[key]]
    return list(found.values()), problems


def _find_versions(history: list[Operation], problems: list[Problem]) -> dict[str, dict[int, int]]:
    """Returns key -> version -> value, from whatever was told."""
    seen: dict[str, dict[int, int]] = {}
    numbers: dict[tuple[str, int], int] = {}
    for one in history:
        for step in one.steps:
            if not isinstance(step, Write | Look) or step.version is None:
                continue
            versions = seen.setdefault(step.key, {})
            if (step.version == 0) is not (step.value is None):
                problems.append(Problem("garbage", f"{one}: version 0 is the one without a value"))
            if step.version == 0 or step.value is None:
                continue
            other = versions.setdefault(step.version, step.value)
            if other != step.value:
                problems.append(Problem("lost update", f"{one}: that version is also {other}"))
                continue
            first = numbers.setdefault((step.key, step.value), step.version)
            if first != step.version:
                problems.append(Problem("duplicate", f"{one}: it is also version {first}"))
    return seen
