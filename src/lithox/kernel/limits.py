"""How limits combine: the smallest of several, what is left, and grants to children.

Invariants: None means "not said" and never wins over a number; `smallest` commutes, associates and
never raises a limit; a grant and the remainder it was reserved from never exceed what was there,
and after the return the remainder is what was there less what was used.

Three kinds of limit. *Spent* ones (fuel, output, calls, state, big values) are used up for good.
*Held* ones (memory) are occupied while the guest lives and come back whole. *Shared* ones (wall
time) pass for parent and child at once, so they bound the child but are not taken from the parent.
"""

from __future__ import annotations

from typing import Any, Final

from lithox.errors import LimitTooHigh
from lithox.model.limits import LIMIT_FIELDS, UNBOUNDED, Limits
from lithox.model.request import Usage

SPENT_FIELDS: Final = ("fuel", "output_bytes", "calls", "state_bytes", "big_bytes")
HELD_FIELDS: Final = ("memory_bytes",)
SHARED_FIELDS: Final = ("wall_ns",)

Used = Usage | Limits
"""What was used: a run's `Usage`, or `Limits` whose fields say what was used (None = nothing)."""


def smallest(*limits: Limits) -> Limits:
    """Returns the field-wise minimum; a field nobody says stays None."""
    found = UNBOUNDED
    for other in limits:
        if found is UNBOUNDED or other is UNBOUNDED:
            found = other if found is UNBOUNDED else found
            continue
        # Field by field and without loops: this is on the way of every joined call.
        found = Limits(
            fuel=_least(found.fuel, other.fuel),
            memory_bytes=_least(found.memory_bytes, other.memory_bytes),
            wall_ns=_least(found.wall_ns, other.wall_ns),
            output_bytes=_least(found.output_bytes, other.output_bytes),
            calls=_least(found.calls, other.calls),
            state_bytes=_least(found.state_bytes, other.state_bytes),
            big_bytes=_least(found.big_bytes, other.big_bytes),
        )
    return found


def _least(left: int | None, right: int | None) -> int | None:
    if left is None:
        return right
    if right is None or left <= right:
        return left
    return right


def check_not_above(asked: Limits, allowed: Limits) -> None:
    """Checks that `asked` says nothing above `allowed`.

    Raises:
        LimitTooHigh: with fields limit, asked, allowed of the first field that is.
    """
    for name in LIMIT_FIELDS:
        wanted, bound = getattr(asked, name), getattr(allowed, name)
        if wanted is not None and bound is not None and wanted > bound:
            raise LimitTooHigh(
                f"limit {name} was asked at {wanted}, but at most {bound} is allowed; ask for less",
                limit=name,
                asked=wanted,
                allowed=bound,
            )


def remaining(limits: Limits, usage: Used) -> Limits:
    """Returns what is left of spent and shared limits, at least 0; held ones stay as they are."""
    fields: dict[str, int | None] = {}
    for name in LIMIT_FIELDS:
        allowed = getattr(limits, name)
        if allowed is not None and name not in HELD_FIELDS:
            allowed = max(0, allowed - used_of(usage, name))
        fields[name] = allowed
    return Limits(**fields)


def reserve(left: Limits, asked: Limits) -> tuple[Limits, Limits]:
    """Grants a child what it asks, at most what is left.

    Args:
        left: the parent's remainder.
        asked: the child's own limits; None fields mean "all there is".

    Returns:
        tuple of (the grant, the parent's remainder while the child lives).
    """
    grant = smallest(left, asked)
    fields: dict[str, int | None] = {}
    for name in LIMIT_FIELDS:
        there = getattr(left, name)
        if there is not None and name not in SHARED_FIELDS:
            there -= getattr(grant, name)
        fields[name] = there
    return grant, Limits(**fields)


def give_back(left: Limits, grant: Limits, usage: Used) -> Limits:
    """Returns the parent's remainder after a child's end: the unused part of the grant is back.

    A child that overran its grant (memory freed late, one slice of fuel) costs the parent no more
    than the grant.
    """
    fields: dict[str, int | None] = {}
    for name in LIMIT_FIELDS:
        there = getattr(left, name)
        if there is not None and name not in SHARED_FIELDS:
            granted = getattr(grant, name) or 0
            kept = 0 if name in HELD_FIELDS else min(granted, used_of(usage, name))
            there += granted - kept
        fields[name] = there
    return Limits(**fields)


def used_of(usage: Used, name: str) -> int:
    """Returns what `usage` says of the limit `name`; 0 when it says nothing."""
    # `Usage` has no field for output and state bytes: those are counted where they are written.
    found: Any = getattr(usage, name, None)
    return 0 if found is None else int(found)
