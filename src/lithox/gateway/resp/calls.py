"""The commands that ask for runs: CALL, CALLWITH, ATOMIC, ASYNC, RESULT.

    CALL entity handler [argument ...]
    CALLWITH entity handler [option value ...] [ARGS argument ... | JSON list | MSGPACK list]
    ATOMIC [option value ...] JSON list | MSGPACK list | CALL entity handler count argument ... ...
    ASYNC [PUSH] [CALLBACK url] CALL ... | CALLWITH ... | ATOMIC ...
    TAG number CALL ... | CALLWITH ... | ATOMIC ... | ASYNC ... | RESULT ...
    RESULT id [ENTITY path] [WAIT_MS time] [REPLY form]

Options are those of HTTP's bodies, by the same names: ID (there a header), DEADLINE_MS, FUEL,
MEMORY, WALL_MS, OUTPUT, CALLS, STATE, BIG; and REPLY (VALUE, FULL, JSON or MSGPACK).

Invariants: a request is made of values that were checked; nothing of it is kept here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from lithox.dispatch.atomic import CALLS_MAX
from lithox.errors import BadArguments, LithoxError, Overloaded, StoreUnavailable
from lithox.gateway.process_routes import WAIT_MS_MAX
from lithox.gateway.resp.answers import (
    SLOTS,
    describe_outcome,
    encode_accepted,
    encode_outcome,
    open_slot,
)
from lithox.gateway.resp.connection import RespConnection
from lithox.gateway.resp.options import Options, read_options
from lithox.gateway.resp.parsing import Command
from lithox.gateway.resp.replies import encode_push
from lithox.gateway.resp.slots import Slot
from lithox.gateway.resp.words import read_amount, read_argument, read_target, read_text
from lithox.model.ids import check_entity_path, check_handler_name, check_request_id
from lithox.model.request import Answer, Call, Caller, Request
from lithox.model.values import INT_MAX, decode_json, decode_value

CALLBACK_CHARACTERS_MAX: Final = 2_000
PUSH_REST_S: Final = 0.5
"""Between two questions whether a result that is to be pushed is there."""
_CALL_WORDS_MIN: Final = 3
_TAG_WORDS_MIN: Final = 3
_NOTHING: Final[list[Any]] = []


Read = Callable[[RespConnection, Command, Options], Request]
"""Makes a request of the words of a command; the options are filled in on the way."""


def call(connection: RespConnection, words: Command, tag: bytes | None = None) -> None:
    """CALL: runs a handler; the hot path."""
    request = _read_call(connection, words)
    slot: Slot = Slot(connection) if tag is None else open_slot(connection, Slot, tag)
    if tag is None:
        connection.slots.append(slot)
    connection.node.submit_to(request, slot.on_answer)


def call_with(connection: RespConnection, words: Command, tag: bytes | None = None) -> None:
    """CALLWITH: the same with options before the arguments."""
    _ask(connection, words, tag, _read_call_with)


def atomic(connection: RespConnection, words: Command, tag: bytes | None = None) -> None:
    """ATOMIC: several calls in one transaction; the answer is the list of their values."""
    _ask(connection, words, tag, _read_atomic)


def _ask(connection: RespConnection, words: Command, tag: bytes | None, read: Read) -> None:
    options = Options()
    try:
        request = read(connection, words, options)
    except LithoxError as error:
        if options.slot is Slot:
            raise
        # Who asked for another form is refused in it, too.
        open_slot(connection, options.slot, tag).refuse(error)
        return
    connection.node.submit_to(request, open_slot(connection, options.slot, tag).on_answer)


def _read_call(
    connection: RespConnection, words: Command, options: Options | None = None
) -> Request:
    del options  # There is none.
    if len(words) < _CALL_WORDS_MIN:
        raise _wrong_form("CALL entity handler [argument ...]")
    caller = connection.caller or connection.identified()
    entity, handler = read_target(words[1], words[2])
    return Request(
        entity=entity,
        handler=handler,
        args=[read_argument(word) for word in words[3:]],
        caller=caller,
    )


def _read_call_with(connection: RespConnection, words: Command, options: Options) -> Request:
    if len(words) < _CALL_WORDS_MIN:
        raise _wrong_form("CALLWITH entity handler [option value ...] [ARGS argument ...]")
    at = read_options(words, 3, options)
    caller = connection.caller or connection.identified()
    entity, handler = read_target(words[1], words[2])
    deadline_ms = options.deadline_ms
    return Request(
        entity=entity,
        handler=handler,
        args=_read_arguments(words, at) if at < len(words) else list(_NOTHING),
        caller=caller,
        limits=options.to_limits(),
        deadline_ns=None if deadline_ms is None else connection.node.deadline_in(deadline_ms),
        request_id=options.request_id,
    )


def _read_arguments(words: Command, at: int) -> list[Any]:
    kind = words[at].upper()
    if kind == b"ARGS":
        return [read_argument(word) for word in words[at + 1 :]]
    found = _read_packed(kind, words, at)
    if type(found) is not list:
        raise BadArguments(f"arguments are a list; found {type(found).__name__}")
    return cast("list[Any]", found)


def _read_packed(kind: bytes, words: Command, at: int) -> Any:
    """Returns the value in the one word behind JSON or MSGPACK."""
    if kind not in {b"JSON", b"MSGPACK"}:
        shown = words[at][:20].decode("ascii", "backslashreplace")
        raise BadArguments(
            f"{shown!r} is no option; known are ID, DEADLINE_MS, FUEL, MEMORY, WALL_MS, OUTPUT, "
            "CALLS, STATE, BIG and REPLY, then ARGS, JSON or MSGPACK"
        )
    if len(words) != at + 2:
        raise BadArguments(f"{kind.decode()} is followed by one word, the last one")
    return decode_json(words[at + 1]) if kind == b"JSON" else decode_value(words[at + 1])


# -- groups -------------------------------------------------------------------------------------


def _read_atomic(connection: RespConnection, words: Command, options: Options) -> Request:
    at = read_options(words, 1, options)
    caller = connection.caller or connection.identified()
    if at >= len(words):
        raise _wrong_form(
            "ATOMIC [option value ...] JSON list | MSGPACK list | CALL entity handler count ..."
        )
    if words[at].upper() == b"CALL":
        calls = _read_spelled(words, at)
    else:
        calls = _read_listed(_read_packed(words[at].upper(), words, at))
    if not 1 <= len(calls) <= CALLS_MAX:
        raise BadArguments(f"a group has 1 to {CALLS_MAX} calls; found {len(calls)}")
    return connection.node.make_group(
        tuple(calls),
        request_id=options.request_id,
        limits=options.to_limits(),
        deadline_ms=options.deadline_ms,
        caller=caller,
    )


def _read_spelled(words: Command, at: int) -> list[Call]:
    """Reads `CALL entity handler count argument ...`, again and again."""
    found: list[Call] = []
    while at < len(words):
        if words[at].upper() != b"CALL" or len(words) < at + 4:
            raise _wrong_form("CALL entity handler count argument ... in a group")
        count = read_amount(words[at + 3], "the count of arguments", (0, len(words)))
        end = at + 4 + count
        if end > len(words):
            raise BadArguments(f"call {len(found)} has fewer arguments than it says")
        try:
            entity, handler = read_target(words[at + 1], words[at + 2])
            args = [read_argument(word) for word in words[at + 4 : end]]
        except LithoxError as error:
            error.fields["call"] = len(found)
            raise
        found.append(Call(entity=entity, handler=handler, args=args))
        at = end
    return found


def _read_listed(listed: Any) -> list[Call]:
    """Reads `[[entity, handler, argument ...], ...]`, which is a value already."""
    if type(listed) is not list:
        raise BadArguments(f"a group is a list of calls; found {type(listed).__name__}")
    found: list[Call] = []
    for index, spec in enumerate(cast("list[Any]", listed)):
        try:
            found.append(_read_spec(spec))
        except LithoxError as error:
            error.fields["call"] = index
            raise
    return found


def _read_spec(spec: Any) -> Call:
    parts = cast("list[Any]", spec) if type(spec) is list else []
    if len(parts) < 2 or type(parts[0]) is not str or type(parts[1]) is not str:
        raise BadArguments("a call of a group is [entity, handler, argument ...]")
    return Call(
        entity=check_entity_path(parts[0]), handler=check_handler_name(parts[1]), args=parts[2:]
    )


# -- answered later -----------------------------------------------------------------------------

_READERS: Final[dict[bytes, Read]] = {
    b"CALL": _read_call,
    b"CALLWITH": _read_call_with,
    b"ATOMIC": _read_atomic,
}


def later(connection: RespConnection, words: Command, tag: bytes | None = None) -> None:
    """ASYNC: has a request accepted; the answer is its id once that is durable."""
    callback: str | None = None
    is_pushed, at = False, 1
    while at < len(words):
        word = words[at].upper()
        if word == b"PUSH":
            is_pushed, at = True, at + 1
        elif word == b"CALLBACK" and at + 1 < len(words):
            callback, at = read_text(words[at + 1], "CALLBACK"), at + 2
        else:
            break
    reader = _READERS.get(words[at].upper()) if at < len(words) else None
    if reader is None:
        raise _wrong_form("ASYNC [PUSH] [CALLBACK url] CALL ... | CALLWITH ... | ATOMIC ...")
    if callback is not None and not 1 <= len(callback) <= CALLBACK_CHARACTERS_MAX:
        raise BadArguments(f"CALLBACK is a URL of 1 to {CALLBACK_CHARACTERS_MAX} characters")
    options = Options()
    request = reader(connection, words[at:], options)
    if options.slot is not Slot:
        raise BadArguments("REPLY says how a call is answered; ASYNC is answered with an id")
    if is_pushed:
        _count_push(connection)
    slot = open_slot(connection, Slot, tag)

    async def accept() -> bytes:
        try:
            request_id = await connection.node.accept(request, callback=callback)
        except BaseException:
            connection.pushes -= is_pushed
            raise
        if is_pushed:
            connection.keep(_push_outcome(connection, request_id, request.caller))
        return encode_accepted(slot, request_id)

    connection.spawn(slot, accept())


def _count_push(connection: RespConnection) -> None:
    """Counts a result that will be waited for: before the request is accepted, which takes time."""
    if not connection.is_resp3:
        raise BadArguments("PUSH takes version 3 of the protocol: say HELLO 3 first")
    allowed = connection.service.bounds.pushes_max
    if connection.pushes >= allowed:
        raise Overloaded(
            f"{allowed} results are waited for on this connection", retry_after_ms=1_000
        )
    connection.pushes += 1


async def _push_outcome(connection: RespConnection, request_id: str, caller: Caller) -> None:
    """Waits for the end of an accepted request and tells it: ["result", id, outcome].

    A question that finds nobody to answer it (a process restarts, a link is full) is no outcome:
    the request was accepted and has one. It is asked again, for as long as the connection lasts.
    """
    try:
        while True:
            try:
                answer = await connection.node.request_outcome(
                    request_id, wait_ms=WAIT_MS_MAX, caller=caller
                )
            except (StoreUnavailable, Overloaded):
                answer = None
            if answer is not None:
                break
            # Of what another node works on it is said at once that there is nothing yet.
            await asyncio.sleep(PUSH_REST_S)
    except Exception as error:  # noqa: BLE001 - the border: every fault gets an answer
        answer = Answer(request_id=cast("Any", request_id), error=error)
    finally:
        connection.pushes -= 1
    connection.push(encode_push(["result", request_id, describe_outcome(answer)]))


def result(connection: RespConnection, words: Command, tag: bytes | None = None) -> None:
    """RESULT: what one's own request came to, as a map, or that it runs."""
    caller = connection.caller or connection.identified()
    if len(words) < 2 or len(words) % 2:
        raise _wrong_form("RESULT id [ENTITY path] [WAIT_MS time] [REPLY form]")
    request_id = check_request_id(read_text(words[1], "a request id"))
    entity: str | None = None
    wait_ms, kind = 0, Slot
    for name, word in zip(words[2::2], words[3::2], strict=True):
        match name.upper():
            case b"ENTITY":
                entity = check_entity_path(read_text(word, "an entity path"))
            case b"WAIT_MS":
                wait_ms = read_amount(word, "WAIT_MS", (0, WAIT_MS_MAX))
            case b"REPLY" if word.upper() in SLOTS:
                kind = SLOTS[word.upper()]
            case _:
                raise _wrong_form("RESULT id [ENTITY path] [WAIT_MS time] [REPLY form]")

    slot = open_slot(connection, kind, tag)

    async def look() -> bytes:
        answer = await connection.node.request_outcome(
            request_id, entity=entity, wait_ms=wait_ms, caller=caller
        )
        return encode_outcome(slot, request_id, answer)

    connection.spawn(slot, look())


