"""Services on a real node, pre-emptive and cooperative: init from the package keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lithox.errors import (
    BadArguments,
    ConfigError,
    LithoxError,
    NotAvailable,
    NotFound,
    NotPermitted,
)
from lithox.model.ids import AccountName, Identity
from lithox.model.request import Caller
from lithox.node.node import Node
from lithox.security.identities import LOCAL_OPERATOR
from tests.conformance.services.keeping import (
    CRASHER,
    DEAF,
    LISTENER,
    MODES,
    NOTIFIER,
    publish,
    reach,
    read_log,
    wait_log,
    with_node,
)

ALICE = Caller(identity=Identity("alice"), account=AccountName("alice"))


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_service_runs_is_stopped_and_tells(tmp_path: Path, mode: str) -> None:
    """Start, stop and restart are answered when done; the log has what it wrote and its end."""

    async def work(node: Node) -> None:
        await publish(node, web=LISTENER)
        await node.service_put("web", {"program": "web", "args": ["x"], "autostart": False})
        await node.service_start("web")
        row = await node.service_show("web")
        assert (row["state"], row["definition"]["args"]) == ("running", ["x"])
        assert any(one["pid"] == row["pid"] for one in node.processes(LOCAL_OPERATOR))
        await node.service_restart("web")
        again = await node.service_show("web")
        assert again["pid"] != row["pid"]
        await node.service_stop("web")
        row = await node.service_show("web")
        assert (row["state"], row["pid"], row["last_exit"]["status"]) == ("stopped", None, 0)
        ends = [f"end process {pid} ended with status 0" for pid in (1, 2)]
        log = await read_log(node, "web")
        assert [line for line in log if line.startswith("out")] == ["out up\tx", "out bye"] * 2
        assert len([line for line in log if line.startswith("end")]) == len(ends)
        await node.service_remove("web")
        with pytest.raises(NotFound):
            await node.service_show("web")
        assert (await node.service_logs("web"))["text"], "its log outlives it"

    with_node(tmp_path, mode, work)


def test_one_that_says_when_it_is_ready(tmp_path: Path, mode: str) -> None:
    """With ready = "notify" a start is answered after the service's own word."""

    async def work(node: Node) -> None:
        await publish(node, web=NOTIFIER, mute=LISTENER.replace("os.pull()", "os.pull()"))
        await node.service_put("web", {"program": "web", "ready": "notify", "autostart": False})
        await node.service_start("web")
        assert (await node.service_show("web"))["state"] == "running"

    with_node(tmp_path, mode, work)


def test_one_that_ends_at_once_for_ever_is_given_up(tmp_path: Path, mode: str) -> None:
    """A crash loop ends at the burst; everybody else is served meanwhile, and the reason stays."""

    async def work(node: Node) -> None:
        await publish(node, bad=CRASHER, good=LISTENER)
        await node.service_put("good", {"program": "good"})
        await node.service_put(
            "bad", {"program": "bad", "backoff_min": "1ms", "backoff_max": "4ms", "burst": 4}
        )
        row = await reach(node, "bad", "failed")
        assert row["restarts"] == 3
        assert row["last_exit"]["code"] == "guest.raised"
        assert "it has ended 4 times within 10000 ms" in row["reason"]
        assert "no luck" in row["reason"]
        assert (await node.service_show("good"))["state"] == "running"
        log = await read_log(node, "bad")
        assert sum("no luck" in line and line.startswith("end") for line in log) == 4

    with_node(tmp_path, mode, work)


def test_one_for_ever_without_a_burst_hurts_nobody(tmp_path: Path, mode: str) -> None:
    """Where a burst of 0 lets it end for ever, others start, answer and stop as ever."""

    async def work(node: Node) -> None:
        await publish(node, bad=CRASHER, good=LISTENER)
        await node.service_put(
            "bad", {"program": "bad", "backoff_min": "1ms", "backoff_max": "1ms", "burst": 0}
        )
        await reach(node, "bad", "backoff", "running", "starting", "waiting", restarts=20)
        await node.service_put("good", {"program": "good", "autostart": False})
        await node.service_start("good")
        await node.service_stop("good")
        await node.service_stop("bad")
        assert (await node.service_show("bad"))["state"] == "stopped"

    with_node(tmp_path, mode, work)


