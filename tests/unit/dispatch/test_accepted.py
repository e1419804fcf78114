"""Requests accepted to be answered later: told once durable, run once, outcome kept."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from lithox.dispatch import accepted
from lithox.dispatch.accepted import REST_FIRST_MS
from lithox.dispatch.accepted_records import (
    ACCEPTED,
    CLAIM_PLACE,
    ResultBounds,
    decode_accepted,
    encode_accepted,
)
from lithox.dispatch.inflight import digest_of_asked
from lithox.dispatch.job import ATOMIC_PLACE
from lithox.dispatch.results import Results
from lithox.errors import (
    BadArguments,
    Conflict,
    DeadlinePassed,
    GuestRaised,
    IdReused,
    LithoxError,
    NotFound,
    NotPermitted,
    Overloaded,
    StoreUnavailable,
)
from lithox.model.ids import EntityPath, HandlerName
from lithox.model.limits import Limits
from lithox.model.request import Answer, Call
from lithox.model.values import encode_value
from lithox.store.contract import Commit, ResultRecord
from tests.unit.dispatch.house import ADMIN, BOB
from tests.unit.dispatch.office import SECOND_NS, Office, reopen


def test_acceptance_is_told_once_it_is_durable_and_runs_after() -> None:
    """Nobody is told, and nothing runs, before a power cut could not take the request away."""
    office = Office()
    office.disk.hold()
    told = office.accept("job/a", "add", 5)
    office.run()
    assert (told, office.get("job/a", "count")) == ([], None)
    office.disk.release()
    office.run()
    assert told == [None]
    found = office.outcome()
    assert found is not None
    assert (found.value, found.is_recorded) == (5, True)
    assert (office.get("job/a", "count"), office.rows) == (5, 0)


def test_definite_error_is_the_outcome() -> None:
    """What the handler raised is kept with code and fields; nothing of its run remains."""
    office = Office()
    office.accept("job/a", "fail")
    office.run()
    found = office.outcome()
    assert found is not None
    assert isinstance(found.error, GuestRaised)
    assert found.error.code == "app.refused"
    assert found.error.fields["data"] == {"why": "so"}
    assert (office.get("job/a", "count"), office.rows) == (None, 0)


def test_same_request_again_is_accepted_and_runs_once() -> None:
    """Before, while and after it runs; with other content the id is refused."""
    office = Office()
    office.disk.hold()
    first, second = office.accept("job/a", "add", 5), office.accept("job/a", "add", 5)
    office.run()
    with pytest.raises(IdReused):
        office.accept("job/a", "add", 6)
    office.disk.release()
    office.run()
    third = office.accept("job/a", "add", 5)
    office.run()
    assert (first, second, third) == ([None], [None], [None])
    assert office.get("job/a", "count") == 5
    for entity, by in (("job/a", 6), ("job/b", 5)):
        with pytest.raises(IdReused):
            office.accept(entity, "add", by)


def test_id_that_runs_or_ran_with_its_caller_waiting_is_not_run_again() -> None:
    """One id is one effect, whichever way it is asked: the outcome is the recorded answer."""
    office = Office()
    office.long.is_held = True
    waiting = office.send("job/a", "slow", request_id="r-1")
    office.run()
    told = office.accept("job/a", "slow")
    office.run()
    assert told == [None]
    assert office.outcome() is None
    office.long.is_held = False
    for work in office.long.held:
        work()
    office.run()
    found = office.outcome()
    assert found is not None
    assert waiting[0].value == found.value == "slow"
    assert office.call("job/a", "add", 3, request_id="r-2") == 3
    office.accept("job/a", "add", 3, request_id="r-2")
    office.run()
    assert office.get("job/a", "count") == 3
    with pytest.raises(IdReused):
        office.accept("job/a", "add", 4, request_id="r-2")


def test_caller_that_asks_with_the_id_of_an_accepted_one_gets_its_answer() -> None:
    """Who grew tired of polling may ask and wait: it runs once."""
    office = Office()
    office.accept("job/a", "add", 5)
    office.run()
    assert office.call("job/a", "add", 5, request_id="r-1") == 5
    assert office.get("job/a", "count") == 5


def test_ids_of_two_callers_are_apart() -> None:
    """Each finds its own outcome."""
    office = Office()
    office.accept("job/a", "add", 5)
    office.accept("job/a", "add", 7, caller=BOB)
    office.run()
    found = {who: office.outcome(identity=who) for who in ("alice", "bob", "carol")}
    values = {who: None if answer is None else answer.value for who, answer in found.items()}
    assert values == {"alice": 5, "bob": 12, "carol": None}


@pytest.mark.parametrize(
    ("entity", "handler", "args", "error"),
    [
        ("shut/a", "add", [1], NotPermitted),
        ("nowhere/a", "add", [1], NotFound),
        ("~lithox/q/async", "add", [1], NotPermitted),
        ("job/a", "add", [object()], BadArguments),
    ],
)
def test_what_would_be_refused_is_refused_at_once(
    entity: str, handler: str, args: list[Any], error: type[LithoxError]
) -> None:
    """No row is written for what is known to fail."""
    office = Office()
    with pytest.raises(error):
        office.accept(entity, handler, *args, caller=BOB)
    office.run()
    assert office.rows == 0
    assert office.dispatcher.counters.refused == 1


def test_accepted_requests_survive_the_node() -> None:
    """What was accepted and not run is run by the next node, once."""
    office = Office()
    office.long.is_held = True
    office.accept("job/a", "slow")
    office.accept("job/a", "add", 5, request_id="r-2")
    office.run()
    again = reopen(office)
    found = again.outcome()
    assert found is not None
    assert found.value == "slow"
    assert (again.get("job/a", "count"), again.rows) == (5, 0)


def test_crash_between_the_run_and_its_outcome_repeats_no_effect() -> None:
    """The run's own commit recorded its answer: run again, it finds that."""
    office = Office()
    told = office.accept("job/a", "add", 5)
    real = office.store.submit
    office.store.submit = lambda commit, on_done: (  # type: ignore[method-assign]
        None
        if commit.writes.get((ACCEPTED, "alice/r-1"), b"") is None and told
        else real(commit, on_done)
    )
    office.run()
    office.store.submit = real  # type: ignore[method-assign]
    assert (office.get("job/a", "count"), office.rows, office.outcome()) == (5, 1, None)
    again = reopen(office)
    found = again.outcome()
    assert found is not None
    assert (found.value, again.get("job/a", "count"), again.rows) == (5, 5, 0)


