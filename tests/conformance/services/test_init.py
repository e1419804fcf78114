"""init itself: replaced in the store, broken and set aside, taken back; and what its death does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lithox.modules.boot import find_boot
from lithox.node import init_process
from lithox.node.node import Node
from lithox.security.identities import LOCAL_OPERATOR
from tests.conformance.services.keeping import LISTENER, MODES, check, publish, reach, with_node

MARK = 'os.request(0, "registry.put", "mark", {!r})\n'


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between starts of init count in milliseconds here."""
    monkeypatch.setattr(init_process, "BACKOFF_FIRST_S", 0.001)
    monkeypatch.setattr(init_process, "BACKOFF_MAX_S", 0.004)


def boot_text() -> str:
    text = find_boot("program", "init")
    assert text is not None
    return text.decode()


def set_line(text: str, mark: str) -> str:
    """Returns init with a line that leaves a mark, before its first own line."""
    at = text.index("local definitions = require")
    return text[:at] + MARK.format(mark) + text[at:]


async def kill_init(node: Node) -> None:
    """Kills init and waits until another one serves."""
    pid = node.program_side.init.pid
    assert pid is not None
    node.kill(pid, LOCAL_OPERATOR)
    await asyncio.sleep(0)
    await node.service_list()
    assert node.program_side.init.pid != pid


def test_what_people_run_may_hand_on_less_than_it_has(tmp_path: Path, mode: str) -> None:
    """Its context 0 answers `context.derive`; what comes of it answers fewer names, never more."""
    code = """
    local status, less = os.request(0, "context.derive", lithox.list{"time.now", "registry.put"})
    assert(status == 0, less)
    local function try(name) return os.status_name((os.request(less, name))) end
    return try("time.now"), try("node.info"), try("registry.put"), try("context.derive")
    """

    async def work(node: Node) -> None:
        absent = "context.no_such_name"
        assert list(await check(node, "p", code)) == ["ok", absent, absent, absent]

    with_node(tmp_path, mode, work)


def test_init_of_the_store_is_the_one_that_runs(tmp_path: Path, mode: str) -> None:
    """A new version takes over when init starts the next time; services come back under it."""

    async def work(node: Node) -> None:
        await publish(node, web=LISTENER)
        await node.service_put("web", {"program": "web"})
        first = await reach(node, "web", "running")
        await node.store_set("program", "init", set_line(boot_text(), "own"))
        assert node.registry.find("mark") is None
        await kill_init(node)
        row = await reach(node, "web", "running")
        assert node.registry.find("mark") == "own"
        assert row["pid"] != first["pid"], "children end with their parent"

    with_node(tmp_path, mode, work)


@pytest.mark.parametrize(
    "broken",
    ["error('broken')", "this is no Lua", "return 1", "os.exit(3)"],
    ids=["raises", "does not compile", "ends", "exits"],
)
def test_a_broken_init_is_set_aside_and_taken_back(tmp_path: Path, broken: str) -> None:
    """After five failures the package's own runs; a rollback takes effect at the next start."""

    async def work(node: Node) -> None:
        await publish(node, web=LISTENER)
        await node.service_put("web", {"program": "web"})
        await node.store_set("program", "init", set_line(boot_text(), "good"))
        await node.store_set("program", "init", broken)
        await kill_init(node)
        await reach(node, "web", "running")
        assert node.registry.find("mark") is None, "the package's own runs, not an older version"
        await node.store_rollback("program", "init", 1)
        await kill_init(node)
        await reach(node, "web", "running")
        assert node.registry.find("mark") == "good"

    with_node(tmp_path, "preemptive", work)


def test_an_init_that_serves_nobody_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that runs but never takes the node's calls is ended and counts as broken."""
    monkeypatch.setattr(init_process, "READY_TIMEOUT_S", 0.3)

    async def work(node: Node) -> None:
        await node.store_set("program", "init", "while true do os.pull() end")
        for _ in range(20):
            try:
                rows = await node.service_list()
            except init_process.NotAvailable:
                continue
            assert [row["name"] for row in rows] == ["storage"]
            return
        pytest.fail("the package's own init never took over")

    with_node(tmp_path, "preemptive", work)


def test_calls_of_the_node_survive_a_bug_of_a_program(tmp_path: Path, mode: str) -> None:
    """Nonsense asked of init is refused, and init goes on."""

    async def work(node: Node) -> None:
        init = node.program_side.init
        await node.service_list()
        pid = init.pid
        for name, args in (
            ("run", ()),
            ("run", ({"program": 5},)),
            ("run", ({"code": "return", "priority": "high"},)),
            ("service.define", ("x", 7)),
            ("service.define", (None, {"program": "p"})),
            ("service.start", ()),
            ("service.start", ({"a": 1},)),
            ("nothing", ()),
        ):
            with pytest.raises(init_process.LithoxError):
                await init.call(name, *args)
        assert (await node.service_list())[0]["name"] == "storage"
        assert init.pid == pid

    with_node(tmp_path, mode, work)
