"""Programs, libraries, runtimes and services in a manifest: what is read, how mistakes are told."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithox.errors import ConfigError
from lithox.model.limits import Limits
from lithox.model.values import decode_value, encode_value
from lithox.modules.bundle import Bundle, read_bundle
from lithox.modules.lines import find_line
from lithox.modules.manifest import CodeSpec, parse_manifest
from lithox.modules.services import (
    CONTEXTS_DEFAULT,
    LogSpec,
    ServiceSpec,
    find_cycle,
    find_unknown,
    parse_service,
)

CODE = """
[[program]]
name = "web"
source = "web.lua"
runtime = "compat-5.1"

[[library]]
name = "http.client"
source = "lib/http.lua"

[[runtime]]
name = "cc"
source = "cc.lua"
"""
SERVICE = """
[[service]]
name = "web"
program = "web"
runtime = "cc"
args = [80, "x", { deep = [true, 1.5] }]
restart = "always"
backoff_min = "200ms"
backoff_max = "1m"
burst = 3
burst_window = "5s"
requires = ["storage"]
after = ["log.d"]
contexts = ["log.*", "time.now", "*"]
storage = true
limits = { memory = "8MiB", fuel = 1_000 }
priority = 6
stop_deadline = "2s"
mode = "cooperative"
ready = "notify"
autostart = false
quota = "1MiB"
log = { max_size = "64kB", files = 2 }
"""


def test_code_is_read_without_any_template() -> None:
    """Each kind gives what it says; a manifest needs no template."""
    manifest = parse_manifest(CODE)
    assert manifest.templates == ()
    assert manifest.code == (
        CodeSpec(kind="program", name="web", source="web.lua", runtime="compat-5.1"),
        CodeSpec(kind="library", name="http.client", source="lib/http.lua"),
        CodeSpec(kind="runtime", name="cc", source="cc.lua"),
    )
    assert [source for _, source, _ in manifest.sources()] == ["web.lua", "lib/http.lua", "cc.lua"]


def test_a_service_is_read_whole() -> None:
    """Every key means what it says, and its plain form has one unit for each amount."""
    [spec] = parse_manifest(SERVICE).services
    assert spec == ServiceSpec(
        name="web",
        program="web",
        runtime="cc",
        args=[80, "x", {"deep": [True, 1.5]}],
        restart="always",
        backoff_min_ms=200,
        backoff_max_ms=60_000,
        burst=3,
        burst_window_ms=5_000,
        requires=("storage",),
        after=("log.d",),
        contexts=("log.*", "time.now", "*"),
        storage=True,
        limits=Limits(memory_bytes=8 << 20, fuel=1_000),
        priority=6,
        stop_deadline_ms=2_000,
        mode="cooperative",
        ready="notify",
        autostart=False,
        quota_bytes=1 << 20,
        log=LogSpec(bytes_max=64_000, files=2),
    )
    plain = spec.to_plain()
    assert (plain["limits"], plain["log"]) == (
        {"fuel": 1_000, "memory": 8 << 20},
        {"bytes_max": 64_000, "files": 2},
    )
    assert decode_value(encode_value(plain)) == plain


def test_a_service_says_little_and_gets_the_defaults() -> None:
    """Name and program are enough; a runtime and a mode not said are not in its plain form."""
    [spec] = parse_manifest('[[service]]\nname = "a"\nprogram = "b"\n').services
    assert spec == ServiceSpec(name="a", program="b")
    assert spec.to_plain() == {
        "name": "a",
        "program": "b",
        "args": [],
        "restart": "on-failure",
        "backoff_min_ms": 100,
        "backoff_max_ms": 30_000,
        "burst": 5,
        "burst_window_ms": 10_000,
        "requires": [],
        "after": [],
        "contexts": list(CONTEXTS_DEFAULT),
        "storage": False,
        "limits": {},
        "priority": 4,
        "stop_deadline_ms": 5_000,
        "log": {"bytes_max": 1 << 20, "files": 5},
        "ready": "started",
        "autostart": True,
    }


PROGRAM = '[[program]]\nname = "p"\nsource = "p.lua"\n'
HEAD = '[[service]]\nname = "a"\nprogram = "b"\n'


@pytest.mark.parametrize(
    ("text", "told", "line"),
    [
        ("# nothing", "needs at least one of", None),
        ("program = []", "needs at least one of", None),
        (PROGRAM + "[service]\nname = 'a'", r"service is written \[\[service\]\]", 4),
        (PROGRAM + "[[servise]]\nname = 'a'", "unknown key 'servise'", 4),
        ("other = 1\n" + PROGRAM, "unknown key 'other'", 1),
        (PROGRAM + "langage = 'lua'", "unknown key 'langage'", 4),
        (PROGRAM + PROGRAM, "two times program 'p'", 4),
        (PROGRAM.replace('"p"', '".p"'), "does not begin with a dot", 2),
        (PROGRAM.replace("p.lua", "../p.lua"), "relative file name", 3),
        (PROGRAM.replace('name = "p"\n', ""), "needs name", 1),
        (PROGRAM + "runtime = 5", "runtime: is 1-128", 4),
        (PROGRAM.replace("program", "library") + "runtime = 'cc'", "unknown key 'runtime'", 4),
        (HEAD + "programm = 'x'", "unknown key 'programm'", 4),
        (HEAD.replace('program = "b"\n', ""), "needs program", 1),
        (HEAD.replace('"b"', '"b b"'), "program: is 1-128", 3),
        (HEAD + "# limits\nlimits = { fule = 1 }", "unknown key 'fule'", 5),
        (HEAD + "limits = { fuel = 0 }", "is more than 0", 4),
        (HEAD + "[service.limits]\nfule = 1", "unknown key 'fule'", 5),
        (HEAD + "restart = 'sometimes'", "restart is one of always, on-failure, never", 4),
        (HEAD + "restart = []", "restart is one of", 4),
        (HEAD + "mode = 'x'", "mode is one of preemptive, cooperative", 4),
        (HEAD + "backoff_min = 5", "is a duration", 4),
        (HEAD + "backoff_min = '5'", "backoff_min: a duration is", 4),
        (HEAD + "backoff_min = '1us'", "is 1ms to 24h", 4),
        (HEAD + "backoff_max = '25h'", "is 1ms to 24h", 4),
        (HEAD + "backoff_min = '1m'", "is more than backoff_max", 4),
        (HEAD + "backoff_max = '1ms'", "is more than backoff_max", 4),
        (HEAD + "burst = -1", "burst is 0 to 1000", 4),
        (HEAD + "burst = true", "burst is 0 to 1000", 4),
        (HEAD + "requires = 'x'", "requires is a list of texts", 4),
        (HEAD + "requires = [5]", "requires is a list of texts", 4),
        (HEAD + "requires = ['x', 'x']", "each once", 4),
        (HEAD + "requires = ['a']", "cannot wait for itself", 4),
        (HEAD + "after = ['a/b']", "after: is 1-128", 4),
        (HEAD + "contexts = ['a*b']", "contexts are names such as", 4),
        (HEAD + "contexts = ['']", "contexts are names such as", 4),
        (HEAD + "storage = 1", "storage is true or false", 4),
        (HEAD + "ready = 'soon'", "ready is one of started, notify", 4),
        (HEAD + "autostart = 'yes'", "autostart is true or false", 4),
        (HEAD + "quota = '1kB'", "quota is 4096 to", 4),
        (HEAD + "priority = 10", "priority is 0 to 9", 4),
        (HEAD + "args = 5", "args is a list", 4),
        (HEAD + "args = [2020-01-01]", "args: values are None", 4),
        (HEAD + f"args = ['{'x' * 20_000}']", "args have at most", 4),
        (HEAD + "log = { size = 5 }", "unknown key 'size'", 4),
        (HEAD + "log = { max_size = '1B' }", "max_size is 4096 to", 4),
        (HEAD + "log = { max_size = 'big' }", "a size is", 4),
        (HEAD + "log = { files = 0 }", "files is 1 to 100", 4),
        (HEAD + HEAD, "two times service 'a'", 4),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, told: str, line: int | None) -> None:
    """The file, what is wrong, and the line of the key or of its table."""
    with pytest.raises(ConfigError, match=told) as caught:
        parse_manifest(text)
    assert caught.value.message.startswith("lithox.toml: ")
    assert (caught.value.fields.get("line"), caught.value.fields["file"]) == (line, "lithox.toml")
    if line is not None:
        assert f"(line {line})" in caught.value.message or "is written" in caught.value.message


def test_a_service_may_come_as_plain_data() -> None:
    """The same reader takes what `service add` was given; dates and odd keys are refused there."""
    assert parse_service({"name": "a", "program": "b"}, "service").name == "a"
    for wrong in (5, [], {"name": "a"}, {"name": "a", "program": "b", "args": [date(2020, 1, 1)]}):
        with pytest.raises(ConfigError):
            parse_service(wrong, "service")


def test_bundle_carries_the_sources_of_all_kinds(tmp_path: Path) -> None:
    """A folder gives every file that is named, and a missing one is told by what names it."""
    (tmp_path / "lib").mkdir()
    for name in ("web.lua", "lib/http.lua", "cc.lua"):
        (tmp_path / name).write_text(name)
    (tmp_path / "lithox.toml").write_text(CODE)
    bundle = read_bundle(tmp_path)
    assert bundle.files == {name: name.encode() for name in ("web.lua", "lib/http.lua", "cc.lua")}
    with pytest.raises(ConfigError, match=r"library 'http.client' names 'lib/http.lua'"):
        Bundle(manifest=CODE, files={"web.lua": b""}).parse()


def test_unknown_services_are_found() -> None:
    """The first one that is required and not known; one that is only waited for does not count."""
    fresh = [
        ServiceSpec(name="a", program="p", requires=("b",), after=("z",)),
        ServiceSpec(name="b", program="p", requires=("c",)),
    ]
    assert find_unknown(fresh, {"a": 1, "b": 1, "c": 1}) is None
    assert find_unknown(fresh, {"a": 1, "b": 1}) == ("b", "c")


def test_cycles_are_found_and_shown() -> None:
    """A ring is told from its first service round to it again; a long chain is none."""
    assert find_cycle({"a": ["b"], "b": ["c"], "c": ["b"]}, ["a"]) == ["b", "c", "b"]
    assert find_cycle({"a": ["b", "c"], "b": ["d"], "c": ["d"]}, ["a", "b"]) is None
    assert find_cycle({"x": ["y"], "y": ["x"], "a": []}, ["a"]) is None
    chain = {str(number): [str(number + 1)] for number in range(5_000)}
    assert find_cycle(chain, ["0"]) is None


@given(edges=st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=14))
def test_a_cycle_is_told_exactly_when_there_is_one(edges: list[tuple[str, str]]) -> None:
    """What is told is a ring of real edges; when nothing is told, the services can be ordered."""
    waits: dict[str, list[str]] = {}
    for one, other in edges:
        waits.setdefault(one, []).append(other)
    ring = find_cycle(waits, "abcdef")
    if ring is not None:
        assert ring[0] == ring[-1]
        assert all(other in waits[one] for one, other in pairwise(ring))
        return
    left = set("abcdef")
    while left:
        ready = {name for name in left if not left.intersection(waits.get(name, ()))}
        assert ready, "a cycle was missed"
        left -= ready


@pytest.mark.parametrize(
    ("section", "number", "key", "line"),
    [
        ("a", 1, None, 2),
        ("a", 2, "x", 8),
        ("a", 1, "sub", 4),
        ("a", 1, "y", 5),
        ("a", 2, "inline", 9),
        ("a", 2, "z", 7),
        ("a", 3, "x", None),
        (None, 0, "top", 1),
        (None, 0, "b", 10),
        (None, 0, "z", None),
    ],
)
def test_lines_of_keys_are_found(section: str | None, number: int, key: Any, line: Any) -> None:
    """In its own table, its sub-tables and inline; else the header's line, or none."""
    text = (
        "top = 1\n[[a]]\nx = 1\n[a.sub]\ny = 2  # z = 3\n\n"
        "[[ 'a' ]]\n'x' = 3\nw = { inline = 4 }\n[b.c]\nz = 1\n"
    )
    assert find_line(text, section, number, key) == line
