"""self:range: keys from one to before another, over state that is here and state that is not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.lua.driver import Host, run_source

STATE = {"a": 1, "b": {"n": 2}, "b\x00": 3, "ba": 4, "c": 5, "é": 6}
COLLECT = """
self.state.bb = 7 self.state.ba = nil
local keys = lithox.list{}
for key, value in self:range(FROM, TO, AFTER) do
  keys[#keys + 1] = {key, type(value) == "table" and value.n or value}
end
return keys
"""


def literal(text: str | None) -> str:
    return "nil" if text is None else '"' + text.replace("\0", "\\0") + '"'


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize(
    ("start", "end", "after", "keys"),
    [
        (None, None, None, "a b b\x00 bb c é"),
        ("b", "c", None, "b b\x00 bb"),
        ("b", "b", None, ""),
        ("c", "b", None, ""),
        ("b", None, "b", "b\x00 bb c é"),
        ("a", "c", "b\x00", "bb"),
        ("a", "c", "x", ""),
        ("", "b\x00", None, "a b"),
        ("d", None, None, "é"),
        ("é", "ê", None, "é"),
    ],
)
def test_a_range_gives_its_keys(
    complete: bool, start: str | None, end: str | None, after: str | None, keys: str
) -> None:
    """Both kinds of state give the same keys, the run's own changes among them."""
    host = Host(state={} if complete else dict(STATE))
    code = COLLECT
    for name, text in (("FROM", start), ("TO", end), ("AFTER", after)):
        code = code.replace(name, literal(text))
    outcome = run_source(
        code, host=host, state=dict(STATE) if complete else None, complete=complete
    )
    assert outcome.error is None, outcome.error
    assert [pair[0] for pair in outcome.value] == (keys.split(" ") if keys else [])
    assert ("range" in [call[0] for call in host.calls]) == (not complete)
    assert outcome.scans == ([(start or "", end)] if complete else [])


def scans_of(body: str, **options: Any) -> list[Any]:
    outcome = run_source(body, state={"a": 1}, complete=True, **options)
    assert outcome.error is None, outcome.error
    return outcome.scans


@pytest.mark.parametrize(
    ("calls", "scans"),
    [
        ('self:range("a", "c") self:range("a", "c")', [("a", "c")]),
        ('self:range("a", "c") self:range("b", "c")', [("a", "c")]),
        ('self:range("b", "c") self:range("a", "c")', [("b", "c"), ("a", "c")]),
        ('self:range("a") self:range("b", "c")', [("a", None)]),
        ('self:range("b", "c") self:range("b")', [("b", "c"), ("b", None)]),
        ('self:scan("") self:range("b", "c") self:scan("x")', [""]),
        ('self:scan("b") self:range("b", "c")', ["b", ("b", "c")]),
        ('self:range("a") self:scan("b")', [("a", None), "b"]),
    ],
)
def test_areas_used_whole_are_named_once(calls: str, scans: list[Any]) -> None:
    """An area inside one that was used already is not told again."""
    assert scans_of(calls) == scans


@pytest.mark.parametrize("arguments", ["5, {}", '"\\255"', '"a", true'])
def test_ends_of_a_range_are_text(arguments: str) -> None:
    """What is no key is refused in the handler's line."""
    outcome = run_source(f"return pcall(self.range, self, {arguments})")
    assert outcome.value is False
