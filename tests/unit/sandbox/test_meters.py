"""Tests of `lithox.sandbox.meters`."""

from __future__ import annotations

import pytest

from lithox.errors import TABLE
from lithox.model.limits import NODE_DEFAULT_LIMITS, Limits
from lithox.sandbox import meters
from lithox.sandbox.capi import TRAP_OUT_OF_FUEL, TRAP_UNREACHABLE
from lithox.sandbox.contract import StepKind

MIB = 1 << 20


def test_meters_fill_what_is_not_said_with_the_nodes_defaults() -> None:
    """No limit is ever absent."""
    assert meters.fuel_of(Limits()) == NODE_DEFAULT_LIMITS.fuel
    assert meters.memory_bytes_of(Limits()) == NODE_DEFAULT_LIMITS.memory_bytes
    assert meters.calls_of(Limits()) == NODE_DEFAULT_LIMITS.calls


def test_meters_bound_what_cannot_be_counted() -> None:
    """Limits beyond what wasmtime counts, or below nothing, are the nearest possible."""
    huge = Limits(fuel=1 << 80, memory_bytes=1 << 80, calls=-3)
    assert meters.fuel_of(huge) == meters.FUEL_MAX
    assert meters.memory_bytes_of(huge) == meters.MEMORY_BYTES_MAX
    assert meters.calls_of(huge) == 0


@pytest.mark.parametrize(
    ("trap_code", "memory_bytes", "code"),
    [
        (TRAP_OUT_OF_FUEL, MIB, "guest.out_of_fuel"),
        (TRAP_OUT_OF_FUEL, 8 * MIB, "guest.out_of_fuel"),
        (TRAP_UNREACHABLE, MIB, "guest.trapped"),
        (TRAP_UNREACHABLE, 4 * MIB, "guest.trapped"),
        (TRAP_UNREACHABLE, 5 * MIB, "guest.out_of_memory"),
        (TRAP_UNREACHABLE, 8 * MIB, "guest.out_of_memory"),
        (0, 8 * MIB, "guest.trapped"),
        (-1, MIB, "guest.trapped"),
    ],
)
def test_meters_name_the_end_of_a_trap(trap_code: int, memory_bytes: int, code: str) -> None:
    """Fuel and memory have codes of their own; every other trap is named in the detail."""
    step = meters.step_of_trap(
        trap_code, "name", memory_bytes=memory_bytes, memory_bytes_max=8 * MIB
    )
    assert (step.kind, step.code) == (StepKind.ENDED, code)
    assert step.code in TABLE


@pytest.mark.parametrize(
    ("trap_code", "text", "code"),
    [
        (TRAP_UNREACHABLE, b"out of memory\0", "guest.out_of_memory"),
        (TRAP_UNREACHABLE, b"something else", "guest.trapped"),
        (0, b"out of memory\0", "guest.trapped"),
    ],
)
def test_meters_believe_a_guest_that_says_it_has_no_memory(
    trap_code: int, text: bytes, code: str
) -> None:
    """An abort far below the limit is out of memory when the inbox says so."""
    step = meters.step_of_trap(
        trap_code, "name", memory_bytes=MIB, memory_bytes_max=8 * MIB, inbox_text=text
    )
    assert step.code == code
