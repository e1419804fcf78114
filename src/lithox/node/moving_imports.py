"""Entities coming into a serving node: proven whole first, then one commit each, rights checked.

What comes in is kept in a file until all of it has come (`moving_spool.py`). An entity is one
commit, but for large ones, which go in pieces and can be seen half there; the report names them.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from lithox.dispatch.big_values import big_entity
from lithox.dispatch.catalog import Resolution
from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.records import (
    ENTITY_KEY,
    USER_KEYS_START,
    EntityRecord,
    encode_record,
    modules_of,
)
from lithox.dispatch.schedules.records import (
    DUE,
    decode_schedule,
    due_key,
    encode_account,
    encode_schedule,
    schedules_of,
)
from lithox.errors import (
    BadArguments,
    Conflict,
    LithoxError,
    NotFound,
    NotPermitted,
    TooManyTimers,
    rebuild,
)
from lithox.model.request import Caller
from lithox.node.commits import submit_durably
from lithox.node.entity_lines import (
    PIECE_BYTES_MAX,
    PIECE_KEYS_MAX,
    Piece,
)
from lithox.node.moving import Moves
from lithox.node.moving_spool import (
    ADMIN_IMPORT_BYTES_MAX,
    IMPORT_BYTES_MAX,
    keep,
    proven_pieces,
)
from lithox.security.access import RIGHT_ADMIN, actor_of, is_allowed
from lithox.store.contract import Cell, Commit, Item, Range, Snapshot, Store

REFUSE: Final = "refuse"
REPLACE: Final = "replace"
SKIP: Final = "skip"
MODES: Final = (REFUSE, REPLACE, SKIP)
"""What an import does with an entity that is there already."""
ATTEMPTS_MAX: Final = 10
NAMED_MAX: Final = 100
"""Entities that a report names."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What an import did."""

    imported: int = 0
    skipped: int = 0
    keys: int = 0
    in_pieces: list[str] = field(default_factory=list[str])

    def to_json(self) -> dict[str, Any]:
        return {
            "imported": self.imported,
            "skipped": self.skipped,
            "keys": self.keys,
            "in_pieces": self.in_pieces,
        }


class Written(NamedTuple):
    """How a piece was written: in how many commits, 0 for a piece that was skipped."""

    commits: int


