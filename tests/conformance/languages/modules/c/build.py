"""Builds the conformance module of C, a core WebAssembly module."""

from __future__ import annotations

from pathlib import Path

from sdk.c.build import read_module


def build() -> bytes:
    """Returns the module. Blocks for some seconds the first time."""
    return read_module(Path(__file__).with_name("conformance.c"))
