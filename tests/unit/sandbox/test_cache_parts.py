"""The cache of machine code as several engines share it: parts, common bounds, scratch files."""

from __future__ import annotations

import os
from pathlib import Path

from lithox.sandbox import cache as cache_module
from lithox.sandbox.cache import CacheBounds, ModuleCache


def _age(directory: Path, *keys: str) -> None:
    for age, key in enumerate(keys):
        os.utime(directory / f"{key}.lxmod", (age, age))


def _names(directory: Path) -> set[str]:
    return {str(path.relative_to(directory).with_suffix("")) for path in directory.rglob("*.lxmod")}


def test_a_part_of_a_cache_has_the_key_of_the_whole(tmp_path: Path) -> None:
    """An engine that keeps its entries in a folder of the cache puts no key beside it there."""
    cache_module.set_bounds(tmp_path / "cache", CacheBounds(entries_max=2))
    part = ModuleCache(tmp_path / "cache", part="part")
    for key in ("a", "b", "c"):
        part.save(key, b"x")
    assert part.find("c") == b"x"
    assert {one.name for one in tmp_path.iterdir()} == {"cache", "cache.key"}
    assert [one.name for one in (tmp_path / "cache").iterdir()] == ["part"]
    assert len(list((tmp_path / "cache" / "part").iterdir())) == 2


def test_bounds_hold_for_all_parts_together(tmp_path: Path) -> None:
    """Whoever writes, what was used longest ago goes, in whichever part it is, and no more."""
    whole, part = ModuleCache(tmp_path), ModuleCache(tmp_path, part="part")
    cache_module.set_bounds(tmp_path, CacheBounds(entries_max=3))
    whole.save("a", b"x")
    part.save("b", b"x")
    part.save("c", b"x")
    _age(tmp_path, "a")
    _age(tmp_path / "part", "b", "c")
    os.utime(tmp_path / "a.lxmod", (2, 2))
    whole.save("d", b"x")
    assert _names(tmp_path) == {"a", "part/c", "d"}
    os.utime(tmp_path / "a.lxmod", (0, 0))
    part.save("e", b"x")
    assert _names(tmp_path) == {"part/c", "d", "part/e"}
    cache_module.set_bounds(tmp_path, CacheBounds(bytes_max=2 * (cache_module.HEADER_BYTES + 1)))
    assert _names(tmp_path) == {"d", "part/e"}
    cache_module.forget_bounds(tmp_path)


def test_trimming_leaves_what_is_not_ours_alone(tmp_path: Path) -> None:
    """Folders behind a link, or open to others, are no parts: nothing in them is removed."""
    elsewhere, cache = tmp_path / "elsewhere", tmp_path / "cache"
    ModuleCache(elsewhere).save("a", b"x")
    ModuleCache(cache, part="open").save("b", b"x")
    (cache / "linked").symlink_to(elsewhere)
    (cache / "open").chmod(0o777)
    cache_module.set_bounds(cache, CacheBounds(entries_max=0))
    cache_module.forget_bounds(cache)
    assert (_names(elsewhere), _names(cache / "open")) == ({"a"}, {"b"})
    ModuleCache(cache, part="open").save("c", b"x")
    assert _names(cache / "open") == {"b"}


def test_a_part_is_off_where_others_may_write_to_the_whole(tmp_path: Path) -> None:
    """Who may write to the directory may put a folder of his in the place of the part."""
    part = ModuleCache(tmp_path / "cache", part="part")
    part.save("k", b"payload")
    (tmp_path / "cache").chmod(0o777)
    assert part.find("k") is None
    (tmp_path / "cache").chmod(0o700)
    assert part.find("k") == b"payload"


def test_bounds_are_forgotten(tmp_path: Path) -> None:
    """A directory whose node is closed has no bounds of its own left, however many there were."""
    before = dict(cache_module._bounds)
    for number in range(3):
        cache_module.set_bounds(tmp_path / f"{number}", CacheBounds(entries_max=1))
    assert ModuleCache(tmp_path / "2", part="p").bounds == CacheBounds(entries_max=1)
    for number in range(3):
        cache_module.forget_bounds(tmp_path / f"{number}")
    cache_module.forget_bounds(tmp_path / "never set")
    assert (cache_module._bounds, ModuleCache(tmp_path / "2").bounds) == (before, CacheBounds())


def test_scratch_is_the_directory_where_it_is_safe(tmp_path: Path) -> None:
    """Large files of a moment lie beside the entries; nowhere of ours when the cache is off."""
    assert ModuleCache(tmp_path / "c", part="p").find_scratch() == tmp_path / "c"
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700
    (tmp_path / "c").chmod(0o777)
    assert ModuleCache(tmp_path / "c").find_scratch() is None
    (tmp_path / "file").write_bytes(b"")
    assert ModuleCache(tmp_path / "file" / "below").find_scratch() is None
