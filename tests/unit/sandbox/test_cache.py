"""Tests of `lithox.sandbox.cache`, and of its use for machine code."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lithox.sandbox import cache as cache_module
from lithox.sandbox.cache import ModuleCache, make_key
from lithox.sandbox.engine import WasmEngine


def test_cache_keeps_what_it_was_given(tmp_path: Path) -> None:
    """A payload comes back as it was, also to another process."""
    ModuleCache(tmp_path / "c").save("k", b"payload")
    cache = ModuleCache(tmp_path / "c")
    assert (cache.find("k"), cache.find("other"), cache.hits, cache.misses) == (
        b"payload",
        None,
        1,
        1,
    )


def test_cache_key_tells_module_engine_and_configuration_apart() -> None:
    """What may not be mixed up has different keys."""
    base = {"version": "1", "configuration": "c"}
    keys = {
        make_key(b"m", **base),
        make_key(b"n", **base),
        make_key(b"m", version="2", configuration="c"),
        make_key(b"m", version="1", configuration="d"),
    }
    assert len(keys) == 4


@pytest.mark.parametrize("position", [0, 8, 39, 40, 46])
def test_cache_refuses_a_changed_entry(tmp_path: Path, position: int) -> None:
    """One flipped bit anywhere in a file makes it unusable, and it is removed."""
    cache = ModuleCache(tmp_path)
    cache.save("k", b"payload")
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    assert (cache.find("k"), cache.refused, list(tmp_path.iterdir())) == (None, 1, [])


@pytest.mark.parametrize("length", [0, 5, 40, 46])
def test_cache_refuses_a_torn_entry(tmp_path: Path, length: int) -> None:
    """A file cut anywhere is not used."""
    cache = ModuleCache(tmp_path)
    cache.save("k", b"payload")
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:length])
    assert cache.find("k") is None


def test_cache_refuses_an_entry_under_a_foreign_name(tmp_path: Path) -> None:
    """An intact entry renamed to another key does not pass for it."""
    cache = ModuleCache(tmp_path)
    cache.save("k", b"payload")
    (path,) = tmp_path.iterdir()
    path.rename(path.with_stem("other"))
    assert cache.find("other") is None


def test_cache_keeps_the_entries_used_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its bound the entry not used for longest goes."""
    monkeypatch.setattr(cache_module, "ENTRIES_MAX", 2)
    cache = ModuleCache(tmp_path)
    for age, key in enumerate(("a", "b")):
        cache.save(key, b"x")
        os.utime(tmp_path / f"{key}.lxmod", (age, age))
    cache.find("a")
    cache.save("c", b"x")
    assert {path.stem for path in tmp_path.iterdir()} == {"a", "c"}


def test_cache_without_a_place_to_write_still_works(tmp_path: Path) -> None:
    """A directory that cannot be made costs the cache, not the node."""
    (tmp_path / "file").write_bytes(b"")
    cache = ModuleCache(tmp_path / "file" / "below")
    cache.save("k", b"payload")
    assert cache.find("k") is None


def test_cache_directory_is_its_owners_alone(tmp_path: Path) -> None:
    """What becomes machine code is not written where others may write."""
    ModuleCache(tmp_path / "c").save("k", b"x")
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700


def test_cache_is_off_where_others_may_write(tmp_path: Path) -> None:
    """Nothing is read from, or put into, a directory that a stranger could have filled."""
    cache = ModuleCache(tmp_path)
    cache.save("k", b"payload")
    tmp_path.chmod(0o777)
    assert cache.find("k") is None
    cache.save("l", b"payload")
    tmp_path.chmod(0o700)
    assert (cache.find("k"), cache.find("l")) == (b"payload", None)


def _open(wasm_path: Path, directory: Path) -> dict[str, int]:
    engine = WasmEngine(language="x", wasm_path=wasm_path, cache_dir=directory)
    statistics = engine.statistics()
    engine.close()
    return {name: statistics[f"cache_{name}"] for name in ("hits", "misses", "refused")}


def test_engine_compiles_once(wasm_path: Path, tmp_path: Path) -> None:
    """The second start takes the machine code from the cache."""
    assert _open(wasm_path, tmp_path) == {"hits": 0, "misses": 1, "refused": 0}
    assert _open(wasm_path, tmp_path) == {"hits": 1, "misses": 0, "refused": 0}


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


def _forge(path: Path) -> None:
    """Puts a well-formed entry whose payload is no machine code of this engine."""
    ModuleCache(path.parent).save(path.stem, b"\x7fELF not a module")


@pytest.mark.parametrize("damage", [_flip, _forge])
def test_engine_rebuilds_a_damaged_entry(
    wasm_path: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Tampered machine code is never run: it is refused, rebuilt, and good at the next start."""
    _open(wasm_path, tmp_path)
    (entry,) = tmp_path.glob("*.lxmod")
    damage(entry)
    assert _open(wasm_path, tmp_path)["refused"] == 1
    assert _open(wasm_path, tmp_path) == {"hits": 1, "misses": 0, "refused": 0}
