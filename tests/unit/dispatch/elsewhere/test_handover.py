"""Requests for entities of another process: one answer, given and recorded where they live."""

from __future__ import annotations

import pytest

from lithox.dispatch.job import ATOMIC_PLACE, REQUESTS_PLACE
from lithox.dispatch.requesting import REQUEST_DEPTH_MAX
from lithox.errors import (
    BadArguments,
    Diverged,
    GuestRaised,
    IdReused,
    InternalError,
    LimitExceeded,
    NotPermitted,
    OtherVolume,
    StoreUnavailable,
)
from lithox.model.ids import EntityPath, HandlerName, RequestId
from lithox.model.limits import Limits
from lithox.model.request import Answer, Call, Request
from tests.unit.dispatch.elsewhere.street import Street
from tests.unit.dispatch.house import ALICE, BOB, House


def results_of(house: House, place: str) -> list[str]:
    """Returns the ids recorded under a place."""
    return [key[2] for key in sorted(house.disk._results) if key[1] == place]


def group(*entities: str, request_id: str | None = "g-1") -> Request:
    """Returns a group that adds 1 to each entity."""
    calls = [Call(entity=EntityPath(one), handler=HandlerName("add"), args=[1]) for one in entities]
    return Request(
        entity=EntityPath(ATOMIC_PLACE),
        handler=HandlerName("atomic"),
        args=[],
        caller=ALICE,
        request_id=None if request_id is None else RequestId(request_id),
        calls=tuple(calls),
    )


def submit(street: Street, request: Request) -> Answer:
    answers: list[Answer] = []
    street.near.dispatcher.submit(request, answers.append)
    street.run()
    assert len(answers) == 1
    return answers[0]


def test_a_request_for_an_entity_elsewhere_is_answered_and_recorded_there() -> None:
    """Its effect and its result are in that volume, and the same id finds the result again."""
    street = Street()
    for _ in range(2):
        assert street.call("far/a", "add", 5, request_id="r-1") == [5, "alice"]
    assert street.far.get("far/a", "count") == 5
    assert street.near.get("far/a", "count") is None
    assert results_of(street.far, "far/a") == ["r-1"]
    assert not results_of(street.near, "far/a")
    with pytest.raises(IdReused):
        street.call("far/a", "add", 6, request_id="r-1")


def test_what_is_here_never_crosses_the_line() -> None:
    """Neither requests, nor groups, nor what handlers ask and send."""
    street = Street()
    street.call("box/a", "ask", "box/b", "add", 1)
    street.call("box/a", "send", "box/b", "note", "x")
    assert submit(street, group("box/a", "box/b")).error is None
    assert street.line.sent == 0


def test_access_is_decided_where_the_entity_lives() -> None:
    """With the caller's own identity; the refusal is the answer."""
    street = Street()
    street.far.publish("far/shut/*", street.far.modules["far/**"], owner="alice")
    with pytest.raises(NotPermitted):
        street.call("far/shut/a", "add", 1, caller=BOB)
    assert street.call("far/shut/a", "add", 1) == [1, "alice"]


def test_what_arrives_for_an_entity_of_somebody_else_goes_no_further() -> None:
    """Two processes that disagree refuse, instead of sending a request to and fro."""
    street = Street()
    answers: list[Answer] = []
    request = Request(
        entity=EntityPath("far/a"), handler=HandlerName("add"), args=[1], caller=ALICE
    )
    street.near.dispatcher.arrive(request, answers.append)
    street.run()
    assert isinstance(answers[0].error, StoreUnavailable)
    assert street.line.sent == 0


def test_a_line_that_answers_twice_is_heard_once() -> None:
    """The dispatcher owes its caller one answer, whatever the link does."""
    street = Street()
    answers = street.near.send("far/a", "add", 1)
    street.line.copies[0]()
    street.run()
    assert len(answers) == 1
    assert street.near.dispatcher.open_count == 0


