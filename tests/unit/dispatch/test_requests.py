"""One request through the dispatcher: admission, limits, ends from outside, ids, audit."""

from __future__ import annotations

from typing import Any

import pytest

from lithox.dispatch.records import ENTITY_KEY, EntityRecord, HandlerOverride, encode_record
from lithox.errors import (
    BadArguments,
    Cancelled,
    DeadlinePassed,
    GuestProtocolError,
    GuestRaised,
    GuestTrapped,
    IdReused,
    LimitExceeded,
    LimitTooHigh,
    NotAvailable,
    NotFound,
    NotPermitted,
    Overloaded,
    ResultsFull,
    StoreCorrupt,
)
from lithox.kernel.policy import Policy
from lithox.model.limits import Limits
from lithox.testing.script import ScriptedSelf, ScriptError
from tests.unit.dispatch.house import ADMIN, BOB, House

SECOND_NS = 1_000_000_000


def increment(_self: ScriptedSelf, by: int = 1) -> Any:
    count = (yield ("get", "count")) or 0
    yield ("set", "count", count + by)
    return count + by


def spoil(_self: ScriptedSelf) -> Any:
    yield ("set", "count", 999)
    raise ScriptError("no more", code="empty", data={"left": 0})


def spin(_self: ScriptedSelf) -> Any:
    yield ("set", "count", 999)
    yield ("spin",)


def wait_long(_self: ScriptedSelf) -> Any:
    yield ("burn", 20_000_000)
    return "done"


def trap(_self: ScriptedSelf) -> Any:
    yield ("trap", "unreachable")


def babble(_self: ScriptedSelf) -> Any:
    yield ("say", b"\xc1 not a system call")


def whoami(self: ScriptedSelf) -> Any:
    yield ("burn", 1)
    return [self.id, self.caller, self.request_id, self.attempt]


def unfinished(_self: ScriptedSelf) -> Any:
    answer = yield ("ask", "nothing", "a", "b", [])
    return answer


MODULE = {
    "increment": increment,
    "spoil": spoil,
    "spin": spin,
    "wait_long": wait_long,
    "trap": trap,
    "babble": babble,
    "whoami": whoami,
    "unfinished": unfinished,
}


def counter_house(**options: Any) -> House:
    house = House(**options)
    house.publish("counter/*", MODULE)
    return house


def test_call_changes_state_and_returns() -> None:
    """A handler's writes are there for the next one, and the first write makes the entity."""
    house = counter_house()
    assert house.get("counter/a", ENTITY_KEY) is None
    assert house.call("counter/a", "increment", 5) == 5
    assert house.call("counter/a", "increment") == 6
    assert house.get("counter/a", ENTITY_KEY)["template"] == "counter/*"


def test_reading_creates_nothing() -> None:
    """A run that writes nothing leaves no entity behind."""
    house = counter_house()
    assert house.call("counter/a", "whoami") == ["counter/a", "alice", None, 1]
    assert house.store.list_entities("counter", "", 10) == []


def test_error_leaves_nothing_and_carries_its_code() -> None:
    """`state = 999; error()` leaves no 999, and the error's own code arrives as app.<code>."""
    house = counter_house()
    house.call("counter/a", "increment")
    with pytest.raises(GuestRaised) as caught:
        house.call("counter/a", "spoil")
    assert caught.value.code == "app.empty"
    assert caught.value.fields["data"] == {"left": 0}
    assert house.get("counter/a", "count") == 1


@pytest.mark.parametrize(
    ("handler", "error"),
    [("trap", GuestTrapped), ("babble", GuestProtocolError), ("unfinished", GuestRaised)],
)
def test_broken_guest_ends_with_its_own_error(handler: str, error: type[Exception]) -> None:
    """Traps, protocol errors and refused calls each end the run and nothing else."""
    house = counter_house()
    with pytest.raises(error):
        house.call("counter/a", handler)
    assert house.call("counter/a", "increment") == 1


def test_endless_loop_ends_at_its_fuel_and_tells_the_limit() -> None:
    """A loop ends as out of fuel with used and allowed, and its write is gone."""
    house = counter_house()
    with pytest.raises(LimitExceeded) as caught:
        house.call("counter/a", "spin", limits=Limits(fuel=3_000_000))
    assert caught.value.code == "guest.out_of_fuel"
    assert caught.value.fields == {"limit": "fuel", "used": 3_000_000, "allowed": 3_000_000}
    assert house.get("counter/a", "count") is None


