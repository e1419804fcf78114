"""The node's own copy going out while it serves: backups of the whole store, exports of entities.

Both read one consistent snapshot of what is durable, in a thread of their own, and leave as an
archive, chunk by chunk. A snapshot keeps the store from tidying up, so none is held for a reader
who takes nothing. What comes in is `moving_imports.py`; stores that no node has open are
`moving_stores.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.job import Clock
from lithox.errors import Cancelled, DeadlinePassed, LithoxError, NotPermitted, Overloaded
from lithox.model.archive import KIND_STORE, ArchiveWriter
from lithox.model.request import Caller
from lithox.node.background import BackgroundItems
from lithox.store.contract import Store
from lithox.store.dump import DumpSource, dump_rows
from lithox.store.dump_lines import write_rows

MOVES_MAX: Final = 4
"""Backups, exports and imports at once: each holds a thread, a connection and some MiB."""
ADMIN_MOVES: Final = 1
"""Of these kept for administrators: nobody else can keep the operator from a backup."""
ACCOUNT_MOVES_MAX: Final = 2
"""Of one account that is no administrator's."""
IDLE_S_MAX: Final = 30.0
"""Seconds that a reader may leave a chunk waiting; the gateway gives a sender as long."""
MOVE_S_MAX: Final = 3_600.0
ADMIN_MOVE_S_MAX: Final = 86_400.0
"""Seconds that one move may take: of a caller, and of an administrator, who copies whole stores."""
RETRY_AFTER_MS: Final = 5_000

Item = TypeVar("Item")


def archive_of_store(source: DumpSource, **about: Any) -> Iterator[bytes]:
    """Gives the archive of everything in `source`, in whole lines, about 256 KiB at a time.

    Args:
        source: not entered yet; left when the last chunk is taken or the iterator closed.
        about: goes into the header.
    """
    writer = ArchiveWriter()
    with source:
        yield writer.begin(KIND_STORE, store=source.store_id, **about)
        yield from write_rows(dump_rows(source), writer)
        yield writer.end()


@dataclass(slots=True, kw_only=True, eq=False)
class Move:
    """One thing being moved, from `Moves.begin` to `Moves.finish`.

    Attributes:
        account: whose it is; `is_admin`: an administrator's.
        items: what its thread makes, when it has begun.
        error: why it was broken off.
        end_timer: breaks it off when it takes too long.
    """

    account: str
    is_admin: bool
    items: BackgroundItems[Any] | None = None
    error: LithoxError | None = None
    end_timer: asyncio.TimerHandle | None = None

    @property
    def seconds_max(self) -> float:
        """How long it may take."""
        return ADMIN_MOVE_S_MAX if self.is_admin else MOVE_S_MAX


