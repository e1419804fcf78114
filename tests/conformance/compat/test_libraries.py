"""Real libraries do the same work under a compatibility runtime as under the interpreter itself."""

from __future__ import annotations

from typing import Final

import pytest

from tests.conformance.compat import debian, oracle
from tests.conformance.compat.guest import Guests
from tests.conformance.compat.reading import comparable

PACKAGES: Final = tuple(sorted(path.stem for path in debian.WORK.glob("*.lua")))
NEEDS: Final = {"lua-luassert": ("lua-say",)}

LOADER: Final = """
local texts = {...}
arg = nil
for i = 1, #texts - 1, 2 do
  local name, text = texts[i], texts[i + 1]
  package.preload[name] = function(...)
    return assert((loadstring or load)(text, "@" .. name .. ".lua"))(...)
  end
end
return assert((loadstring or load)(texts[#texts], "=work"))()
"""


def _outputs(guests: Guests, package: str, column: str, version: str) -> tuple[str, str] | None:
    """Returns what a package's work writes under our runtime and on the oracle.

    None when the package has no files for that version.
    """
    try:
        found = debian.modules(package, version)
        for other in NEEDS.get(package, ()):
            found |= debian.modules(other, version)
    except debian.NoAptError as problem:
        pytest.skip(str(problem))
    except debian.NotFetchedError as problem:
        pytest.fail(str(problem), pytrace=False)
    if not debian.modules(package, version):
        return None
    arguments = [part for name, text in found.items() for part in (name.encode(), text)]
    arguments.append((debian.WORK / f"{package}.lua").read_bytes())
    ours, _ = guests.output(column, LOADER, *arguments)
    theirs, _ = oracle.run("luajit" if column == "luajit" else version, LOADER, *arguments)
    return comparable(ours), comparable(theirs)


@pytest.mark.parametrize("package", PACKAGES)
def test_library_works_alike(guests: Guests, package: str) -> None:
    """On every version the package has files for, and its files of 5.1 under LuaJIT, too."""
    runs = [(version, version) for version in debian.VERSIONS] + [("luajit", "5.1")]
    compared = 0
    for column, version in runs:
        outputs = _outputs(guests, package, column, version)
        if outputs is None:
            continue
        ours, theirs = outputs
        assert "error: " not in theirs, f"the work itself is wrong on {version}"
        assert ours == theirs, column
        assert ours.strip(), "the work must write something to compare"
        compared += 1
    assert compared >= 2


def test_there_are_more_than_ten_libraries() -> None:
    """The issue asks for at least ten."""
    assert len(PACKAGES) >= 10
