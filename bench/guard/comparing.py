"""What moved: two files of figures, compared as far as they can be.

A file has three sections, each with what its figures depend on (`made`):

    counts        exact; the same minor version of Python gives the same, on any machine, as long as
                  the same of our modules are compiled (what is compiled enters no function)
    instructions  the same builds of Python and packages give the same to some tenths of a percent
    ratios        figure to yardstick of `make bench`; the same machine gives about the same

Sections whose `made` does not fit are not compared, and it is said why. Less is better for counts
and instructions; for a ratio its goal says what is better, and one without a goal is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

COUNT_SHARE: Final = 0.01
"""What a count may grow by before it is told: a call more in a hundred."""
INSTRUCTION_SHARE: Final = 0.02
"""Ten times what two runs of callgrind differ by."""
UNSTEADY: Final = {"sqlite.instructions": 0.10}
"""Figures with two threads in them: when they meet is chance, 6 % on a busy machine."""
RATIO_SHARE: Final = 0.30
"""Medians of five rounds on a shared machine move by a fifth from one hour to the next."""
SLACK: Final = 0.02
"""Absolute: so that 0 may become 0.016 (one turn of the queue more in 64 runs) unnoticed."""
ROOMS_SHOWN_MAX: Final = 6

Section = Mapping[str, Any]
"""{"made": {...}, "figures": {name: number}, and for some "parts": {name: {part: number}}}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A figure that is not what it was.

    Attributes:
        kind: "new" and "gone" figures have no other to be compared with.
        where: what its parts changed by, greatest first; empty when nothing is known.
    """

    name: str
    then: float | None
    now: float | None
    kind: Literal["worse", "better", "new", "gone"]
    where: str = ""

    def __str__(self) -> str:
        if self.then is None or self.now is None:
            return f"{self.kind:6} {self.name}: {_amount(self.now or self.then)}"
        change = f"{(self.now - self.then) / self.then:+.1%}" if self.then else "from nothing"
        words = f"{_amount(self.then)} -> {_amount(self.now)} ({change})"
        return f"{self.kind:6} {self.name}: {words}{self.where and '; ' + self.where}"


def _amount(number: float | None) -> str:
    if number is None:
        return "nothing"
    return f"{number:,.0f}" if abs(number) >= 10_000 else f"{number:,.3f}".rstrip("0").rstrip(".")


def why_not_compared(name: str, then: Section, now: Section) -> str:
    """Returns why section `name` cannot be compared, or an empty text."""
    if not then or not now:
        return f"{name}: not measured {'now' if then else 'then'}"
    before, after = then["made"], now["made"]
    if name == "counts":
        keys = ["python", "compiled"]
        before = {**before, "python": _minor(before["python"])}
        after = {**after, "python": _minor(after["python"])}
    else:
        keys = sorted({*before, *after})
    other = [
        f"{key} {before.get(key)} then, {after.get(key)} now"
        for key in keys
        if before.get(key) != after.get(key)
    ]
    return f"{name}: not compared: {'; '.join(other)}" if other else ""


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def find_moves(then: Section, now: Section, *, share: float) -> list[Move]:
    """Returns what moved by more than `share`, worst first; less is better."""
    before, after = then["figures"], now["figures"]
    moves: list[Move] = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            kind: Literal["new", "gone"] = "new" if old is None else "gone"
            moves.append(Move(name=name, then=old, now=new, kind=kind))
        elif abs(new - old) > abs(old) * max(share, UNSTEADY.get(name, 0)) + SLACK:
            where = _where(then.get("parts", {}).get(name), now.get("parts", {}).get(name))
            moves.append(
                Move(
                    name=name,
                    then=old,
                    now=new,
                    kind="worse" if new > old else "better",
                    where=where,
                )
            )
    order = ("worse", "gone", "new", "better")
    return sorted(moves, key=lambda move: (order.index(move.kind), -_share_of(move)))


def _share_of(move: Move) -> float:
    if move.then is None or move.now is None:
        return 0.0
    return abs(move.now - move.then) / (abs(move.then) or 1)


def _where(then: Mapping[str, float] | None, now: Mapping[str, float] | None) -> str:
    if then is None or now is None:
        return ""
    changes = {part: now.get(part, 0) - then.get(part, 0) for part in {*then, *now}}
    ordered = sorted(changes.items(), key=lambda item: (-abs(item[1]), item[0]))
    shown = [
        f"{part} {'+' if change > 0 else '-'}{_amount(abs(change))}"
        for part, change in ordered[:ROOMS_SHOWN_MAX]
        if abs(change) > SLACK
    ]
    return ", ".join(shown)


def find_ratio_moves(then: Section, now: Section) -> list[Move]:
    """Returns ratios that moved by more than RATIO_SHARE, with which way is better."""
    moves: list[Move] = []
    for name, new in sorted(now["figures"].items()):
        old = then["figures"].get(name)
        if old is None or not old["ratio"] or old["better"] != new["better"]:
            continue
        change = (new["ratio"] - old["ratio"]) / old["ratio"]
        if abs(change) > RATIO_SHARE:
            is_better = (change > 0) == (new["better"] == "more")
            moves.append(
                Move(
                    name=f"ratio of {name}",
                    then=old["ratio"],
                    now=new["ratio"],
                    kind="better" if is_better else "worse",
                )
            )
    return moves


def compare(
    then: Mapping[str, Section], now: Mapping[str, Section]
) -> tuple[list[Move], list[str]]:
    """Returns (what moved, why what could not be compared) of two whole files."""
    moves: list[Move] = []
    notes: list[str] = []
    for name, share in (("counts", COUNT_SHARE), ("instructions", INSTRUCTION_SHARE)):
        before, after = then.get(name, {}), now.get(name, {})
        if why := why_not_compared(name, before, after):
            notes.append(why)
        else:
            moves += find_moves(before, after, share=share)
    before, after = then.get("ratios", {}), now.get("ratios", {})
    if why := why_not_compared("ratios", before, after):
        notes.append(why)
    else:
        moves += find_ratio_moves(before, after)
    return moves, notes