class EntityImports:
    """Imports of one node.

    Args:
        folder: where what comes in is kept until it is whole.
    """

    def __init__(self, *, store: Store, dispatcher: Dispatcher, moves: Moves, folder: Path) -> None:
        self._store = store
        self._catalog = dispatcher.catalog
        self._timers = dispatcher.timers
        self._moves = moves
        self._folder = folder

    async def take(self, chunks: AsyncIterable[bytes], mode: str, caller: Caller) -> dict[str, Any]:
        """Imports the entities of an archive, each in one commit where it is not too large.

        Entities before one that is refused stay imported; the error names the one.

        Args:
            chunks: the archive; nothing is written before all of it has come and is proven whole.
            mode: what to do with an entity that is there: "refuse", "replace" or "skip" it.

        Returns:
            {"imported": entities, "skipped": entities, "keys": of the imported, "in_pieces":
            [names of those that took several commits, the first 100]}.

        Raises:
            BadArguments: the archive is not whole, or an entity is there already.
            NotFound: an entity needs a template or a module that is not here.
            NotPermitted: the caller has no right to make or replace an entity of that owner.
            Conflict: runs on an entity were faster, as often as it was tried.
            Overloaded: as much is being moved as may be, or of this account.
            TooLarge: it has more bytes than may come at once.
            DeadlinePassed: it took too long.
        """
        if mode not in MODES:
            raise BadArguments(f"mode is one of {', '.join(MODES)}; found {mode[:40]!r}")
        report = Report()
        move = self._moves.begin(caller)
        try:
            with tempfile.TemporaryFile(dir=self._folder) as file:
                await keep(
                    chunks,
                    file,
                    bytes_max=ADMIN_IMPORT_BYTES_MAX if caller.is_admin else IMPORT_BYTES_MAX,
                    seconds_max=move.seconds_max,
                    on_first=lambda piece: self._check_first(piece, caller),
                )
                pieces = self._moves.drive(move, lambda: proven_pieces(file))
                try:
                    await self._write_all(pieces, mode, caller, report)
                finally:
                    # Before the file is closed: the thread reads it.
                    await pieces.aclose()
        finally:
            await self._moves.finish(move)
        return report.to_json()

    def _check_first(self, piece: Piece, caller: Caller) -> None:
        """Refuses who may not write the first entity, before the rest has come."""
        if caller.is_admin:
            return
        snapshot = self._store.open_snapshot()
        try:
            self._check(snapshot, piece, caller)
        except LithoxError as error:
            raise self._refuse(piece.entity, caller, error, Report()) from error
        finally:
            snapshot.release()

    def _refuse(self, entity: str, caller: Caller, error: LithoxError, report: Report) -> Exception:
        """Records that an entity was refused; returns the error that names it."""
        self._moves.record(caller, "import", entity, error)
        said = error.to_fields() | {
            "message": f"entity {entity}: {error.message}",
            "imported": report.imported,
        }
        return rebuild(error.code, said)

    async def _write_all(
        self, pieces: AsyncIterator[Piece], mode: str, caller: Caller, report: Report
    ) -> None:
        skipped = ""
        async for piece in pieces:
            if piece.entity == skipped:
                continue
            if not caller.is_admin:
                _paid_by(piece, caller)
            try:
                written = await self._write(piece, mode, caller)
            except LithoxError as error:
                raise self._refuse(piece.entity, caller, error, report) from error
            if written.commits == 0:
                skipped = piece.entity
                report.skipped += 1
                continue
            report.keys += sum(entity == piece.entity for entity, _ in piece.writes)
            is_more = written.commits > 1 or piece.number > 0
            if is_more and piece.entity not in report.in_pieces[-1:]:
                report.in_pieces = [*report.in_pieces, piece.entity][:NAMED_MAX]
            if piece.is_last:
                report.imported += 1
                self._moves.record(caller, "import", piece.entity, None)

    async def _write(self, piece: Piece, mode: str, caller: Caller) -> Written:
        """Commits one piece, and before the first one clears what is too much for one commit."""
        lost = commits = 0
        self._check_room(piece)
        while lost < ATTEMPTS_MAX:
            snapshot = self._store.open_snapshot()
            try:
                if piece.number == 0 and not self._may_write(snapshot, piece, mode, caller):
                    return Written(commits=0)
                planned = _plan(snapshot, piece)
            finally:
                snapshot.release()
            done = submit_durably(self._store, planned.commit, lambda _: None)
            if done is None:
                lost += 1
                continue
            # As soon as it is visible; should it be withdrawn, they read everything anew.
            self._timers.notify_removed(planned.removed)
            self._timers.notify_added(planned.added)
            await done
            lost, commits = 0, commits + 1
            if planned.is_whole:
                return Written(commits=commits)
        raise Conflict(f"lost {ATTEMPTS_MAX} times against runs on it", retry_after_ms=50)

    def _check_room(self, piece: Piece) -> None:
        """Raises TooManyTimers when the timers of a piece would pass a bound."""
        bounds, armed = self._timers.bounds, self._timers.armed
        by_account = Counter(timer.account for timer in piece.timers.values())
        count = len(piece.timers)
        wanted = [
            (armed.count_of_entity(piece.entity) + count, bounds.entity_max, "the entity"),
            (armed.count + count, bounds.node_max, "the node"),
        ]
        for account, more in by_account.items():
            used = armed.count_of_account(account) + more
            wanted.append((used, bounds.account_max, f"the account {account}"))
        for used, allowed, whose in wanted:
            if count and used > allowed:
                raise TooManyTimers(
                    f"{whose} may have {allowed} timers and would have {used}",
                    allowed=allowed,
                    used=used,
                )

    def _may_write(self, snapshot: Snapshot, piece: Piece, mode: str, caller: Caller) -> bool:
        """Returns False for an entity that is to be skipped; raises for one that is refused."""
        if not self._check(snapshot, piece, caller):
            return True
        if mode == REFUSE:
            raise BadArguments("it is there already and was not changed: replace or skip it")
        return mode == REPLACE

    def _check(self, snapshot: Snapshot, piece: Piece, caller: Caller) -> bool:
        """Returns whether the entity is there; raises unless the caller may write it."""
        item = snapshot.find(piece.entity, ENTITY_KEY)
        resolution: Resolution | None = None
        try:
            resolution = self._catalog.resolve(piece.entity, item)
        except NotFound:
            # An administrator may bring in what nothing here would make.
            if not caller.is_admin:
                raise
        if resolution is not None and not caller.is_admin:
            _check_right(resolution, piece.record, caller)
        for digest in modules_of(piece.record):
            self._catalog.check_module(digest)
        return item is not None


