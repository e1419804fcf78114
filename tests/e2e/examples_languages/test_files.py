"""The folders of the application say the same and stay small."""

from __future__ import annotations

import tomllib

import pytest

from tests.e2e.examples_languages.application import FOLDER, LANGUAGES
from tests.repo.checkout import name_of, tracked

LINES_MAX = 200
COMMENTS = ("-- ", "// ", "/* ", "# ", '"""')
PARTS = ("document", "limiter", "notices", "order", "stock")
SOURCES = tracked(".lua", ".js", ".py", ".c", under="examples/languages")


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_part_stays_small_and_says_what_it_is(path) -> None:
    """A part is read in one go, and its first line says what it is."""
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) <= LINES_MAX
    assert lines[0].startswith(COMMENTS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_folder_has_every_part(language: str) -> None:
    """No part is missing, none is more than the others have, and each folder has its page."""
    found = {path.stem for path in SOURCES if path.parent == FOLDER / language}
    assert found >= set(PARTS)
    assert (FOLDER / language / "README.md") in tracked(".md")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_manifests_differ_in_the_language_only(language: str) -> None:
    """The same entities with the same rights; limits may be set by what a language needs."""

    def read(name: str) -> list[tuple[str, object, str]]:
        manifest = tomllib.loads((FOLDER / name / "lithox.toml").read_text("utf-8"))
        return [
            (one["match"], one.get("access"), one["source"].split(".")[0])
            for one in manifest["template"]
        ]

    assert read(language) == read(LANGUAGES[0])