_TAGGED: Final[dict[bytes, Callable[[RespConnection, Command, bytes], None]]] = {
    b"CALL": call,
    b"CALLWITH": call_with,
    b"ATOMIC": atomic,
    b"ASYNC": later,
    b"RESULT": result,
}


def tagged(connection: RespConnection, words: Command) -> None:
    """TAG number command ...: the answer is a push with that number, as soon as it is there.

    A slow run then holds up nobody else's answer, as it does where answers come in order. Every
    answer, a refusal, too, is `>3 answer NUMBER DATA`, with the map of `REPLY FULL` as MessagePack.
    """
    if len(words) < _TAG_WORDS_MIN or not connection.is_resp3:
        raise _wrong_form("TAG number command ..., in version 3 of the protocol")
    read_amount(words[1], "a tag", (0, INT_MAX))
    tag, inner = words[1], words[2:]
    try:
        command = _TAGGED.get(inner[0].upper())
        if command is None:
            raise BadArguments("TAG stands before CALL, CALLWITH, ATOMIC, ASYNC or RESULT")
        command(connection, inner, tag)
    except Exception as error:  # noqa: BLE001 - the border: every fault gets an answer
        open_slot(connection, Slot, tag).refuse(error)


def _wrong_form(form: str) -> BadArguments:
    return BadArguments(f"the form is {form}")
