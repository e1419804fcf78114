"""What each command takes, does and answers, in both versions of the protocol."""

from __future__ import annotations

from typing import Any

import hiredis
import msgspec
import pytest

from lithox.errors import GuestRaised, LithoxError, Overloaded, StoreUnavailable
from lithox.gateway.resp import calls
from lithox.gateway.resp.bounds import RespBounds
from lithox.gateway.resp.replies import encode_error
from lithox.model.limits import Limits
from lithox.model.request import Answer
from tests.unit.gateway.fake_node import FakeNode
from tests.unit.resp.speaker import Speaker, encode, run

unpack = msgspec.msgpack.decode


def answers(*commands: tuple[Any, ...], node: FakeNode | None = None) -> list[Any]:
    """Returns the answers of one connection to commands, one after the other."""
    found: list[Any] = []

    async def body() -> None:
        speaker = Speaker(node)
        for words in commands:
            speaker.send(*words)
            found.extend(await speaker.settle())

    run(body())
    return found


def error_of(*words: Any, node: FakeNode | None = None) -> str:
    (found,) = answers(words, node=node)
    assert isinstance(found, hiredis.ReplyError), found
    return str(found)


VALUES = '[null,true,false,1,-7,1.5,"é",{"$bytes":"AP8="},[1,[]],{"b":{"a":null}}]'


def test_values_have_their_types_in_version_3() -> None:
    """Each of ours has a type there; text and bytes are both blobs."""
    _, found = answers(("HELLO", 3), ("CALLWITH", "a", "echo", "JSON", VALUES))
    assert found == [
        *(None, True, False, 1, -7, 1.5, "é".encode(), b"\x00\xff"),
        *([1, []], {b"b": {b"a": None}}),
    ]
    assert type(found[1]) is bool


def test_values_are_told_as_redis_tells_them_in_version_2() -> None:
    """Booleans as 1 and 0, doubles as text, maps as arrays."""
    (found,) = answers(("CALLWITH", "a", "echo", "JSON", VALUES))
    assert found == [
        *(None, 1, 0, 1, -7, b"1.5", "é".encode(), b"\x00\xff"),
        *([1, []], [b"b", [b"a", None]]),
    ]
    assert type(found[1]) is int


def test_words_are_values_by_the_rule_of_the_command_line() -> None:
    """JSON, or itself as text."""
    node = FakeNode()
    words = ("5", "-1.5", "true", "null", '{"a":[1]}', '"5"', "alice", "tru", "5x", "", "é", "NaN")
    answers(("CALL", "a/b", "echo", *words), node=node)
    (request,) = node.requests
    assert request.args == [
        *(5, -1.5, True, None, {"a": [1]}, "5", "alice", "tru", "5x", "", "é", "NaN"),
    ]
    assert (request.entity, request.handler) == ("a/b", "echo")
    assert request.caller.identity == "operator"


def test_options_are_those_of_http() -> None:
    """Every option of HTTP's body and headers has a word of the same name."""
    node = FakeNode()
    options = ("ID", "r-1", "DEADLINE_MS", 500, "FUEL", 1, "MEMORY", 2, "WALL_MS", 3, "OUTPUT", 4)
    more = ("calls", 5, "State", 6, "BIG", 7)
    (found,) = answers(("callwith", "a", "echo", *options, *more, "ARGS", 1, "x"), node=node)
    assert found == [1, b"x"]
    (request,) = node.requests
    assert request.request_id == "r-1"
    assert request.deadline_ns == 500_000_000
    assert request.limits == Limits(
        fuel=1,
        memory_bytes=2,
        wall_ns=3_000_000,
        output_bytes=4,
        calls=5,
        state_bytes=6,
        big_bytes=7,
    )


def test_messagepack_arguments_are_exact() -> None:
    """Bytes stay bytes, text stays text, and large integers stay exact."""
    node = FakeNode()
    args = [b"\x00", "text", -(1 << 63), (1 << 63) - 1, {"$x": 1}]
    packed = msgspec.msgpack.encode(args)
    answers(("CALLWITH", "a", "echo", "MSGPACK", packed), node=node)
    assert node.requests[0].args == args


def test_an_answer_has_four_forms() -> None:
    """The value, or all that HTTP says: as a map, as JSON, as MessagePack."""
    call = ("CALLWITH", "a", "increment", "ID", "r-1", "REPLY")
    usage = {"fuel": 7, "cpu_us": 0, "ms": 0.0, "memory": 0, "attempts": 1}
    told = {"request": "r-1", "status": "ok", "value": 4, "usage": usage}
    _, value, full, json, packed = answers(
        ("HELLO", 3), *((*call, form) for form in ("value", "FULL", "JSON", "MSGPACK"))
    )
    assert value == 1
    assert full[b"value"] == 2
    assert full[b"usage"][b"fuel"] == 7
    assert msgspec.json.decode(json) == {**told, "value": 3}
    assert unpack(packed) == told


