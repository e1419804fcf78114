"""Generated files hold what their source says."""

from __future__ import annotations

import pytest

from tests.repo.checkout import name_of

import generate  # isort: skip  (tools/ is put on the path by checkout)


@pytest.mark.patches_source
def test_no_generated_page_is_stale() -> None:
    """Every page that tools/generate.py writes is as it would write it now (`make docs`)."""
    assert [name_of(path) for path in generate.stale()] == []
