"""What cannot be loaded is refused at deploy time, with file and line, and replaces nothing."""

from __future__ import annotations

import pytest

from lithox.errors import LithoxError
from tests.conformance.languages.languages import MISTAKE
from tests.conformance.languages.world import World

FOREIGN = {
    "lua": b"local m = {}\nfunction m.add(self, by) return by end\nreturn m\n",
    "python": b"def add(self, by):\n    return by\n\n\nasync def get(self):\n    return 1\n",
    "javascript": b"export function add(self, by) {\n  return by ?? 1;\n}\n",
    "wasm": b"\x00asm\x01\x00\x00\x00",
    "component": b"\x00asm\x0d\x00\x01\x00",
    "zeros": bytes(1000),
    "no text": b"\xff\xfe\xfd" * 100,
    "machine code": b"\x7fELF\x02\x01\x01" + bytes(100),
}
ENDLESS = {
    "python": b"while True:\n    pass\n\n\ndef add(self):\n    return 1\n",
    "lua": b"while true do end\nreturn {}\n",
    "javascript": b"while (true) {}\nexport function add() {}\n",
}


def refused(world: World, text: bytes) -> LithoxError:
    """Returns the error of deploying `text`; what was served before is served still."""
    file_name = world.language.file_name
    with pytest.raises(LithoxError) as caught:
        world.deploy(text, match="broken/**", file_name=file_name)
    assert world.fail("broken/one", "add").code == "request.not_found"
    assert world.call(world.fresh(), "increment") == 1
    return caught.value


def test_broken_module_is_refused_with_its_place(world: World) -> None:
    """A mistake is told with the file, and the line where there are lines."""
    error = refused(world, world.language.read_broken())
    assert error.code == "guest.compile_failed", error
    assert error.fields["file"] == world.language.file_name
    assert error.fields.get("line") == world.language.line_of(MISTAKE, broken=True)
    assert world.language.file_name in error.message


@pytest.mark.parametrize("foreign", FOREIGN)
def test_module_of_another_language_is_refused(world: World, foreign: str) -> None:
    """A text of another language, or no text at all, is told as what it is not."""
    name = world.language.name
    if name == foreign and not world.language.is_built:
        return  # Its own; the empty wasm modules have nothing of what a handler needs.
    error = refused(world, FOREIGN[foreign])
    assert error.code == "guest.compile_failed", error
    assert error.fields["file"] == world.language.file_name
    assert len(error.message) < 2000


@pytest.mark.needs("top_level_code")
def test_module_that_never_loads_is_ended(world: World) -> None:
    """A module whose loading does not end is ended by a limit, told at deploy."""
    error = refused(world, ENDLESS[world.language.name])
    assert error.code in {"guest.out_of_fuel", "guest.compile_failed"}, error


def test_oversized_text_is_refused(world: World) -> None:
    """A module beyond what its language may have is refused before it is read."""
    size = (64 << 20) + 1 if world.language.is_built else (1 << 20) + 1
    error = refused(world, b" " * size)
    assert error.code in {"request.too_large", "config.invalid", "guest.compile_failed"}, error
