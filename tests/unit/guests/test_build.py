"""guests/build.py: what it makes, keeps and refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from guests import build, sources


def test_second_build_does_nothing() -> None:
    """With nothing changed, no step is reported and the same file is returned."""
    build.build(lambda _: None)
    steps: list[str] = []
    assert build.build(steps.append) == build.HANDLERS.output
    assert steps == []


def test_every_guest_is_built() -> None:
    """One call leaves the handlers' modules and one for programs of each version of Lua."""
    build.build(lambda _: None)
    names = {path.name for path in build.OUTPUTS.glob("*.wasm")}
    assert {f"{name}.wasm" for name in build.GUESTS} <= names
    versions = [guest.core.version for guest in build.PROGRAMS]
    assert versions == ["5.1", "5.2", "5.3", "5.4", "5.5"]


def test_digest_covers_the_shim(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Any change of a shim's file, of a shared file or of a flag makes another digest."""
    own, shared = tmp_path / "own", tmp_path / "shared"
    for source, copy in ((build.HANDLERS.shim, own), (build.SHARED, shared)):
        copy.mkdir()
        for path in source.iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(build, "SHARED", shared)
    guest = replace(build.HANDLERS, shim=own)
    digests = [build.input_digest(guest)]
    (own / "state.c").write_text("/* other */")
    digests.append(build.input_digest(guest))
    (shared / "value.c").write_text("/* other */")
    digests.append(build.input_digest(guest))
    digests.append(build.input_digest(replace(guest, stack_bytes=1 << 16)))
    monkeypatch.setattr(build, "TARGET_FLAGS", ())
    digests.append(build.input_digest(guest))
    assert len(set(digests)) == 5


def test_handlers_and_programs_of_one_version_share_lua() -> None:
    """Lua's own files are compiled once for both."""
    core = build.HANDLERS.core
    program = next(guest for guest in build.PROGRAMS if guest.core.version == core.version)
    assert build._core_digest(program.core) == build._core_digest(core)
    assert len({build._core_digest(guest.core) for guest in build.PROGRAMS}) == 5


def test_change_of_javascripts_shim_compiles_the_shim_alone(tmp_path: Path) -> None:
    """QuickJS' objects depend on the one file of ours that includes it, and on no other."""
    shim = tmp_path / "javascript"
    shim.mkdir()
    for path in build.JAVASCRIPT.shim.iterdir():
        (shim / path.name).write_bytes(path.read_bytes())
    core = replace(
        build.QUICKJS_CORE,
        own_units=(shim / "engine.c",),
        config=shim / "qjs_config.h",
        headers=(shim / "engine.h",),
    )
    guest = replace(build.JAVASCRIPT, core=core, shim=shim)
    before = build._core_digest(core), build.input_digest(guest)
    (shim / "state.c").write_text("/* other */")
    (shim / "lx.h").write_text("/* other */")
    assert build._core_digest(core) == before[0]
    assert build.input_digest(guest) != before[1]
    for name in ("engine.c", "engine.h", "qjs_config.h"):
        before_one = build._core_digest(core)
        (shim / name).write_text("/* other */")
        assert build._core_digest(core) != before_one, name


def test_unknown_guest_is_refused() -> None:
    """A name that is not there is told with those that are."""
    with pytest.raises(sources.BuildError, match=r"no guest cobol; there are lua54, program51"):
        build._main(["cobol"])


def test_wrong_compiler_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of the compiler is not used; the message says what to install."""
    monkeypatch.setattr(build, "ZIGLANG_VERSION", "0.0.1")
    with pytest.raises(sources.BuildError, match=r"pip install ziglang==0\.0\.1"):
        build.input_digest(build.HANDLERS)


def test_compiler_errors_are_shown(tmp_path: Path) -> None:
    """What the C compiler says is in the error."""
    broken = tmp_path / "broken.c"
    broken.write_text("int f(void) { return missing; }\n")
    lua = sources.lua54_sources(print)
    with pytest.raises(sources.BuildError, match="use of undeclared identifier 'missing'"):
        build.compile_unit(build.HANDLERS, broken, lua, tmp_path)


def test_foreign_archive_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An archive in the cache with other bytes than the pinned ones is not unpacked."""
    monkeypatch.setattr(sources, "CACHE", tmp_path)
    (tmp_path / "lupa-2.8.tar.gz").write_bytes(b"something else")

    def fail(*args: object, **settings: object) -> object:
        class Done:
            returncode = 1
            stdout, stderr = "looking", "no network"

        return Done()

    monkeypatch.setattr(sources.subprocess, "run", fail)
    with pytest.raises(sources.BuildError, match=r"(?s)no network.*If it is the network.*SHA-256"):
        sources.lua54_sources(lambda _: None)


@pytest.mark.parametrize(
    ("name", "folder_of"), [("lupa", "lupa-2.8"), ("quickjs-ng", "quickjs_ng-2.8")]
)
def test_no_build_answers_pip_with_the_archives_metadata(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, folder_of: str
) -> None:
    """The stand-in back end writes name and version, runs nothing, and suits older pips."""
    from guests.no_build.setuptools import build_meta

    (tmp_path / "PKG-INFO").write_text(
        f"Metadata-Version: 2.4\nName: {name}\nVersion: 2.8\n\nText\n"
    )
    monkeypatch.chdir(tmp_path)
    folder = build_meta.prepare_metadata_for_build_wheel(str(tmp_path))
    assert folder == f"{folder_of}.dist-info"
    text = (tmp_path / folder / "METADATA").read_text()
    assert text == f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.8\n"
    assert build_meta.get_requires_for_build_wheel() == []
