"""Every exception a caller may catch, its code, and the one table of what a code means outside.

Invariants: a code is stable for ever once released; an error carries plain fields only (no live
objects), so it can cross processes as (code, message, fields) and be rebuilt by `rebuild`.
Our own bugs are `InternalError`, which is deliberately *not* a `LithoxError`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple


class Meaning(NamedTuple):
    """What one error code means to each kind of listener."""

    http_status: int
    guest_status: int
    """Small positive integer a guest sees as `os.status`; 0 is OK and never an error."""
    exit_status: int
    """Exit status of the command line: 1 guest, 2 usage, 3 refused, 4 unavailable, 5 our bug."""
    fault: str
    """Whose act it was: caller, guest, node, peer, operator, ours."""


TABLE: Final[dict[str, Meaning]] = {
    "request.not_found": Meaning(404, 10, 2, "caller"),
    "request.bad_arguments": Meaning(400, 11, 2, "caller"),
    "request.too_large": Meaning(413, 12, 2, "caller"),
    "request.not_permitted": Meaning(403, 13, 3, "caller"),
    "request.unauthenticated": Meaning(401, 14, 3, "caller"),
    "request.limit_too_high": Meaning(403, 15, 3, "caller"),
    "request.no_credits": Meaning(402, 16, 3, "caller"),
    "request.id_reused": Meaning(409, 17, 2, "caller"),
    "request.deadline_passed": Meaning(504, 18, 4, "caller"),
    "request.overloaded": Meaning(429, 19, 4, "caller"),
    "request.cancelled": Meaning(409, 20, 4, "operator"),
    "request.not_available": Meaning(501, 21, 2, "caller"),
    "request.precondition_failed": Meaning(412, 22, 4, "caller"),
    "guest.raised": Meaning(422, 30, 1, "guest"),
    "guest.trapped": Meaning(422, 31, 1, "guest"),
    "guest.compile_failed": Meaning(422, 32, 1, "guest"),
    "guest.protocol": Meaning(422, 33, 1, "guest"),
    "guest.out_of_fuel": Meaning(422, 34, 1, "guest"),
    "guest.out_of_memory": Meaning(422, 35, 1, "guest"),
    "guest.out_of_wall": Meaning(422, 36, 1, "guest"),
    "guest.out_of_output": Meaning(422, 37, 1, "guest"),
    "guest.out_of_calls": Meaning(422, 38, 1, "guest"),
    "guest.out_of_depth": Meaning(422, 39, 1, "guest"),
    "guest.out_of_participants": Meaning(422, 40, 1, "guest"),
    "guest.out_of_state": Meaning(422, 41, 1, "guest"),
    "guest.out_of_big": Meaning(422, 44, 1, "guest"),
    "process.parent_ended": Meaning(409, 42, 4, "node"),
    "process.exited": Meaning(422, 43, 1, "guest"),
    "context.not_in_transaction": Meaning(409, 50, 1, "guest"),
    "context.invalid": Meaning(422, 51, 1, "guest"),
    "context.closed": Meaning(409, 52, 1, "guest"),
    "context.no_such_name": Meaning(404, 53, 1, "guest"),
    "context.not_owner": Meaning(403, 54, 1, "guest"),
    "context.not_in_arguments": Meaning(422, 55, 1, "guest"),
    "context.too_many": Meaning(429, 56, 1, "guest"),
    "call.not_found": Meaning(404, 57, 1, "guest"),
    "call.abandoned": Meaning(409, 58, 1, "guest"),
    "call.deadlock": Meaning(409, 59, 1, "guest"),
    "transaction.conflict": Meaning(409, 60, 4, "node"),
    "transaction.diverged": Meaning(409, 61, 4, "guest"),
    "transaction.other_volume": Meaning(422, 69, 2, "caller"),
    "store.results_full": Meaning(429, 62, 4, "node"),
    "message.queue_full": Meaning(429, 66, 4, "node"),
    "guest.too_many_hops": Meaning(422, 67, 1, "guest"),
    "guest.too_many_timers": Meaning(429, 68, 1, "guest"),
    "store.unavailable": Meaning(503, 63, 4, "node"),
    "store.corrupt": Meaning(500, 64, 4, "node"),
    "store.in_use": Meaning(503, 65, 4, "operator"),
    "peer.unreachable": Meaning(502, 70, 4, "peer"),
    "peer.protocol": Meaning(502, 71, 4, "peer"),
    "config.invalid": Meaning(400, 80, 2, "operator"),
    "internal": Meaning(500, 90, 5, "ours"),
}
"""The one table: code -> what it means outside. `app.<code>` shares the row of `guest.raised`."""

SUMMARIES: Final[dict[str, str]] = {
    "request.not_found": "no such entity, handler, key, process or file",
    "request.bad_arguments": "malformed, out of range, or not what this asks for",
    "request.too_large": "longer than the bound it names",
    "request.not_permitted": "the caller may not do this",
    "request.unauthenticated": "no token, or one the node does not know",
    "request.limit_too_high": "more was asked than the node, account or handler allows",
    "request.no_credits": "the account has nothing left to spend",
    "request.id_reused": "this request id was used for something else",
    "request.deadline_passed": "the caller's deadline came before the end",
    "request.overloaded": "a bound on what runs or waits is reached; try again later",
    "request.cancelled": "an operator ended the run",
    "request.not_available": "this node does not have that part",
    "request.precondition_failed": "what is there is not what the caller said it would be",
    "guest.raised": "the handler raised an error",
    "guest.trapped": "the guest's machine stopped: stack overflow, unreachable code, bad access",
    "guest.compile_failed": "the source cannot be loaded; file and line are in the fields",
    "guest.protocol": "the guest spoke the system-call protocol wrongly",
    "guest.out_of_fuel": "the run used up its fuel",
    "guest.out_of_memory": "the guest's memory reached its limit",
    "guest.out_of_wall": "the run lasted longer than its limit, waiting included",
    "guest.out_of_output": "result, error, log lines and writes were too much together",
    "guest.out_of_calls": "the run made too many system calls",
    "guest.out_of_depth": "calls between entities nest too deep",
    "guest.out_of_participants": "one transaction touches too many entities",
    "guest.out_of_state": "the run wrote more state than its limit, or begins with too much",
    "guest.out_of_big": "the run wrote more bytes of big values than its limit",
    "process.parent_ended": "the process that had started this one has ended",
    "process.exited": "the program ended with a status other than 0",
    "context.not_in_transaction": "this may not be done inside a transaction",
    "context.invalid": "the guest does not hold that context",
    "context.closed": "the context's owner has closed it, taken it back, or has ended",
    "context.no_such_name": "the context's owner has not bound that name",
    "context.not_owner": "only the owner of a context may do this",
    "context.not_in_arguments": "contexts travel in answers and at a process's start only",
    "context.too_many": "the process holds as many contexts, names, calls or queues as it may",
    "call.not_found": "no such call waits for this process's answer",
    "call.abandoned": "who was to answer the call has ended or has closed the context",
    "call.deadlock": "the processes in this chain of requests would wait for each other for ever",
    "transaction.conflict": "others changed what the run read, as often as it was tried",
    "transaction.diverged": "a run tried again asked for something else than before",
    "transaction.other_volume": "entities of two volumes cannot be in one transaction",
    "store.results_full": "the account keeps as many recorded answers as it may",
    "message.queue_full": "as many messages wait for this receiver, account or node as may",
    "guest.too_many_hops": "messages or requests led to each other for too long",
    "guest.too_many_timers": "the entity or account has as many timers as it may",
    "store.unavailable": "the store takes no writes now: disk full, read-only or closed",
    "store.corrupt": "the data file is damaged, not ours, or newer than this version",
    "store.in_use": "another node holds the data directory",
    "peer.unreachable": "another node or service does not answer",
    "peer.protocol": "another node or service answered what nobody understands",
    "config.invalid": "configuration or manifest is wrong; the message names file and key",
    "internal": "a bug of lithox; please report it",
}
"""The one table's last column, for people: what happened."""

