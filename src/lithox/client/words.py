"""Calls as RESP commands, and what the node packs as an answer.

Arguments go as MessagePack, which tells bytes from text and has every integer exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from lithox.client.link import Told
from lithox.client.processes import encode_limits
from lithox.errors import BadArguments, PeerProtocolError, rebuild
from lithox.model.ids import RequestId, check_entity_path, check_handler_name, check_request_id
from lithox.model.limits import Limits
from lithox.model.outcome import STATUS_OK, STATUS_RUNNING
from lithox.model.request import Answer, Usage
from lithox.model.values import check_value, encode_value

Words = list[str | bytes | int]
STATUS_ACCEPTED: Final = "accepted"
_OPTION_BY_LIMIT: Final = {
    "fuel": "FUEL",
    "memory": "MEMORY",
    "wall_ms": "WALL_MS",
    "output": "OUTPUT",
    "calls": "CALLS",
    "state": "STATE",
    "big": "BIG",
}


def call_words(  # noqa: PLR0913 - one call, described whole
    entity: str,
    handler: str,
    args: Sequence[Any],
    *,
    request_id: str | None = None,
    limits: Limits | None = None,
    deadline_ms: int | None = None,
) -> Words:
    """Returns a call; raises BadArguments for what cannot be written down."""
    words: Words = ["CALLWITH", check_entity_path(entity), check_handler_name(handler)]
    if request_id is not None or limits is not None or deadline_ms is not None:
        _add_options(words, request_id, limits, deadline_ms)
    if args:
        words += ("MSGPACK", encode_value(list(args)))
    return words


def group_words(
    calls: Iterable[Sequence[Any]],
    *,
    request_id: str | None = None,
    limits: Limits | None = None,
    deadline_ms: int | None = None,
) -> Words:
    """Returns a group of (entity, handler, *arguments); raises BadArguments."""
    listed: list[Any] = []
    for index, spec in enumerate(calls):
        if isinstance(spec, str) or len(spec) < 2:
            raise BadArguments(
                f"call {index} is (entity, handler, *arguments); found {spec!r:.80}", call=index
            )
        entity, handler, *args = spec
        listed.append([check_entity_path(entity), check_handler_name(handler), *args])
    words: Words = ["ATOMIC"]
    _add_options(words, request_id, limits, deadline_ms)
    words += ("MSGPACK", encode_value(listed))
    return words


def later_words(words: Words, callback: str | None) -> Words:
    """Returns the same, to be answered later."""
    return ["ASYNC", *(() if callback is None else ("CALLBACK", callback)), *words]


def result_words(request_id: str, *, entity: str | None, wait_ms: int) -> Words:
    """Returns the question what a request came to."""
    words: Words = ["RESULT", check_request_id(request_id), "WAIT_MS", int(wait_ms)]
    if entity is not None:
        words += ("ENTITY", check_entity_path(entity))
    return words


def _add_options(
    words: Words, request_id: str | None, limits: Limits | None, deadline_ms: int | None
) -> None:
    if request_id is not None:
        words += ("ID", check_request_id(request_id))
    if deadline_ms is not None:
        if type(deadline_ms) is not int:
            raise BadArguments(f"deadline_ms is a whole number or None; found {deadline_ms!r:.80}")
        words += ("DEADLINE_MS", deadline_ms)
    if limits is not None:
        for name, amount in encode_limits(limits).items():
            words += (_OPTION_BY_LIMIT[name], amount)


def read_told(told: Told) -> Answer:
    """Returns the answer of a call or group; an error in it is of the class it left as.

    Raises:
        BadArguments: the value is none of ours.
    """
    usage = told.usage or {}
    answer = Answer(
        request_id=None if told.request is None else RequestId(told.request),
        usage=Usage(
            fuel=usage.get("fuel", 0),
            cpu_ns=usage.get("cpu_us", 0) * 1000,
            wall_ns=int(usage.get("ms", 0) * 1e6),
            memory_bytes=usage.get("memory", 0),
            attempts=usage.get("attempts", 0),
        ),
    )
    if told.status == STATUS_OK:
        check_value(told.value)
        answer.value = told.value
    else:
        answer.error = _error_in(told)
    return answer


def read_accepted(told: Told) -> str:
    """Returns under which id a request was accepted; raises what refused it."""
    if told.status != STATUS_ACCEPTED:
        raise _error_in(told)
    if told.request is None:
        raise PeerProtocolError("the node did not say under which id it accepted the request")
    return told.request


def read_result(told: Told) -> Answer | None:
    """Returns what a request came to, None while it runs.

    Raises:
        LithoxError: the lookup was refused.
    """
    if told.status == STATUS_RUNNING:
        return None
    if told.request is None:
        # An outcome has its request's id, a refusal has none.
        raise _error_in(told)
    answer = read_told(told)
    answer.is_recorded = True
    return answer


def _error_in(told: Told) -> Exception:
    if told.status == STATUS_OK:
        return PeerProtocolError("the node answered something else than was asked")
    return rebuild(told.status, told.error or {})