def test_errors_are_lines_that_begin_with_the_code() -> None:
    """The code is the first word, in both versions; fields are in the other forms."""
    line = error_of("CALL", "a", "raise")
    assert line == "app.sold_out no more apples"
    full, refused = answers(
        ("CALLWITH", "a", "fuel", "REPLY", "MSGPACK"),
        ("CALLWITH", "a", "x y", "REPLY", "MSGPACK"),
    )
    assert unpack(full)["status"] == "guest.out_of_fuel"
    fields = {"message": "out of fuel", "limit": "fuel", "used": 10, "allowed": 9}
    assert unpack(full)["error"] == fields
    assert unpack(refused)["status"] == "request.bad_arguments", "also what never ran"


def test_an_error_is_one_line_whatever_its_message() -> None:
    """A line feed in a message cannot begin an answer of its own."""
    error = GuestRaised("a\r\n+OK\r\n" + "é" * 5_000, code="app.x")
    line = encode_error(error)
    assert line.startswith(b"-app.x a  +OK  ")
    assert line.count(b"\n") == 1
    assert len(line) < 5_000


def test_a_group_is_one_request() -> None:
    """As words with counts, as JSON, as MessagePack."""
    node = FakeNode()
    listed = [["a", "get", 1, "x"], ["b", "put"]]
    spelled = ("CALL", "a", "get", 2, 1, "x", "CALL", "b", "put", 0)
    commands = [
        ("ATOMIC", "ID", "g-1", *spelled),
        ("ATOMIC", "JSON", msgspec.json.encode(listed)),
        ("ATOMIC", "FUEL", 5, "MSGPACK", msgspec.msgpack.encode(listed)),
    ]
    assert answers(*commands, node=node) == [[[b"a", b"get", [1, b"x"]], [b"b", b"put", []]]] * 3
    assert node.requests[0].request_id == "g-1"
    assert node.requests[2].limits == Limits(fuel=5)


def test_async_is_answered_with_the_id_and_told_later() -> None:
    """RESULT tells what became of it, as a map in any form; ASYNC takes what calls take."""
    node = FakeNode()
    found = answers(
        ("HELLO", 3),
        ("ASYNC", "CALLBACK", "https://example.org/x", "CALLWITH", "a", "echo", "ID", "r-7"),
        ("ASYNC", "CALL", "a", "echo", 5),
        ("ASYNC", "ATOMIC", "JSON", '[["a","echo"]]'),
        ("RESULT", "r-7"),
        ("RESULT", "r-running", "WAIT_MS", 10, "ENTITY", "a"),
        ("RESULT", "r-failed", "REPLY", "JSON"),
        ("RESULT", "r-unknown"),
        node=node,
    )
    assert found[1:4] == [b"r-7", b"a.made", b"a.made"]
    assert found[4] == {b"request": b"r-7", b"status": b"ok", b"value": {b"done": b"\0"}}
    assert found[5] == {b"request": b"r-running", b"status": b"running"}
    assert msgspec.json.decode(found[6])["error"]["data"] == {"blob": {"$bytes": "AA=="}}
    assert str(found[7]).startswith("request.not_found ")
    assert node.accepted[0][1] == "https://example.org/x"
    assert node.accepted[1][0].args == [5]
    assert node.looked[1] == ("r-running", "a", 10)


def test_a_result_is_pushed_behind_the_id_of_its_request() -> None:
    """Version 3 only; the push names the id and says what RESULT would."""
    _, *found = answers(("HELLO", 3), ("ASYNC", "PUSH", "CALLWITH", "a", "echo", "ID", "r-7"))
    told = {b"request": b"r-7", b"status": b"ok", b"value": {b"done": b"\0"}}
    assert found == [b"r-7", [b"result", b"r-7", told]]
    assert type(found[1]) is hiredis.PushNotification
    assert error_of("ASYNC", "PUSH", "CALL", "a", "echo") == (
        "request.bad_arguments PUSH takes version 3 of the protocol: say HELLO 3 first"
    )