STATUS_OK: Final = 0
_RESERVED_FIELDS: Final = frozenset({"code", "message", "retry_after_ms"})
"""Names that mean the same in every error, so no field of its own may bear one."""


def meaning_of(code: str) -> Meaning:
    """Returns the row of `code`; every `app.*` code has the row of `guest.raised`.

    Raises:
        KeyError: the code is not in the table (a bug: `internal` is the row to use then).
    """
    if code.startswith("app."):
        return TABLE["guest.raised"]
    return TABLE[code]


class LithoxError(Exception):
    """Base of every error a caller may expect.

    Attributes:
        code: stable dotted code, a key of `TABLE` or `app.<code>`.
        message: one sentence: what was wanted, what was found, what to do.
        fields: plain data that goes with it (limit, used, allowed, line ...).
        retry_after_ms: when a retry may succeed, or None when it will not.
    """

    default_code: str = "internal"

    def __init__(
        self,
        message: str,
        /,
        *,
        code: str | None = None,
        retry_after_ms: int | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        assert self.code in TABLE or self.code.startswith("app."), self.code
        self.message = message
        self.retry_after_ms = retry_after_ms
        self.fields = fields

    @property
    def fault(self) -> str:
        """Whose act it was: caller, guest, node, peer, operator or ours."""
        return meaning_of(self.code).fault

    @property
    def http_status(self) -> int:
        """The HTTP status of an answer that carries this error."""
        return meaning_of(self.code).http_status

    @property
    def exit_status(self) -> int:
        """The exit status of a command that ends with this error."""
        return meaning_of(self.code).exit_status

    def to_fields(self) -> dict[str, Any]:
        """Returns {"message", "retry_after_ms"?, ...fields}: the body of an error answer."""
        body: dict[str, Any] = {**self.fields, "message": self.message}
        if self.retry_after_ms is not None:
            body["retry_after_ms"] = self.retry_after_ms
        return body

    def __reduce__(self) -> tuple[Any, ...]:
        return (rebuild, (self.code, self.to_fields()))


class RequestError(LithoxError):
    """The caller asked for something that cannot be done as asked."""


class NotFound(RequestError):
    default_code = "request.not_found"


class BadArguments(RequestError):
    default_code = "request.bad_arguments"


class TooLarge(RequestError):
    default_code = "request.too_large"


class NotPermitted(RequestError):
    default_code = "request.not_permitted"


class Unauthenticated(RequestError):
    default_code = "request.unauthenticated"


class LimitTooHigh(RequestError):
    default_code = "request.limit_too_high"


class NoCredits(RequestError):
    default_code = "request.no_credits"


class IdReused(RequestError):
    default_code = "request.id_reused"


class DeadlinePassed(RequestError):
    default_code = "request.deadline_passed"


class Overloaded(RequestError):
    default_code = "request.overloaded"


class Cancelled(RequestError):
    """An operator ended the run."""

    default_code = "request.cancelled"


class NotAvailable(RequestError):
    default_code = "request.not_available"


class PreconditionFailed(RequestError):
    """What is there is not what the caller said it would be; nothing was changed."""

    default_code = "request.precondition_failed"


class GuestError(LithoxError):
    """The guest's own code failed; nothing of its run remains."""


class GuestRaised(GuestError):
    default_code = "guest.raised"


class GuestTrapped(GuestError):
    default_code = "guest.trapped"


class CompileFailed(GuestError):
    """Source that cannot be loaded; fields: file, line, expected where known."""

    default_code = "guest.compile_failed"


class GuestProtocolError(GuestError):
    """The guest spoke the system-call protocol wrongly, or made a value we cannot carry."""

    default_code = "guest.protocol"


class ContextInvalid(GuestError):
    """A guest used a context number it does not hold."""

    default_code = "context.invalid"


class NotInTransaction(GuestError):
    default_code = "context.not_in_transaction"


class ContextClosed(GuestError):
    """The owner has closed or revoked the context, or has ended."""

    default_code = "context.closed"


class NoSuchName(GuestError):
    """The context's owner has not bound that name."""

    default_code = "context.no_such_name"


class NotOwner(GuestError):
    default_code = "context.not_owner"


class NotInArguments(GuestError):
    """A context was put where none may travel."""

    default_code = "context.not_in_arguments"


class TooManyContexts(GuestError):
    """A process's own bound on contexts, names, calls or queues. Fields: limit, allowed."""

    default_code = "context.too_many"


class CallNotFound(GuestError):
    """No such call waits for an answer of this process."""

    default_code = "call.not_found"


class CallAbandoned(GuestError):
    """Who was to answer has ended or has closed the context."""

    default_code = "call.abandoned"


class CallDeadlock(GuestError):
    """A chain of requests that closes on itself."""

    default_code = "call.deadlock"


class ParentEnded(GuestError):
    """The parent of a process has ended, which ended the process."""

    default_code = "process.parent_ended"


class ProgramExited(GuestError):
    """A program ended with a status other than 0. Fields: status, values where plain."""

    default_code = "process.exited"


class LimitExceeded(GuestError):
    """A run used up one of its limits. Fields: limit, used, allowed."""

    default_code = "guest.out_of_fuel"

    def __init__(self, message: str, /, *, limit: str, **fields: Any) -> None:
        fields.pop("code", None)
        super().__init__(message, code=f"guest.out_of_{limit}", limit=limit, **fields)


class TransactionError(LithoxError):
    """The transaction or its store could not do it; the request did nothing."""


class Conflict(TransactionError):
    default_code = "transaction.conflict"


class Diverged(TransactionError):
    default_code = "transaction.diverged"


class OtherVolume(TransactionError):
    """A transaction would have entities of two volumes. Fields: entity, other."""

    default_code = "transaction.other_volume"


class ResultsFull(TransactionError):
    default_code = "store.results_full"


class MessageQueueFull(TransactionError):
    default_code = "message.queue_full"


class TooManyHops(GuestError):
    default_code = "guest.too_many_hops"


class TooManyTimers(GuestError):
    default_code = "guest.too_many_timers"


class StoreUnavailable(TransactionError):
    default_code = "store.unavailable"


class StoreCorrupt(TransactionError):
    default_code = "store.corrupt"


class StoreInUse(TransactionError):
    """Another node holds the data directory."""

    default_code = "store.in_use"


class PeerError(LithoxError):
    default_code = "peer.unreachable"


class PeerUnreachable(PeerError):
    default_code = "peer.unreachable"


class PeerProtocolError(PeerError):
    default_code = "peer.protocol"


class ConfigError(LithoxError):
    """The operator's configuration is wrong; the message names file and key."""

    default_code = "config.invalid"


class InternalError(Exception):
    """Our bug. Outside `LithoxError`, so that a broad `except` of a caller cannot hide it."""

    code = "internal"
    http_status = 500
    exit_status = 5


def _leaves(base: type[LithoxError]) -> list[type[LithoxError]]:
    """Returns every class below `base`, parents before children."""
    found: list[type[LithoxError]] = []
    for child in base.__subclasses__():
        found.append(child)
        found.extend(_leaves(child))
    return found


_CLASS_BY_CODE: Final[dict[str, type[LithoxError]]] = {
    leaf.default_code: leaf
    for leaf in _leaves(LithoxError)
    if leaf.default_code in TABLE and leaf.default_code != "internal"
}
"""Children come after their parents, so the narrowest class of a code wins."""
_LIMIT_PREFIX: Final = "guest.out_of_"
_LIMIT_CODES: Final = frozenset(code for code in TABLE if code.startswith(_LIMIT_PREFIX))


def rebuild(code: str, fields: dict[str, Any]) -> LithoxError | InternalError:
    """Returns the error that (code, fields) stands for; the inverse of `code` and `to_fields`.

    A code the table does not have becomes an `InternalError`: a newer peer's error must not pass
    for one of ours. `fields` may come from a stranger, so reserved or odd names in it do no harm.
    """
    message = str(fields.get("message", code))
    if not code.startswith("app.") and code not in _CLASS_BY_CODE and code not in _LIMIT_CODES:
        return InternalError(f"{code}: {message}")
    error: LithoxError
    if code in _LIMIT_CODES:
        error = LimitExceeded(message, limit=code.removeprefix(_LIMIT_PREFIX))
    else:
        error = _CLASS_BY_CODE.get(code, GuestRaised)(message, code=code)
    error.fields |= {name: fields[name] for name in fields if name not in _RESERVED_FIELDS}
    if error.code in _LIMIT_CODES:
        error.fields["limit"] = code.removeprefix(_LIMIT_PREFIX)
    retry_after_ms = fields.get("retry_after_ms")
    error.retry_after_ms = retry_after_ms if type(retry_after_ms) is int else None
    return error
