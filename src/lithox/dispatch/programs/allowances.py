"""What a program and its children may use together, kept true in kernel and guest.

The kernel keeps the accounts (`kernel.grants`): what a child may use is reserved from what is left
of its parent, and what it did not use returns when it ends. A guest has a meter of its own, which
must never allow more than that: what is given to a child is charged to the parent's meter, what
returns is credited, both while the parent waits in a system call, because only then may its meter
be touched.

A child that says no limit where its parent has one gets half of what is left, so that several
children and the parent itself can go on; of memory at most `MEMORY_CHILD_BYTES`.
"""

from __future__ import annotations

from typing import Any, Final

from lithox.dispatch.programs.process import ProgramProcess
from lithox.errors import LimitExceeded
from lithox.kernel.kernel import Kernel
from lithox.model.limits import MIB, UNBOUNDED, Limits

SHARED_FIELDS: Final = ("fuel", "memory_bytes", "output_bytes", "calls")
MEMORY_CHILD_BYTES: Final = 4 * MIB
MEMORY_DEFAULT_BYTES: Final = 64 * MIB
"""Memory of one program when nobody says anything."""
ENDLESS: Final = (1 << 62) - 1


def meter_limits(total: Limits) -> Limits:
    """Returns what the guest's own meter starts with: numbers where `total` says nothing."""
    if total is UNBOUNDED:
        return _METER_UNBOUNDED
    return _fill(total)


def _fill(total: Limits) -> Limits:
    return Limits(
        fuel=ENDLESS if total.fuel is None else total.fuel,
        memory_bytes=MEMORY_DEFAULT_BYTES if total.memory_bytes is None else total.memory_bytes,
        wall_ns=total.wall_ns,
        output_bytes=total.output_bytes,
        calls=ENDLESS if total.calls is None else total.calls,
    )


_METER_UNBOUNDED: Final = _fill(UNBOUNDED)


def own_usage(frame: ProgramProcess) -> Limits:
    """Returns what a program has used itself, its children's part left out."""
    guest = frame.guest
    if frame.total is UNBOUNDED:
        return UNBOUNDED
    if guest is None:
        return Limits(fuel=0, calls=0, output_bytes=frame.output_bytes)
    return Limits(
        fuel=max(0, guest.fuel_used - frame.fuel_given),
        calls=max(0, guest.calls - frame.calls_given),
        output_bytes=frame.output_bytes,
    )


def grant_to_child(kernel: Kernel, parent: ProgramProcess, asked: Limits) -> Limits:
    """Reserves what a child may use from what is left of `parent`.

    Raises:
        LimitExceeded: nothing is left of something.
    """
    total = parent.total
    if total is UNBOUNDED:
        return kernel.grant_limits(parent.pid, asked, UNBOUNDED)
    if all(getattr(total, name) is None for name in SHARED_FIELDS):
        return kernel.grant_limits(parent.pid, asked, UNBOUNDED)
    usage = own_usage(parent)
    left = kernel.limits_left(parent.pid, usage)
    fields: dict[str, Any] = {"wall_ns": asked.wall_ns}
    for name in SHARED_FIELDS:
        wanted, there = getattr(asked, name), getattr(left, name)
        if there is not None and wanted is None:
            wanted = there // 2
            if name == "memory_bytes":
                wanted = min(wanted, MEMORY_CHILD_BYTES)
        if there is not None and there <= 0:
            limit = name.removesuffix("_bytes")
            raise LimitExceeded(f"no {limit} is left to give to another process", limit=limit)
        fields[name] = wanted
    granted = kernel.grant_limits(parent.pid, Limits(**fields), usage)
    guest = parent.guest
    if guest is not None:
        fuel = 0 if total.fuel is None else granted.fuel or 0
        calls = 0 if total.calls is None else granted.calls or 0
        guest.charge(fuel, calls)
        parent.fuel_given += fuel
        parent.calls_given += calls
    return granted


def settle_child(kernel: Kernel, frame: ProgramProcess, used: Limits) -> None:
    """Closes the account of a program that has ended; its parent's meter is credited later."""
    parent = frame.parent
    if (
        parent is None
        or parent.is_over
        or (parent.total.fuel is None and parent.total.calls is None)
    ):
        kernel.return_limits(frame.pid, used)
        return
    usage = own_usage(parent)
    before = kernel.limits_left(parent.pid, usage)
    kernel.return_limits(frame.pid, used)
    after = kernel.limits_left(parent.pid, usage)
    parent.fuel_back += (after.fuel or 0) - (before.fuel or 0)
    parent.calls_back += (after.calls or 0) - (before.calls or 0)


def credit(frame: ProgramProcess) -> None:
    """Gives a guest back what its children have left; it must wait in a system call."""
    guest = frame.guest
    if guest is None or not (frame.fuel_back or frame.calls_back):
        return
    guest.credit(frame.fuel_back, frame.calls_back)
    frame.fuel_given -= frame.fuel_back
    frame.calls_given -= frame.calls_back
    frame.fuel_back = frame.calls_back = 0
