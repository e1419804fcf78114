"""A server's collector looks seldom."""

from __future__ import annotations

import gc

from lithox.cli.garbage import YOUNG_MAX, spare_collector


def test_collector_looks_seldom_and_leaves_the_start_alone() -> None:
    """What was there before is set aside, and many objects may be made before it looks again."""
    before = gc.get_threshold()
    try:
        spare_collector()
        assert gc.get_threshold()[0] == YOUNG_MAX
        assert gc.get_freeze_count() > 0
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
