"""Values through the guest and back: a law, for values of every kind."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lithox.model.values import encode_value
from tests.conformance.lua.driver import Host, LuaGuest

SOURCE = "return {f = function(self, x) self.state.copy = x self.state.same = self.state.same end}"

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.binary().filter(lambda data: not _is_text(data)),
)
values = st.recursive(
    plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=40
).filter(lambda value: value is not None)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=values)
def test_value_comes_back_in_the_same_bytes(value: Any) -> None:
    """What Lua wrote has the node's own canonical bytes; an unchanged value is not written."""
    outcome = _guest().run("f", value, state={"same": value})
    assert outcome.error is None, outcome.error
    assert outcome.writes_raw == {"copy": encode_value(value)}


_guests: list[LuaGuest] = []


def _guest() -> LuaGuest:
    if not _guests:
        guest = LuaGuest(Host())
        guest.load(SOURCE)
        _guests.append(guest)
    return _guests[0]