def test_a_deaf_one_is_killed(tmp_path: Path, mode: str) -> None:
    """Who does not listen is killed at once; who listens and does not end, at its deadline."""

    async def work(node: Node) -> None:
        stubborn = 'os.listen(os.contexts.control, "stop") while true do os.pull() end'
        await publish(node, deaf=DEAF, stubborn=stubborn, looper="while true do end")
        names = ["deaf", "stubborn", "looper"]
        if mode == "cooperative":
            # One that never calls keeps the processor, and init from ever asking it to end.
            names.remove("looper")
        for name in names:
            await node.service_put(name, {"program": name, "stop_deadline": "50ms"})
            await node.service_stop(name)
            row = await node.service_show(name)
            assert (row["state"], row["last_exit"]["code"]) == ("stopped", "request.cancelled")
        assert "killed" in (await node.service_show("stubborn"))["reason"]

    with_node(tmp_path, mode, work)


def test_dependencies_start_in_order_and_fall_together(tmp_path: Path, mode: str) -> None:
    """A requirement is started first; when it dies its dependents end, and return with it."""

    async def work(node: Node) -> None:
        await publish(node, base=NOTIFIER, web=LISTENER)
        await node.service_put(
            "base", {"program": "base", "ready": "notify", "autostart": False, "backoff_min": "1ms"}
        )
        await node.service_put("web", {"program": "web", "requires": ["base"], "autostart": False})
        await node.service_start("web")
        rows = {row["name"]: row for row in await node.service_list()}
        assert (rows["base"]["state"], rows["web"]["state"]) == ("running", "running")
        assert rows["base"]["pid"] < rows["web"]["pid"]
        node.kill(rows["base"]["pid"], LOCAL_OPERATOR)
        seen = rows["web"]["pid"]
        await reach(node, "base", "running", restarts=1)
        row = await reach(node, "web", "running")
        while row["pid"] == seen:
            row = await node.service_show("web", seen=row["changes"], wait_ms=10_000)
        assert (await reach(node, "web", "running"))["pid"] != seen
        with pytest.raises(BadArguments, match="'web' requires 'base'"):
            await node.service_remove("base")
        await node.service_stop("base")
        row = await node.service_show("web")
        assert row["state"] == "waiting"
        assert row["reason"] == "requires 'base', which is stopped: asked to stop"

    with_node(tmp_path, mode, work)


def test_a_requirement_that_fails_refuses_the_start(tmp_path: Path, mode: str) -> None:
    """A start whose requirement cannot run is refused with the requirement's own reason."""

    async def work(node: Node) -> None:
        await publish(node, base=CRASHER, web=LISTENER)
        await node.service_put(
            "base",
            {"program": "base", "restart": "never", "ready": "notify", "autostart": False},
        )
        await node.service_put("web", {"program": "web", "requires": ["base"], "autostart": False})
        with pytest.raises(NotAvailable, match=r"requires 'base', which has failed: .*no luck"):
            await node.service_start("web")
        await node.service_put("x", {"program": "nothing", "autostart": False})
        with pytest.raises(LithoxError, match="no program 'nothing'"):
            await node.service_start("x")

    with_node(tmp_path, mode, work)