@pytest.mark.parametrize(
    ("raised", "told"), [(BadArguments("not plain"), BadArguments), (KeyError("x"), InternalError)]
)
def test_a_link_that_raises_answers_with_that(raised: Exception, told: type[Exception]) -> None:
    """A fault of ours is counted as one; nothing is left open either way."""
    street = Street()

    def fail(request: Request, on_answer: object) -> None:
        raise raised

    street.line.send = fail  # type: ignore[method-assign]
    answers = street.near.send("far/a", "add", 1)
    assert isinstance(answers[0].error, told)
    assert street.near.dispatcher.open_count == 0
    assert street.near.dispatcher.counters.internal_errors == (told is InternalError)


def test_a_closing_node_waits_for_what_it_has_handed_over() -> None:
    """And hands over nothing more."""
    street = Street()
    street.line.is_held = True
    answers = street.near.send("far/a", "add", 1)
    near = street.near.dispatcher
    idle: list[bool] = []
    near.on_idle = lambda: idle.append(True)
    near.is_closing = True
    assert near.open_count == 1
    refused = street.near.send("far/a", "add", 1)
    assert isinstance(refused[0].error, StoreUnavailable)
    idle.clear()
    street.line.held.pop()()
    street.run()
    assert answers[0].value == [1, "alice"]
    assert idle


def test_an_accepted_request_is_not_taken_for_an_entity_elsewhere() -> None:
    """Its acceptance would lie in another volume than its outcome."""
    street = Street()
    request = Request(
        entity=EntityPath("far/a"),
        handler=HandlerName("add"),
        args=[1],
        caller=ALICE,
        request_id=RequestId("r-1"),
    )
    street.near.dispatcher.accepted.start()
    with pytest.raises(StoreUnavailable):
        street.near.dispatcher.accepted.accept(request, lambda _: None, callback=None)


# -- transactions ---------------------------------------------------------------------------


def test_a_joined_call_to_another_volume_names_both_entities() -> None:
    """The handler hears why, and its own writes are its own to keep."""
    street = Street()
    code, fields = street.call("box/a", "join", "far/b")
    assert code == "transaction.other_volume"
    assert (fields["entity"], fields["other"]) == ("box/a", "far/b")
    assert street.near.get("box/a", "count") == 1
    assert street.line.sent == 0


def test_a_group_that_is_elsewhere_is_sent_there_whole() -> None:
    """One commit there, one result there, also for the same id again."""
    street = Street()
    for _ in range(2):
        assert submit(street, group("far/a", "far/b")).value == [[1, "alice"], [1, "alice"]]
    assert results_of(street.far, ATOMIC_PLACE) == ["g-1"]
    assert not results_of(street.near, ATOMIC_PLACE)


@pytest.mark.parametrize("entities", [("box/a", "far/b"), ("far/b", "box/a"), ("far/a", "box/b")])
def test_a_group_over_two_volumes_is_refused_where_it_comes_in(entities: tuple[str, str]) -> None:
    """Both entities are named, and neither side has done anything."""
    street = Street()
    answer = submit(street, group(*entities))
    assert isinstance(answer.error, OtherVolume)
    assert [answer.error.fields[name] for name in ("entity", "other")] == list(entities)
    assert street.line.sent == 0
    assert street.near.get("box/a", "count") is None


def test_a_group_that_is_too_long_is_refused_as_such() -> None:
    """However many volumes it would touch beyond the bound."""
    street = Street()
    answer = submit(street, group(*["box/a"] * 101, "far/a"))
    assert isinstance(answer.error, BadArguments)


# -- requests of handlers -------------------------------------------------------------------


def test_a_handler_asks_an_entity_of_another_volume() -> None:
    """It acts as its entity, and the answer is recorded where the other entity lives."""
    street = Street()
    assert street.call("box/a", "ask", "far/b", "add", 2) == [2, "entity:box/a"]
    assert street.near.get("box/a", "found") == [2, "entity:box/a"]
    assert len(results_of(street.far, REQUESTS_PLACE)) == 1
    assert not results_of(street.near, REQUESTS_PLACE)


