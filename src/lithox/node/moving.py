"""The node's own copy going out while it serves: backups of the whole store, exports of entities.

Both read one consistent snapshot of what is durable, in a thread of their own, and leave as an
archive, chunk by chunk. What comes in is `moving_in.py`; stores that no node has open are
`moving_stores.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any, Final

from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.job import Clock
from lithox.errors import Cancelled, NotPermitted, Overloaded
from lithox.model.archive import KIND_STORE, ArchiveWriter
from lithox.model.request import Caller
from lithox.node.background import BackgroundItems
from lithox.store.contract import Store
from lithox.store.dump import DumpSource, dump_rows
from lithox.store.dump_lines import write_rows

MOVES_MAX: Final = 4
"""Backups, exports and imports at once: each holds a thread, a connection and some MiB."""
RETRY_AFTER_MS: Final = 5_000


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


class Moves:
    """What is being moved out of or into one node, at most `MOVES_MAX` at once."""

    def __init__(self, *, store: Store, dispatcher: Dispatcher, clock: Clock) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._open: set[BackgroundItems[Any]] = set()

    @property
    def about(self) -> dict[str, Any]:
        """What every header says: when, and by which lithox."""
        return about_now(self._clock.wall_ns() // 1_000_000)

    def close(self) -> None:
        """Ends what is being moved. Blocks until its threads have ended."""
        for items in list(self._open):
            items.stop()
        self._open.clear()

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
        self._check_room()
        return self._sent(caller, act, entity, produce)

    async def _sent(
        self, caller: Caller, act: str, entity: str, produce: Callable[[], Iterator[bytes]]
    ) -> AsyncGenerator[bytes]:
        items = self.start(produce)
        size = 0
        error: BaseException | None = Cancelled("who read it went before its end")
        try:
            async for chunk in items:
                size += len(chunk)
                yield chunk
            error = None
        except Exception as problem:
            error = problem
            raise
        finally:
            self.record(caller, act, entity, error, f"{size} bytes")
            await self.finish(items)

    def _check_room(self) -> None:
        """Raises Overloaded when nothing more may be moved now."""
        if len(self._open) >= MOVES_MAX:
            raise Overloaded(
                f"{MOVES_MAX} backups, exports and imports are under way; try again later",
                retry_after_ms=RETRY_AFTER_MS,
            )

    def start(self, produce: Callable[[], Iterator[Any]], **options: Any) -> BackgroundItems[Any]:
        """Returns items that count as a move until `finish`; raises Overloaded."""
        self._check_room()
        items = BackgroundItems[Any](produce, clock=self._clock, **options)
        self._open.add(items)
        return items

    async def finish(self, items: BackgroundItems[Any]) -> None:
        """Ends the thread of `items`."""
        self._open.discard(items)
        await items.aclose()

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
