"""What do a worker's calls mean to the node, and the node's answers to the worker?

The prelude asks with a name and one list; the node knows `messages`. This is the translation, both
ways, and the memory of which exception stands for which error: exceptions of the worker's Python
carry one text and nothing else. Pure but for that memory, which is bounded.
"""

from __future__ import annotations

import sys
from typing import Any, Final, cast

import msgspec

from lithox.errors import BadArguments
from lithox.model.big_values import EXT_BIG, is_big
from lithox.sandbox import messages
from lithox.sandbox.messages import ErrorMessage, OutcomeMessage, RunMessage
from lithox.sandbox.python.prelude import (
    ARGUMENT_NAMES,
    LOCAL_ERROR,
    LOCAL_ERROR_OF,
    MAIN_NAME,
)
from lithox.sandbox.python.values import (
    has_binary,
    raw_of_value,
    text_of,
    untagged,
    value_of,
)
from lithox.sandbox.python.wire import encode_feed

ERRORS_MAX: Final = 64
"""Errors of one run whose code is remembered, the newest ones."""
ERRORS_BYTES_MAX: Final = 256 << 10
"""What they take in memory together."""
ERROR_DATA_BYTES_MAX: Final = 128 << 10
"""Size of the data of one; larger data of a refusal is not remembered."""
CODE_CHARACTERS_MAX: Final = 64
MESSAGE_CHARACTERS_MAX: Final = 8192
"""Of the text of an error; by as much of a longer one it is known."""
NODE_CALLS: Final = frozenset(
    (
        messages.CALL_GET,
        messages.CALL_SCAN,
        messages.CALL_CALL,
        messages.CALL_LOG,
        messages.CALL_USAGE,
        messages.CALL_REQUEST,
        messages.CALL_SEND,
        messages.CALL_SCHEDULE,
        messages.CALL_CANCEL,
        messages.CALL_TIMERS,
        messages.CALL_RANGE,
        messages.CALL_BLOB_OPEN,
        messages.CALL_BLOB_READ,
        messages.CALL_BLOB_WRITE,
        messages.CALL_BLOB_CLOSE,
    )
)
KNOWN_CALLS: Final = NODE_CALLS | {LOCAL_ERROR, LOCAL_ERROR_OF}
"""All that the prelude asks."""
_WITH_WRITES: Final = frozenset(
    (messages.CALL_SCAN, messages.CALL_RANGE, messages.CALL_CALL, messages.CALL_BLOB_OPEN)
)
"""Calls whose last argument is what the run has written since it told last."""
_TOLD_FIELDS: Final = ("code", "message")

_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode
_decode_list: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


def _show_extension(code: int, data: memoryview) -> Any:
    """What is told of a big value in place of its bytes."""
    if code != EXT_BIG:
        return None
    _, size, _, digest = msgspec.msgpack.decode(data)
    return {"size": size, "digest": digest.hex()}


_decode: Final = msgspec.msgpack.Decoder(ext_hook=_show_extension).decode