def test_short_runs_pass_a_long_one() -> None:
    """A run that outlived its first slice waits in the long lane while short ones finish."""
    house = counter_house()
    house.long.is_held = True
    long = house.send("counter/long", "wait_long")
    short = [house.send(f"counter/{name}", "increment") for name in "abc"]
    house.run()
    assert [answers[0].value for answers in short] == [1, 1, 1]
    assert long == []
    house.long.is_held = False
    for work in house.long.held:
        work()
    house.run()
    assert long[0].value == "done"


def test_kill_ends_a_run_and_its_writes() -> None:
    """A killed run answers as cancelled and leaves nothing."""
    house = counter_house()
    house.long.is_held = True
    answers = house.send("counter/a", "spin")
    house.run()
    [process] = house.dispatcher.processes()
    assert house.dispatcher.kill(process.pid)
    assert not answers, "its slice is out: it ends when that is back"
    house.long.is_held = False
    house.long.held.pop()()
    house.run()
    assert isinstance(answers[0].error, Cancelled)
    assert house.dispatcher.processes() == []
    assert not house.dispatcher.kill(process.pid)
    assert house.get("counter/a", "count") is None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"deadline_ns": 2 * SECOND_NS}, DeadlinePassed),
        ({"limits": Limits(wall_ns=SECOND_NS)}, LimitExceeded),
    ],
)
def test_time_ends_a_run(options: dict[str, Any], error: type[Exception]) -> None:
    """The caller's deadline and the wall limit end a run that is under way."""
    house = counter_house()
    house.long.is_held = True
    answers = house.send("counter/a", "spin", **options)
    house.run()
    house.clock.advance(2 * SECOND_NS)
    house.dispatcher.notify_time()
    house.run()
    house.long.is_held = False
    house.long.held.pop()()
    house.run()
    assert isinstance(answers[0].error, error)


def test_deadline_inside_the_last_slice_keeps_the_commit_back() -> None:
    """A deadline acts until the commit is handed to the store, also in a run's only slice."""
    house = House()

    def late(_self: ScriptedSelf) -> Any:
        yield ("set", "count", 999)
        house.clock.advance(5 * SECOND_NS)

    house.publish("late/*", {"late": late})
    with pytest.raises(DeadlinePassed):
        house.call("late/a", "late", deadline_ns=2 * SECOND_NS)
    assert house.get("late/a", "count") is None
    assert house.dispatcher.processes() == []


def test_deadline_that_has_passed_is_refused() -> None:
    """A request whose deadline is over is not begun."""
    house = counter_house()
    with pytest.raises(DeadlinePassed):
        house.call("counter/a", "increment", deadline_ns=1)
    assert house.engine.guests_started == 0


def test_output_and_state_are_bounded() -> None:
    """More output or state than allowed ends the run and leaves nothing."""

    def write_much(_self: ScriptedSelf, size: int) -> Any:
        yield ("set", "text", "x" * size)

    def say_much(_self: ScriptedSelf, size: int) -> Any:
        yield ("log", "info", "x" * size, {})

    house = House()
    house.publish("w/*", {"write_much": write_much, "say_much": say_much})
    with pytest.raises(LimitExceeded) as caught:
        house.call("w/a", "write_much", 1000, limits=Limits(state_bytes=500))
    assert caught.value.code == "guest.out_of_state"
    with pytest.raises(LimitExceeded) as caught:
        house.call("w/a", "say_much", 1000, limits=Limits(output_bytes=500))
    assert caught.value.code == "guest.out_of_output"
    assert house.get("w/a", "text") is None


@pytest.mark.parametrize(
    ("entity", "handler", "error"),
    [
        ("counter/a", "missing", NotFound),
        ("counter/a", "_hidden", NotFound),
        ("elsewhere/a", "increment", NotFound),
        ("~lithox/modules", "increment", NotPermitted),
    ],
)
def test_unknown_targets_are_refused(entity: str, handler: str, error: type[Exception]) -> None:
    """Unknown entities and handlers are not found; the system's own are nobody's."""
    house = counter_house()
    with pytest.raises(error):
        house.call(entity, handler)


def test_limit_above_what_is_allowed_is_refused() -> None:
    """A request may lower limits, never raise them."""
    house = counter_house()
    with pytest.raises(LimitTooHigh):
        house.call("counter/a", "increment", limits=Limits(fuel=1 << 60))


