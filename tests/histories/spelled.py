"""Histories as text, for tests: one line an operation, `CLIENT FROM-TO [OUTCOME]: STEP; STEP`.

    A 0-2: append x 1; read y
    B 1-? unknown: append x 2
    A 3-4: read x 1 2; look r 1=7; write r 2=8

`read y` alone saw an empty list, `look r 0` a register never written. Times are any whole numbers;
`?` is no end, as an unknown outcome has none.
"""

from __future__ import annotations

import re

from tests.histories.records import Append, Look, Operation, Outcome, Read, Step, Write

_LINE = re.compile(r"(?P<client>\w+) (?P<begin>\d+)-(?P<end>\d+|\?)(?: (?P<outcome>\w+))?: (.*)")


def spell(text: str) -> list[Operation]:
    """Returns the history that `text` tells, in the order of its invocations."""
    lines = [found for line in text.strip().splitlines() if (found := _LINE.match(line.strip()))]
    assert len(lines) == len(text.strip().splitlines()), "a line is not understood"
    lines.sort(key=lambda line: int(line["begin"]))
    clients = sorted({line["client"] for line in lines})
    return [
        Operation(
            number=number,
            client=clients.index(line["client"]),
            outcome=Outcome(line["outcome"] or "ok"),
            steps=tuple(_step(words.split(), line["outcome"]) for words in line[5].split(";")),
            invoked_ns=int(line["begin"]),
            ended_ns=None if line["end"] == "?" else int(line["end"]),
        )
        for number, line in enumerate(lines)
    ]


def _step(words: list[str], outcome: str | None) -> Step:
    is_known = outcome in {None, "ok"}
    match words:
        case ["append", key, value]:
            return Append(key=key, value=int(value))
        case ["read", key, *values]:
            return Read(key=key, values=tuple(map(int, values)) if is_known else None)
        case ["write", key, told]:
            version, _, value = told.rpartition("=")
            return Write(key=key, value=int(value), version=int(version) if version else None)
        case ["look", key, *told]:
            version, _, value = (told or ["0"])[0].partition("=")
            return Look(key=key, version=int(version), value=int(value) if value else None)
        case _:
            raise AssertionError(f"no step: {words}")
