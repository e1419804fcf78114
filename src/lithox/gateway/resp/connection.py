"""One connection that speaks RESP: commands in, answers out in the same order.

Theory of operation. What a read brings is parsed in slices; each command either is answered at
once or becomes a request of the node. Requests of one connection run at the same time and end in
any order, so each command has a `Slot` in a queue, and what is ready at its head is written, all of
one turn of the event loop in one write. No command has a task of its own: the node calls the slot.

    bytes -> parser -> _todo -> command -> Slot in _slots -> node ... -> Slot.on_answer -> write
             unread    words                open                        held bytes

Every arrow stops where it is full: with `in_flight_max` slots open, half of `held_bytes_max` of
answers not written, or a peer that does not read, no command is begun; with commands not begun,
nothing is read. What is in flight then may still end and is held: above `held_bytes_max`, or
`held_bytes_all_max` over all connections, the connection is closed, with an error as its last word.

It is long because order, flow and time of one connection are one state: parted, each part would
have to look into the others.

Invariants, for a connection that is not closing:
- a command that is not whole has `_timer` armed; a peer that does not read has `_write_timer`;
  with nothing in flight `_idle_timer` ends it. So no silence is for ever.
- every slot of `_slots` is answered exactly once, and written in the order of the commands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final

from lithox.errors import BadArguments, LithoxError, Overloaded, StoreUnavailable, TooLarge
from lithox.gateway.resp.parsing import Command, CommandParser
from lithox.gateway.resp.replies import OK, encode_error
from lithox.gateway.resp.shared import Peers, RespService
from lithox.gateway.resp.slots import Slot
from lithox.model.quantities import format_duration
from lithox.model.request import Caller

_RETRY_AFTER_MS: Final = 1_000
STOPPED: Final = (
    "the node stopped before it could answer; whether the run committed is not known here: "
    "ask again with the same request id"
)


class RespConnection(asyncio.Protocol):
    """The protocol of one connection, from its first byte on.

    Args:
        service: what it shares with others.
        peers: where it counts as a connection; `tasks` is what a stop waits for.
    """

    def __init__(self, service: RespService, peers: Peers) -> None:
        self.service = service
        self.node = service.node
        self.caller: Caller | None = None
        self.is_resp3 = False
        self.name = ""
        service.last_id += 1
        self.id = service.last_id
        self.is_lost = False
        self.slots = deque[Slot]()
        self.loose = set[Slot]()
        """Places of commands whose answers are told by a tag, in any order."""
        self._loose_ready: list[bytes] = []
        self.pushes = 0
        self._peers = peers
        self._parser = CommandParser(service.bounds.stranger_bytes_max)
        self._todo = deque[Command]()
        self._held_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._is_ending = False
        self._is_due = self._is_flush_due = False
        """A turn of this connection is scheduled or runs; a write without a turn is scheduled."""
        self._is_paused = self._is_stuffed = False
        """Reading is paused; the peer does not read."""
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._heard_s = 0.0
        self._own_tasks = set[asyncio.Task[Any]]()
        self._drained = asyncio.Event()

    # -- what the transport says --------------------------------------------------------------

    def take_over(self, transport: asyncio.Transport, data: bytes) -> None:
        """Goes on with a connection whose first bytes another protocol has read."""
        transport.set_protocol(self)
        self._peers.connections.add(self)
        self._transport = transport
        transport.set_write_buffer_limits(self.service.bounds.write_buffer_bytes)
        self._arm_idle()
        self.data_received(data)

    def data_received(self, data: bytes) -> None:
        if not self._is_ending:
            self._heard_s = self._loop.time()
            self._parser.feed(data)
            if not self._is_due:
                self._is_due = True
                self._take_turn()

    def eof_received(self) -> bool:
        """Says whether to stay open: until what was asked is answered."""
        self._end()
        return self._is_busy

    def pause_writing(self) -> None:
        self._is_stuffed = True
        if self._write_timer is None:
            after_s = self.service.settings.receive_ns / 1e9
            self._write_timer = self._loop.call_later(after_s, self._abort)

    def resume_writing(self) -> None:
        self._is_stuffed = False
        self._write_timer = _cancelled(self._write_timer)
        self._schedule()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._peers.connections.discard(self)
        self._is_ending = True
        self._timer = _cancelled(self._timer)
        self._write_timer = _cancelled(self._write_timer)
        self._idle_timer = _cancelled(self._idle_timer)
        self.is_lost = True
        self._todo.clear()
        self.slots.clear()
        self.loose.clear()
        self._loose_ready.clear()
        self._hold(-self._held_bytes)
        self._drained.set()
        for task in self._own_tasks:
            task.cancel()

    # -- what the gateway says ----------------------------------------------------------------

    def shutdown(self) -> None:
        """Begins nothing more; closes once what is in flight is answered. Called by uvicorn."""
        self._end()
        if not self._is_busy:
            self._close()
            return
        task = self._loop.create_task(self._drain(), name="resp drain")
        self._peers.tasks.add(task)
        task.add_done_callback(self._peers.tasks.discard)

    async def _drain(self) -> None:
        """Waits for the answers; cancelled when the grace is over."""
        try:
            await self._drained.wait()
        except asyncio.CancelledError:
            error = StoreUnavailable(STOPPED, retry_after_ms=_RETRY_AFTER_MS)
            for slot in [*self.slots, *self.loose]:
                slot.refuse(error)

    # -- commands -----------------------------------------------------------------------------

    def identified(self) -> Caller:
        """Returns the caller; raises Unauthenticated when it has not said who it is."""
        caller = self.caller
        if caller is None:
            settings = self.service.settings
            caller = self.node.identify(None, is_loopback=settings.is_loopback)
            self.set_caller(caller)
        return caller

    def set_caller(self, caller: Caller | None) -> None:
        """Says who speaks from here on; a known caller may send longer commands."""
        self.caller = caller
        service = self.service
        is_stranger = caller is None
        bounds, settings = service.bounds, service.settings
        self._parser.bytes_max = (
            bounds.stranger_bytes_max if is_stranger else settings.body_bytes_max
        )

    def spawn(self, slot: Slot, work: Coroutine[Any, Any, bytes]) -> None:
        """Does a rare command that has to wait: its coroutine returns the answer."""

        async def run() -> None:
            try:
                slot.finish(await work)
            except asyncio.CancelledError:
                slot.refuse(StoreUnavailable(STOPPED, retry_after_ms=_RETRY_AFTER_MS))
                raise
            except Exception as error:  # noqa: BLE001 - the border: every fault gets an answer
                slot.refuse(error)

        self.keep(run())

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a coroutine for as long as the connection lasts."""
        task = self._loop.create_task(work)
        self._own_tasks.add(task)
        task.add_done_callback(self._own_tasks.discard)

    def push(self, data: bytes) -> None:
        """Writes what was not asked for, behind the answers to all commands begun so far."""
        if not self.is_lost:
            slot = Slot(self)
            self.slots.append(slot)
            slot.finish(data)

    def quit(self) -> bytes:
        """Ends the connection behind the answer to this command."""
        self._end()
        return OK

    def note_ready(self, slot: Slot, size: int) -> None:
        """Takes note of an answer; writes it with the others of this turn if it is its turn."""
        self._hold(size)
        if not self._is_due and self.slots and self.slots[0] is slot:
            self._schedule_flush()

    def note_loose(self, slot: Slot, data: bytes) -> None:
        """Takes note of an answer that has no place among the others."""
        self.loose.discard(slot)
        self._loose_ready.append(data)
        self._hold(len(data))
        if not self._is_due:
            self._schedule_flush()

    @property
    def _is_busy(self) -> bool:
        """True with anything begun whose answer is not written."""
        return bool(self.slots or self.loose or self._loose_ready)

    def _schedule(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._take_turn)

    def _schedule_flush(self) -> None:
        """Sees that what is ready is written in the next turn; begins more if any was held back."""
        if self._is_paused:
            self._schedule()
        elif not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self._write_ready(transport)

    def _take_turn(self) -> None:
        """Begins commands as far as the bounds allow, then writes what is ready."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        is_more = self._begin_commands()
        self._is_due = False
        has_written = self._write_ready(transport)
        if transport.is_closing():
            return
        parser = self._parser
        is_backlog = bool(self._todo) or parser.unread_bytes > 0 or parser.is_stalled
        if is_more or (has_written and is_backlog):
            # What was written has made room.
            self._schedule()
        if is_backlog or self._is_ending:
            if not self._is_paused:
                self._is_paused = True
                transport.pause_reading()
        elif self._is_paused:
            self._is_paused = False
            transport.resume_reading()
        if self._timer is None and parser.partial is not None:
            self._arm()

    def _begin_commands(self) -> bool:
        """Returns whether only the bound on one turn ended it."""
        todo, slots, loose, parser = self._todo, self.slots, self.loose, self._parser
        bounds, perform = self.service.bounds, self.service.perform
        left = bounds.turn_commands_max
        held_max = bounds.held_bytes_max >> 1
        while True:
            if not todo:
                if self._is_ending or not parser.has_more:
                    return False
                try:
                    todo.extend(parser.take())
                except LithoxError as error:
                    if not self._may_be_longer(error):
                        return False
                continue
            if len(slots) + len(loose) >= bounds.in_flight_max or self._is_stuffed:
                return False
            if self._held_bytes > held_max:
                return False
            if not left:
                return True
            left -= 1
            try:
                reply = perform(self, todo.popleft())
            except Exception as error:  # noqa: BLE001 - the border: every fault gets an answer
                reply = encode_error(error)
            if reply is not None:
                slot = Slot(self)
                slot.reply = reply
                slots.append(slot)
                self._hold(len(reply))

    def _may_be_longer(self, error: LithoxError) -> bool:
        """Refuses what cannot be taken; True when it was only too long for a stranger."""
        bytes_max = self._parser.bytes_max
        if isinstance(error, TooLarge) and self.caller is None:
            try:
                self.identified()
            except LithoxError as refusal:
                error = refusal
        if self._parser.bytes_max > bytes_max:
            return True
        self._refuse(error)
        return False

    def _write_ready(self, transport: asyncio.Transport) -> bool:
        """Writes what may be written; returns whether there was any."""
        slots, ready = self.slots, self._loose_ready
        while slots and (reply := slots[0].reply) is not None:
            ready.append(reply)
            slots.popleft()
        if not ready:
            return False
        data = b"".join(ready)
        ready.clear()
        self._hold(-len(data))
        transport.write(data)
        if self._is_ending and not self._is_busy:
            self._drained.set()
            self._close()
        return True

    def _hold(self, size: int) -> None:
        """Counts bytes of answers that are not in the socket."""
        service = self.service
        self._held_bytes += size
        service.held_bytes += size
        if size > 0:
            bounds = service.bounds
            if self._held_bytes > bounds.held_bytes_max:
                self._give_up(bounds.held_bytes_max)
            elif service.held_bytes > bounds.held_bytes_all_max:
                self._give_up(bounds.held_bytes_all_max)

    # -- ends -----------------------------------------------------------------------------------

    def _refuse(self, error: LithoxError) -> None:
        """What came cannot be understood: an error behind the answers of what came before it."""
        slot = Slot(self)
        slot.reply = encode_error(error)
        self.slots.append(slot)
        self._hold(len(slot.reply))
        self._end()

    def _give_up(self, allowed: int) -> None:
        """Ends a connection whose peer does not read, with the reason as its last word."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        error = Overloaded(
            f"more than {allowed} bytes of answers wait to be read; read faster or ask for less",
            retry_after_ms=_RETRY_AFTER_MS,
            allowed=allowed,
        )
        transport.write(encode_error(error))
        self._close()
        self.connection_lost(None)

    def _end(self) -> None:
        """Reads nothing more."""
        self._is_ending = True
        self._todo.clear()
        self._timer = _cancelled(self._timer)
        self._schedule()

    def _close(self) -> None:
        """Closes behind what is written; a peer that does not read that has as long as ever."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.close()
        if self._write_timer is None and transport.get_write_buffer_size():
            after_s = self.service.settings.receive_ns / 1e9
            self._loop.call_later(after_s, transport.abort)

    def _abort(self) -> None:
        self._write_timer = None
        if self._transport is not None:
            self._transport.abort()

    def _arm(self) -> None:
        """Bounds the time until the command that has begun is whole."""
        after_s = self.service.settings.receive_ns / 1e9
        self._timer = self._loop.call_later(after_s, self._on_late, self._parser.partial)

    def _on_late(self, partial: object) -> None:
        self._timer = None
        if self._is_ending or self._parser.partial is None:
            return
        if self._parser.partial is partial and not self._is_paused:
            allowed = format_duration(self.service.settings.receive_ns)
            self._refuse(BadArguments(f"the command was not whole after {allowed}"))
        else:
            # Another one has begun since, or it was we who did not read.
            self._arm()

    def _arm_idle(self) -> None:
        after_s = self.service.bounds.idle_ns / 1e9
        self._idle_timer = self._loop.call_later(after_s, self._on_idle)

    def _on_idle(self) -> None:
        """Looks, once in `idle_ns`, whether anything was heard: no timer on the hot path."""
        self._idle_timer = None
        silent_s = self._loop.time() - self._heard_s
        is_waiting = self._is_busy or self.pushes
        if silent_s * 1e9 >= self.service.bounds.idle_ns and not is_waiting:
            self._end()
            self._close()
        else:
            self._arm_idle()


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