def test_arguments_must_be_plain() -> None:
    """What is not plain data is refused before anything runs."""
    house = counter_house()
    with pytest.raises(BadArguments):
        house.call("counter/a", "increment", float("nan"))


def test_only_the_owner_may_call_unless_listed() -> None:
    """The default access list is the owner; templates and admins open more."""
    house = counter_house()
    house.publish("open/*", MODULE, access=["bob"])
    with pytest.raises(NotPermitted):
        house.call("counter/a", "increment", caller=BOB)
    assert house.call("open/a", "increment", caller=BOB) == 1
    assert house.call("counter/a", "increment", caller=ADMIN) == 1


def test_first_caller_owns_when_the_template_says_so() -> None:
    """`owner = "caller"`: whoever makes the entity owns it, and others are refused then."""
    house = House()
    house.publish("own/*", MODULE, access=["*"], owned_by="caller")
    house.call("own/a", "increment", caller=BOB)
    assert house.get("own/a", ENTITY_KEY)["owner"] == "bob"


def test_override_in_the_entity_wins_over_the_template() -> None:
    """An entity's own record overrides limits and code, from the next run on."""

    def other(_self: ScriptedSelf) -> Any:
        yield ("burn", 1)
        return "other"

    house = counter_house()
    digest = house.publish("spare/*", {"increment": other})
    house.call("counter/a", "increment")
    record = EntityRecord(
        owner="alice",
        template="counter/*",
        handlers={
            "increment": HandlerOverride(module=digest),
            "spin": HandlerOverride(limits={"fuel": 1000}),
        },
    )
    house.put({("counter/a", ENTITY_KEY): encode_record(record)})
    assert house.call("counter/a", "increment") == "other"
    with pytest.raises(LimitExceeded) as caught:
        house.call("counter/a", "spin")
    assert caught.value.fields["allowed"] == 1000


def test_new_deploy_reaches_existing_entities_but_pinned_ones() -> None:
    """Entities follow their template's newest module; `pin` keeps the one they began with."""

    def newer(_self: ScriptedSelf) -> Any:
        yield ("burn", 1)
        return "newer"

    house = House()
    house.publish("free/*", MODULE)
    house.publish("fixed/*", MODULE, pin=True)
    house.call("free/a", "increment")
    house.call("fixed/a", "increment")
    house.publish("free/*", {"increment": newer})
    house.publish("fixed/*", {"increment": newer}, pin=True)
    assert house.call("free/a", "increment") == "newer"
    assert house.call("fixed/a", "increment") == 2


def test_unknown_language_is_told() -> None:
    """A module of a language without an engine is refused by name."""
    house = counter_house()
    digest = house.publish("other/*", MODULE)
    del digest
    house.dispatcher.catalog.engines.clear()
    with pytest.raises(NotAvailable, match="scripted"):
        house.call("other/a", "increment")


def test_same_id_gives_the_recorded_answer_once() -> None:
    """A repeated id repeats no effect; other content under it is refused."""
    house = counter_house()
    assert house.call("counter/a", "increment", request_id="r") == 1
    assert house.call("counter/a", "increment", request_id="r") == 1
    assert house.get("counter/a", "count") == 1
    with pytest.raises(IdReused):
        house.call("counter/a", "increment", 7, request_id="r")
    assert house.call("counter/a", "increment", request_id="r", caller=ADMIN) == 2


def test_same_id_at_the_same_time_waits_for_the_first() -> None:
    """Of two simultaneous requests with one id one runs, and both get its answer."""
    house = counter_house()
    first = house.send("counter/a", "increment", request_id="r")
    second = house.send("counter/a", "increment", request_id="r")
    third = house.send("counter/a", "increment", 9, request_id="r")
    house.run()
    assert (first[0].value, second[0].value) == (1, 1)
    assert (first[0].is_recorded, second[0].is_recorded) == (False, True)
    assert isinstance(third[0].error, IdReused)
    assert house.get("counter/a", "count") == 1


def test_many_waiters_that_fail_at_once_are_all_answered() -> None:
    """A thousand waiters of one id whose turn ends in a refusal each get their answer."""
    house = counter_house()
    first = house.send("counter/a", "spoil", request_id="r")
    greedy = Limits(fuel=1 << 60)
    others = [house.send("counter/a", "spoil", request_id="r", limits=greedy) for _ in range(1000)]
    house.run()
    assert getattr(first[0].error, "code", "") == "app.empty"
    assert all(isinstance(answers[0].error, LimitTooHigh) for answers in others)
    assert house.call("counter/a", "increment", request_id="r") == 1


