"""init.supervisor: who runs, who waits for whom, what follows an end."""

from __future__ import annotations

import pytest

from tests.unit.boot.supervised import Supervised


@pytest.fixture
def world() -> Supervised:
    return Supervised()


def test_a_new_service_runs(world: Supervised) -> None:
    """A service starts when it is defined, and is running once it is launched."""
    assert world.define("web") is None
    assert world.state("web") == "running"
    assert world.pid("web") == 101


def test_autostart_false_waits_for_somebody(world: Supervised) -> None:
    """A service that does not start by itself starts when asked, and the answer is its pid."""
    world.define("web", autostart=False)
    assert world.state("web") == "stopped"
    key = world.ask("start", "web")
    assert world.answer(key) == [0, 101]


def test_notify_is_running_only_when_it_says_so(world: Supervised) -> None:
    """A start of a service that tells is answered at its word, not at its launch."""
    world.define("web", ready="notify", autostart=False)
    key = world.ask("start", "web")
    assert (world.state("web"), world.answer(key)) == ("starting", None)
    world.manager.on_ready(world.manager, world.manager.services["web"])
    assert (world.state("web"), world.answer(key)) == ("running", [0, 101])


def test_one_that_never_says_so_is_ended(world: Supervised) -> None:
    """Half a minute without a word is a failure to start; its process is killed."""
    world.define("web", ready="notify", autostart=False)
    key = world.ask("start", "web")
    world.pass_ms(30_000)
    assert world.listed("killed") == [101]
    world.end("web", 20)
    answer = world.answer(key)
    assert answer is not None
    assert answer[1] == "request.deadline_passed"
    assert world.state("web") == "backoff"


def test_pauses_double_and_end_at_the_maximum(world: Supervised) -> None:
    """Each end in a row doubles the pause up to its maximum."""
    world.define("web", burst=0, backoff_min_ms=100, backoff_max_ms=300)
    for pause in (100, 200, 300, 300):
        world.end("web", 1)
        assert world.state("web") == "backoff"
        world.pass_ms(pause - 1)
        assert world.state("web") == "backoff"
        world.pass_ms(1)
        assert world.state("web") == "running"
    assert world.manager.services["web"].restarts == 4


def test_a_stable_run_forgets_the_pauses(world: Supervised) -> None:
    """One that ran as long as its window begins again with the shortest pause."""
    world.define("web", backoff_min_ms=100)
    world.end("web", 1)
    world.pass_ms(100)
    world.end("web", 1)
    world.pass_ms(200)
    world.pass_ms(10_000)
    world.end("web", 1)
    world.pass_ms(100)
    assert world.state("web") == "running"


def test_too_many_ends_give_it_up(world: Supervised) -> None:
    """As many ends as the burst within the window are the last; only a start by hand helps."""
    world.define("web", burst=3, backoff_min_ms=10)
    for pause in (10, 20):
        world.end("web", 7, "no socket")
        world.pass_ms(pause)
    world.end("web", 7, "no socket")
    assert world.state("web") == "failed"
    reason = "it has ended 3 times within 10000 ms; the last time: status 7: no socket"
    assert world.reason("web") == reason
    world.pass_ms(100_000)
    assert world.state("web") == "failed"
    assert world.answer(world.ask("start", "web")) == [0, 104]
    world.end("web", 1)
    assert world.state("web") == "backoff", "a start by hand begins a new count"


@pytest.mark.parametrize(
    ("policy", "status", "state"),
    [
        ("always", 0, "backoff"),
        ("always", 1, "backoff"),
        ("on-failure", 0, "stopped"),
        ("on-failure", 1, "backoff"),
        ("never", 0, "stopped"),
        ("never", 1, "failed"),
    ],
)
def test_what_follows_an_end(world: Supervised, policy: str, status: int, state: str) -> None:
    """The restart policy decides by the exit status alone."""
    world.define("web", restart=policy)
    world.end("web", status)
    assert world.state("web") == state


def test_a_program_that_cannot_be_launched_is_a_failure(world: Supervised) -> None:
    """What cannot be launched counts like an end, and the start says why."""
    world.define("web", autostart=False)
    world.world.refusal = "no program 'web'"
    key = world.ask("start", "web")
    expected = [10, "code.10", "'web' did not become ready: status 10: no program 'web'"]
    assert world.answer(key) == expected
    assert world.state("web") == "backoff"


