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
    if total is UNBOUNDED or all(getattr(total, name) is None for name in SHARED_FIELDS):
        return kernel.grant_limits(parent.pid, asked, UNBOUNDED)
    usage = own_usage(parent)
    left = kernel.limits_left(parent.pid, usage)
    fields: dict[str, Any] = {"wall_ns": asked.wall_ns}
    for name in SHARED_FIELDS:
        wanted, there = getattr(asked, name), getattr(left, name)
        if there is not None:
            if name == "memory_bytes" and parent.guest is not None:
                # The parent keeps what it has; the kernel does not know how much that is.
                there -= parent.guest.memory_bytes
            if there <= 0:
                limit = name.removesuffix("_bytes")
                raise LimitExceeded(f"no {limit} is left to give to another process", limit=limit)
            if wanted is None:
                wanted = there // 2
                if name == "memory_bytes":
                    wanted = min(wanted, MEMORY_CHILD_BYTES)
            wanted = min(wanted, there)
        fields[name] = wanted
    granted = kernel.grant_limits(parent.pid, Limits(**fields), usage)
    note_children(kernel, parent)
    return granted


def note_children(kernel: Kernel, parent: ProgramProcess | None) -> None:
    """Learns from the kernel what children have now; the meter follows by `settle_meter`."""
    if parent is None or parent.is_over or parent.total is UNBOUNDED:
        return
    total, left = parent.total, kernel.limits_left(parent.pid, _NOTHING)
    parent.fuel_due = _given(total.fuel, left.fuel)
    parent.calls_due = _given(total.calls, left.calls)
    parent.output_given = _given(total.output_bytes, left.output_bytes)
    parent.memory_due = _given(total.memory_bytes, left.memory_bytes)


def _given(total: int | None, left: int | None) -> int:
    return 0 if total is None or left is None else total - left


def settle_child(kernel: Kernel, frame: ProgramProcess, used: Limits) -> None:
    """Closes the account of a program that has ended, or has not begun."""
    kernel.return_limits(frame.pid, used)
    note_children(kernel, frame.parent)


def settle_meter(frame: ProgramProcess) -> None:
    """Charges a guest what its children have got, credits what they have left.

    To be called while it waits in a system call: only then may its meter be touched.
    """
    guest = frame.guest
    if frame.total is UNBOUNDED or guest is None:
        return
    fuel, calls = frame.fuel_due - frame.fuel_given, frame.calls_due - frame.calls_given
    if fuel > 0 or calls > 0:
        guest.charge(max(0, fuel), max(0, calls))
    if fuel < 0 or calls < 0:
        guest.credit(max(0, -fuel), max(0, -calls))
    frame.fuel_given, frame.calls_given = frame.fuel_due, frame.calls_due
    if frame.memory_due != frame.memory_given and frame.total.memory_bytes is not None:
        guest.bound_memory(frame.total.memory_bytes - frame.memory_due)
        frame.memory_given = frame.memory_due


_NOTHING: Final = Limits(fuel=0, calls=0, output_bytes=0)