def test_waiter_is_answered_at_its_own_deadline() -> None:
    """A request that waits for another with its id does not wait beyond its deadline."""
    house = counter_house()
    house.long.is_held = True
    first = house.send("counter/a", "wait_long", request_id="r")
    second = house.send("counter/a", "wait_long", request_id="r", deadline_ns=2 * SECOND_NS)
    house.run()
    house.clock.advance(2 * SECOND_NS)
    house.dispatcher.notify_time()
    assert isinstance(second[0].error, DeadlinePassed)
    assert not first
    house.long.is_held = False
    for work in house.long.held:
        work()
    house.run()
    assert first[0].value == "done"
    assert len(second) == 1


def test_waiters_do_not_share_their_answer() -> None:
    """Each waiter gets a value of its own, which it may change."""

    def give(_self: ScriptedSelf) -> Any:
        yield ("burn", 1)
        return {"list": [1]}

    house = House()
    house.publish("g/*", {"give": give})
    answers = [house.send("g/a", "give", request_id="r") for _ in range(2)]
    house.run()
    answers[0][0].value["list"].append(2)
    assert answers[1][0].value == {"list": [1]}


def test_value_that_is_not_plain_is_not_committed() -> None:
    """A run whose value nobody could be told leaves nothing and is told as a protocol error."""

    def lie(_self: ScriptedSelf) -> Any:
        yield ("finish", b"\x95\x00\xcb\x7f\xf8\0\0\0\0\0\0\x90\x90\x81\xa1k\x01")

    house = House()
    house.publish("l/*", {"lie": lie})
    with pytest.raises(GuestProtocolError):
        house.call("l/a", "lie", request_id="r")
    assert house.get("l/a", "k") is None


def test_bug_in_a_long_slice_ends_only_its_run() -> None:
    """An exception of ours on the second thread is an internal error of that run alone."""
    house = counter_house()
    answers = house.send("counter/a", "wait_long")

    def fail(pid: Any, guest: Any, quantum_fuel: int) -> None:
        del guest, quantum_fuel
        house.queue.append(lambda: house.long.on_step(pid, RuntimeError("planted"), 0, 0))  # type: ignore[misc]

    house.long.submit = fail  # type: ignore[method-assign]
    house.run()
    assert getattr(answers[0].error, "code", "") == "internal"
    assert house.call("counter/a", "increment") == 1 if not house.bugs.clear() else False
    assert house.dispatcher.processes() == []


def test_recorded_answers_ask_the_access_list_too() -> None:
    """Whoever may not call any more does not get recorded answers either."""
    house = House()
    house.publish("open/*", MODULE, access=["bob"])
    assert house.call("open/a", "increment", caller=BOB, request_id="r") == 1
    house.publish("open/*", MODULE)
    with pytest.raises(NotPermitted):
        house.call("open/a", "increment", caller=BOB, request_id="r")


def test_ids_in_flight_count_against_the_bound_of_results() -> None:
    """Many ids at once cannot pass the bound that one after the other could not."""
    house = counter_house(results_per_account_max=3)
    answers = [house.send("counter/a", "increment", request_id=f"r{n}") for n in range(10)]
    house.run()
    assert house.store.count_results("alice") == 3
    assert sum(isinstance(one[0].error, ResultsFull) for one in answers) == 7


def test_failure_is_not_recorded_and_the_next_waiter_runs() -> None:
    """After an error nothing is recorded under the id, so it may run again."""
    house = counter_house()
    first = house.send("counter/a", "spoil", request_id="r")
    second = house.send("counter/a", "spoil", request_id="r")
    house.run()
    assert [answers[0].error.code for answers in (first, second) if answers[0].error] == [  # type: ignore[attr-defined]
        "app.empty",
        "app.empty",
    ]
    assert house.engine.guests_started == 2
    assert house.call("counter/a", "increment", request_id="r") == 1


def test_expired_result_may_run_again() -> None:
    """After 24 hours the id is free."""
    house = counter_house()
    house.call("counter/a", "increment", request_id="r")
    house.clock.advance(24 * 3600 * SECOND_NS + 1)
    assert house.call("counter/a", "increment", request_id="r") == 2


