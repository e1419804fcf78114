"""Tests of `lithox.sandbox.cache`, and of its use for machine code."""

from __future__ import annotations

import hmac
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lithox.sandbox import cache as cache_module
from lithox.sandbox.cache import CacheBounds, ModuleCache, make_key
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


def _age(directory: Path, *keys: str) -> None:
    for age, key in enumerate(keys):
        os.utime(directory / f"{key}.lxmod", (age, age))


def test_cache_keeps_the_entries_used_last(tmp_path: Path) -> None:
    """Beyond its bound the entry not used for longest goes."""
    cache_module.set_bounds(tmp_path, CacheBounds(entries_max=2))
    cache = ModuleCache(tmp_path)
    for key in ("a", "b"):
        cache.save(key, b"x")
    _age(tmp_path, "a", "b")
    cache.find("a")
    cache.save("c", b"x")
    assert {path.stem for path in tmp_path.iterdir()} == {"a", "c"}


def test_cache_is_bounded_in_bytes(tmp_path: Path) -> None:
    """All files together stay below the bound of whoever set it, and none is above a quarter."""
    cache_module.set_bounds(tmp_path, CacheBounds(bytes_max=4_000))
    cache = ModuleCache(tmp_path)
    for key in ("a", "b", "c", "d", "e"):
        cache.save(key, bytes(950))
        _age(tmp_path, *(one for one in "abcde" if (tmp_path / f"{one}.lxmod").exists()))
    cache.save("f", bytes(1_001))
    files = list(tmp_path.iterdir())
    assert {path.stem for path in files} == {"b", "c", "d", "e"}
    assert sum(path.stat().st_size for path in files) <= 4_000
    cache_module.set_bounds(tmp_path, CacheBounds(bytes_max=2_000))
    cache.trim()
    assert len(list(tmp_path.iterdir())) == 2


def test_cache_removes_what_was_left_half_written(tmp_path: Path) -> None:
    """A file of a node that died while it wrote goes; one that is being written stays."""
    cache = ModuleCache(tmp_path)
    cache.save("a", b"x")
    (tmp_path / "old.part").write_bytes(b"half")
    os.utime(tmp_path / "old.part", (0, 0))
    (tmp_path / "new.part").write_bytes(b"half")
    cache.trim()
    assert {path.name for path in tmp_path.iterdir()} == {"a.lxmod", "new.part"}


