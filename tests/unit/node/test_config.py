"""The operator's file: what it may say, and how a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from lithox.dispatch.accepted_records import ResultBounds
from lithox.errors import ConfigError
from lithox.model.limits import Limits
from lithox.node.config import read_config
from lithox.sandbox.cache import CacheBounds

GOOD = """
node_entity = "~here"
allowed_hosts = ["Node.Example"]
body_max = "2MiB"
cache = "128MiB"
code_cache = { size = "1GiB", entries = 7 }
results_per_account = 10

[limits]
fuel = 1_000_000_000
wall = "10s"

[handler_limits]
memory = "4MiB"

[program_limits]
memory = "32MiB"

[scheduler]
quanta_fuel = [500_000, 5_000_000]

[[identity]]
name = "alice"
account = "acme"
admin = true
token_sha256 = "%s"
""" % ("0a" * 32)


def test_every_key_is_read(tmp_path: Path) -> None:
    """Each key of the file reaches its field, with units understood."""
    path = tmp_path / "node.toml"
    path.write_text(GOOD)
    config = read_config(path)
    assert config.code_cache == CacheBounds(bytes_max=1 << 30, entries_max=7)
    assert config.node_entity == "~here"
    assert config.allowed_hosts == ("node.example",)
    assert (config.body_bytes_max, config.cache_bytes) == (2 << 20, 128 << 20)
    assert (config.limits.fuel, config.limits.wall_ns) == (1_000_000_000, 10_000_000_000)
    assert config.limits.memory_bytes == 64 << 20
    assert config.handler_limits.memory_bytes == 4 << 20
    assert config.program_limits == Limits(memory_bytes=32 << 20)
    assert config.policy.quanta_fuel == (500_000, 5_000_000)
    [identity] = config.identities
    assert (identity.name, identity.account, identity.is_admin) == ("alice", "acme", True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("colour = 1", "unknown key 'colour'"),
        ("limits = {speed = 1}", "unknown key 'speed'"),
        ("limits = {fuel = 0}", "more than 0"),
        ("limits = {wall = 5}", "quantity with its unit"),
        ("program_limits = {state = 5}", "state is for handlers"),
        ("body_max = -1", "above 0"),
        ("[[identity]]\nname = 'x'", "has name, token_sha256"),
        ("[[identity]]\nname = 'x'\ntoken_sha256 = 'short'", "64 hexadecimal digits"),
        ("[scheduler]\nspeed = 1", "unknown key 'speed'"),
        ("[scheduler]\nquanta_fuel = [5]", "two or more numbers"),
        ("node_entity = '../x'", "entity path"),
        ("code_cache = {colour = 1}", "known are size, entries"),
        ("code_cache = {entries = 0}", "above 0"),
        ("code_cache = 1", "is a table"),
        ("a = ", "malformed TOML"),
    ],
)
def test_mistakes_name_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    """A wrong file is refused with its path and what was wrong."""
    path = tmp_path / "node.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        read_config(path)


def test_missing_file_is_told(tmp_path: Path) -> None:
    """A file that is not there is a configuration error, not a trace."""
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "none.toml")


def test_results_and_callbacks_are_read(tmp_path: Path) -> None:
    """Durations and sizes with their units, counts as numbers, origins and secrets as texts."""
    path = tmp_path / "node.toml"
    path.write_text(
        '[results]\nkept = "2h"\naccepted = 9\naccepted_per_account = 8\nrunning = 7\n'
        'running_per_account = 6\naccepted_bytes = "1KiB"\n'
        'accepted_bytes_per_account = "1KiB"\n'
        f'[callbacks]\nallow = ["https://a.example"]\nsecret = "whsec_{"A" * 32}"\n'
    )
    found = read_config(path)
    assert found.results == ResultBounds(
        kept_ns=7200 * 10**9,
        accepted_max=9,
        accepted_account_max=8,
        running_max=7,
        running_account_max=6,
        accepted_bytes_max=1024,
        accepted_account_bytes_max=1024,
    )
    assert found.callbacks.allow == ("https://a.example:443",)
    assert found.callbacks.keys == (bytes(24),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("results = 1", "results is a table"),
        ("[results]\nkept = 5", "needs a duration"),
        ("[results]\nrunning = 0", "above 0"),
        ("[results]\nmore = 1", "results: unknown key 'more'"),
        ('[callbacks]\nallow = ["https://a.example"]', "a secret is needed"),
    ],
)
def test_mistakes_in_results_and_callbacks_are_told(tmp_path: Path, text: str, told: str) -> None:
    """By table and key."""
    path = tmp_path / "node.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        read_config(path)