def test_a_row_that_is_done_is_never_run_again() -> None:
    """The node dies right after the run's commit, and is down until its record has expired."""
    office = Office()
    told = office.accept("job/a", "add", 5)
    real = office.store.submit
    office.store.submit = lambda commit, on_done: (  # type: ignore[method-assign]
        None
        if commit.writes.get((ACCEPTED, "alice/r-1"), b"") is None and told
        else real(commit, on_done)
    )
    office.run()
    assert (office.get("job/a", "count"), office.rows, office.outcome()) == (5, 1, None)
    late_ns = office.clock.wall_ns() + 25 * 3600 * SECOND_NS
    office.store.close()
    again = Office(disk=office.disk, wall_ns=late_ns)
    assert (again.get("job/a", "count"), again.rows) == (5, 0)


def test_run_of_a_row_that_another_node_has_done_is_answered_by_its_record() -> None:
    """The row is marked between looking at it and running: no effect, and the outcome is theirs."""
    office = Office()
    office.disk.hold()
    office.accept("job/a", "add", 5)
    office.run()
    seen: list[bytes] = []

    def seed() -> int:
        """Is asked when the run is admitted, which is after its record was looked for."""
        if not seen:
            snapshot = office.store.open_snapshot()
            item = snapshot.find(ACCEPTED, "alice/r-1")
            snapshot.release()
            assert item is not None
            seen.append(encode_accepted(replace(decode_accepted(item.value), is_done=True)))
            record = ResultRecord(
                identity="alice",
                entity="job/a",
                request_id="r-1",
                account="alice",
                asked_digest=digest_of_asked("add", encode_value([5])),
                answer=encode_value(7),
                expires_ns=office.clock.wall_ns() + SECOND_NS,
            )
            writes = {(ACCEPTED, "alice/r-1"): seen[0]}
            commit = Commit(office.store.visible_version, (), (), writes, record)
            office.store.submit(commit, lambda _: None)
        return 1

    office.dispatcher.runs.seeds = seed
    office.disk.release()
    office.run()
    assert seen
    found = office.outcome()
    assert found is not None
    assert (found.value, office.get("job/a", "count"), office.rows) == (7, None, 0)


