"""The place of one command among the answers of its connection, and how its answer is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lithox.gateway.resp.replies import encode_error, encode_reply
from lithox.model.request import Answer

if TYPE_CHECKING:
    from lithox.gateway.resp.connection import RespConnection


class Slot:
    """The place of one command among the answers of its connection."""

    __slots__ = ("connection", "reply")

    def __init__(self, connection: RespConnection) -> None:
        self.connection = connection
        self.reply: bytes | None = None

    def encode(self, answer: Answer) -> bytes:
        """Returns the answer of a run: its value as RESP, or `-CODE MESSAGE`."""
        if answer.error is not None:
            return encode_error(answer.error)
        return encode_reply(answer.value, is_resp3=self.connection.is_resp3)

    def on_answer(self, answer: Answer) -> None:
        """Takes the answer of a run."""
        if self.connection.is_lost:
            return
        try:
            reply = self.encode(answer)
        except Exception as bug:  # noqa: BLE001 - the border: every fault gets an answer
            reply = encode_error(bug)
        self.finish(reply)

    def finish(self, reply: bytes) -> None:
        """Takes the answer as it will be written."""
        connection = self.connection
        if self.reply is None and not connection.is_lost:
            self.reply = reply
            connection.note_ready(self, len(reply))

    def refuse(self, error: Exception) -> None:
        """Takes an error in place of a run's answer."""
        self.on_answer(Answer(error=error))
