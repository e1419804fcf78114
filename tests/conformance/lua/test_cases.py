"""The Markdown cases, in the guest and, where the meaning is shared, on stock Lua."""

from __future__ import annotations

from typing import Any

import lupa.lua54
import msgspec
import pytest

from lithox.model.values import decode_json
from tests.conformance.lua.cases import Case, read_cases
from tests.conformance.lua.driver import Host, run_source

CASES = read_cases()


def by_name(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_case_in_the_guest(case: Case) -> None:
    """The handler's answer or error is the one the case tells."""
    args = decode_json(case.find("args") or "[]")
    outcome = run_source(case.blocks["lua"], *args, host=Host())
    if (answer := case.find("answer")) is not None:
        assert outcome.error is None, outcome.error
        expected = decode_json(answer)
        assert outcome.value == expected
        assert type(outcome.value) is type(expected)
        return
    assert outcome.error is not None
    assert (case.find("error") or "?") in outcome.error.message
    assert outcome.error.code == (case.find("code") or "")
    data = msgspec.msgpack.decode(outcome.error.data)
    if (expected_data := case.find("data")) is not None:
        assert data == decode_json(expected_data)


@pytest.mark.parametrize("case", [case for case in CASES if case.is_shared], ids=by_name)
def test_shared_case_on_stock_lua(case: Case) -> None:
    """Stock Lua 5.4 gives the same answer."""
    lua = lupa.lua54.LuaRuntime(encoding="utf-8")
    value = lua.execute(case.blocks["lua"])
    plain: Any = list(value.values()) if lupa.lua54.lua_type(value) == "table" else value
    assert plain == decode_json(case.find("answer") or "null")


def test_cases_are_well_formed() -> None:
    """Every case has code and exactly one of answer and error, and no two have one name."""
    assert len({case.name for case in CASES}) == len(CASES) > 40
    for case in CASES:
        assert "lua" in case.blocks
        assert ("answer" in case.blocks) != ("error" in case.blocks)