def test_nodes_own_faults_are_no_outcome() -> None:
    """A full disk is waited for, longer each time; then the request runs."""
    office = Office()
    office.accept("job/a", "add", 5)
    real, failures = office.store.submit, []

    def submit(commit: Any, on_done: Any) -> int | None:
        if ("job/a", "count") in commit.writes and len(failures) < 3:
            failures.append(office.clock.monotonic_ns())
            raise StoreUnavailable("disk full")
        return real(commit, on_done)

    office.store.submit = submit  # type: ignore[method-assign]
    office.run()
    for rest_ms in (REST_FIRST_MS, 2 * REST_FIRST_MS, 4 * REST_FIRST_MS):
        office.pass_ms(rest_ms - 1)
        assert office.outcome() is None
        office.pass_ms(1)
    found = office.outcome()
    assert found is not None
    assert (found.value, len(failures)) == (5, 3)


def test_closing_node_keeps_what_it_has_not_finished() -> None:
    """A run that is ended because the node closes is no outcome: the next node runs it."""
    office = Office()
    office.long.is_held = True
    office.accept("job/a", "slow")
    office.run()
    told: list[Answer] = []
    office.dispatcher.accepted.watch("alice", "r-1", told.append)
    office.dispatcher.is_closing = True
    office.dispatcher.accepted.stop()
    office.dispatcher.end_all()
    office.long.is_held = False
    for work in office.long.held:
        work()
    office.run()
    assert office.rows == 1
    assert isinstance(told[0].error, StoreUnavailable)
    with pytest.raises(StoreUnavailable):
        office.accept("job/a", "add", 1, request_id="r-9")
    found = reopen(office).outcome()
    assert found is not None
    assert found.value == "slow"


def test_deadline_outlasts_the_node() -> None:
    """It is a time of the wall clock: what comes too late does not run."""
    office = Office()
    office.long.is_held = True
    office.accept("job/a", "slow", deadline_ns=office.clock.monotonic_ns() + SECOND_NS)
    office.run()
    wall_ns = office.clock.wall_ns() + 2 * SECOND_NS
    office.store.close()
    again = Office(disk=office.disk, wall_ns=wall_ns)
    found = again.outcome()
    assert found is not None
    assert isinstance(found.error, DeadlinePassed)
    assert again.get("job/a", "slow") is None


def test_limits_travel_with_the_request() -> None:
    """What the caller lowered stays lowered."""
    office = Office()
    office.accept("job/a", "slow", limits=Limits(fuel=1000))
    office.run()
    found = office.outcome()
    assert getattr(found and found.error, "code", "") == "guest.out_of_fuel"