def test_stop_asks_and_waits(world: Supervised) -> None:
    """A stop is answered when the process has ended, and nothing restarts it."""
    world.define("web", restart="always")
    key = world.ask("stop", "web")
    assert (world.listed("asked"), world.listed("killed")) == (["web"], [])
    assert (world.state("web"), world.answer(key)) == ("stopping", None)
    world.end("web", 0)
    assert (world.state("web"), world.answer(key)) == ("stopped", [0])
    assert world.listed("released") == ["web"]


def test_stop_kills_at_the_deadline(world: Supervised) -> None:
    """Who does not end in time is killed, and the reason says so."""
    world.define("web", stop_deadline_ms=500)
    world.ask("stop", "web")
    world.pass_ms(499)
    assert world.listed("killed") == []
    world.pass_ms(1)
    assert world.listed("killed") == [101]
    world.end("web", 20)
    assert world.reason("web") == "asked to stop; killed, since it did not end within 500 ms"


def test_one_that_does_not_listen_is_killed_at_once(world: Supervised) -> None:
    """Where nobody hears that it should end there is nothing to wait for."""
    world.define("web")
    world.world.listeners = 0
    world.ask("stop", "web")
    assert world.listed("killed") == [101]


def test_stop_before_the_launch_is_done(world: Supervised) -> None:
    """A stop that comes while a service is being launched ends what comes of the launch."""
    world.world.is_slow = True
    world.define("web")
    key = world.ask("stop", "web")
    assert world.answer(key) is None
    world.world.finish_launch("web")
    assert world.listed("asked") == ["web"]
    world.end("web")
    assert world.answer(key) == [0]


def test_required_ones_start_first(world: Supervised) -> None:
    """A start starts what is required, and waits until that is ready."""
    world.define("base", ready="notify", autostart=False)
    world.define("web", requires=["base"], autostart=False)
    key = world.ask("start", "web")
    assert world.listed("launched") == ["base"]
    assert world.reason("web") == "waits for 'base', which it requires"
    world.manager.on_ready(world.manager, world.manager.services["base"])
    assert world.listed("launched") == ["base", "web"]
    assert world.answer(key) == [0, 102]


def test_an_end_of_the_required_ends_its_dependents_until_it_is_back(world: Supervised) -> None:
    """Dependents are stopped with the reason told, and run again when what they need does."""
    world.define("base", backoff_min_ms=100)
    world.define("web", requires=["base"])
    world.define("top", requires=["web"])
    world.end("base", 3, "disk")
    assert world.state("base") == "backoff"
    assert world.listed("asked") == ["top"], "the last of the chain ends first"
    world.end("top")
    assert world.listed("asked") == ["top", "web"]
    assert world.reason("web") == "requires 'base', which is backoff: status 3: disk"
    world.end("web")
    assert (world.state("web"), world.state("top")) == ("waiting", "waiting")
    world.pass_ms(100)
    states = [world.state(name) for name in ("base", "web", "top")]
    assert states == ["running", "running", "running"]


def test_a_failed_requirement_refuses_a_start(world: Supervised) -> None:
    """Whoever starts a service hears that what it requires has failed, and why."""
    world.define("base", restart="never")
    world.define("web", requires=["base"])
    world.end("base", 9, "no disk")
    world.end("web")
    assert world.reason("web") == "requires 'base', which has failed: status 9: no disk"
    assert world.state("web") == "waiting"
    world.ask("start", "base")
    assert world.state("web") == "running"


def test_a_start_whose_requirement_fails_is_answered(world: Supervised) -> None:
    """The answer of a start that can never be does not keep its caller waiting."""
    world.define("base", restart="never", ready="notify", autostart=False)
    world.define("web", requires=["base"], autostart=False)
    key = world.ask("start", "web")
    world.end("base", 9, "no disk")
    answer = world.answer(key)
    assert answer is not None
    assert answer[1:] == [
        "request.not_available",
        "'web' requires 'base', which has failed: status 9: no disk",
    ]


def test_stop_of_a_required_one_stops_its_dependents_first(world: Supervised) -> None:
    """A stop by hand reaches the dependents first; they stay wanted and come back with it."""
    world.define("base")
    world.define("web", requires=["base"])
    key = world.ask("stop", "base")
    assert world.listed("asked") == ["web"]
    world.end("web")
    assert world.listed("asked") == ["web", "base"]
    world.end("base")
    assert world.answer(key) == [0]
    assert world.state("web") == "waiting"
    world.ask("start", "base")
    assert world.state("web") == "running"