def _key_of(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.key")


def test_key_is_kept_beside_the_directory_for_its_owner_alone(tmp_path: Path) -> None:
    """The key is no part of the cache, 32 bytes, mode 0600, and the same at the next start."""
    cache = ModuleCache(tmp_path / "cache")
    cache.save("k", b"x")
    path = _key_of(tmp_path / "cache")
    before = path.read_bytes()
    assert (len(before), path.stat().st_mode & 0o777) == (32, 0o600)
    ModuleCache(tmp_path / "cache").save("l", b"y")
    assert path.read_bytes() == before
    assert {one.name for one in tmp_path.iterdir()} == {"cache", "cache.key"}


def _recomputed(name: str, payload: bytes) -> bytes:
    """Returns an entry as somebody makes it who knows this file's source, and not the key."""
    said = hmac.new(bytes(32), digestmod="sha256")
    said.update(len(name).to_bytes(8, "little") + name.encode() + payload)
    return cache_module.MAGIC + said.digest() + payload


def test_an_entry_whose_digest_was_recomputed_is_refused(tmp_path: Path) -> None:
    """Knowing the format is not enough: without the key no entry is believed."""
    cache = ModuleCache(tmp_path)
    cache.save("k", b"payload")
    (tmp_path / "k.lxmod").write_bytes(_recomputed("k", b"hostile"))
    assert (cache.find("k"), cache.refused) == (None, 1)
    _key_of(tmp_path).write_bytes(bytes(32))
    (tmp_path / "k.lxmod").write_bytes(_recomputed("k", b"hostile"))
    assert cache.find("k") == b"hostile", "the test makes entries as the cache does"


def test_an_entry_of_another_node_is_refused(tmp_path: Path) -> None:
    """A cache that was copied without its key, or beside another one, is made anew."""
    there, here = tmp_path / "there" / "cache", tmp_path / "here" / "cache"
    ModuleCache(there).save("k", b"payload")
    shutil.copytree(there, here)
    cache = ModuleCache(here)
    assert (cache.find("k"), cache.misses) == (None, 1)
    cache.save("other", b"x")
    assert (cache.find("k"), cache.refused) == (None, 1)


def test_swapped_entries_are_refused(tmp_path: Path) -> None:
    """Two intact entries under each other's name are two refusals, not two wrong modules."""
    cache = ModuleCache(tmp_path)
    cache.save("a", b"one")
    cache.save("b", b"two")
    (tmp_path / "a.lxmod").rename(tmp_path / "x")
    (tmp_path / "b.lxmod").rename(tmp_path / "a.lxmod")
    (tmp_path / "x").rename(tmp_path / "b.lxmod")
    assert (cache.find("a"), cache.find("b"), cache.refused) == (None, None, 2)


def test_a_key_others_may_read_is_replaced(tmp_path: Path) -> None:
    """Who may have read the key may have written entries: both are made anew."""
    cache = ModuleCache(tmp_path / "cache")
    cache.save("k", b"payload")
    path = _key_of(tmp_path / "cache")
    before = path.read_bytes()
    path.chmod(0o640)
    assert cache.find("k") is None
    cache.save("l", b"new")
    assert path.read_bytes() != before
    assert path.stat().st_mode & 0o777 == 0o600
    assert (cache.find("k"), cache.find("l")) == (None, b"new")


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_a_key_of_another_length_is_replaced(tmp_path: Path, content: bytes) -> None:
    """A torn key file is no reason to go without a cache."""
    path = _key_of(tmp_path / "cache")
    path.write_bytes(content)
    path.chmod(0o600)
    cache = ModuleCache(tmp_path / "cache")
    cache.save("k", b"payload")
    assert cache.find("k") == b"payload"
    assert len(path.read_bytes()) == 32


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Neither key, nor entry, nor directory is read through a link somebody put there."""
    real = tmp_path / "real"
    ModuleCache(real).save("k", b"payload")
    (tmp_path / "linked").symlink_to(real)
    _key_of(tmp_path / "linked").symlink_to(_key_of(real))
    assert ModuleCache(tmp_path / "linked").find("k") is None
    (real / "k.lxmod").rename(real / "elsewhere")
    (real / "k.lxmod").symlink_to(real / "elsewhere")
    cache = ModuleCache(real)
    assert (cache.find("k"), cache.refused) == (None, 1)


def test_a_pipe_in_place_of_an_entry_holds_nobody_up(tmp_path: Path) -> None:
    """What is no file is refused at once; opening a pipe would wait for its writer."""
    cache = ModuleCache(tmp_path)
    cache.save("k", b"payload")
    (tmp_path / "k.lxmod").unlink()
    os.mkfifo(tmp_path / "k.lxmod")
    assert (cache.find("k"), cache.refused) == (None, 1)


@pytest.mark.parametrize("what", ["directory", "key", "both"])
def test_cache_may_be_deleted_while_it_is_used(tmp_path: Path, what: str) -> None:
    """Without its directory or its key it is empty, and works again with the next entry."""
    cache = ModuleCache(tmp_path / "cache")
    cache.save("k", b"payload")
    if what != "key":
        shutil.rmtree(tmp_path / "cache")
    if what != "directory":
        _key_of(tmp_path / "cache").unlink()
    assert cache.find("k") is None
    cache.save("k", b"again")
    assert cache.find("k") == b"again"


def test_cache_serves_many_threads(tmp_path: Path) -> None:
    """Saving, finding, trimming and deleting at once give a payload whole or none."""
    cache_module.set_bounds(tmp_path / "cache", CacheBounds(entries_max=3))
    cache = ModuleCache(tmp_path / "cache")
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(40):
            key = f"k{(number + turn) % 5}"
            cache.save(key, key.encode() * 1000)
            found = cache.find(key)
            if found not in (None, key.encode() * 1000):
                wrong.append(found)
            if turn % 13 == number:
                shutil.rmtree(tmp_path / "cache", ignore_errors=True)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cache.compiled == 160
    assert cache.hits + cache.misses + cache.refused == 160


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
