"""volumes.json: what is spread stays where it is, and nobody serves a directory he misreads."""

from __future__ import annotations

from pathlib import Path

import pytest

from lithox.cluster.placement import Placement
from lithox.cluster.volumes_file import (
    FILE_NAME,
    check_alone,
    folder_of,
    read_volumes,
    settle_volumes,
)
from lithox.errors import ConfigError


def nothing(_pattern: str) -> bool:
    return False


def test_while_nothing_is_spread_the_number_of_processes_is_free(tmp_path: Path) -> None:
    """No file is written, and one process alone may open the directory."""
    for processes in (4, 2, 7):
        assert settle_volumes(tmp_path, processes, (), nothing).volumes == processes
    assert read_volumes(tmp_path) is None
    check_alone(tmp_path)


def test_a_spread_directory_keeps_its_number_and_its_patterns(tmp_path: Path) -> None:
    """Another number is refused; a pattern that is not said again still holds."""
    settle_volumes(tmp_path, 2, ("counter/*",), nothing)
    with pytest.raises(ConfigError, match="--processes 2"):
        settle_volumes(tmp_path, 3, ("counter/*",), nothing)
    assert settle_volumes(tmp_path, 2, (), nothing).spread == ("counter/*",)
    with pytest.raises(ConfigError, match="--processes 2"):
        check_alone(tmp_path)


def test_one_volume_of_several_is_no_node_by_itself(tmp_path: Path) -> None:
    """It would deliver what it has for others to entities that it makes itself."""
    settle_volumes(tmp_path, 2, ("counter/*",), nothing)
    with pytest.raises(ConfigError, match="one volume of"):
        check_alone(folder_of(tmp_path, 1))


def test_a_pattern_is_added_only_while_nothing_has_its_name(tmp_path: Path) -> None:
    """Entities that exist live in volume 0: spreading their name would hide them."""
    settle_volumes(tmp_path, 2, ("counter/*",), nothing)
    with pytest.raises(ConfigError, match="cart"):
        settle_volumes(tmp_path, 2, ("cart/*",), lambda pattern: pattern == "cart/*")
    assert read_volumes(tmp_path).spread == ("counter/*",)  # type: ignore[union-attr]
    assert settle_volumes(tmp_path, 2, ("cart/*",), nothing).spread == ("cart/*", "counter/*")


def test_a_pattern_that_overlaps_a_recorded_one_is_refused(tmp_path: Path) -> None:
    """Two patterns for one entity would make its place depend on their order."""
    settle_volumes(tmp_path, 2, ("cart/*",), nothing)
    with pytest.raises(ConfigError, match="same entity"):
        settle_volumes(tmp_path, 2, ("cart/7/*",), nothing)


def test_a_volume_that_is_gone_is_told_and_not_made_anew(tmp_path: Path) -> None:
    """An empty folder in its place would look like entities that never were."""
    settle_volumes(tmp_path, 3, ("cart/*",), nothing)
    folder_of(tmp_path, 2).rmdir()
    with pytest.raises(ConfigError, match="volume 2"):
        settle_volumes(tmp_path, 3, (), nothing)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"format":"lithox-volumes","version":2,"volumes":2,"spread":[]}',
        b'{"format":"lithox-volumes","version":1,"volumes":"2","spread":[]}',
        b'{"format":"lithox-volumes","version":1,"volumes":true,"spread":[]}',
        b'{"format":"lithox-volumes","version":1,"volumes":2,"spread":[3]}',
        b'{"format":"lithox-volumes","version":1,"volumes":2,"spread":["*"]}',
        b'{"format":"lithox-volumes","version":1,"volumes":0,"spread":[]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_refuses_to_serve(tmp_path: Path, text: bytes) -> None:
    """Nobody guesses where entities live."""
    (tmp_path / FILE_NAME).write_bytes(text)
    for act in (read_volumes, check_alone):
        with pytest.raises(ConfigError, match=FILE_NAME):
            act(tmp_path)
    with pytest.raises(ConfigError, match=FILE_NAME):
        settle_volumes(tmp_path, 2, ("a/*",), nothing)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    """And no half-written file is left beside it."""
    settle_volumes(tmp_path, 5, ("b/*/x", "a/*"), nothing)
    found = read_volumes(tmp_path)
    assert found is not None
    assert (found.volumes, found.spread) == (5, Placement(5, ("a/*", "b/*/x")).spread)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["volumes", FILE_NAME]
