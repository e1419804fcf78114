"""guests/build.py: what it makes, keeps and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from guests import build, sources


def test_second_build_does_nothing() -> None:
    """With nothing changed, no step is reported and the same file is returned."""
    build.build(lambda _: None)
    steps: list[str] = []
    assert build.build(steps.append) == build.OUTPUT
    assert steps == []


def test_digest_covers_the_shim(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Any change of a shim file or of a flag makes another digest."""
    for path in build.SHIM.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(build, "SHIM", tmp_path)
    before = build._input_digest()
    (tmp_path / "state.c").write_text("/* other */")
    after = build._input_digest()
    monkeypatch.setattr(build, "LINK_FLAGS", ())
    assert len({before, after, build._input_digest()}) == 3


def test_wrong_compiler_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of the compiler is not used; the message says what to install."""
    monkeypatch.setattr(build, "ZIGLANG_VERSION", "0.0.1")
    with pytest.raises(sources.BuildError, match=r"pip install ziglang==0\.0\.1"):
        build._input_digest()


def test_compiler_errors_are_shown(tmp_path: Path) -> None:
    """What the C compiler says is in the error."""
    broken = tmp_path / "broken.c"
    broken.write_text("int f(void) { return missing; }\n")
    with pytest.raises(sources.BuildError, match="use of undeclared identifier 'missing'"):
        build._compile_unit(broken, sources.lua54_sources(print), tmp_path)


def test_foreign_archive_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An archive in the cache with other bytes than the pinned ones is not unpacked."""
    monkeypatch.setattr(sources, "CACHE", tmp_path)
    (tmp_path / "lupa-2.8.tar.gz").write_bytes(b"something else")

    def fail(*args: object, **settings: object) -> object:
        class Done:
            returncode = 1
            stderr = "no network"

        return Done()

    monkeypatch.setattr(sources.subprocess, "run", fail)
    with pytest.raises(sources.BuildError, match=r"(?s)Check the network.*no network"):
        sources.lua54_sources(lambda _: None)


def test_no_build_answers_pip_with_the_archives_metadata(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The stand-in back end writes name and version and runs nothing."""
    from guests.no_build.setuptools import build_meta

    (tmp_path / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: lupa\nVersion: 2.8\n\nText\n")
    monkeypatch.chdir(tmp_path)
    folder = build_meta.prepare_metadata_for_build_wheel(str(tmp_path))
    assert folder == "lupa-2.8.dist-info"
    text = (tmp_path / folder / "METADATA").read_text()
    assert text == "Metadata-Version: 2.1\nName: lupa\nVersion: 2.8\n"
    assert build_meta.get_requires_for_build_wheel() == []
