"""Errors as callers and peers meet them. The table itself is tested in tests/repo."""

from __future__ import annotations

import pytest

from lithox.errors import (
    BadArguments,
    Conflict,
    GuestRaised,
    InternalError,
    LimitExceeded,
    LithoxError,
    Overloaded,
    PeerUnreachable,
    RequestError,
    StoreUnavailable,
    TransactionError,
    meaning_of,
    rebuild,
)


def test_an_error_carries_message_code_and_fields() -> None:
    """What is raised is what a handler of errors can read."""
    error = Overloaded("too many", retry_after_ms=20, limit="processes", allowed=3)
    assert str(error) == "too many"
    assert error.code == "request.overloaded"
    assert error.fields == {"limit": "processes", "allowed": 3}
    assert (error.http_status, error.exit_status, error.fault) == (429, 4, "caller")
    assert error.to_fields() == {
        "limit": "processes",
        "allowed": 3,
        "message": "too many",
        "retry_after_ms": 20,
    }


def test_a_limit_names_its_code_by_itself() -> None:
    """LimitExceeded has the code of the limit it names."""
    error = LimitExceeded("no more fuel", limit="fuel", used=11, allowed=10)
    assert error.code == "guest.out_of_fuel"
    assert error.fields == {"limit": "fuel", "used": 11, "allowed": 10}


def test_a_code_outside_the_table_is_our_bug() -> None:
    """Nobody can raise an error whose code means nothing outside."""
    with pytest.raises(AssertionError, match=r"request\.sideways"):
        RequestError("no", code="request.sideways")
    with pytest.raises(AssertionError, match=r"guest\.out_of_luck"):
        LimitExceeded("no", limit="luck")


def test_a_code_of_the_handlers_own_is_kept() -> None:
    """`app.*` codes are raised and rebuilt as GuestRaised."""
    error = rebuild("app.sold_out", {"message": "none left", "item": "tea"})
    assert type(error) is GuestRaised
    assert (error.code, error.message, error.fields) == (
        "app.sold_out",
        "none left",
        {"item": "tea"},
    )


@pytest.mark.parametrize("code", ["", "request", "request.new_thing", "guest.out_of_luck", "APP.x"])
def test_a_stranger_cannot_pass_for_one_of_ours(code: str) -> None:
    """A code this version does not know becomes an InternalError that names it."""
    error = rebuild(code, {"message": "hello"})
    assert type(error) is InternalError
    assert str(error) == f"{code}: hello"


def test_fields_of_a_stranger_do_no_harm() -> None:
    """Reserved, odd and missing fields neither break the rebuilding nor change the code."""
    odd = {"code": "internal", "self": 1, "message": 5, "retry_after_ms": "soon", "not a name": 2}
    error = rebuild("transaction.conflict", odd)
    assert type(error) is Conflict
    assert error.code == "transaction.conflict"
    assert error.message == "5"
    assert error.retry_after_ms is None
    assert error.fields == {"self": 1, "not a name": 2}
    assert rebuild("request.bad_arguments", {}).args == ("request.bad_arguments",)


def test_a_limit_cannot_be_renamed_by_its_fields() -> None:
    """The limit in a rebuilt error is that of its code."""
    error = rebuild("guest.out_of_fuel", {"message": "m", "limit": "memory"})
    assert isinstance(error, LimitExceeded)
    assert error.fields == {"limit": "fuel"}


def test_the_narrowest_class_wins() -> None:
    """A code that parent and child share is rebuilt as the child."""
    assert type(rebuild("peer.unreachable", {"message": "m"})) is PeerUnreachable


def test_classes_are_caught_by_whose_fault_it_was() -> None:
    """Each leaf stands below the class people catch, and our bugs below none of them."""
    assert issubclass(BadArguments, RequestError)
    assert issubclass(StoreUnavailable, TransactionError)
    assert not issubclass(InternalError, LithoxError)


def test_an_unknown_code_has_no_meaning() -> None:
    """meaning_of raises for what is not in the table."""
    with pytest.raises(KeyError):
        meaning_of("request.sideways")