class Moves:
    """What is being moved out of or into one node.

    At most `MOVES_MAX` at once, of which `ADMIN_MOVES` are kept for administrators; each is broken
    off when it takes too long, or when nobody takes what it has made.
    """

    def __init__(self, *, store: Store, dispatcher: Dispatcher, clock: Clock) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._open: set[Move] = set()

    @property
    def about(self) -> dict[str, Any]:
        """What every header says: when, and by which lithox."""
        return about_now(self._clock.wall_ns() // 1_000_000)

    def close(self) -> None:
        """Ends what is being moved. Blocks until its threads have ended."""
        for move in list(self._open):
            self._free(move)
            if move.items is not None:
                move.items.stop()

    def backup(self, caller: Caller) -> AsyncIterator[bytes]:
        """Returns the archive of the whole store; holds all that was acknowledged before.

        Raises:
            NotPermitted: the caller is not an administrator.
            Overloaded: as much is being moved as may be.
        """
        if not caller.is_admin:
            error = NotPermitted(f"{caller.identity} may not do this: it takes an administrator")
            self.record(caller, "backup", "", error)
            raise error
        source, about = self._store.open_dump(), self.about
        return self.send(caller, "backup", "", lambda: archive_of_store(source, **about))

    def send(
        self, caller: Caller, act: str, entity: str, produce: Callable[[], Iterator[bytes]]
    ) -> AsyncIterator[bytes]:
        """Returns the chunks of `produce`, made in a thread; its end leaves an audit record."""
        self._check_room(caller)
        return self._sent(caller, act, entity, produce)

    async def _sent(
        self, caller: Caller, act: str, entity: str, produce: Callable[[], Iterator[bytes]]
    ) -> AsyncGenerator[bytes]:
        move = self.begin(caller)
        size = 0
        error: BaseException | None = Cancelled("who read it went before its end")
        try:
            async for chunk in self.drive(move, produce):
                size += len(chunk)
                idle_timer = self._break_off_after(IDLE_S_MAX, move, _idle)
                try:
                    yield chunk
                finally:
                    idle_timer.cancel()
            error = None
        except Exception as problem:
            error = problem
            raise
        finally:
            self.record(caller, act, entity, move.error or error, f"{size} bytes")
            await self.finish(move)

    def _check_room(self, caller: Caller) -> None:
        """Raises Overloaded when nothing more may be moved now, or not for `caller`."""
        others = [move.account for move in self._open if not move.is_admin]
        what = ""
        if len(self._open) >= MOVES_MAX:
            what = f"{MOVES_MAX} backups, exports and imports are under way"
        elif not caller.is_admin and len(others) >= MOVES_MAX - ADMIN_MOVES:
            what = f"{len(others)} exports and imports are under way"
        elif not caller.is_admin and others.count(caller.account) >= ACCOUNT_MOVES_MAX:
            what = f"{ACCOUNT_MOVES_MAX} exports and imports of this account are under way"
        if what:
            raise Overloaded(f"{what}; try again later", retry_after_ms=RETRY_AFTER_MS)

    def begin(self, caller: Caller) -> Move:
        """Returns a move that counts until it is finished or broken off; raises Overloaded."""
        self._check_room(caller)
        move = Move(account=caller.account, is_admin=caller.is_admin)
        move.end_timer = self._break_off_after(move.seconds_max, move, _too_long)
        self._open.add(move)
        return move

    def drive(self, move: Move, produce: Callable[[], Iterator[Item]]) -> BackgroundItems[Item]:
        """Returns the items of `produce`, made in a thread for `move`."""
        items = BackgroundItems(produce, clock=self._clock)
        move.items = items
        if move.error is not None:
            items.break_off(move.error)
        return items

    async def finish(self, move: Move) -> None:
        """Ends the thread of `move`, which counts no more."""
        self._free(move)
        if move.items is not None:
            await move.items.aclose()

    def _free(self, move: Move) -> None:
        self._open.discard(move)
        if move.end_timer is not None:
            move.end_timer.cancel()

    def _break_off_after(
        self, seconds: float, move: Move, why: Callable[[float], LithoxError]
    ) -> asyncio.TimerHandle:
        """Has `move` broken off unless what this returns is cancelled before.

        Its reader may never come back, so this waits for nothing from it.
        """

        def break_off() -> None:
            if move.error is None:
                move.error = why(seconds)
            self._free(move)
            if move.items is not None:
                move.items.break_off(move.error)

        return asyncio.get_running_loop().call_later(seconds, break_off)

    def record(
        self, caller: Caller, act: str, entity: str, error: BaseException | None, detail: str = ""
    ) -> None:
        """Leaves an audit record."""
        self._dispatcher.record_act(
            identity=caller.identity,
            act=f"admin:{act}",
            entity=entity,
            outcome="ok" if error is None else getattr(error, "code", "internal"),
            detail=detail if error is None else f"{error}; {detail}" if detail else str(error),
        )


def about_now(created_ms: int) -> dict[str, Any]:
    """Returns what a header says beside its kind: {"created_ms", "lithox"}."""
    from lithox import __version__

    return {"created_ms": created_ms, "lithox": __version__}


def _idle(seconds: float) -> LithoxError:
    return Cancelled(f"broken off: nothing of it was taken for {seconds:g} s")


def _too_long(seconds: float) -> LithoxError:
    return DeadlinePassed(f"broken off: it took longer than {seconds:g} s")