def test_accepted_requests_are_bounded_by_account_and_node() -> None:
    """Beyond the bounds the answer is an overload that may be tried again; others are not hurt."""
    bounds = ResultBounds(accepted_account_max=2, accepted_max=3)
    office = Office(results=bounds)
    office.disk.hold()
    for number in range(2):
        office.accept("job/a", "add", 1, request_id=f"r-{number}")
    with pytest.raises(Overloaded) as caught:
        office.accept("job/a", "add", 1, request_id="r-2")
    assert caught.value.retry_after_ms
    office.accept("job/a", "add", 1, caller=ADMIN)
    with pytest.raises(Overloaded):
        office.accept("job/a", "add", 1, caller=BOB)
    office.disk.release()
    office.run()
    office.accept("job/a", "add", 1, request_id="r-2")
    office.run()
    assert office.get("job/a", "count") == 4


def test_bytes_of_accepted_requests_are_bounded_by_account() -> None:
    """Who has as many as may is refused, another is not; what has ended makes room."""
    office = Office(results=ResultBounds(accepted_account_bytes_max=3_000))
    office.disk.hold()
    office.accept("job/a", "add", "x" * 2_000, request_id="r-0")
    with pytest.raises(Overloaded, match="bytes"):
        office.accept("job/a", "add", "x" * 2_000, request_id="r-1")
    office.accept("job/a", "add", "x" * 2_000, caller=BOB)
    office.disk.release()
    office.run()
    office.accept("job/a", "add", "x" * 2_000, request_id="r-1")
    office.run()


def test_accounts_take_turns_and_run_a_bounded_number_at_once() -> None:
    """An account with many waiting does not keep another's single one from its turn."""
    office = Office(results=ResultBounds(running_max=4, running_account_max=2))
    office.disk.hold()
    for number in range(10):
        office.accept("job/a", "spin", request_id=f"r-{number}")
    office.accept("job/b", "add", 1, caller=BOB)
    office.long.is_held = True
    office.disk.release()
    office.run()
    assert len([one for one in office.dispatcher.processes() if one.account == "alice"]) == 2
    found = office.outcome(identity="bob")
    assert found is not None
    assert found.value == 1


def test_group_is_accepted_like_a_call() -> None:
    """All of it runs later, together, once; it is found without naming an entity."""
    office = Office()
    calls = tuple(
        Call(entity=EntityPath(f"job/{name}"), handler=HandlerName("add"), args=[by])
        for name, by in (("a", 1), ("b", 2))
    )
    office.accept(ATOMIC_PLACE, "atomic", calls=calls)
    office.accept(ATOMIC_PLACE, "atomic", calls=calls)
    office.run()
    found = office.outcome()
    assert found is not None
    assert found.value == [1, 2]
    assert (office.get("job/a", "count"), office.get("job/b", "count")) == (1, 2)


def test_watchers_are_told_the_outcome_once_it_is_durable() -> None:
    """Whoever waits for it hears of it from wherever it asks; who stops waiting hears nothing."""
    office = Office()
    office.long.is_held = True
    office.accept("job/a", "slow")
    office.run()
    told: list[Answer] = []
    unwanted: list[Answer] = []
    office.dispatcher.accepted.watch("alice", "r-1", told.append)
    cancel = office.dispatcher.accepted.watch("alice", "r-1", unwanted.append)
    cancel()
    office.disk.hold()
    office.long.is_held = False
    for work in office.long.held:
        work()
    office.run()
    assert told == []
    office.disk.release()
    office.run()
    assert [answer.value for answer in told] == ["slow"]
    assert unwanted == []
    assert not office.dispatcher.accepted.is_pending("alice", "r-1")


def test_outcomes_are_kept_as_long_as_configured() -> None:
    """After that the id is new again."""
    office = Office(results=ResultBounds(kept_ns=10 * SECOND_NS))
    office.accept("job/a", "add", 5)
    office.run()
    office.pass_ms(9_000)
    assert office.outcome() is not None
    office.pass_ms(2_000)
    assert office.outcome() is None