def test_results_waited_for_are_bounded() -> None:
    """One connection waits for so many pushes and no more, and others get on meanwhile."""

    async def body() -> None:
        speaker = Speaker(bounds=RespBounds(pushes_max=1))
        await speaker.ask("HELLO", 3)
        running = ("ASYNC", "PUSH", "CALLWITH", "a", "echo", "ID", "r-running")
        assert await speaker.ask(*running) == b"r-running"
        refusal = await speaker.ask(*running)
        assert str(refusal).startswith("request.overloaded 1 results are waited for")
        speaker.connection.connection_lost(None)

    run(body())


def test_a_lookup_that_fails_for_now_is_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a process restarts nobody knows the result; what is pushed is what it came to."""
    monkeypatch.setattr(calls, "PUSH_REST_S", 0)
    failures: list[LithoxError] = [StoreUnavailable("it restarts"), Overloaded("full")]

    class Restarting(FakeNode):
        async def request_outcome(self, request_id: str, **options: Any) -> Answer | None:
            if failures:
                raise failures.pop()
            return await super().request_outcome(request_id, **options)

    push = ("ASYNC", "PUSH", "CALLWITH", "a", "echo", "ID", "r-7")
    _, *found = answers(("HELLO", 3), push, node=Restarting())
    told = {b"request": b"r-7", b"status": b"ok", b"value": {b"done": b"\0"}}
    assert found == [b"r-7", [b"result", b"r-7", told]]


def test_results_are_counted_before_they_are_accepted() -> None:
    """Commands read in one go do not pass the bound together; a refused one leaves its place."""

    async def body() -> None:
        speaker = Speaker(bounds=RespBounds(pushes_max=1))
        await speaker.ask("HELLO", 3)
        refused = ("ASYNC", "PUSH", "CALLBACK", "https://other.net", "CALL", "a", "echo")
        assert str(await speaker.ask(*refused)).startswith("request.not_permitted")
        bad = ("ASYNC", "PUSH", "CALLWITH", "a", "echo", "REPLY", "FULL")
        assert str(await speaker.ask(*bad)).startswith("request.bad_arguments")
        running = encode("ASYNC", "PUSH", "CALLWITH", "a", "echo", "ID", "r-running")
        speaker.connection.data_received(running * 3)
        first, *others = await speaker.settle()
        assert first == b"r-running"
        assert [str(one).split()[0] for one in others] == ["request.overloaded"] * 2
        speaker.connection.connection_lost(None)

    run(body())


def test_a_tagged_answer_comes_as_soon_as_it_is_there() -> None:
    """A slow run holds up no other answer; each bears its tag, errors and refusals, too."""

    async def body() -> None:
        speaker = Speaker()
        await speaker.ask("HELLO", 3)
        speaker.send("TAG", 1, "CALL", "slow", "wait")
        speaker.send("TAG", 2, "CALLWITH", "a", "echo", "ARGS", 5)
        speaker.send("TAG", 3, "CALL", "a", "raise")
        speaker.send("TAG", 4, "CALL", "a", "NO NAME")
        speaker.send("TAG", 5, "PING")
        speaker.send("TAG", 6, "ASYNC", "CALL", "a", "echo")
        speaker.send("TAG", 7, "RESULT", "r-unknown")
        speaker.send("PING")
        found = await speaker.settle()
        assert found.count(b"PONG") == 1
        told = {one[1]: unpack(one[2]) for one in found if one != b"PONG"}
        assert {tag: one["status"] for tag, one in told.items()} == {
            2: "ok",
            3: "app.sold_out",
            4: "request.bad_arguments",
            5: "request.bad_arguments",
            6: "accepted",
            7: "request.not_found",
        }
        assert told[3]["error"]["left"] == 0
        speaker.node.gates["slow"].set_result(None)
        ((kind, tag, data),) = await speaker.settle()
        assert (kind, tag, unpack(data)["value"]) == (b"answer", 1, "waited")

    run(body())


def test_a_token_says_who_speaks() -> None:
    """By AUTH or HELLO; before that only what speaks of the connection is answered."""
    node = FakeNode(has_tokens=True)
    call = ("CALL", "a", "echo")
    found = answers(
        call,
        ("PING",),
        ("HELLO", 3, "AUTH", "default", "wrong"),
        ("AUTH", "alice-token"),
        call,
        ("AUTH", "bob", "alice-token"),
        call,
        ("HELLO", 3, "AUTH", "alice", "alice-token", "SETNAME", "me"),
        ("CLIENT", "GETNAME"),
        ("RESET",),
        call,
        node=node,
    )
    assert [str(one).split()[0] for one in found if isinstance(one, hiredis.ReplyError)] == [
        "request.unauthenticated"
    ] * 5
    assert [one for one in found if not isinstance(one, hiredis.ReplyError)] == [
        *(b"PONG", b"OK", []),
        *({**found[7]}, b"me", b"RESET"),
    ]
    assert found[7][b"identity"] == b"alice"
    assert {one.caller.identity for one in node.requests} == {"alice"}


def test_a_stranger_sends_short_commands_only() -> None:
    """Nobody fills the node's memory before it has said who it is; then the usual bound holds."""

    async def body() -> None:
        long = "x" * 20_000
        known = Speaker(FakeNode(has_tokens=True))
        assert await known.ask("AUTH", "alice-token") == b"OK"
        assert await known.ask("CALL", "a", "echo", long) == [long.encode()]
        stranger = Speaker(FakeNode(has_tokens=True))
        stranger.send("CALL", "a", "echo", long)
        (refusal,) = await stranger.settle()
        assert str(refusal).startswith("request.unauthenticated ")
        assert stranger.transport.is_closed
        local = Speaker()
        assert await local.ask("CALL", "a", "echo", long) == [long.encode()]

    run(body())


