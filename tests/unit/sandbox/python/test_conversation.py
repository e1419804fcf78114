"""What a run may make the node remember, and what the node looks at before it decodes it."""

from __future__ import annotations

import msgspec
import pytest

from lithox.errors import BadArguments
from lithox.sandbox import messages
from lithox.sandbox.python.conversation import (
    ERROR_DATA_BYTES_MAX,
    ERRORS_BYTES_MAX,
    ERRORS_MAX,
    MESSAGE_CHARACTERS_MAX,
    Conversation,
)
from lithox.sandbox.python.values import ITEMS_MAX, LIST_ITEMS, items_of, text_of, value_of


def converse() -> Conversation:
    """Returns what a run has been told that has nothing."""
    return Conversation(
        messages.encode_run(
            messages.RunMessage(
                handler="go",
                args=msgspec.Raw(b"\x90"),
                entity="t/a",
                caller="tester",
                request_id=None,
                attempt=1,
                now_ms=0,
                seed=1,
                state={},
                complete=True,
            )
        )
    )


def keep(conversation: Conversation, message: str, data: object) -> None:
    """Asks what `self.error` asks."""
    conversation.call("error", text_of(["code", message, data], is_tagged=True))


def recall(conversation: Conversation, message: str) -> tuple[str, object]:
    """Returns (code, data) of an exception, as `self.error_of` tells them."""
    told = conversation.call("error_of", text_of([message], is_tagged=True))
    assert isinstance(told, str)
    found = value_of(told)
    return found["code"], found["data"]


def test_errors_are_remembered_within_bounds() -> None:
    """However many there are and however large, the newest are known and the rest forgotten."""
    conversation = converse()
    for size in (0, ERROR_DATA_BYTES_MAX - 10):
        for number in range(ERRORS_MAX + 10):
            keep(conversation, f"{number} {'x' * size}", "y" * size)
            assert len(conversation._errors) <= ERRORS_MAX
            held = sum(len(key) + len(raw) for key, (_, raw) in conversation._errors.items())
            assert held <= conversation._errors_bytes <= ERRORS_BYTES_MAX
        assert recall(conversation, f"{number} {'x' * size}") == ("code", "y" * size)
        assert recall(conversation, f"0 {'x' * size}") == ("", None)
    keep(conversation, "twice", 1)
    before = conversation._errors_bytes
    keep(conversation, "twice", 2)
    assert (conversation._errors_bytes, recall(conversation, "twice")) == (before, ("code", 2))


def test_data_of_an_error_is_bounded() -> None:
    """The handler is told; a refusal of the node keeps its code without such data."""
    conversation = converse()
    with pytest.raises(BadArguments, match="data of an error"):
        keep(conversation, "large", "x" * ERROR_DATA_BYTES_MAX)
    with pytest.raises(BadArguments, match="code of an error"):
        conversation.call("error", text_of(["c" * 65, "m", None], is_tagged=False))
    fields = {"code": "c", "message": "m", "found": "x" * ERROR_DATA_BYTES_MAX}
    encode = msgspec.msgpack.encode
    conversation.read_answer(encode([1, "app.c", "m" * 20_000, fields]))
    assert recall(conversation, "m" * 20_000) == ("app.c", None)
    assert max(map(len, conversation._errors)) == MESSAGE_CHARACTERS_MAX


def test_items_are_counted_before_they_are_made() -> None:
    """Never fewer than there are; strings count when they are few, and are left out when many."""
    assert items_of('j[1,2,[3],{"a":4}]') == 3 + 3 * LIST_ITEMS
    assert items_of('j"' + "," * 100 + '"') == 100
    many = ITEMS_MAX + 1
    assert items_of('j["' + "," * many + '\\",",1]') == 1 + LIST_ITEMS + 1
    for text in ("j[" + "1," * many + "1]", "j[" + "[]," * (many // LIST_ITEMS) + "1]"):
        with pytest.raises(BadArguments, match="items at once"):
            items_of(text)
    with pytest.raises(BadArguments, match="items at once"):
        items_of("j[" + '",",' * many + "1]")