def test_a_service_offers_a_context_to_those_that_require_it(tmp_path: Path, mode: str) -> None:
    """What a service serves is found under its name by the services that require it."""

    async def work(node: Node) -> None:
        adder = """
        local ctx = os.context()
        os.bind(ctx, "add")
        assert(os.request(os.contexts.control, "serve", ctx) == 0)
        os.request(os.contexts.control, "ready")
        while true do
          local event = os.pull()
          if event.type == "call" then os.answer(event.cid, 0, event.args[1] + event.args[2]) end
        end
        """
        user = """
        local status, sum = os.request(os.contexts.adder, "add", 2, 3)
        print("sum", status, sum)
        print("more", os.contexts.other)
        os.pull()
        """
        await publish(node, adder=adder, user=user)
        await node.service_put("adder", {"program": "adder", "ready": "notify"})
        await node.service_put("user", {"program": "user", "requires": ["adder"]})
        await reach(node, "user", "running")
        text = await wait_log(node, "user", "more")
        assert [line.partition(" ")[2] for line in text.splitlines()] == [
            "out sum\t0\t5",
            "out more\tnil",
        ]

    with_node(tmp_path, mode, work)


def test_a_service_may_call_what_its_definition_says(tmp_path: Path, mode: str) -> None:
    """Context 0 of a service answers the named calls, as the service's own identity, no others."""

    async def work(node: Node) -> None:
        code = """
        print(os.request(0, "program.list", "p"))
        print(os.request(0, "program.set", "p", "x"))
        print(os.request(0, "init.serve", 1))
        print(os.request(0, "context.derive", lithox.list{"*"}, {identity = "operator"}))
        print(os.request(0, "entity.request", "~storage/web", "operate", lithox.list{}))
        """
        await publish(node, p=code)
        await node.service_put(
            "p",
            {
                "program": "p",
                "contexts": ["program.list", "context.*", "entity.request"],
                "restart": "never",
            },
        )
        await reach(node, "p", "stopped", "failed")
        lines = [line for line in await read_log(node, "p") if line.startswith("out")]
        statuses = [line.split()[1].split("\t")[0] for line in lines]
        assert statuses == ["0", "53", "53", "13", "13"]

    with_node(tmp_path, mode, work)


def test_a_hostile_service_disturbs_nobody(tmp_path: Path, mode: str) -> None:
    """Floods of calls, messages and nonsense in its control context reach no further."""

    async def work(node: Node) -> None:
        code = """
        local control = os.contexts.control
        for i = 1, 2000 do
          os.push(control, "stop", i)
          os.call(control, "ready", i)
          os.call(control, "nonsense", i)
          os.call(control, "serve", i)
          os.call(control, "serve", "text")
          os.call(control, "serve")
        end
        os.bind(control, "ready")
        os.close(control)
        while true do os.context() end
        """
        await publish(node, bad=code, good=LISTENER)
        await node.service_put("bad", {"program": "bad"})
        await node.service_put("good", {"program": "good", "autostart": False})
        for _ in range(5):
            await node.service_start("good")
            await node.service_stop("good")
        assert (await node.service_show("bad"))["state"] == "running"
        await node.service_stop("bad")
        assert (await node.service_show("bad"))["last_exit"]["code"] == "request.cancelled"

    with_node(tmp_path, mode, work)


def test_definitions_are_checked_and_rings_refused(tmp_path: Path, mode: str) -> None:
    """What is wrong is told with its name, and nothing of it is kept."""

    async def work(node: Node) -> None:
        await publish(node, p=LISTENER)
        with pytest.raises(ConfigError, match="restart is one of"):
            await node.service_put("a", {"program": "p", "restart": "maybe"})
        with pytest.raises(BadArguments, match="requires 'b', which is not defined"):
            await node.service_put("a", {"program": "p", "requires": ["b"]})
        await node.service_put("a", {"program": "p", "after": ["b"], "autostart": False})
        with pytest.raises(BadArguments, match="ring: b -> a -> b"):
            await node.service_put("b", {"program": "p", "requires": ["a"]})
        with pytest.raises(BadArguments):
            await node.service_put("../x", {"program": "p"})
        with pytest.raises(BadArguments):
            await node.service_logs("../../etc/passwd")
        assert [row["name"] for row in await node.service_list()] == ["a", "storage"]
        with pytest.raises(BadArguments, match="belongs to the package"):
            await node.service_remove("storage")

    with_node(tmp_path, mode, work)


