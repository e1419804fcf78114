"""The wire: a request and an answer are the same on the other side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithox.cluster.frames import FrameReader, make_frames
from lithox.cluster.wire import (
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
    pack_request,
    unpack_request,
)
from lithox.dispatch.elsewhere import asked_elsewhere
from lithox.errors import InternalError, LimitExceeded, NotFound, PeerProtocolError
from lithox.model.ids import AccountName, EntityPath, HandlerName, Identity, RequestId
from lithox.model.limits import Limits
from lithox.model.request import Answer, Call, Caller, Request, Usage

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=10,
)
CALLER = Caller(identity=Identity("ann"), account=AccountName("team"), is_admin=True)


def cross(item: bytes) -> list[object]:
    """Returns an item as the other side reads it."""
    return FrameReader().feed(b"".join(make_frames([item])))[0]


def request_of(**changes: object) -> Request:
    base = {
        "entity": EntityPath("cart/7"),
        "handler": HandlerName("add"),
        "args": [1, "x"],
        "caller": CALLER,
    }
    return Request(**(base | changes))  # type: ignore[arg-type]


@given(st.lists(VALUES))
def test_arguments_arrive_as_they_left(args: list[object]) -> None:
    """Every plain value, bytes apart from text."""
    assert decode_request(cross(encode_request(7, request_of(args=args), 0)), 0).args == args


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"limits": Limits(fuel=5, big_bytes=9)},
        {"request_id": RequestId("r1"), "hops": 3, "owner": "bob"},
        {"calls": (Call(entity=EntityPath("a/b"), handler=HandlerName("c"), args=[b"\0"]),)},
        {"origin": asked_elsewhere(2, Limits(fuel=100))},
    ],
)
def test_every_field_of_a_request_crosses(changes: dict[str, object]) -> None:
    """Whatever dispatch looks at is there on the other side, by a frame or in a question."""
    request = request_of(**changes)
    assert decode_request(cross(encode_request(7, request, 50)), 50) == request
    assert unpack_request(pack_request(request, 50), 50) == request


def test_a_deadline_crosses_as_what_is_left_of_it() -> None:
    """Each process has a clock of its own; one that has passed stays passed."""
    item = cross(encode_request(7, request_of(deadline_ns=1_000), 1_300))
    assert decode_request(item, 9_000).deadline_ns == 8_700


@given(VALUES)
def test_a_value_arrives_as_it_left(value: object) -> None:
    """With what the run used, the id and whether it was recorded."""
    usage = Usage(fuel=1, cpu_ns=2, wall_ns=3, memory_bytes=4, attempts=5, calls=6)
    answer = Answer(request_id=RequestId("r"), value=value, usage=usage, is_recorded=True)
    assert decode_answer(cross(encode_answer(1, answer))) == answer


def test_an_error_arrives_as_the_same_error() -> None:
    """Its class, message, fields and when to try again; our own bugs stay our own."""
    error = NotFound("no such handler", handler="x")
    found = decode_answer(cross(encode_answer(1, Answer(error=error)))).error
    assert isinstance(found, NotFound)
    assert (found.to_fields(), found.code) == (error.to_fields(), error.code)
    limit = LimitExceeded("too much", limit="fuel")
    assert isinstance(
        decode_answer(cross(encode_answer(1, Answer(error=limit)))).error, type(limit)
    )
    bug = decode_answer(cross(encode_answer(1, Answer(error=ValueError("oops"))))).error
    assert isinstance(bug, InternalError)


@pytest.mark.parametrize("item", [[0, 1], [0, 1] + [None] * 12, [0, 1, *"abcdefghijklm"]])
def test_what_is_no_request_is_refused(item: list[object]) -> None:
    """A torn item raises what ends the link, and nothing else."""
    with pytest.raises(PeerProtocolError):
        decode_request(item, 0)


@pytest.mark.parametrize("item", [[1, 1], [1, 1, None, None, [1], None, False], [1, 2, 3, "x", 5]])
def test_what_is_no_answer_is_refused(item: list[object]) -> None:
    """The same for answers."""
    with pytest.raises(PeerProtocolError):
        decode_answer(item)