def _check_right(resolution: Resolution, record: EntityRecord, caller: Caller) -> None:
    actor = actor_of(caller)
    owner = resolution.owner_for(actor)
    if not is_allowed(actor=actor, right=RIGHT_ADMIN, owner=owner, access=resolution.access):
        raise NotPermitted(f"{caller.identity} holds no right {RIGHT_ADMIN!r} on it")
    if record.owner != owner:
        raise NotPermitted(
            f"the archive gives it to {record.owner}, here it belongs to {owner}; only an "
            "administrator may change that"
        )


@dataclass(slots=True, kw_only=True)
class _Planned:
    """The next commit of a piece.

    Attributes:
        is_whole: the piece is done with it.
        removed, added: rows of the index of timers that it removes and adds: key -> account.
    """

    commit: Commit
    is_whole: bool
    removed: dict[str, str] = field(default_factory=dict[str, str])
    added: dict[str, str] = field(default_factory=dict[str, str])


def _plan(snapshot: Snapshot, piece: Piece) -> _Planned:
    """Returns the next commit of a piece: clears what is too much for one, or writes the piece."""
    entity = piece.entity
    record_cell = (entity, ENTITY_KEY)
    writes: dict[Cell, bytes | None] = {}
    planned = _Planned(commit=Commit(snapshot.version, [record_cell], (), writes), is_whole=True)
    if piece.number == 0:
        areas = [
            Range(entity, USER_KEYS_START, None),
            Range(schedules_of(entity), "", None),
            Range(big_entity(entity), "", None),
        ]
        for area in areas:
            page = snapshot.scan(area, PIECE_KEYS_MAX, PIECE_BYTES_MAX)
            writes |= {(area.entity, key): None for key, _ in page.items}
            if area.entity == schedules_of(entity):
                planned.removed |= _due_rows(entity, page.items)
            if page.more:
                planned.is_whole = False
                break
        writes |= {(DUE, key): None for key in planned.removed}
        if not planned.is_whole:
            return planned
        planned.commit.ranges = areas
        writes[record_cell] = encode_record(piece.record)
    writes |= piece.writes
    for timer_id, timer in piece.timers.items():
        key = due_key(timer.due_ms, entity, timer_id)
        writes[schedules_of(entity), timer_id] = encode_schedule(timer)
        writes[DUE, key] = encode_account(timer.account)
        planned.added[key] = timer.account
    return planned


def _due_rows(entity: str, items: Iterable[tuple[str, Item]]) -> dict[str, str]:
    """Returns the rows of the index for stored timers: key -> account."""
    timers = {timer_id: decode_schedule(item.value) for timer_id, item in items}
    return {
        due_key(timer.due_ms, entity, timer_id): timer.account for timer_id, timer in timers.items()
    }


def _paid_by(piece: Piece, caller: Caller) -> None:
    """Makes timers of a caller who is no administrator that caller's own, as if just set."""
    piece.timers = {
        timer_id: msgspec.structs.replace(
            timer, account=caller.account, owner=piece.record.owner, hops=max(1, timer.hops)
        )
        for timer_id, timer in piece.timers.items()
    }