def test_after_orders_and_no_more(world: Supervised) -> None:
    """`after` waits for a start to be over, well or badly, and stops nobody."""
    world.define("log", ready="notify", restart="never")
    world.define("web", after=["log", "nobody"])
    assert world.reason("web") == "waits for 'log', after which it starts"
    world.end("log", 1)
    assert (world.state("log"), world.state("web")) == ("failed", "running")
    world.ask("start", "log")
    world.ask("stop", "log")
    assert world.state("web") == "running"


def test_cycles_and_strangers_are_refused(world: Supervised) -> None:
    """A ring of services and a requirement nobody defines are refused by name."""
    world.define("a")
    world.define("b", requires=["a"])
    world.define("c", after=["b"])
    problem = world.define("a", after=["c"])
    assert problem == "services wait for each other in a ring: a -> c -> b -> a"
    assert world.define("d", requires=["x"]) == "it requires 'x', which is not defined"
    assert world.define("d", requires=["d"]) == "it cannot wait for itself"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"restart": "sometimes"}, "restart cannot be 'sometimes'"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"burst": 0.5}, "burst is 0 to 1000"),
        ({"backoff_min_ms": 9, "backoff_max_ms": 8}, "backoff_min_ms is more than backoff_max_ms"),
        ({"program": "../etc"}, "needs the name of a program"),
        ({"contexts": ["a b"]}, "contexts has an item that is none: a b"),
        ({"storage": 1}, "storage is a boolean"),
        ({"priority": 10}, "priority is 0 to 9"),
    ],
)
def test_a_wrong_definition_is_refused(
    world: Supervised, more: dict[str, object], problem: str
) -> None:
    """What is wrong with a definition is said in words, and nothing starts."""
    assert world.define("web", **more) == problem
    assert world.listed("launched") == []


def test_a_changed_definition_restarts_what_runs(world: Supervised) -> None:
    """A definition that differs takes effect at once; the same one again changes nothing."""
    world.define("web", args=["a"])
    world.define("web", args=["a"])
    assert world.listed("asked") == []
    world.define("web", args=["b"])
    assert world.listed("asked") == ["web"]
    world.end("web")
    assert (world.state("web"), world.pid("web")) == ("running", 102)


def test_restart_is_answered_when_it_runs_again(world: Supervised) -> None:
    """A restart ends the process and is answered with the new one."""
    world.define("web")
    key = world.ask("restart", "web")
    assert world.answer(key) is None
    world.end("web")
    assert world.answer(key) == [0, 102]


def test_shutdown_ends_dependents_first_then_kills(world: Supervised) -> None:
    """A shutdown goes against the order of starting, and does not outlast its deadline."""
    world.define("base")
    world.define("web", requires=["base"], stop_deadline_ms=60_000)
    world.define("last", after=["base"])
    key = world.ask("shutdown", 1_000)
    assert sorted(world.listed("asked")) == ["last", "web"]
    world.end("last")
    world.pass_ms(1_000)
    assert sorted(world.listed("killed")) == [101, 102]
    world.end("web", 20)
    assert world.answer(key) is None
    world.end("base", 20)
    assert world.answer(key) == [0]
    assert world.answer(world.ask("start", "web")) == [
        21,
        "request.not_available",
        "the node is closing",
    ]


def test_watching_is_answered_at_a_change_or_in_time(world: Supervised) -> None:
    """Who watches hears of the next change, or that nothing has changed when the time is up."""
    world.define("web")
    service = world.manager.services["web"]
    late = world.ask("watch", service, service.changes, 50)
    assert world.answer(late) is None
    world.pass_ms(50)
    answer = world.answer(late)
    assert answer is not None
    assert answer[1].state == "running"
    key = world.ask("watch", service, service.changes, 5_000)
    world.end("web")
    answer = world.answer(key)
    assert answer is not None
    assert answer[1].state == "stopped"


def test_dropping_ends_and_forgets(world: Supervised) -> None:
    """A service that is removed is stopped first, then gone."""
    world.define("web")
    world.ask("drop", "web")
    assert world.state("web") == "stopping"
    world.end("web")
    assert world.manager.services["web"] is None


def test_a_service_that_needs_storage_requires_it(world: Supervised) -> None:
    """`storage = true` is a requirement of the service of that name."""
    world.define("storage", autostart=False)
    world.define("web", storage=True)
    assert world.listed("launched") == ["storage", "web"]
