"""The demo's judge: asks a node what it knows and compares it with a direct computation."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from demo_http import Connection, Door
from demo_records import Record, Totals

CONNECTIONS: Final = 8
PATHS_PER_QUESTION: Final = 200
DIFFERENCES_SHOWN_MAX: Final = 10

Question = tuple[str, list[Any]]
"""(`entity:handler`, arguments)."""


class UnansweredError(Exception):
    """A question that must have an answer got an error."""


async def find_missing(door: Door, records: Iterable[Record]) -> list[Record]:
    """Returns those of `records` that the node does not have."""
    by_dist: dict[str, dict[str, Record]] = defaultdict(dict)
    for record in records:
        by_dist[record.dist][record.path] = record
    questions: list[Question] = []
    for dist, by_path in by_dist.items():
        paths = list(by_path)
        questions += [
            (f"dist/{dist}:missing", [paths[start : start + PATHS_PER_QUESTION]])
            for start in range(0, len(paths), PATHS_PER_QUESTION)
        ]
    missing: list[Record] = []
    for (target, _), paths in await _ask_all(door, questions):
        dist = target.removeprefix("dist/").removesuffix(":missing")
        missing.extend(by_dist[dist][path] for path in paths)
    return missing


async def read_totals(
    loader: Door, operator: Door, expected: Totals, on_progress: Callable[[int], None]
) -> Totals:
    """Returns what the node has for every distribution and content that `expected` names.

    Distributions are asked by their handler, contents read one by one as an operator reads state.
    """
    found = Totals(Counter(), Counter(), Counter())
    questions: list[Question] = [(f"dist/{dist}:totals", []) for dist in expected.files]
    for (target, _), totals in await _ask_all(loader, questions):
        dist = target.removeprefix("dist/").removesuffix(":totals")
        found.files[dist] = totals["files"]
        found.bytes[dist] = totals["bytes"]
    waiting = deque(expected.references)

    async def work() -> None:
        connection = await Connection.open(operator)
        while waiting:
            content = waiting.popleft()
            reply = (await connection.get(f"/v1/state/content/{content}:references")).decode()
            if "value" not in reply and reply.get("status") != "request.not_found":
                raise UnansweredError(f"content/{content}: {reply}")
            found.references[content] = reply.get("value", 0)
            on_progress(1)
        connection.close()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return found


def differences(expected: Totals, found: Totals) -> list[str]:
    """Returns a line for each total that is not equal; empty when all are."""
    lines: list[str] = []
    for name in ("files", "bytes", "references"):
        wanted: Counter[str] = getattr(expected, name)
        there: Counter[str] = getattr(found, name)
        lines += [
            f"{name} of {key}: {wanted[key]} computed directly, {there[key]} found"
            for key in sorted(wanted.keys() | there.keys())
            if wanted[key] != there[key]
        ]
    return lines


async def _ask_all(door: Door, questions: list[Question]) -> list[tuple[Question, Any]]:
    """Returns each question with its value, in any order."""
    waiting = deque(questions)
    answers: list[tuple[Question, Any]] = []

    async def work() -> None:
        connection = await Connection.open(door)
        while waiting:
            question = waiting.popleft()
            reply = (await connection.ask(*question)).decode()
            if reply["status"] != "ok":
                raise UnansweredError(f"{question[0]}: {reply}")
            answers.append((question, reply["value"]))
        connection.close()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return answers
