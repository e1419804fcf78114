"""Requests of handlers, accepted requests and call-backs on a node that is killed, over HTTP."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lithox
from tests.e2e.node.serving import (
    COMMAND,
    SECONDS_MAX,
    Served,
    copy_data,
    make_data,
    serving,
    surroundings,
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SHOP = """
local shop = {}
function shop.order(self, n)
  local paid = self:request("till/main", "pay", n)
  self.state.orders = (self.state.orders or 0) + 1
  return { orders = self.state.orders, paid = paid }
end
function shop.orders(self) return self.state.orders or 0 end
return shop
"""
TILL = """
local till = {}
function till.pay(self, n)
  self.state.paid = (self.state.paid or 0) + n
  self.state.payments = (self.state.payments or 0) + 1
  return self.state.paid
end
function till.payments(self) return self.state.payments or 0 end
function till.refuse(self) error({ code = "closed", message = "the till is closed" }) end
return till
"""
MANIFEST = "".join(
    f'[[template]]\nmatch = "{name}/*"\nlanguage = "lua"\nsource = "{name}.lua"\n'
    'access = ["entity:shop/*"]\n'
    for name in ("shop", "till")
)
KEY = bytes(range(32))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives a data directory with a shop and a till."""
    folder = tmp_path_factory.mktemp("requests")
    return make_data(folder, manifest=MANIFEST, modules={"shop.lua": SHOP, "till.lua": TILL})


def value(served: Served, entity: str, handler: str, *args: Any, **options: Any) -> Any:
    answer = served.call(entity, handler, *args, **options)
    assert answer["status"] == "ok", answer
    return answer["value"]


@pytest.mark.parametrize(
    "crash_at",
    [f"commit.{where}:{count}" for where in ("before_sync", "after_sync") for count in (1, 2)],
)
def test_request_takes_effect_once_whichever_commit_the_node_dies_at(
    deployed: Path, tmp_path: Path, crash_at: str
) -> None:
    """Killed around the callee's commit or the caller's, the retry pays once and orders once."""
    data = copy_data(deployed, tmp_path / "data")
    with serving(data, crash_at=crash_at) as served:
        with pytest.raises(OSError):
            served.call("shop/a", "order", 5, key="o-1")
        served.process.wait(SECONDS_MAX)
    with serving(data) as served:
        assert value(served, "shop/a", "order", 5, key="o-1") == {"orders": 1, "paid": 5}
        assert value(served, "shop/a", "order", 5, key="o-1") == {"orders": 1, "paid": 5}
        assert value(served, "till/main", "payments") == 1
        assert value(served, "shop/a", "orders") == 1


class Receiver:
    """An HTTP server that keeps what call-backs it got; answers 500 as often as told."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.failures = 0
        self.arrived = threading.Semaphore(0)
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): text for name, text in self.headers.items()}
                receiver.got.append((headers, body))
                is_failing = receiver.failures > 0
                receiver.failures -= is_failing
                self.send_response(302 if is_failing else 204)
                if is_failing:
                    self.send_header("location", "/elsewhere")
                self.end_headers()
                receiver.arrived.release()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Gives a receiver of call-backs on a free port."""
    found = Receiver()
    yield found
    found.close()


def configure(folder: Path, receiver: Receiver) -> Path:
    path = folder / "node.toml"
    secret = "whsec_" + base64.b64encode(KEY).decode()
    origin = receiver.url.removesuffix("/hook")
    path.write_text(f'[callbacks]\nallow = ["{origin}"]\nsecret = "{secret}"\n')
    return path


