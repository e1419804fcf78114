"""What is not here: entities that another process of this server owns, and how they are reached.

`Elsewhere` is the seam. Dispatch asks `is_elsewhere` before it does anything with a request, and
hands over what is not its own; `cluster` implements it with links between processes. A dispatcher
that was given none owns everything.

Theory of operation. The process that owns an entity does all there is to do for a request of it:
admission, access, limits, the run, its commit, its recorded result. Whoever hands it over keeps
nothing but the duty to pass on one answer. Three kinds of request go over a link, told apart by
their `origin`:

    None             a caller waits for it: nothing is different from a request that came by HTTP
    AskedElsewhere   a handler's run waits for it (`self:request`): it uses no more than is left of
                     that run's limits, and its answer is recorded under REQUESTS_PLACE, here
    SentElsewhere    a message (`self:send`): it takes effect once by a mark in the receiver's
                     volume (`messages/marks.py`), and no result of it is kept

WHAT CROSSES A LINK. Of a `Request` every field, as follows; the other side calls
`Dispatcher.arrive` with the request made of it, never `submit`, so that nothing goes round.

    entity, handler     text; for a group ATOMIC_PLACE and "atomic": route it by `calls[0].entity`
    args                MessagePack of the list (`model.values.encode_value`)
    caller              identity, account, is_admin
    owner               text or None: who owns what is made, when that is not the caller
    limits              each field of `Limits`, None where nothing is said
    deadline_ns         what is LEFT of it, in nanoseconds, may be below 0; the other side adds its
                        own monotonic clock. None stays None
    request_id          text or None
    hops                integer
    calls               (entity, handler, MessagePack of the arguments) of each, in order
    origin              None, or bytes of `encode_origin` / `decode_origin`. Only the two classes
                        here can cross; any other is a bug of ours and raises InternalError

Nothing else of a job crosses: seed, run id, turn, priority and the place of its record follow from
these on the other side. Of an `Answer` cross: `request_id`, `value` (MessagePack), or `error` as
(code, message, fields) for `errors.rebuild`, all fields of `usage` (the asking run pays for `fuel`)
and `is_recorded`.

Invariants: `send` gives one answer, always; a link that dies answers everything under way with
StoreUnavailable (whether it took effect is unknown then); a copy of a request that was lost on the
way may still arrive later and has no effect a second time, if it has an id or is a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from lithox.dispatch.messages.marks import SentElsewhere
from lithox.errors import InternalError, OtherVolume, PeerProtocolError
from lithox.model.limits import Limits

if TYPE_CHECKING:
    from lithox.dispatch.job import OnAnswer
    from lithox.dispatch.transaction import Transaction
    from lithox.model.request import Request


class Elsewhere(Protocol):
    """Knows where entities are and reaches those of other processes. Called on one thread."""

    def is_elsewhere(self, entity: str) -> bool:
        """Returns whether another process owns `entity`; pure and fast: asked for every request.

        Never of the node's own entity and of system entities, which every process has.
        """
        ...

    def volume_of(self, entity: str) -> int:
        """Returns the number of the volume an entity lives in; pure and fast."""
        ...

    def send(self, request: Request, on_answer: OnAnswer) -> None:
        """Hands `request` to the process that owns its entity; a group goes by its first call.

        Never blocks and never raises for what the link does. `on_answer` is called exactly once, on
        the node's thread, perhaps before this returns: with what the other side answered, or with
        StoreUnavailable (`retry_after_ms`) when it cannot be reached, dies or is left, and with
        Overloaded when as much is under way as may be.
        """
        ...


class AskedElsewhere(msgspec.Struct, array_like=True, frozen=True, tag="asked"):
    """Origin of a request that a handler's run in another process waits for.

    Attributes:
        depth: how many requests wait for it, each for the next.
        fuel ... big_bytes: what is left of the limits of the run that waits; see `Limits`.
    """

    depth: int
    fuel: int | None
    memory_bytes: int | None
    wall_ns: int | None
    output_bytes: int | None
    calls: int | None
    state_bytes: int | None
    big_bytes: int | None

    @property
    def records_result(self) -> bool:
        """Its answer is recorded under its id: a run made again finds it."""
        return True

    def is_due(self, transaction: Transaction) -> bool:
        """Returns True: whether it has been done is told by its record, before it is begun."""
        del transaction
        return True

    def complete(self, transaction: Transaction, body: bytes) -> None:
        """Has nothing to add to the run's commit."""

    @property
    def bound(self) -> Limits:
        """What it may use at most."""
        return Limits(
            fuel=self.fuel,
            memory_bytes=self.memory_bytes,
            wall_ns=self.wall_ns,
            output_bytes=self.output_bytes,
            calls=self.calls,
            state_bytes=self.state_bytes,
            big_bytes=self.big_bytes,
        )


def asked_elsewhere(depth: int, bound: Limits) -> AskedElsewhere:
    """Returns the origin of a request of a run that has `bound` left and waits `depth` deep."""
    return AskedElsewhere(
        depth,
        bound.fuel,
        bound.memory_bytes,
        bound.wall_ns,
        bound.output_bytes,
        bound.calls,
        bound.state_bytes,
        bound.big_bytes,
    )


CrossingOrigin = AskedElsewhere | SentElsewhere
"""What may be the origin of a request that goes to another process."""

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(CrossingOrigin)


def encode_origin(origin: object) -> bytes | None:
    """Returns the origin of a request for the link, None for None.

    Raises:
        InternalError: it is one that belongs to this process: our bug.
    """
    if origin is None:
        return None
    if not isinstance(origin, (AskedElsewhere, SentElsewhere)):
        raise InternalError(f"a {type(origin).__name__} cannot be the origin of work elsewhere")
    return _encoder.encode(origin)


def decode_origin(data: bytes | None) -> CrossingOrigin | None:
    """Returns what `encode_origin` was given; raises PeerProtocolError for anything else."""
    if data is None:
        return None
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise PeerProtocolError(f"the origin of a request cannot be read: {error}") from None


def other_volume(entity: str, other: str) -> OtherVolume:
    """Returns the refusal of a transaction that would have entities of two volumes."""
    return OtherVolume(
        f"{entity} and {other} live in different volumes of this server, so nothing can commit "
        "both at once; use self:request or self:send, or have the operator place them together: "
        "by a pattern of `spread` that ends before they differ",
        entity=entity,
        other=other,
    )
