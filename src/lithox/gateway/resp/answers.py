"""The forms of an answer that say more than the value: what HTTP's body says, in three codings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from lithox.errors import LithoxError
from lithox.gateway.answers import note_internal, reply_answer, reply_json
from lithox.gateway.resp.connection import RespConnection, Slot
from lithox.gateway.resp.replies import encode_error, encode_reply
from lithox.model.outcome import STATUS_OK, STATUS_RUNNING, outcome_to_json
from lithox.model.request import Answer

Encode = Callable[[dict[str, Any]], bytes]


def describe(answer: Answer) -> dict[str, Any]:
    """Returns {"request", "status", "value" | "error", "usage"}, with values as they are."""
    told = describe_outcome(answer)
    told["usage"] = answer.usage.to_json()
    return told


def describe_outcome(answer: Answer) -> dict[str, Any]:
    """Returns the same without what was used, which is not kept."""
    error = answer.error
    if error is None:
        return {"request": answer.request_id, "status": STATUS_OK, "value": answer.value}
    if isinstance(error, LithoxError):
        code, fields = error.code, error.to_fields()
    else:
        code, fields = note_internal(error)
    return {"request": answer.request_id, "status": code, "error": fields}


def describe_running(request_id: str) -> dict[str, Any]:
    """Returns what is said of a request that has no outcome yet."""
    return {"request": request_id, "status": STATUS_RUNNING}


_pack: Final = msgspec.msgpack.Encoder(enc_hook=str).encode


def encode_packed(told: dict[str, Any]) -> bytes:
    """Returns MessagePack in a blob: text and bytes are told apart."""
    return encode_blob(_pack(told))


def encode_blob(data: bytes) -> bytes:
    """Returns bytes as RESP."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


class PackedSlot(Slot):
    """`REPLY MSGPACK`."""

    __slots__ = ()

    def on_answer(self, answer: Answer) -> None:
        self._finish_by(lambda: encode_packed(describe(answer)))

    def _finish_by(self, encode: Callable[[], bytes]) -> None:
        if self.connection is None:
            return
        try:
            reply = encode()
        except Exception as bug:  # noqa: BLE001 - the border: every fault gets an answer
            reply = encode_error(bug)
        self.finish(reply)


class JsonSlot(PackedSlot):
    """`REPLY JSON`: the body that HTTP answers."""

    __slots__ = ()

    def on_answer(self, answer: Answer) -> None:
        self._finish_by(lambda: encode_blob(reply_answer(answer).body))


class FullSlot(PackedSlot):
    """`REPLY FULL`: the same as a RESP map."""

    __slots__ = ()

    def on_answer(self, answer: Answer) -> None:
        connection = self.connection
        if connection is not None:
            is_resp3 = connection.is_resp3
            self._finish_by(lambda: encode_reply(describe(answer), is_resp3=is_resp3))


SLOTS: Final[dict[bytes, type[Slot]]] = {
    b"VALUE": Slot,
    b"FULL": FullSlot,
    b"JSON": JsonSlot,
    b"MSGPACK": PackedSlot,
}


def encode_outcome(
    connection: RespConnection, form: bytes, request_id: str, answer: Answer | None
) -> bytes:
    """Returns what RESULT tells: an outcome, or that there is none yet."""
    if form == b"JSON":
        told = describe_running(request_id) if answer is None else outcome_to_json(answer)
        return encode_blob(reply_json(told).body)
    told = describe_running(request_id) if answer is None else describe_outcome(answer)
    if form == b"MSGPACK":
        return encode_packed(told)
    return encode_reply(told, is_resp3=connection.is_resp3)
