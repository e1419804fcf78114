"""The program guests, opened once for the tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.compat.guest import Guests, open_guests


@pytest.fixture(scope="session")
def guests() -> Iterator[Guests]:
    with open_guests() as opened:
        yield opened