def test_full_results_refuse_new_ids_only() -> None:
    """At the account's bound new ids are refused, none is dropped, requests without id go on."""
    house = counter_house(results_per_account_max=2)
    for name in ("r1", "r2"):
        house.call("counter/a", "increment", request_id=name)
    with pytest.raises(ResultsFull):
        house.call("counter/a", "increment", request_id="r3")
    assert house.call("counter/a", "increment", request_id="r1") == 1
    assert house.call("counter/a", "increment") == 3


def test_too_many_processes_are_refused() -> None:
    """Beyond the kernel's bound a request is answered overloaded, with when to try again."""
    house = counter_house(policy=Policy(processes_max=2, processes_per_account_max=2))
    answers = [house.send("counter/a", "increment") for _ in range(3)]
    assert isinstance(answers[2][0].error, Overloaded)
    assert answers[2][0].error.retry_after_ms
    house.run()
    assert [answer[0].value for answer in answers[:2]] == [1, 2]


def test_refusals_and_aborts_leave_bounded_audit_records() -> None:
    """Every refusal and abort is on record with who, what, and how it ended."""
    house = counter_house()
    for handler, caller in (("increment", BOB), ("spoil", ADMIN)):
        house.send("counter/a", handler, caller=caller)
    house.run()
    newest = house.store.read_audit(2)
    assert [(one.identity, one.act, one.outcome) for one in newest] == [
        ("root", "call:spoil", "app.empty"),
        ("bob", "call:increment", "request.not_permitted"),
    ]
    assert max(len(one.detail) for one in newest) <= 500


def test_log_reaches_the_sink_and_bad_levels_do_not() -> None:
    """`self:log` gives level, text and fields; an unknown level is refused."""

    def talk(_self: ScriptedSelf, level: str) -> Any:
        yield ("log", level, "hello", {"n": 1})

    house = House()
    house.publish("t/*", {"talk": talk})
    house.call("t/a", "talk", "warning")
    assert house.logs == [("warning", "hello", {"n": 1})]
    with pytest.raises(GuestRaised):
        house.call("t/a", "talk", "loud")


def test_usage_shows_allowed_and_used() -> None:
    """A process reads its own usage: what it has used and what it may."""

    def look(_self: ScriptedSelf) -> Any:
        yield ("burn", 100)
        return (yield ("usage",))

    house = House()
    house.publish("u/*", {"look": look})
    usage = house.call("u/a", "look", limits=Limits(fuel=5000))
    assert usage["allowed"]["fuel"] == 5000
    assert 100 <= usage["used"]["fuel"] < 5000


def test_node_entity_answers_natively() -> None:
    """Requests to the node entity run no code of any entity, and only for administrators."""
    house = counter_house()
    house.dispatcher.natives["ping"] = lambda request: list(request.args)
    assert house.call("~node", "ping", 1, caller=ADMIN) == [1]
    with pytest.raises(NotPermitted):
        house.call("~node", "ping", 1)
    with pytest.raises(NotFound):
        house.call("~node", "pong", caller=ADMIN)
    assert house.engine.guests_started == 0


def test_forged_contexts_and_unknown_calls_are_refused() -> None:
    """A context number never given, and a name context 0 does not have, raise in the guest."""

    def forge(_self: ScriptedSelf) -> Any:
        yield ("ask", "no_such_call")

    house = House()
    house.publish("f/*", {"forge": forge})
    with pytest.raises(GuestRaised) as caught:
        house.call("f/a", "forge")
    assert caught.value.code == "app.context.invalid"


def test_damaged_record_is_told_as_such() -> None:
    """An entity whose stored record is garbage answers store.corrupt, and others go on."""
    house = counter_house()
    house.put({("counter/a", ENTITY_KEY): b"garbage"})
    with pytest.raises(StoreCorrupt):
        house.call("counter/a", "increment")
    assert house.call("counter/b", "increment") == 1


@pytest.mark.patches_source
def test_bug_of_ours_ends_only_its_run() -> None:
    """An exception inside the node is an internal error of that request, counted and told."""
    house = counter_house()
    first = house.send("counter/a", "increment")
    house.dispatcher.runs.table.by_pid[house.dispatcher.processes()[0].pid].args = None  # type: ignore[assignment]
    second = house.send("counter/b", "increment")
    house.run()
    assert getattr(first[0].error, "code", None) == "internal"
    assert second[0].value == 1
    assert house.dispatcher.counters.internal_errors == 1
    assert len(house.bugs) == 1
