"""What the package gives is what the reference says, and each name has one public home."""

from __future__ import annotations

import importlib
import re

import pytest

from tests.repo.checkout import ROOT

PAGE = ROOT / "docs" / "reference" / "python.md"


@pytest.mark.parametrize("module_name", ["lithox", "lithox.testing"])
def test_every_exported_name_exists(module_name: str) -> None:
    """Each name in `__all__` can be had from its module."""
    module = importlib.import_module(module_name)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("module_name", ["lithox", "lithox.testing"])
def test_every_exported_name_is_documented(module_name: str) -> None:
    """docs/reference/python.md names every public name in code type."""
    text = PAGE.read_text("utf-8")
    told = set(re.findall(r"`(?:lithox\.)?(?:testing\.)?([A-Za-z_]+)", text))
    exported = set(importlib.import_module(module_name).__all__)
    assert sorted(exported - told - {"__version__"}) == []


def test_nothing_else_is_documented_as_public() -> None:
    """Each `lithox.Name` the page speaks of is exported."""
    text = PAGE.read_text("utf-8")
    package = importlib.import_module("lithox")
    spoken = set(re.findall(r"`lithox\.([A-Z][A-Za-z]+)", text))
    assert sorted(spoken - set(package.__all__)) == []
