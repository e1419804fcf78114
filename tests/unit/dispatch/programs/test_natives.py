"""Native contexts: what a grant reaches, and that deriving only narrows."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithox.dispatch.programs.natives import (
    Given,
    Grant,
    NativeCall,
    NativeEntry,
    Natives,
    encode_values,
    is_named,
)
from lithox.errors import BadArguments, NoSuchName, NotPermitted
from lithox.model.ids import AccountName, Identity
from lithox.model.request import Caller

OPERATOR = Caller(identity=Identity("operator"), account=AccountName("operator"), is_admin=True)
GUEST = Caller(identity=Identity("guest"), account=AccountName("guest"))
NAMES = st.sampled_from(["*", "a*", "a.b", "a.*", "a.b*", "b", "b.c", "", "a.b.c", "x*", "x"])


def call(name: str, *args: Any, names: tuple[str, ...] = ("*",), caller: Caller = OPERATOR) -> Any:
    """Performs a native call and returns its values."""
    natives = Natives()
    natives.add(
        NativeEntry(
            name="a.b", arguments="", values="", waits=False, doc="", perform=lambda _: ["done"]
        )
    )
    return natives.perform(
        NativeCall(
            frame=cast("Any", None),
            grant=Grant(names=names, caller=caller),
            name=name,
            args=list(args),
        )
    )


def test_a_call_outside_the_grant_looks_like_one_that_is_not_there() -> None:
    """A guest cannot tell a name that was taken from it from one that never was."""
    assert call("a.b", names=("a.*",)) == ["done"]
    with pytest.raises(NoSuchName) as outside:
        call("a.b", names=("b.*",))
    with pytest.raises(NoSuchName) as absent:
        call("a.b2", names=("*",))
    assert str(outside.value).replace("a.b", "NAME") == str(absent.value).replace("a.b2", "NAME")


@given(st.lists(NAMES, max_size=4), st.lists(NAMES.filter(bool), max_size=4), NAMES)
def test_deriving_never_gives_more(allowed: list[str], wanted: list[str], name: str) -> None:
    """A derived context answers a name exactly when both the old one and the wish do."""
    (given_,) = call("context.derive", wanted, names=(*allowed, "context.derive"))
    assert isinstance(given_, Given)
    plain = name.rstrip("*") or "z"
    expected = is_named((*allowed, "context.derive"), plain) and is_named(wanted, plain)
    assert given_.grant.allows(plain) == expected


def test_only_an_operators_context_may_act_as_somebody_else() -> None:
    """Renaming takes the administrator's rights away as well."""
    (made,) = call("context.derive", ["*"], {"identity": "service:storage"})
    assert made.grant.caller.identity == "service:storage"
    assert not made.grant.caller.is_admin
    with pytest.raises(NotPermitted):
        call("context.derive", ["*"], {"identity": "operator"}, caller=GUEST)


@pytest.mark.parametrize("names", [None, "a.b", {}, [1], [""], ["x" * 129], ["a"] * 257])
def test_names_of_a_derived_context_are_checked(names: Any) -> None:
    """What is no list of names is refused."""
    with pytest.raises(BadArguments):
        call("context.derive", names)


def test_contexts_among_values_become_indices() -> None:
    """Each new context travels as an extension whose bytes are its place in the list."""
    grants = [Grant(names=(name,), caller=GUEST) for name in ("a", "b")]
    data, given_ = encode_values([1, Given(grants[0]), "x", Given(grants[1])])
    assert given_ == grants
    values = msgspec.msgpack.decode(data)
    assert values[1] == msgspec.msgpack.Ext(1, b"\0\0\0\0")
    assert values[3] == msgspec.msgpack.Ext(1, b"\0\0\0\1")
