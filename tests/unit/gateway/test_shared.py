"""A server of several processes over HTTP: each request is answered by whom it concerns."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lithox.errors import StoreUnavailable
from lithox.gateway import merging
from lithox.gateway.app import Gateway
from lithox.gateway.forwarding import answer_here
from lithox.gateway.settings import GatewaySettings
from lithox.gateway.shared import SharedGateway
from lithox.gateway.shared_table import PLACES
from tests.unit.gateway.asgi_client import AsgiClient, Got
from tests.unit.gateway.fake_node import FakeNode


class Whole:
    """Three volumes: an entity lives where the last digit of its name says."""

    volume = 1
    volumes = 3

    def __init__(self, *, is_spread: bool) -> None:
        self.is_spread = is_spread

    def volume_of(self, entity: str) -> int:
        return int(entity[-1]) if self.is_spread and entity[-1].isdigit() else 0

    def owner_of_pid(self, pid: int) -> int:
        return (pid - 1) % 3


class Forwarder:
    """Reaches the other gateways without sockets."""

    def __init__(self, gateways: list[Gateway]) -> None:
        self.gateways = gateways
        self.asked: list[int] = []
        self.gone: set[int] = set()

    async def forward(self, volume: int, scope: Any, receive: Any, send: Any) -> None:
        self._note(volume)
        await self.gateways[volume](scope, receive, send)

    async def fetch(self, volume: int, scope: Any, body: bytes) -> Any:
        self._note(volume)
        reply = await answer_here(self.gateways[volume], scope, body)
        # As over a socket, where HTTP leaves it out.
        return reply._replace(body=b"") if scope["method"] == "HEAD" else reply

    def _note(self, volume: int) -> None:
        self.asked.append(volume)
        if volume in self.gone:
            raise StoreUnavailable("it is not there", retry_after_ms=500)


class Server:
    """Three gateways over three nodes, spoken to by way of the second."""

    def __init__(self, *, is_spread: bool = True) -> None:
        self.nodes = [FakeNode() for _ in range(3)]
        gateways = [Gateway(node, GatewaySettings()) for node in self.nodes]  # type: ignore[arg-type]
        self.forwarder = Forwarder(gateways)
        shared: Any = SharedGateway(gateways[1], Whole(is_spread=is_spread), self.forwarder)  # type: ignore[arg-type]
        self.client = AsgiClient(shared)

    def send(self, method: str, path: str, body: Any = None, **more: Any) -> Got:
        return asyncio.run(self.client.send(method, path, body, **more))


def test_every_route_has_its_place_and_every_place_its_route():
    """A new route is not served by several processes before somebody says where it goes."""
    gateway = Gateway(FakeNode(), GatewaySettings())  # type: ignore[arg-type]
    assert {route.name for route in gateway.routes} == set(PLACES)


def test_what_concerns_an_entity_goes_to_its_owner():
    """State that is written by way of any process is read by way of any."""
    server = Server()
    for number in range(3):
        assert server.send("PUT", f"/v1/state/a/{number}:k", {"value": number}).status == 204
        assert server.send("GET", f"/v1/state/a/{number}:k").json == {"value": number}
    assert [list(node.state) for node in server.nodes] == [["a/0"], ["a/1"], ["a/2"]]
    assert server.forwarder.asked == [0, 0, 2, 2]


def test_a_path_that_names_nothing_is_answered_at_once():
    """What is wrong with it is said by the process that was asked."""
    server = Server()
    assert server.send("GET", "/v1/state/%ff:k").status == 400
    assert server.send("GET", "/v1/nothing").status == 404
    assert server.send("DELETE", "/v1/processes/x").status == 400
    assert server.forwarder.asked == []


def test_a_call_is_the_nodes_own_to_hand_over():
    """The way of most requests has no detour over HTTP."""
    server = Server()
    got = server.send("POST", "/v1/entities/a/2:echo", {"args": [5]})
    assert got.status == 200
    assert server.forwarder.asked == []


@pytest.mark.parametrize(("pid", "owner"), [(1, 0), (4, 0), (3, 2)])
def test_a_pid_says_whose_it_is(pid, owner):
    """Processes are shown and ended where they run."""
    server = Server()
    server.send("GET", f"/v1/processes/{pid}")
    assert server.forwarder.asked == [owner]


def test_entities_are_listed_in_order_over_all():
    """Page by page, each name once, none left out."""
    server = Server()
    names = sorted(f"a/{number}" for number in range(30))
    for name in names:
        server.nodes[int(name[-1]) % 3].state.setdefault(name, {})["k"] = 1
    for limit in (1, 4, 100):
        found: list[str] = []
        after = ""
        for _ in range(100):
            page = server.send("GET", f"/v1/entities?limit={limit}&after={after}").json
            found += page["entities"]
            after = page["after"]
            if not page["more"]:
                break
        assert found == names


def test_while_nothing_is_spread_the_lead_answers_for_all():
    """Nobody else has anything."""
    server = Server(is_spread=False)
    server.nodes[0].state["x"] = {"k": 1}
    assert server.send("GET", "/v1/entities").json["entities"] == ["x"]
    assert server.send("GET", "/v1/backup").status == 200
    assert server.forwarder.asked == [0, 0]


def test_what_no_process_has_all_of_is_refused():
    """A part of a backup must not pass for one."""
    got = Server().send("GET", "/v1/backup")
    assert (got.status, got.code) == (501, "request.not_available")
    assert "all-cores" in got.message


def test_one_refusal_is_the_answer_of_all():
    """A stranger learns from several processes what he learns from one."""
    server = Server()
    got = server.send("GET", "/v1/audit", headers=[("authorization", "Bearer wrong")])
    assert got.status == 401


def test_a_process_that_is_not_there_is_told():
    """With when to try again; what is not its business is answered meanwhile."""
    server = Server()
    server.forwarder.gone = {2}
    for path in ("/v1/state/a/2:k", "/v1/processes", "/metrics"):
        got = server.send("GET", path)
        assert (got.status, got.code) == (503, "store.unavailable")
        assert got.headers["retry-after"] == "1"
    assert server.send("GET", "/v1/state/a/0").status == 404


def test_dead_letters_are_handled_where_they_are():
    """All of them: by everybody. One: by whoever has it, asked one after the other."""
    server = Server()
    assert server.send("POST", "/v1/messages/dead", {"all": True}).status == 200
    assert server.forwarder.asked == [0, 2]
    assert server.send("DELETE", "/v1/messages/dead/the-lead-has-it").status == 200
    assert server.forwarder.asked == [0, 2, 0]
    nobodys = {"identity": "nobody", "request": "r"}
    assert server.send("POST", "/v1/callbacks/dead:retry", nobodys).status == 404
    assert server.forwarder.asked == [0, 2, 0, 0, 2]


def test_figures_of_all_are_one_text():
    """Counters are summed, gauges stay apart by process."""
    server = Server()
    for number in (0, 1, 2):
        server.send("PUT", f"/v1/state/a/{number}:k", {"value": 1})
    text = server.send("GET", "/metrics").body.decode()
    assert 'lithox_http_requests_total{route="put_state",status="204"} 3.0' in text
    assert text.count("# TYPE lithox_http_requests counter") == 1
    assert text.endswith("# EOF\n")


def test_gauges_are_never_summed():
    """The sum of two versions is a figure of nothing."""
    text = "# TYPE a gauge\na 3.0\n# TYPE b counter\nb_total 4.0\n# EOF\n"
    assert merging.merge_metrics([text, text]).decode() == (
        "# HELP a \n# TYPE a gauge\n"
        'a{process="0"} 3.0\na{process="1"} 3.0\n'
        "# HELP b \n# TYPE b counter\nb_total 8.0\n# EOF\n"
    )


def test_a_page_of_rows_ends_where_the_shortest_one_does():
    """What one process has not told yet may come before what another has."""
    bodies = [
        {"messages": [{"id": "a"}, {"id": "d"}], "more": True},
        {"messages": [{"id": "b"}, {"id": "e"}], "more": False},
    ]
    key = merging.merge_rows(bodies, 10, "messages", lambda row: row["id"])
    assert key == {"messages": [{"id": "a"}, {"id": "b"}, {"id": "d"}], "more": True}
    first = merging.merge_rows(bodies, 2, "messages", lambda row: row["id"])
    assert first == {"messages": [{"id": "a"}, {"id": "b"}], "more": True}


def test_the_newest_audit_records_of_all_come_first():
    """By their time, as many as were asked for."""
    bodies = [{"records": [{"at_ms": 5}, {"at_ms": 1}]}, {"records": [{"at_ms": 3}]}]
    assert merging.merge_audit(bodies, 2) == {"records": [{"at_ms": 5}, {"at_ms": 3}]}


def test_an_answer_of_another_form_is_a_fault_of_the_peer(monkeypatch):
    """Nothing is made up of it."""
    server = Server()

    async def fetch(volume, scope, body):
        reply = await answer_here(server.forwarder.gateways[volume], scope, body)
        return reply._replace(body=json.dumps({"other": 1}).encode())

    monkeypatch.setattr(server.forwarder, "fetch", fetch)
    assert server.send("GET", "/v1/processes").code == "peer.protocol"


@pytest.mark.parametrize(
    "path",
    ["/metrics", "/v1/entities", "/v1/messages", "/v1/audit", "/v1/processes"],
)
def test_what_is_made_of_several_answers_may_be_asked_for_without_body(path):
    """HEAD answers as GET does, and sends nothing behind it."""
    server = Server()
    wanted = server.send("GET", path)
    got = server.send("HEAD", path)
    assert (got.status, got.body) == (wanted.status, b"")
    assert got.headers["content-type"] == wanted.headers["content-type"]


def test_an_archive_asked_for_without_body_is_not_made():
    """The process that was asked answers for all."""
    server = Server()
    got = server.send("HEAD", "/v1/export/a")
    assert (got.status, got.body) == (200, b"")
    assert server.forwarder.asked == []
