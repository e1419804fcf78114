"""Programs where the system keeps no files in memory: their images are copied, on every system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lithox.sandbox import engines as languages
from lithox.sandbox.engine import EngineOptions, WasmEngine
from lithox.sandbox.image import MAPPED_BYTES_MIN
from tests import built_guests
from tests.conformance.program.harness import LIMITS, Machine, finish, make_message

LARGE = f"kept = {{}} for i = 1, {MAPPED_BYTES_MIN // 8} do kept[i] = i end"
"""A runtime whose image would be mapped where that can be."""


@pytest.fixture
def copying(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    """Lua 5.4 on a system without memfd_create."""
    built_guests.require()
    monkeypatch.delattr(os, "memfd_create", raising=False)
    language = "lua-program-5.4"
    engine = WasmEngine(
        language=language,
        wasm_path=languages.PROGRAM_WASM_PATHS[language],
        cache_dir=tmp_path,
        options=EngineOptions(has_preludes=True),
    )
    yield Machine(engine=engine, version="5.4")
    engine.close()


def test_guests_of_a_copied_image_share_nothing(copying: Machine) -> None:
    """Each starts from the whole image, and what one changes no other guest has."""
    program = copying.load("kept[1] = kept[1] + ...; return kept[1], #kept", ("rt", LARGE))
    guests = [program.start(make_message(number), LIMITS) for number in (10, 20)]
    size = MAPPED_BYTES_MIN // 8
    assert [finish(guest).values for guest in guests] == [[11, size], [21, size]]
    for guest in guests:
        guest.close()
    again = program.start(make_message(30), LIMITS)
    assert finish(again).values == [31, size]
    again.close()
