"""The forms of an answer that say more than the value: what HTTP's body says, in three codings."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from lithox.errors import LithoxError
from lithox.gateway.answers import note_internal, reply_answer, reply_json
from lithox.gateway.resp.connection import RespConnection
from lithox.gateway.resp.replies import encode_reply
from lithox.gateway.resp.slots import Slot
from lithox.model.outcome import STATUS_OK, STATUS_RUNNING, outcome_to_json
from lithox.model.request import Answer

STATUS_ACCEPTED: Final = "accepted"


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

    def encode(self, answer: Answer) -> bytes:
        return encode_packed(describe(answer))


class JsonSlot(Slot):
    """`REPLY JSON`: the body that HTTP answers."""

    __slots__ = ()

    def encode(self, answer: Answer) -> bytes:
        return encode_blob(reply_answer(answer).body)


class FullSlot(Slot):
    """`REPLY FULL`: the same as a RESP map."""

    __slots__ = ()

    def encode(self, answer: Answer) -> bytes:
        return encode_reply(describe(answer), is_resp3=self.connection.is_resp3)


class TaggedSlot(PackedSlot):
    """`TAG`: the same as `REPLY MSGPACK`, in a push that bears the tag, as soon as it is there."""

    __slots__ = ("_tag",)

    def __init__(self, connection: RespConnection, tag: bytes) -> None:
        super().__init__(connection)
        self._tag = tag

    def finish(self, reply: bytes) -> None:
        connection = self.connection
        if self.reply is None and not connection.is_lost:
            self.reply = reply
            connection.note_loose(self, b">3\r\n$6\r\nanswer\r\n:%b\r\n%b" % (self._tag, reply))


SLOTS: Final[dict[bytes, type[Slot]]] = {
    b"VALUE": Slot,
    b"FULL": FullSlot,
    b"JSON": JsonSlot,
    b"MSGPACK": PackedSlot,
}


def open_slot(connection: RespConnection, kind: type[Slot], tag: bytes | None) -> Slot:
    """Returns the place of the answer of the command that is being done."""
    if tag is None:
        slot = kind(connection)
        connection.slots.append(slot)
    else:
        slot = TaggedSlot(connection, tag)
        connection.loose.add(slot)
    return slot


def encode_accepted(slot: Slot, request_id: str) -> bytes:
    """Returns what ASYNC tells: the id, in the form of its slot."""
    if isinstance(slot, TaggedSlot):
        return encode_packed({"request": request_id, "status": STATUS_ACCEPTED})
    return encode_reply(request_id, is_resp3=slot.connection.is_resp3)


def encode_outcome(slot: Slot, request_id: str, answer: Answer | None) -> bytes:
    """Returns what RESULT tells, in the form of its slot: an outcome, or that there is none yet."""
    if isinstance(slot, JsonSlot):
        told = describe_running(request_id) if answer is None else outcome_to_json(answer)
        return encode_blob(reply_json(told).body)
    told = describe_running(request_id) if answer is None else describe_outcome(answer)
    if isinstance(slot, PackedSlot):
        return encode_packed(told)
    return encode_reply(told, is_resp3=slot.connection.is_resp3)
