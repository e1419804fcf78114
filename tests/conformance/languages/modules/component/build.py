"""Builds the conformance module of components: CPython by `componentize-py`."""

from __future__ import annotations

from pathlib import Path

from tests.built_components import build_component


def build() -> bytes:
    """Returns the component. Blocks for half a minute the first time."""
    return build_component(Path(__file__).with_name("conformance_component.py"))