def test_a_command_of_too_many_words_ends_the_connection() -> None:
    """Also of one who speaks from this machine and is known only by being asked who he is."""

    async def body() -> None:
        local = Speaker()
        local.connection.data_received(b"*1000\r\n" + encode("PING"))
        (refusal,) = await local.settle()
        assert str(refusal).startswith("request.too_large ")
        assert local.transport.is_closed

    run(body())


def test_what_clients_ask_at_their_start_is_answered() -> None:
    """redis-cli, redis-py and others get on with the answers to their greetings."""
    found = answers(
        ("COMMAND", "DOCS"),
        ("COMMAND", "COUNT"),
        ("COMMAND",),
        ("CLIENT", "SETINFO", "LIB-NAME", "redis-py"),
        ("SELECT", 0),
        ("ECHO", "x"),
        ("PING", "x"),
        ("INFO",),
        ("HELLO",),
        ("QUIT",),
    )
    assert found[0][found[0].index(b"ping") + 1][1].startswith(b"Answers PONG")
    assert found[1] == len(found[0]) // 2
    assert found[2:7] == [[], b"OK", b"OK", b"x", b"x"]
    assert b"\r\nversion:0.1\r\n" in found[7]
    assert found[8][:2] == [b"server", b"lithox"]
    assert found[9] == b"OK"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("FLUSHALL",), "ERR unknown command 'FLUSHALL'; COMMAND lists those there are"),
        (("HELLO", 4), "NOPROTO unsupported protocol version; known are 2 and 3"),
        (("SELECT", 1), "ERR there is one database, 0"),
        (("CALL", "a"), "request.bad_arguments the form is CALL entity handler [argument ...]"),
        (
            ("CALLWITH", "a", "echo", "FUEL", "-1"),
            "request.bad_arguments FUEL is an integer of 1 to 9223372036854775807; found '-1'",
        ),
        (
            ("CALLWITH", "a", "echo", "NOPE", "1"),
            (
                "request.bad_arguments 'NOPE' is no option; known are ID, DEADLINE_MS, FUEL, "
                "MEMORY, WALL_MS, OUTPUT, CALLS, STATE, BIG and REPLY, then ARGS, JSON or MSGPACK"
            ),
        ),
        (("CALLWITH", "a", "echo", "ID"), "request.bad_arguments option ID has a value"),
        (
            ("CALLWITH", "a", "echo", "JSON", "{}"),
            "request.bad_arguments arguments are a list; found dict",
        ),
        (
            ("CALLWITH", "a", "echo", "MSGPACK", b"\xc7\x01\x05a"),
            "request.bad_arguments not a plain value: extension type 5 is not a plain value",
        ),
        (
            ("CALL", "a", "echo", b"\xff"),
            r"request.bad_arguments an argument is UTF-8; found '\\xff'",
        ),
        (("ATOMIC", "JSON", "[]"), None),
        (("ATOMIC", "JSON", "[5]"), None),
        (("ATOMIC", "CALL", "a", "echo", 9, "x"), None),
        (("ASYNC", "CALLWITH", "a", "echo", "REPLY", "FULL"), None),
        (("TAG", 1, "CALL", "a", "echo"), None),
        (("RESULT",), None),
        (("CLIENT", "SETNAME", b"a\nb"), None),
    ],
)
def test_what_is_wrong_is_said(words: tuple[Any, ...], line: str | None) -> None:
    """Every wrong form is an error that says what is right, and the node hears nothing of it."""
    node = FakeNode()
    found = error_of(*words, node=node)
    assert found == line if line is not None else found.startswith("request.bad_arguments ")
    assert node.requests == node.accepted == []
