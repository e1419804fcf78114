"""Two nodes as one server, in one process: links over real sockets, no processes."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.cluster.hearing import Hearing
from lithox.cluster.placement import Placement
from lithox.cluster.sharing import RUN_FOLDER, Sharing, link_path
from lithox.cluster.volumes_file import folder_of, write_volumes
from lithox.errors import ConfigError, IdReused, NotFound, OtherVolume, StoreUnavailable
from lithox.model.ids import AccountName, EntityPath, HandlerName, Identity, RequestId
from lithox.model.request import Call, Caller, Request
from lithox.node import front as front_module
from lithox.node.clock import RealClock
from lithox.node.front import FrontNode
from lithox.node.member import Member
from lithox.node.node import Node
from lithox.security.identities import LOCAL_OPERATOR
from lithox.testing.scripted import ScriptedEngine
from tests.unit.node.test_node import COUNTER, bundle_of

PLACEMENT = Placement(2, ("counter/*",))
HERE, THERE = (
    next(f"counter/{n}" for n in range(100) if PLACEMENT.volume_of(f"counter/{n}") == volume)
    for volume in (0, 1)
)
"""An entity of the lead and one of the other."""


class Server:
    """Both nodes, their fronts and what they hear with."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.engine = ScriptedEngine()
        self.engine.publish("counter", COUNTER)
        self.fronts: list[FrontNode] = []
        self.hearings: list[Hearing] = []
        self.nodes: list[Node] = []
        self.opened = AsyncExitStack()
        (data / RUN_FOLDER).mkdir()

    async def open(self) -> None:
        for volume in range(2):
            sharing = Sharing(
                self.data,
                volume,
                PLACEMENT,
                node_entity="~node",
                monotonic_ns=RealClock.monotonic_ns,
            )
            folder_of(self.data, volume).mkdir(parents=True, exist_ok=True)
            member = Member(sharing=sharing, lock=None, before_start=self.take_code)
            engines: Any = {"lua": self.engine}
            node = Node(folder_of(self.data, volume), engines=engines, member=member)
            await self.opened.enter_async_context(node)
            front = FrontNode(node, sharing)
            hearing = Hearing(
                link_path(self.data, volume),
                arrive=node.dispatcher.arrive,
                questions=front.questions(),
                monotonic_ns=RealClock.monotonic_ns,
            )
            await hearing.start()
            self.opened.callback(hearing.stop)
            sharing.start()
            self.opened.push_async_callback(sharing.stop)
            self.fronts.append(front)
            self.nodes.append(node)
            self.hearings.append(hearing)
        for front in self.fronts:
            for peer in front._sharing.peers.values():
                await peer.wait_up()
            assert front.is_ready()

    async def take_code(self, _node: Node) -> None:
        """Nothing has been deployed yet."""


def run(body: Callable[[Server], Awaitable[None]]) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            server = Server(Path(folder))
            async with asyncio.timeout(60), server.opened:
                await server.open()
                await body(server)

    asyncio.run(main())


def request_of(entity: str, request_id: str | None = None, **changes: Any) -> Request:
    base: dict[str, Any] = {
        "entity": EntityPath(entity),
        "handler": HandlerName("increment"),
        "args": [],
        "caller": LOCAL_OPERATOR,
        "request_id": None if request_id is None else RequestId(request_id),
    }
    return Request(**(base | changes))


def test_a_deploy_reaches_both_and_each_serves_for_the_other():
    """By way of either process every entity is the same one."""

    async def body(server):
        lead, other = server.fronts
        await lead.deploy(bundle_of(server.engine))
        for expected, front in enumerate((lead, other, lead), start=1):
            for entity in (HERE, THERE):
                assert (await front.submit(request_of(entity))).value == expected
        assert HERE in server.nodes[0].list_entities("", "", 10, LOCAL_OPERATOR)["entities"]
        assert THERE in server.nodes[1].list_entities("", "", 10, LOCAL_OPERATOR)["entities"]
        assert THERE not in server.nodes[0].list_entities("", "", 10, LOCAL_OPERATOR)["entities"]

    run(body)


def test_a_request_with_an_id_runs_once_by_whatever_way_it_comes():
    """Its result is kept where its entity lives."""

    async def body(server):
        lead, other = server.fronts
        await lead.deploy(bundle_of(server.engine))
        first = await lead.submit(request_of(THERE, "r1"))
        again = await other.submit(request_of(THERE, "r1"))
        assert (first.value, again.value, again.is_recorded) == (1, 1, True)
        for front in (lead, other):
            assert (await front.request_outcome("r1", entity=THERE)).value == 1

    run(body)


def test_an_accepted_request_is_found_by_way_of_either():
    """Without its entity, too; one that nobody knows is not found."""

    async def body(server):
        lead, other = server.fronts
        await lead.deploy(bundle_of(server.engine))
        for number, (way, entity) in enumerate([(lead, THERE), (other, HERE), (lead, HERE)]):
            name = f"q{number}"
            assert await way.accept(request_of(entity, name)) == name
            for front in (lead, other):
                assert (await front.request_outcome(name, wait_ms=5_000)) is not None
        group = request_of("~lithox/q/atomic", "g", calls=(
            Call(entity=EntityPath(THERE), handler=HandlerName("increment"), args=[]),
        ))  # fmt: skip
        assert await lead.accept(group) == "g"
        assert (await other.request_outcome("g", wait_ms=5_000)).value == [2]
        for front in (lead, other):
            with pytest.raises(NotFound):
                await front.request_outcome("unknown")

    run(body)


