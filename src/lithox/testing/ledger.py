"""The laws of a whole node, kept by somebody who sees what callers see and what the disk has.

Every commit that reaches the disk is replayed, in version order, by the serial model: it must have
written exactly what its request writes when it runs alone on the state before. Every answer is
compared when it leaves: a commit's answer with its replay; an answer of a run that wrote nothing,
an error included, with a replay on some state between the newest one that anybody had been told of
when it was asked and what is on the disk when it leaves. From that follow the laws:

- serial equivalence in version order, with real time respected (strict serializability);
- no answer rests on anything that is not on the disk, and what was acknowledged is never lost;
- a request with an id takes effect at most once, any other at most once for each time it was asked;
- a message takes effect once, or dies once, in the order of its pair; a request that a handler
  makes takes effect once, however often its parent runs;
- an attempt that failed, lost, was killed or was refused leaves nothing.

At rest what is on the disk must be the replayed state, cell by cell, and its results those of the
replayed requests with an id.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lithox.dispatch.job import Job
from lithox.dispatch.schedules.direct import DueCall
from lithox.dispatch.schedules.records import SCHEDULES_PREFIX, schedules_of
from lithox.dispatch.transaction import Transaction
from lithox.errors import LithoxError
from lithox.model.ids import SYSTEM_ENTITY_PREFIX, SYSTEM_KEY_PREFIX
from lithox.model.request import Answer, Request
from lithox.model.values import decode_value
from lithox.store.contract import Cell
from lithox.store.engine import Part, ResultKey, key_of_result
from lithox.testing.alarms import Alarms, plain_timer
from lithox.testing.letters import Letters
from lithox.testing.serial import Outcome, Requests, SerialModel, plain
from lithox.testing.simulated_disk import SimulatedDisk
from lithox.testing.wishes import (
    ENDED_CODES,
    UNKNOWN_CODES,
    Asked,
    Committed,
    Wish,
)
from lithox.testing.world import InvariantBroken

ENTITIES_MAX: Final = 10_000
"""Entities of one simulation; it has a handful."""


@dataclass(slots=True)
class _History:
    """The states an entity had on the disk."""

    versions: list[int] = field(default_factory=lambda: [0])
    states: list[dict[str, Any]] = field(default_factory=lambda: [{}])

    def index_at(self, version: int) -> int:
        return bisect_right(self.versions, version) - 1


class Ledger:
    """Books of one simulation; see the module's header.

    Args:
        model: what each request does alone.
        letters: the books about messages.
        alarms: the books about timers.
    """

    def __init__(self, model: SerialModel, letters: Letters, alarms: Alarms) -> None:
        self.model = model
        self.letters = letters
        self.alarms = alarms
        self._results: list[ResultKey] = []
        self._requests: dict[str, Any] = {}
        self.wishes: list[Wish] = []
        self.synced_version = 0
        self.known_version = 0
        """The newest version that anybody was told of."""
        self._asked: dict[int, tuple[Request, Asked]] = {}
        self._committed: dict[int, Committed] = {}
        self._entities: dict[str, _History] = {}

    # What is noted.

    def note_asked(self, wish: Wish, request: Request) -> Asked:
        """Notes that `request` goes out for `wish`."""
        asked = Asked(wish=wish, known_version=self.known_version)
        # The request is kept, so that no other is ever found at its address.
        self._asked[id(request)] = (request, asked)
        return asked

    def note_committed(self, job: Job, transaction: Transaction, version: int) -> None:
        """Notes a commit that has become visible; fits `Runs.on_committed`."""
        del transaction
        request = job.request
        found = self._asked.get(id(request))
        calls: list[tuple[str, str, list[Any]]] = [
            (call.entity, call.handler, call.args) for call in request.calls
        ]
        self._committed[version] = Committed(
            asked=None if found is None else found[1],
            what=f"{request.entity}:{request.handler}",
            calls=calls or [(request.entity, request.handler, request.args)],
            is_list=bool(calls),
            run_id=job.run_id,
            request_id=request.request_id,
            timer=_timer_of(request),
            is_message=request.origin is not None,
        )

    def note_synced(self, part: Part) -> None:
        """Replays a part that has reached the disk; fits `SimulatedDisk.on_synced`."""
        if part.version <= self.synced_version:
            raise InvariantBroken(f"version {part.version} was written after a later one")
        self.synced_version = part.version
        committed = self._committed.pop(part.version, None)
        if committed is None:
            self.alarms.check_fired(part.writes)
            self.letters.note_others(part.writes)
            self._keep(part.version, _kept_cells(part))
        else:
            self._replay(part, committed)
        self.alarms.note_written(part.writes)

    def note_gone(self, asked: Asked) -> None:
        """Notes that the node that had the request is gone: nobody knows what came of it."""
        asked.is_over = True

    def note_restarted(self) -> None:
        """Notes that a node has started over what its predecessor left on the disk."""
        self._committed.clear()

    def note_answered(self, asked: Asked, answer: Answer) -> None:
        """Checks an answer that leaves."""
        wish = asked.wish
        if asked.is_over:
            raise InvariantBroken(f"{wish} was answered twice")
        asked.is_over = True
        if answer.error is not None:
            self._check_error(asked, answer.error)
        elif wish.version:
            assert wish.outcome is not None
            self._check_value(wish, answer.value, wish.outcome)
            self._tell(wish.version)
        elif wish.request_id is not None or self._has_open_commit(asked):
            raise InvariantBroken(f"{wish} was acknowledged, but is not on the disk")
        else:
            self._check_pure(asked, plain(answer.value), "")

    # What is checked.

    def _replay(self, part: Part, committed: Committed) -> None:
        """Does alone what a commit was to do, and compares what it wrote, sent and recorded."""
        what = self._name(committed)
        outcome = self._run(committed, part.version - 1)
        if outcome.error:
            raise InvariantBroken(f"{what} became version {part.version}; alone: {outcome.error}")
        found = _kept_cells(part)
        if found != outcome.writes:
            raise InvariantBroken(
                f"{what} as version {part.version} wrote {_differences(found, outcome.writes)}"
            )
        self.letters.note_sent(what, part.writes, outcome.sent)
        if committed.asked is not None:
            self._do(committed.asked, part.version, outcome)
        elif committed.timer is not None:
            self.alarms.check_called(committed.timer, committed.calls[0])
        elif committed.is_message:
            assert committed.request_id is not None, "a message has an id"
            letter = self.letters.take(committed.request_id)
            if (letter.sent.receiver, letter.sent.handler, letter.sent.args) != committed.calls[0]:
                raise InvariantBroken(f"{letter} took effect as {committed.calls[0]!r}")
        elif committed.request_id is not None:
            if committed.request_id in self._requests:
                raise InvariantBroken(f"{what} took effect twice, by the run that asked for it")
            self._requests[committed.request_id] = outcome.value
        self._check_result(part, committed, outcome)
        self._keep(part.version, outcome.writes)

    @staticmethod
    def _name(committed: Committed) -> str:
        return committed.what if committed.asked is None else str(committed.asked.wish)

    def _do(self, asked: Asked, version: int, outcome: Outcome) -> None:
        """Notes that a wish has been done."""
        wish = asked.wish
        if asked.error and asked.error not in UNKNOWN_CODES:
            raise InvariantBroken(f"{wish} ended as {asked.error}, yet version {version} has it")
        if wish.version:
            raise InvariantBroken(f"{wish} was done twice: versions {wish.version} and {version}")
        if version <= asked.known_version:
            raise InvariantBroken(f"{wish} became version {version}, older than what was known")
        wish.version, wish.outcome = version, outcome

    def _check_result(self, part: Part, committed: Committed, outcome: Outcome) -> None:
        """Compares the result recorded with a commit with what its run returns alone."""
        wanted = committed.request_id is not None and not committed.is_message
        if (part.result is not None) != wanted:
            raise InvariantBroken(f"{self._name(committed)}: has result {part.result is not None}")
        if part.result is None:
            return
        if decode_value(part.result.answer) != outcome.value:
            raise InvariantBroken(
                f"{self._name(committed)} has the result {decode_value(part.result.answer)!r}; "
                f"alone it is {outcome.value!r}"
            )
        self._results.append(key_of_result(part.result))

    def _check_error(self, asked: Asked, error: Exception) -> None:
        wish = asked.wish
        if not isinstance(error, LithoxError):
            raise InvariantBroken(f"{wish} met a bug: {error}")
        asked.error = error.code
        if error.code in UNKNOWN_CODES:
            return
        if self._has_open_commit(asked):
            raise InvariantBroken(f"{wish} ended as {error.code} after it had committed")
        # What a callee or a request of the run's own ended as may be raised on by its caller.
        if error.code.removeprefix("app.") not in ENDED_CODES:
            self._check_pure(asked, None, error.code)

    def _has_open_commit(self, asked: Asked) -> bool:
        return any(committed.asked is asked for committed in self._committed.values())

    def _check_value(self, wish: Wish, value: Any, outcome: Outcome) -> None:
        if plain(value) != outcome.value:
            raise InvariantBroken(f"{wish} answered {value!r}; alone it is {outcome.value!r}")

    def _check_pure(self, asked: Asked, value: Any, error: str) -> None:
        """Checks an answer without a commit: it must fit some state of its time.

        The caller has learnt the oldest state that it fits, and no more.
        """
        oldest: int | None = None
        said: list[str] = []
        version = self.synced_version
        while True:
            outcome = self._run(asked.wish, version)
            if outcome.has_requested and error:
                return  # What its own requests came to is not known unless they succeeded.
            since = self._unchanged_since(outcome.touched, version)
            if not outcome.writes and (outcome.value, outcome.error) == (value, error):
                oldest = max(since, asked.known_version)
            said.append(f"{version}: {outcome.error or outcome.value!r} {list(outcome.writes)}")
            if since <= asked.known_version:
                break
            version = since - 1
        if oldest is None:
            raise InvariantBroken(
                f"{asked.wish} answered {error or value!r}, which fits no state on the disk since "
                f"it was asked: {'; '.join(said[:4])}"
            )
        self._tell(oldest)

    def _unchanged_since(self, entities: set[str], version: int) -> int:
        """Returns the version that changed any of these last, up to `version`; 0 for none."""
        found = (self._entities.get(entity) for entity in sorted(entities))
        return max((h.versions[h.index_at(version)] for h in found if h is not None), default=0)

    def _run(self, what: Wish | Committed, version: int) -> Outcome:
        """Returns what calls do alone on the state that `version` left."""

        def state(entity: str) -> Mapping[str, Any]:
            history = self._entities.get(entity)
            return {} if history is None else history.states[history.index_at(version)]

        run_id = what.run_id if isinstance(what, Committed) else ""
        requests = Requests(run_id=run_id, values=self._requests)
        return self.model.run_all(
            state,
            what.calls,
            is_list=what.is_list,
            requests=requests,
            taken=what.timer if isinstance(what, Committed) else None,
        )

    def _keep(self, version: int, writes: Mapping[tuple[str, str], Any]) -> None:
        changed: dict[str, dict[str, Any]] = {}
        for cell, value in writes.items():
            entity, key = cell
            if not _is_kept(cell):
                continue
            history = self._entities.setdefault(entity, _History())
            state = changed.setdefault(entity, dict(history.states[-1]))
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value
        for entity, state in changed.items():
            self._entities[entity].versions.append(version)
            self._entities[entity].states.append(state)

    def _tell(self, version: int) -> None:
        self.known_version = max(self.known_version, version)

    def state_of(self, entity: str) -> dict[str, Any]:
        """Returns the newest replayed state of an entity."""
        history = self._entities.get(entity)
        return {} if history is None else history.states[-1]

    def check_disk(self, disk: SimulatedDisk) -> None:
        """Compares what is on the disk with what was replayed."""
        for entity in sorted({*self._entities, *disk.list_entities("", "", ENTITIES_MAX)}):
            cells = disk.read_entity(entity).items()
            found = {key: _decode((entity, key), v) for key, v in cells if _is_kept((entity, key))}
            if found != self.state_of(entity):
                raise InvariantBroken(
                    f"{entity} on the disk has {_differences(found, self.state_of(entity))}"
                )
        found, wanted = disk.list_results(), sorted(self._results)
        if found != wanted:
            extra, missing = set(found) - set(wanted), set(wanted) - set(found)
            raise InvariantBroken(
                f"the disk has results {sorted(extra)} that nobody made, and lacks "
                f"{sorted(missing)}; of {len(wanted)}, {len(set(wanted))} differ"
            )
        self.letters.check_disk(disk)
        self.alarms.check_disk(disk)

    def check_at_rest(self, disk: SimulatedDisk) -> None:
        """Compares the disk with the books once nothing happens any more: nothing may wait."""
        self.check_disk(disk)
        self.letters.check_at_rest()
        self.alarms.check_at_rest(disk)


def _is_kept(cell: tuple[str, str]) -> bool:
    """Returns whether the serial model speaks of a cell: an entity's own state, or a timer."""
    if cell[0].startswith(SCHEDULES_PREFIX):
        return True
    return not cell[0].startswith(SYSTEM_ENTITY_PREFIX) and not cell[1].startswith(
        SYSTEM_KEY_PREFIX
    )


def _kept_cells(part: Part) -> dict[tuple[str, str], Any]:
    """Returns what a part writes of entities' own state and timers, as plain values."""
    return {
        cell: None if value is None else _decode(cell, value)
        for cell, value in part.writes.items()
        if _is_kept(cell)
    }


def _decode(cell: tuple[str, str], value: bytes) -> Any:
    is_timer = cell[0].startswith(SCHEDULES_PREFIX)
    return plain_timer(value) if is_timer else decode_value(value)


def _differences(found: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> str:
    """Returns the first few keys in which two mappings differ, with both values."""
    keys = sorted({*found, *wanted}, key=repr)
    wrong = [key for key in keys if found.get(key, "-") != wanted.get(key, "-")]
    return ", ".join(
        f"{key!r}: {found.get(key, 'nothing')!r}, alone it is {wanted.get(key, 'nothing')!r}"
        for key in wrong[:3]
    )


def _timer_of(request: Request) -> Cell | None:
    """Returns where the timer is whose call a request is, None for any other request."""
    origin = request.origin
    if not isinstance(origin, DueCall):
        return None
    return schedules_of(origin.due.entity), origin.due.timer_id