class Conversation:
    """What one run has been told, and what it says."""

    __slots__ = ("_errors", "_errors_bytes", "_reads", "_run", "_scans")

    def __init__(self, message: bytes) -> None:
        """Reads the `RunMessage` in `message`."""
        self._run: RunMessage = _decode_run(message)
        self._errors: dict[str, tuple[str, bytes]] = {}
        self._errors_bytes = 0
        self._reads = [] if self._run.complete else list(self._run.state)
        self._scans: list[messages.Used] = [""] if self._run.complete else []

    @property
    def handler(self) -> str:
        """The handler's name."""
        return self._run.handler

    @property
    def now_ms(self) -> int:
        """What all clocks say."""
        return self._run.now_ms

    @property
    def seed(self) -> int:
        """What all randomness comes from."""
        return self._run.seed

    def opening(self) -> bytes:
        """Returns the request that runs the handler. Costs in proportion to the state sent."""
        run = self._run
        raws = {key: bytes(raw) for key, raw in run.state.items()}
        state = {
            key: _decode(raw)
            for key, raw in raws.items()
            if raw != messages.NIL and not is_big(raw)
        }
        # A big value is not in the dict: its key, and all scans, are asked of the node.
        is_complete = run.complete and not any(is_big(raw) for raw in raws.values())
        about = {
            "id": run.entity,
            "caller": run.caller,
            "request_id": run.request_id,
            "attempt": run.attempt,
            "now": run.now_ms,
            "seed": run.seed,
            "complete": is_complete,
        }
        args = bytes(run.args)
        texts = (
            text_of(about, is_tagged=False),
            text_of(_decode(args), is_tagged=has_binary((args,))),
            text_of(state, is_tagged=has_binary(raws.values())),
        )
        code = f"await {MAIN_NAME}({run.handler}, {', '.join(ARGUMENT_NAMES)})"
        return encode_feed(code, dict(zip(ARGUMENT_NAMES, texts, strict=True)))

    def call(self, name: str, text: str | None) -> bytes | str:
        """Returns the message of a call for the node, or the text that answers it here.

        Args:
            name: one of `KNOWN_CALLS`.
            text: of the list of arguments.

        Raises:
            BadArguments: the worker's Python asked for what there is not, or with no value.
        """
        args = value_of(text)
        if not isinstance(args, list):
            raise BadArguments("arguments are a list")
        args = cast("list[Any]", args)
        if name == LOCAL_ERROR:
            return self._keep_error(args)
        if name == LOCAL_ERROR_OF:
            return self._tell_error(args)
        raws: list[Any] = list(args)
        if name in _WITH_WRITES and raws:
            raws[-1] = _read_writes(raws[-1])
            if name == messages.CALL_CALL:
                raws[-1:] = [self._reads, self._scans, raws[-1]]
        try:
            return _encode([messages.CONTEXT_SELF, name, *raws])
        except (OverflowError, RecursionError, TypeError):
            raw_of_value(args)
            raise BadArguments("arguments that are no values") from None

    def _keep_error(self, args: list[Any]) -> str:
        code, message, data = ([*args, None, None, None])[:3]
        if not (isinstance(code, str) and isinstance(message, str)):
            raise BadArguments("self.error takes a code and a message, both text")
        if len(code) > CODE_CHARACTERS_MAX:
            raise BadArguments(f"the code of an error has at most {CODE_CHARACTERS_MAX} letters")
        raw = raw_of_value(data)
        if len(raw) > ERROR_DATA_BYTES_MAX:
            raise BadArguments(
                f"the data of an error takes at most {ERROR_DATA_BYTES_MAX} bytes; found {len(raw)}"
            )
        self._remember(message, code, raw)
        return "jnull"

    def _tell_error(self, args: list[Any]) -> str:
        message = args[0] if args and isinstance(args[0], str) else ""
        code, raw = self._recall(message)
        told = {"code": code, "message": message, "data": _decode(raw)}
        return text_of(told, is_tagged=True)

    def _remember(self, message: str, code: str, raw: bytes) -> None:
        """Keeps what an exception of text `message` stands for, instead of the oldest ones."""
        known_by = message[:MESSAGE_CHARACTERS_MAX]
        size = _size_of(known_by, raw)
        self._forget(known_by)
        while self._errors and (
            len(self._errors) >= ERRORS_MAX or self._errors_bytes + size > ERRORS_BYTES_MAX
        ):
            self._forget(next(iter(self._errors)))
        self._errors[known_by] = (code[:CODE_CHARACTERS_MAX], raw)
        self._errors_bytes += size

    def _forget(self, known_by: str) -> None:
        if known_by in self._errors:
            self._errors_bytes -= _size_of(known_by, self._errors.pop(known_by)[1])

    def _recall(self, message: str) -> tuple[str, bytes]:
        """Returns (code, encoded data) of an exception; ("", nil) of one without."""
        return self._errors.get(message[:MESSAGE_CHARACTERS_MAX], ("", messages.NIL))

    def read_answer(self, message: bytes) -> tuple[str, bool]:
        """Returns (text, whether it is a refusal) of the node's answer to a call."""
        raws = _decode_list(message)
        if _decode(raws[0]) == 0:
            values = [_decode(raw) for raw in raws[1:]]
            return text_of(values, is_tagged=has_binary(raws[1:])), False
        code, text = str(_decode(raws[1])), str(_decode(raws[2]))
        fields = cast("dict[str, Any]", _decode(raws[3]) if len(raws) > 3 else {})
        data = {key: one for key, one in fields.items() if key not in _TOLD_FIELDS}
        raw = _encode(data or None)
        self._remember(text, code, raw if len(raw) <= ERROR_DATA_BYTES_MAX else messages.NIL)
        return text, True

    def outcome(self, text: str | None) -> bytes:
        """Returns the outcome message of a handler that returned.

        Raises:
            BadArguments: no healthy prelude says that, or a value is not plain data.
        """
        try:
            tag, body, rows = _decode_outcome(text or "")
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BadArguments(f"not an outcome: {error}") from None
        writes: dict[str, msgspec.Raw] = {}
        for row in rows:
            key = row[0] if row else None
            if not isinstance(key, str) or len(row) not in (1, 3):
                raise BadArguments("a write that is no key and value")
            writes[key] = msgspec.Raw(
                messages.NIL if len(row) == 1 else _raw_at(key, untagged(row[1], row[2]))
            )
        return self._encode_outcome(
            messages.OUTCOME_RETURNED, raw_of_value(untagged(tag, body)), writes
        )

    def failure(self, kind: str, text: str, traceback: list[str]) -> bytes:
        """Returns the outcome message of a handler that raised an exception of type `kind`."""
        code, raw = self._recall(text) if kind == "RuntimeError" else ("", messages.NIL)
        message = text if code else f"{kind}: {text}" if text else kind
        error = ErrorMessage(
            code,
            message[:MESSAGE_CHARACTERS_MAX],
            "\n".join(traceback),
            msgspec.Raw(raw),
        )
        return self._encode_outcome(messages.OUTCOME_RAISED, _encode(error), {})

    def _encode_outcome(self, kind: int, body: bytes, writes: dict[str, msgspec.Raw]) -> bytes:
        outcome = OutcomeMessage(kind, msgspec.Raw(body), self._reads, self._scans, writes)
        return _encode(outcome)


_decode_run = msgspec.msgpack.Decoder(RunMessage).decode
_decode_outcome = msgspec.json.Decoder(tuple[str, Any, list[list[Any]]]).decode
"""[tag, value, [[key] of what is deleted, [key, tag, value] ...]]."""


def _size_of(known_by: str, raw: bytes) -> int:
    return sys.getsizeof(known_by) + sys.getsizeof(raw)


def _read_writes(rows: Any) -> dict[str, msgspec.Raw]:
    """Returns what [[key, text or None], ...] says is written.

    Raises:
        BadArguments: it says nothing of that kind.
    """
    try:
        pairs: list[tuple[str, str | None]] = msgspec.convert(rows, list[tuple[str, str | None]])
    except msgspec.ValidationError as error:
        raise BadArguments(f"not a list of writes: {error}") from None
    return {
        key: msgspec.Raw(messages.NIL if text is None else _raw_at(key, value_of(text)))
        for key, text in pairs
    }


def _raw_at(key: str, value: Any) -> bytes:
    try:
        return raw_of_value(value)
    except BadArguments as error:
        raise BadArguments(f"self.state[{key!r:.80}]: {error.message}") from None
