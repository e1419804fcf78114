"""What happens to queues: listening, pushing, and messages that are lost. See `queues`.

Invariants: a message is charged to its listener's mailbox from the push until it is pulled or
dropped; a listener is in its context's table exactly as long as it listens.
"""

from __future__ import annotations

from lithox.errors import BadArguments, NotFound, TooLarge, TooManyContexts
from lithox.kernel.contexts import Holding, NativeContext, Side
from lithox.kernel.events import EVENT_BYTES
from lithox.kernel.queues import Listener, Message, check_name, check_overflow
from lithox.kernel.sharing import Sharing

Pushed = tuple[int, int]
"""(messages that now stand in a mailbox, messages lost because of this push)."""


class Listening(Sharing):
    """The part of `Interactions` that knows queues."""

    def listen(
        self,
        pid: int,
        number: int,
        queue: str,
        limit: int | None = None,
        overflow: str | None = None,
    ) -> None:
        """Hears messages of `queue` in a context; asked again, it changes limit and overflow.

        Args:
            limit: messages kept at most, 1 to `queue_limit_max`; None: the default.
            overflow: "drop_oldest" (the default) or "drop_newest".

        Raises:
            ContextInvalid, ContextClosed: the number leads nowhere.
            BadArguments: queue, limit or overflow is out of bounds.
            TooManyContexts: the process listens to as many queues as it may.
        """
        party, policy = self._party(pid), self._policy
        holding = self._use(party, number)
        check_name(queue, policy.name_bytes_max, "a queue")
        is_dropping_newest = check_overflow(overflow)
        if limit is None:
            limit = policy.queue_limit_default
        elif not 1 <= limit <= policy.queue_limit_max:
            raise BadArguments(
                f"a queue's limit is 1 to {policy.queue_limit_max} messages; found {limit}"
            )
        listener = self._find_listener(holding, queue)
        if listener is None:
            if party.listens >= policy.listens_max:
                raise TooManyContexts(
                    f"this process listens to {party.listens} queues and may hear no more",
                    limit="listens",
                    allowed=policy.listens_max,
                )
            listener = Listener(party, number, queue)
            self._add_listener(holding, listener)
        listener.limit = limit
        listener.is_dropping_newest = is_dropping_newest
        while len(listener.pending) > limit:
            self._drop_oldest(listener)

    def unlisten(self, pid: int, number: int, queue: str) -> None:
        """Hears `queue` no more; messages not pulled yet are dropped.

        Raises:
            ContextInvalid, ContextClosed: the number leads nowhere.
            NotFound: the process does not listen there.
        """
        holding = self._use(self._party(pid), number)
        listener = self._find_listener(holding, queue)
        if listener is None:
            raise NotFound(f"this process does not listen to {queue[:80]!r} in context {number}")
        self._end_listener(holding, listener)
        while listener.pending:
            self._drop_oldest(listener)

    def push(self, pid: int, number: int, queue: str, args: bytes, now_ns: int) -> Pushed:
        """Sends a message: from the owner to all holders who listen, from a holder to the owner.

        Args:
            args: MessagePack array.

        Returns:
            tuple of (delivered, lost): how many mailboxes took it, how many messages were lost
            for it (older ones, or itself).

        Raises:
            ContextInvalid, ContextClosed: the number leads nowhere.
            BadArguments: `queue` is no queue's name.
            TooLarge: `args` is longer than `message_bytes_max`.
        """
        self._advance(now_ns)
        party = self._party(pid)
        context = self._use(party, number).context
        check_name(queue, self._policy.name_bytes_max, "a queue")
        self._check_size(args)
        if context.owner is party:
            return self._spread(context.listeners.get(queue), pid, args)
        return self._spread(context.inbox.get(queue), pid, args)

    def push_from_node(self, native: NativeContext, queue: str, args: bytes, now_ns: int) -> Pushed:
        """Sends a message to every process that listens in a native context; see `push`."""
        self._advance(now_ns)
        return self._spread(native.listeners.get(queue), 0, args)

    # Below: how.

    def _check_size(self, args: bytes) -> None:
        bytes_max = self._policy.message_bytes_max
        if len(args) > bytes_max:
            raise TooLarge(f"{len(args)} bytes of arguments; at most {bytes_max} are carried")

    def _spread(
        self, listeners: dict[Holding, Listener] | None, sender_pid: int, args: bytes
    ) -> Pushed:
        if listeners is None:
            return 0, 0
        delivered = lost = 0
        for listener in tuple(listeners.values()):
            one = self._deliver(listener, sender_pid, args)
            delivered += one[0]
            lost += one[1]
        return delivered, lost

    def _deliver(self, listener: Listener, sender_pid: int, args: bytes) -> Pushed:
        party, pending = listener.party, listener.pending
        size = EVENT_BYTES + len(args)
        lost = 0
        while len(pending) >= listener.limit or not self._has_room(party, size):
            if listener.is_dropping_newest or not pending:
                listener.missed += 1
                return 0, lost + 1
            self._drop_oldest(listener)
            lost += 1
        message = Message(listener, sender_pid, args, size)
        pending.append(message)
        self._charge(party, size)
        self._post(party, message)
        return 1, lost

    def _drop_oldest(self, listener: Listener) -> None:
        message = listener.pending.popleft()
        message.is_dropped = True
        message.args = b""
        listener.missed += 1
        self._charge(listener.party, -message.charged_bytes)
        self._note_stale(listener.party)

    def _find_listener(self, holding: Holding, queue: str) -> Listener | None:
        return None if holding.listeners is None else holding.listeners.get(queue)

    def _add_listener(self, holding: Holding, listener: Listener) -> None:
        listener.party.listens += 1
        if holding.listeners is None:
            holding.listeners = {}
        holding.listeners[listener.queue] = listener
        _side_of(holding).setdefault(listener.queue, {})[holding] = listener

    def _end_listener(self, holding: Holding, listener: Listener) -> None:
        """Takes a listener out of all tables; what is queued for it stays queued."""
        listener.party.listens -= 1
        assert holding.listeners is not None
        del holding.listeners[listener.queue]
        side = _side_of(holding)
        listeners = side[listener.queue]
        del listeners[holding]
        if not listeners:
            del side[listener.queue]

    def _end_listeners_of(self, holding: Holding, *, drops: bool) -> None:
        """Ends all listening under one number.

        Args:
            drops: whether queued messages go with it, or may still be pulled.
        """
        if not holding.listeners:
            return
        for listener in tuple(holding.listeners.values()):
            self._end_listener(holding, listener)
            while drops and listener.pending:
                self._drop_oldest(listener)

    def _end_listeners_in(self, side: Side) -> None:
        """Ends all listening on one side of a context; what is queued stays queued."""
        for listeners in tuple(side.values()):
            for holding in tuple(listeners):
                self._end_listeners_of(holding, drops=False)


def _side_of(holding: Holding) -> Side:
    """Returns where a number listens: among the owner's, or among the holders'."""
    context = holding.context
    return context.inbox if context.owner is holding.party else context.listeners