def test_one_id_of_two_volumes_is_told_apart_by_its_entity():
    """By way of either process the answer is the same: never the one that happens to be near."""

    async def body(server):
        lead, other = server.fronts
        await lead.deploy(bundle_of(server.engine))
        await lead.submit(request_of(THERE))
        await lead.accept(request_of(HERE, "same"))
        await other.accept(request_of(THERE, "same"))
        for front in (lead, other):
            assert (await front.request_outcome("same", entity=HERE, wait_ms=5_000)).value == 1
            assert (await front.request_outcome("same", entity=THERE, wait_ms=5_000)).value == 2
            with pytest.raises(IdReused, match="name the entity"):
                await front.request_outcome("same", wait_ms=5_000)
            with pytest.raises(NotFound):
                await front.request_outcome("other", entity=THERE)

    run(body)


def test_waits_for_outcomes_are_asked_as_waits(monkeypatch):
    """They do not take the place of questions that are answered at once."""

    async def body(server):
        asked: list[tuple[int, bool]] = []
        peer = server.fronts[0]._sharing.peers[1]
        real = peer.ask

        async def ask(name: str, payload: Any = None, *, is_wait: bool = False) -> Any:
            asked.append((payload[2], is_wait))
            return await real(name, payload, is_wait=is_wait)

        monkeypatch.setattr(peer, "ask", ask)
        for wait_ms in (0, 7):
            with pytest.raises(NotFound):
                await server.fronts[0].request_outcome("r", entity=THERE, wait_ms=wait_ms)
        assert asked == [(0, False), (0, False), (7, True), (7, True)]

    run(body)


def test_what_may_be_known_by_a_process_that_is_gone_is_not_denied():
    """Not found would be a lie: ask again."""

    async def body(server):
        server.hearings[1].stop()
        with pytest.raises(StoreUnavailable):
            await server.fronts[0].request_outcome("r")

    run(body)


def test_a_group_over_both_is_refused():
    """Nothing can commit in two volumes at once, and the error says so."""

    async def body(server):
        lead, other = server.fronts
        await lead.deploy(bundle_of(server.engine))
        calls = tuple(
            Call(entity=EntityPath(one), handler=HandlerName("increment"), args=[])
            for one in (HERE, THERE)
        )
        for front in (lead, other):
            group = front.make_group(
                calls, request_id=None, limits=None, deadline_ms=None, caller=None
            )
            assert isinstance((await front.submit(group)).error, OtherVolume)

    run(body)


def test_the_nodes_entity_is_the_leads():
    """By way of either the same node answers."""

    async def body(server):
        found = []
        for front in server.fronts:
            answer = await front.submit(request_of("~node", handler=HandlerName("info")))
            found.append(answer.value["uptime_ms"] // 1_000_000)
        assert found[0] == found[1]
        heard: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        server.fronts[1].submit_to(
            request_of("~node", handler=HandlerName("processes")), heard.set_result
        )
        assert (await heard).error is None

    run(body)


def test_pids_never_meet():
    """A PID of one process is never given out by the other, and says whose it is."""
    sharing = Sharing(
        Path("x"), 1, PLACEMENT, node_entity="~node", monotonic_ns=RealClock.monotonic_ns
    )
    member = Member(sharing=sharing, lock=None, before_start=lambda _: asyncio.sleep(0))
    first, step = member.pids
    assert {sharing.owner_of_pid(first + step * number) for number in range(9)} == {1}


def test_a_caller_keeps_his_rights_on_the_other_side():
    """Who asks crosses the link; a stranger is refused by the owner, as he would be here."""

    async def body(server):
        lead, other = server.fronts
        await lead.deploy(bundle_of(server.engine))
        stranger = Caller(identity=Identity("eve"), account=AccountName("eve"))
        await lead.submit(request_of(THERE))
        for front in (lead, other):
            answer = await front.submit(request_of(THERE, caller=stranger))
            assert isinstance(answer.error, lithox.NotPermitted)

    run(body)


def test_a_deploy_that_does_not_reach_all_is_told(monkeypatch):
    """It is published, and it says who has not taken it over; made again it reaches him."""
    monkeypatch.setattr(front_module, "DEPLOY_WAIT_S_MAX", 0.1)

    async def body(server):
        lead, _ = server.fronts
        server.hearings[1].stop()
        while lead.is_ready():  # noqa: ASYNC110 - nobody is told of a loss
            await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="volumes 1 "):
            await lead.deploy(bundle_of(server.engine))
        assert (await lead.submit(request_of(HERE))).value == 1
        await server.hearings[1].start()
        monkeypatch.setattr(front_module, "DEPLOY_WAIT_S_MAX", 30.0)
        await lead.deploy(bundle_of(server.engine))
        assert (await lead.submit(request_of(THERE))).value == 1

    run(body)


def test_a_check_deploys_nothing_anywhere():
    """Only the lead is asked."""

    async def body(server):
        await server.fronts[0].deploy(bundle_of(server.engine), check=True)
        for node in server.nodes:
            with pytest.raises(NotFound):
                await node.call(HERE, "increment")

    run(body)


def test_a_node_alone_does_not_open_what_is_spread(tmp_path):
    """It would serve a part of the entities and create the others anew."""
    write_volumes(tmp_path, PLACEMENT)

    async def body():
        with pytest.raises(ConfigError, match="--processes 2"):
            async with Node(tmp_path, engines={}):
                pass

    asyncio.run(body())


def test_what_a_server_is_can_be_asked():
    """Clients may learn where entities live."""

    async def body(server):
        server.fronts[1].set_direct(["127.0.0.1:1", "127.0.0.1:2"])
        assert server.fronts[1].info()["server"] == {
            "process": 1,
            "volumes": 2,
            "spread": ["counter/*"],
            "direct": ["127.0.0.1:1", "127.0.0.1:2"],
        }

    run(body)