def check_signature(headers: dict[str, str], body: bytes) -> None:
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.digest(KEY, content, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"


def test_accepted_requests_survive_sigkill_and_are_told_to_their_callback(
    deployed: Path, tmp_path: Path, receiver: Receiver
) -> None:
    """Accepted, killed, started: each runs once, its outcome is found and sent, signed, again
    after a failure and never along a redirect.
    """

    async def work() -> None:
        data, config = copy_data(deployed, tmp_path / "data"), configure(tmp_path, receiver)
        receiver.failures = 1
        with serving(data, "--config", str(config)) as served:
            async with lithox.Client(served.url) as client:
                for number in range(20):
                    await client.call_async("till/main", "pay", 1, request_id=f"r-{number}")
                await client.call_async(
                    "till/main", "refuse", request_id="r-last", callback=receiver.url
                )
                with pytest.raises(lithox.LithoxError) as refused:
                    await client.call_async("till/main", "pay", 1, callback="http://127.0.0.2/hook")
                assert refused.value.code == "request.not_permitted"
            served.process.kill()
            served.process.wait(SECONDS_MAX)
        with serving(data, "--config", str(config)) as served:
            async with lithox.Client(served.url) as client:
                for number in range(20):
                    outcome = await client.request_outcome(f"r-{number}", wait_ms=10_000)
                    assert outcome is not None
                    assert outcome.error is None
                assert await client.call("till/main", "payments") == 20
                outcome = await client.request_outcome("r-last", wait_ms=10_000)
                assert outcome is not None
                assert getattr(outcome.error, "code", "") == "app.closed"
                with pytest.raises(lithox.LithoxError):
                    await client.request_outcome("r-unknown")
            for _ in range(2):
                assert receiver.arrived.acquire(timeout=SECONDS_MAX)
        assert len(receiver.got) >= 2
        for headers, body in receiver.got:
            check_signature(headers, body)
            told = json.loads(body)
            assert (told["request"], told["status"]) == ("r-last", "app.closed")
            assert told["error"]["message"] == "the till is closed"
        assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1

    asyncio.run(work())


def test_client_speaks_groups_and_outcomes(deployed: Path, tmp_path: Path) -> None:
    """The client's methods are the node's: values, errors by number, waiting from elsewhere."""

    async def work() -> None:
        data = copy_data(deployed, tmp_path / "data")
        with serving(data) as served:
            async with lithox.Client(served.url) as client:
                pays = [("till/a", "pay", 2), ("till/b", "pay", 3)]
                assert await client.atomic(pays, request_id="g-1") == [2, 3]
                outcome = await client.request_outcome("g-1")
                assert outcome is not None
                assert outcome.value == [2, 3]
                with pytest.raises(lithox.LithoxError) as caught:
                    await client.atomic([*pays, ("till/c", "refuse")])
                assert (caught.value.code, caught.value.fields["call"]) == ("app.closed", 2)
                assert await client.call("till/a", "payments") == 1
                made = await client.atomic_async(pays)
                outcome = await client.request_outcome(made, wait_ms=10_000)
                assert outcome is not None
                assert outcome.value == [4, 6]
                await client.call("till/a", "pay", 1, request_id="c-1")
                outcome = await client.request_outcome("c-1", entity="till/a")
                assert outcome is not None
                assert outcome.value == 5

    asyncio.run(work())


def lithox_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        env=surroundings(),
    )


def test_commands_speak_groups_and_outcomes(deployed: Path, tmp_path: Path) -> None:
    """`atomic`, `call --async`, `request --wait`: values, ids and exit statuses."""
    data = copy_data(deployed, tmp_path / "data")
    with serving(data) as served:
        to = ("--node", served.url)
        done = lithox_command("atomic", "till/a", "pay", "-2", "+", "till/b", "pay", "3", *to)
        assert (done.returncode, done.stdout) == (0, "[-2,3]\n")
        done = lithox_command("atomic", "till/a", "pay", "1", "+", "till/b", "refuse", *to)
        assert (done.returncode, done.stdout) == (1, "")
        assert "call 1, till/b:refuse: the till is closed" in done.stderr
        assert lithox_command("atomic", "till/a", *to).returncode == 2
        done = lithox_command("call", "till/a", "pay", "5", "--async", "--id", "r-1", *to)
        assert (done.returncode, done.stdout) == (0, "r-1\n")
        done = lithox_command("request", "r-1", "--wait", "30s", *to)
        assert (done.returncode, done.stdout) == (0, "3\n")
        done = lithox_command("call", "till/a", "refuse", "--async", "--wait", "--json", *to)
        assert (done.returncode, json.loads(done.stdout)["status"]) == (1, "app.closed")
        assert lithox_command("request", "r-unknown", *to).returncode == 2
        assert lithox_command("call", "till/a", "pay", "1", "--callback", "x", *to).returncode == 2
        done = lithox_command("callbacks", "dead", "--json", *to)
        assert json.loads(done.stdout) == {"callbacks": [], "more": False}
