"""Calls join the caller's transaction, requests do not; errors come with their codes."""

from __future__ import annotations

from tests.conformance.languages.world import World


def test_call_returns_what_the_other_one_did(world: World) -> None:
    """A callee has its own state, and its value and arguments pass unchanged."""
    one, other = world.fresh(), world.fresh()
    assert world.call(one, "call", other, "increment", [5]) == 5
    assert world.state(other) == {"count": 5}
    assert world.state(one) == {}
    value = {"a": [1, 2.5, "ä", b"\xff", None, {}], "b": (1 << 53) + 1}
    assert world.call(one, "call", other, "echo", [value]) == value
    assert world.call(one, "call", other, "echo") is None


def test_calls_nest(world: World) -> None:
    """A callee calls on, and the innermost value comes all the way back."""
    first, second, third = (world.fresh() for _ in range(3))
    assert world.call(first, "call", second, "call", [third, "increment", [2]]) == 2
    assert world.state(third) == {"count": 2}


def test_error_of_a_callee_is_caught_with_its_code(world: World) -> None:
    """What a callee raised is an error of the language with `code` and `message`."""
    one, other = world.fresh(), world.fresh()
    caught = world.call(one, "try_call", other, "fail", ["too bad", "sold_out"])
    assert caught == {"code": "app.sold_out", "message": "too bad"}
    caught = world.call(one, "try_call", other, "fail", ["plain"])
    assert caught["code"] == "guest.raised"
    assert "plain" in caught["message"]
    assert world.call(one, "try_call", other, "echo", [7]) == {"value": 7}


def test_refusals_of_the_node_are_caught_with_their_codes(world: World) -> None:
    """No handler, a hidden one, no such entity, a callee's own limit: each has its code."""
    one, other = world.fresh(), world.fresh()
    assert world.call(one, "try_call", other, "none")["code"] == "request.not_found"
    assert world.call(one, "try_call", other, "_hidden")["code"] == "request.not_found"
    assert world.call(one, "try_call", "nowhere/one", "echo")["code"] == "request.not_found"
    assert world.call(one, "try_call", "not a path!", "echo")["code"] == "request.bad_arguments"


def test_uncaught_error_of_a_callee_goes_through(world: World) -> None:
    """Who does not catch fails with the callee's code and message, and nothing remains."""
    one, other = world.fresh(), world.fresh()
    error = world.fail(one, "call", other, "fail", ["too bad", "sold_out"])
    assert (error.code, error.message) == ("app.sold_out", "too bad")


def test_failed_callee_leaves_nothing(world: World) -> None:
    """Of a callee that failed nothing remains, though its caught caller goes on and commits."""
    one, other = world.fresh(), world.fresh()
    world.put(other, "count", 3)
    caught = world.call(one, "put_call", "mine", True, other, "put_fail", ["key", 1, "no"])
    assert caught["code"] == "guest.raised"
    assert world.state(one) == {"mine": True}
    assert world.state(other) == {"count": 3}


def test_writes_of_a_callee_vanish_with_its_caller(world: World) -> None:
    """A caller that fails after a call that went well takes the callee's writes with it."""
    one, other = world.fresh(), world.fresh()
    error = world.fail(one, "call_fail", other, "increment", [1])
    assert error.code == "app.after_call"
    assert world.state(other) == {}


def test_cycle_of_calls_sees_one_state(world: World) -> None:
    """A callee that calls back reads what its caller has written, and its writes are seen."""
    one, other = world.fresh(), world.fresh()
    back = world.call(one, "put_call", "key", "mine", other, "call", [one, "get", ["key"]])
    assert back == {"value": "mine"}
    nested = [one, "put", ["more", 2]]
    world.call(one, "put_call", "key", "again", other, "call", nested)
    assert world.state(one) == {"key": "again", "more": 2}


def test_request_is_a_transaction_of_its_own(world: World) -> None:
    """What a request did stays when the run that asked fails."""
    one, other = world.fresh(), world.fresh()
    assert world.call(one, "request", other, "increment", [4]) == 4
    error = world.fail(one, "request_fail", other, "increment", [1])
    assert error.code == "app.after_request"
    assert world.state(other) == {"count": 5}


def test_error_of_a_request_goes_through(world: World) -> None:
    """Who asked by a request gets the error's code."""
    one, other = world.fresh(), world.fresh()
    error = world.fail(one, "request", other, "fail", ["too bad", "sold_out"])
    assert (error.code, error.message) == ("app.sold_out", "too bad")


def test_handlers_that_are_not_there(world: World) -> None:
    """An unknown handler and a hidden one are both not found; so is a name that is no name."""
    entity = world.fresh()
    assert world.fail(entity, "none").code == "request.not_found"
    assert world.fail(entity, "_hidden").code == "request.not_found"
    for name in ("__proto__", "constructor", "__init__", "lx_run", "toString", "__index"):
        assert world.fail(entity, name).code in {"request.not_found", "request.bad_arguments"}


def test_handler_names_are_those_of_the_module(world: World) -> None:
    """What is listed is every handler of the table, without hidden ones."""
    entity = world.fresh()
    world.call(entity, "increment")

    async def show() -> list[str]:
        from lithox.security.identities import LOCAL_OPERATOR

        shown = await world.node.admin_show(entity, LOCAL_OPERATOR)
        return sorted(shown["handlers"])

    names = world.run(show())
    assert {"increment", "echo", "loop", "reach"} <= set(names)
    assert [name for name in names if name.startswith("_")] == []