def test_what_was_asked_stays_though_the_asker_fails() -> None:
    """A request is a transaction of its own, elsewhere as here."""
    street = Street()
    with pytest.raises(GuestRaised):
        street.call("box/a", "ask_and_fail", "far/b")
    assert street.far.get("far/b", "count") == 1


def test_the_refusal_of_what_was_asked_is_the_askers_to_handle() -> None:
    """It comes back with its code, and nothing was written."""
    street = Street()
    with pytest.raises(GuestRaised) as found:
        street.call("box/a", "ask", "far/b", "refuse")
    assert found.value.code == "app.refused"
    assert street.far.get("far/b", "count") is None


def test_a_run_that_is_made_again_finds_what_it_has_asked_for() -> None:
    """It lost its race after the request had committed elsewhere."""
    street = Street()
    answers = street.near.send("box/a", "ask_slowly", "far/b")
    while not street.far.get("far/b", "count"):
        for house in street.houses:
            if house.queue:
                house.queue.popleft()()
    rival = street.near.send("box/a", "add", 7)
    street.run()
    assert rival[0].error is None
    assert answers[0].value == [7, [1, "entity:box/a"]]
    assert street.far.get("far/b", "count") == 1
    assert street.near.get("box/a", "count") == 107


def test_a_run_that_asks_something_else_the_second_time_has_diverged() -> None:
    """What it has asked for elsewhere cannot be taken back, so its end is told."""
    street = Street()
    answers = street.near.send("box/a", "ask_by_state", "far/b")
    while street.far.get("far/b", "count") is None:
        for house in street.houses:
            if house.queue:
                house.queue.popleft()()
    street.near.send("box/a", "add", 7)
    street.run()
    assert isinstance(answers[0].error, Diverged)


def test_a_crash_of_the_asker_repeats_no_effect_elsewhere() -> None:
    """The run made again under the same id gets the recorded answer."""
    street = Street()
    street.near.send("box/a", "ask_slowly", "far/b", request_id="r-1")
    while not street.far.get("far/b", "count"):
        for house in street.houses:
            if house.queue:
                house.queue.popleft()()
    street.crash(0)
    assert street.call("box/a", "ask_slowly", "far/b", request_id="r-1") == [
        0,
        [1, "entity:box/a"],
    ]
    assert street.far.get("far/b", "count") == 1


def test_an_asker_whose_link_is_lost_ends_by_a_fault_of_the_node() -> None:
    """It must not decide anything by it; with the same id it is made again."""
    street = Street()
    street.line.loses_answers = True
    with pytest.raises(StoreUnavailable):
        street.call("box/a", "ask", "far/b", "add", 1, request_id="r-1")
    assert street.near.get("box/a", "found") is None
    street.line.loses_answers = False
    assert street.call("box/a", "ask", "far/b", "add", 1, request_id="r-1")[0] == 1
    assert street.far.get("far/b", "count") == 1


def test_what_is_asked_uses_what_is_left_of_the_asker() -> None:
    """Its limits bound the other run, and its allowance pays for it."""
    street = Street()
    limits = Limits(fuel=2_000_000)
    with pytest.raises(GuestRaised, match="used up its fuel of 1999990"):
        street.call("box/a", "ask", "far/b", "burn", 3_000_000, limits=limits)
    assert street.call("box/a", "ask_and_burn", "far/b", 1_000_000, limits=limits) is None
    with pytest.raises(LimitExceeded):
        street.call("box/a", "ask_and_burn", "far/b", 1_500_000, limits=limits)


def test_requests_that_go_to_and_fro_are_counted_as_one_chain() -> None:
    """The bound on requests that wait for each other holds over both volumes."""
    street = Street()
    path = [f"{'far' if one % 2 else 'box'}/{one}" for one in range(1, REQUEST_DEPTH_MAX + 5)]
    with pytest.raises(GuestRaised, match=f"at most {REQUEST_DEPTH_MAX} deep"):
        street.call("box/0", "ask_on", path)
    assert street.call("box/0", "ask_on", path[: REQUEST_DEPTH_MAX - 2]) == REQUEST_DEPTH_MAX - 2