def test_only_administrators_act_and_all_is_audited(tmp_path: Path) -> None:
    """A caller without the right is refused everywhere; acts and refusals leave records."""

    async def work(node: Node) -> None:
        await publish(node, p=LISTENER)
        await node.service_put("p", {"program": "p"})
        asked: list[tuple[str, tuple[Any, ...]]] = [
            ("service_list", ()),
            ("service_show", ("p",)),
            ("service_put", ("q", {"program": "p"})),
            ("service_start", ("p",)),
            ("service_stop", ("p",)),
            ("service_restart", ("p",)),
            ("service_remove", ("p",)),
            ("service_logs", ("p",)),
        ]
        for method, args in asked:
            with pytest.raises(NotPermitted):
                await getattr(node, method)(*args, caller=ALICE)
        await node.service_stop("p")
        records = [
            (one["identity"], one["act"], one["outcome"])
            for one in node.read_audit(50, LOCAL_OPERATOR)
        ]
        assert ("operator", "service.put:p", "ok") in records
        assert ("operator", "service.stop:p", "ok") in records
        assert ("alice", "service.stop:p", "request.not_permitted") in records
        assert ("alice", "service.list", "request.not_permitted") in records

    with_node(tmp_path, "preemptive", work)


def test_services_come_back_with_the_node(tmp_path: Path, mode: str) -> None:
    """After a restart of the node what starts by itself runs again, in order, and no more."""

    async def before(node: Node) -> None:
        await publish(node, base=NOTIFIER, web=LISTENER)
        await node.service_put("base", {"program": "base", "ready": "notify"})
        await node.service_put("web", {"program": "web", "requires": ["base"]})
        await node.service_put("rare", {"program": "web", "autostart": False})
        await reach(node, "web", "running")

    async def after(node: Node) -> None:
        await reach(node, "web", "running")
        assert (await node.service_show("rare"))["state"] == "stopped"
        log = await read_log(node, "web")
        assert log.count("out bye") == 1, "it was asked to end when the node closed"
        await node.service_remove("web")
        await node.service_remove("base")

    async def last(node: Node) -> None:
        assert [row["name"] for row in await node.service_list()] == ["rare", "storage"]

    with_node(tmp_path, mode, before)
    with_node(tmp_path, mode, after)
    with_node(tmp_path, mode, last)


def test_a_node_for_a_moment_keeps_none_running(tmp_path: Path) -> None:
    """A command on a data directory defines and shows services; it starts none."""

    async def define(node: Node) -> None:
        await publish(node, web=LISTENER)
        await node.service_put("web", {"program": "web"})
        await node.service_stop("web")

    with_node(tmp_path, "preemptive", define)

    async def look(node: Node) -> None:
        assert node.program_side.init.pid is None, "nothing runs that nobody asked for"
        row = await node.service_show("web")
        assert (row["state"], row["wanted"]) == ("stopped", False)
        with pytest.raises(NotAvailable, match="start it where it is served"):
            await node.service_start("web")

    with_node(tmp_path, "preemptive", look, keeps_services=False)


def test_a_deploy_defines_services(tmp_path: Path, mode: str) -> None:
    """A manifest's services start when they are deployed, and change when they are again."""

    async def work(node: Node) -> None:
        bundle = tmp_path / "bundle"
        bundle.mkdir()
        (bundle / "web.lua").write_text(LISTENER)
        manifest = (
            '[[program]]\nname = "web"\nsource = "web.lua"\n'
            '[[service]]\nname = "web"\nprogram = "web"\nargs = ["one"]\n'
        )
        (bundle / "lithox.toml").write_text(manifest)
        await node.deploy(bundle)
        await node.service_list()
        first = await reach(node, "web", "running")
        assert first["definition"]["args"] == ["one"]
        (bundle / "lithox.toml").write_text(manifest.replace("one", "two"))
        await node.deploy(bundle)
        row = first
        while row["definition"]["args"] != ["two"] or row["state"] != "running":
            row = await node.service_show("web", seen=row["changes"], wait_ms=10_000)
        assert row["pid"] != first["pid"]

    with_node(tmp_path / "data", mode, work)