def test_sweep_takes_over_what_another_node_left() -> None:
    """A row of which this node knows nothing is run once it is old, and not before."""
    office = Office()
    other = Office()
    other.long.is_held = True
    other.accept("job/a", "slow")
    other.run()
    row = other.store.open_snapshot().find(ACCEPTED, "alice/r-1")
    assert row is not None
    office.put({(ACCEPTED, "alice/r-1"): row.value})
    office.dispatcher.accepted.sweep()
    office.run()
    assert office.rows == 1
    office.pass_ms(61_000)
    office.dispatcher.accepted.sweep()
    office.run()
    found = office.outcome()
    assert found is not None
    assert (found.value, office.rows) == ("slow", 0)


def test_a_row_that_cannot_be_read_keeps_no_other_from_running() -> None:
    """Those behind it are taken up at the start all the same."""
    office = Office()
    office.long.is_held = True
    office.accept("job/a", "slow")
    office.run()
    office.put({(ACCEPTED, "aa/r-0"): b"\xc1"})
    again = reopen(office)
    found = again.outcome()
    assert found is not None
    assert (found.value, again.rows) == ("slow", 1)


def test_watchers_are_told_when_the_outcome_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits for ever because the record of a finished request is unreadable."""
    office = Office()
    office.long.is_held = True
    office.accept("job/a", "slow")
    office.run()
    told: list[Answer] = []
    office.dispatcher.accepted.watch("alice", "r-1", told.append)

    def refuse(*_: object) -> None:
        raise StoreUnavailable("not now")

    monkeypatch.setattr(Results, "find_accepted", refuse)
    office.long.is_held = False
    for work in office.long.held:
        work()
    office.run()
    assert [str(answer.error) for answer in told] == ["not now"]


def test_lookups_and_callers_that_wait_for_one_request_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One more than may is told to try again."""
    monkeypatch.setattr(accepted, "WATCHERS_MAX", 2)
    monkeypatch.setattr(accepted, "ACCEPTING_MAX", 2)
    office = Office()
    office.long.is_held = True
    office.disk.hold()
    office.accept("job/a", "slow")
    office.accept("job/a", "slow")
    with pytest.raises(Overloaded):
        office.accept("job/a", "slow")
    office.disk.release()
    office.run()
    watch = office.dispatcher.accepted.watch
    cancel = watch("alice", "r-1", lambda _: None)
    watch("alice", "r-1", lambda _: None)
    with pytest.raises(Overloaded):
        watch("alice", "r-1", lambda _: None)
    cancel()
    watch("alice", "r-1", lambda _: None)


def test_of_two_nodes_that_accept_one_id_the_first_decides() -> None:
    """Whoever comes second is told as on one node: accepted if it is the same, else reused."""
    office = Office()
    first = office.dispatcher.accepted
    first.is_shared = True
    assert office.accept("job/a", "add", 1) == []
    office.run()
    # What another node that knows nothing of it finds, once its own row was withdrawn.
    first._table._entries.clear()
    office.put({(ACCEPTED, "alice/r-1"): None})
    assert office.accept("job/a", "add", 1) == [None]
    with pytest.raises(IdReused):
        office.accept("job/a", "add", 2)


@pytest.mark.parametrize(("by", "told"), [(1, type(None)), (2, IdReused)])
def test_an_acceptance_that_lost_to_another_node_tells_what_that_one_accepted(
    by: int, told: type
) -> None:
    """The database lets one of two records of an id in; the other node looks at that one."""
    office, other = Office(), Office()
    other.dispatcher.accepted.is_shared = True
    other.accept("job/a", "add", 1)
    other.run()
    claim = other.store.find_result("alice", CLAIM_PLACE, "r-1")
    assert claim is not None
    office.dispatcher.accepted.is_shared = True
    office.disk.hold()
    answers = office.accept("job/a", "add", by)
    entry = office.dispatcher.accepted._table.find("alice/r-1")
    assert entry is not None
    office.store.find_result = lambda *_: claim  # type: ignore[method-assign]
    office.dispatcher.accepted._acceptance_ended(entry, Conflict("another node was first"))
    assert [type(answer) for answer in answers] == [told]
    assert not office.dispatcher.accepted.is_pending("alice", "r-1")
