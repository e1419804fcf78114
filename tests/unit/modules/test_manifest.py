"""`lithox.toml` and bundles: what is read, and how each mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from lithox.errors import ConfigError, NotFound, TooLarge
from lithox.model.limits import Limits
from lithox.modules.bundle import SOURCE_BYTES_MAX, Bundle, read_bundle
from lithox.modules.digest import digest_of
from lithox.modules.manifest import format_limits, parse_limits, parse_manifest

GOOD = """
[[template]]
match = "counter/*"
language = "lua"
source = "counter.lua"
limits = { fuel = 50_000_000, memory = "8MiB", wall_ms = 5_000 }
access = ["*"]
owner = "caller"
pin = true
[template.handlers.increment]
priority = 5
limits = { fuel = 1_000_000 }
"""


def test_contracts_example_is_read() -> None:
    """The manifest of the contract gives the template it describes."""
    [spec] = parse_manifest(GOOD).templates
    assert (spec.match, spec.language, spec.source) == ("counter/*", "lua", "counter.lua")
    assert spec.limits == Limits(fuel=50_000_000, memory_bytes=8 << 20, wall_ns=5_000_000_000)
    assert spec.handlers["increment"].priority == 5
    assert spec.handlers["increment"].limits == Limits(fuel=1_000_000)
    assert (spec.access, spec.owner, spec.pin) == (["*"], "caller", True)


HEAD = '[[template]]\nmatch = "a/*"\nlanguage = "lua"\nsource = "a.lua"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "needs at least one"),
        ("x = 1", "unknown key 'x'"),
        ("template = 3", "needs at least one"),
        ("[[template]]\nmatch = 'a'", "needs language"),
        (HEAD.replace("lua", "cobol", 1), "language is one of lua, python, javascript, wasm"),
        (HEAD.replace("a.lua", "../a.lua"), "relative file name"),
        (HEAD.replace("a.lua", "/etc/passwd"), "relative file name"),
        (HEAD.replace("a/*", "a/**/b"), "a pattern is"),
        (HEAD + "limitz = {}", "unknown key 'limitz'"),
        (HEAD + "limits = {fuel = 'much'}", "found 'much'"),
        (HEAD + "limits = {fuel = -1}", "found -1"),
        (HEAD + "limits = {memory = '8 furlongs'}", "found '8 furlongs'"),
        (HEAD + "owner = 'me'", "'deployer' or 'caller'"),
        (HEAD + "pin = 'yes'", "pin is true or false; found 'yes'"),
        (HEAD + "pin = 2", "pin is true or false; found 2"),
        (HEAD.replace("a.lua", "m\\u0000.lua"), "relative file name"),
        ("x = " + "[" * 20_000, "nests too deep"),
        (HEAD + "pin" + ".x" * 20_000 + " = 1", "nests too deep"),
        ("x = " + "9" * 5_000, "malformed TOML"),
        (HEAD + "[template.handlers.Bad]", "handler name"),
        (HEAD + "[template.handlers.x]\npriority = 10", "priority is 0 to 9"),
        (HEAD + HEAD, "two templates match"),
        ("[[template]\n", "malformed TOML.*line 1"),
    ],
)
def test_mistakes_are_told(text: str, told: str) -> None:
    """A wrong manifest is refused with the file, the place and what was expected."""
    with pytest.raises(ConfigError, match=told) as caught:
        parse_manifest(text)
    assert "lithox.toml" in caught.value.message


def test_malformed_toml_has_its_line() -> None:
    """The line of a syntax error is a field of its own."""
    with pytest.raises(ConfigError) as caught:
        parse_manifest('[[template]]\nmatch = "a\n')
    assert caught.value.fields["line"] == 2


def test_bundle_is_read_from_its_folder(tmp_path: Path) -> None:
    """A folder gives its manifest and the files that it names."""
    (tmp_path / "lithox.toml").write_text(HEAD)
    (tmp_path / "a.lua").write_bytes(b"return {}")
    bundle = read_bundle(tmp_path)
    assert bundle.files == {"a.lua": b"return {}"}
    assert len(bundle.parse().templates) == 1


def test_bundle_mistakes_are_told(tmp_path: Path) -> None:
    """A missing manifest, a missing file and one too large each have their error."""
    with pytest.raises(NotFound, match=r"no lithox\.toml"):
        read_bundle(tmp_path)
    (tmp_path / "lithox.toml").write_text(HEAD)
    with pytest.raises(ConfigError, match=r"a\.lua: cannot be read"):
        read_bundle(tmp_path)
    with pytest.raises(ConfigError, match="which is not there"):
        Bundle(manifest=HEAD, files={}).parse()
    with pytest.raises(TooLarge):
        Bundle(manifest=HEAD, files={"a.lua": b"x" * (SOURCE_BYTES_MAX + 1)}).parse()


def test_limits_are_shown_as_they_are_read() -> None:
    """`format_limits` is the inverse of `parse_limits`."""
    shown = {"fuel": 5, "memory": 1024, "wall_ms": 7, "output": 9, "calls": 3, "state": 4}
    assert format_limits(parse_limits(shown, "x")) == shown


def test_digest_covers_language_and_text() -> None:
    """The same text in another language is another module."""
    assert digest_of("lua", b"x") != digest_of("python", b"x")
    assert digest_of("lua", b"x") == digest_of("lua", b"x")
