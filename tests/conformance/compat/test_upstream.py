"""Lua's own test files of 5.3, 5.4 and 5.5, under the compatibility runtime of their version.

The bare guests run them in `tests/conformance/program`; here the native prelude and the chunks of
the runtime stand around them, and must not show.
"""

from __future__ import annotations

from typing import Final

import pytest

from lithox.model.limits import Limits
from tests.conformance.compat.guest import Guests, Result
from tests.conformance.lua_files import MODULES, adjusted
from tests.conformance.program.test_upstream import RUN, folder
from tests.conformance.program.upstream import CHANGES, PROLOGUE, VERSIONS

LIMITS: Final = Limits(
    fuel=60_000_000_000, memory_bytes=512 << 20, calls=1_000_000, output_bytes=64 << 20
)
EXCEPTIONS: Final = {
    **{
        (version, "db.lua"): "a line hook sees the lines of load, which the native runtime wraps"
        for version in VERSIONS
    },
    ("5.5", "tpack.lua"): "takes `T` for the width of a size_t: eight bytes by name, four inside",
}
"""Files that fail, and why; docs/limitations/compat.md tells them."""
NOT_AGAIN: Final = ("constructs.lua", "heavy.lua")
"""They take long and use nothing that a runtime changes; the bare guest runs them."""

CHOSEN = [one for one in RUN if one not in EXCEPTIONS and one[1] not in NOT_AGAIN]


def run_file(guests: Guests, version: str, name: str) -> Result:
    """Returns what came of one file."""
    tests = folder(version)
    modules = {module: (tests / f"{module}.lua").read_bytes() for module in MODULES}
    text = adjusted((tests / name).read_bytes(), CHANGES.get((version, name), ()))
    return guests.run(f"compat-{version}", PROLOGUE, name, text, modules, limits=LIMITS)


@pytest.mark.slow
@pytest.mark.parametrize(("version", "name"), CHOSEN)
def test_upstream_file_passes(guests: Guests, version: str, name: str) -> None:
    """The file runs to its end under the runtime of its version."""
    assert run_file(guests, version, name).error is None


@pytest.mark.parametrize(("version", "name"), sorted(EXCEPTIONS))
def test_exceptions_are_real(guests: Guests, version: str, name: str) -> None:
    """A file of the list does fail, so that the list cannot outlive its reason."""
    assert run_file(guests, version, name).error is not None
