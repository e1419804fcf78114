"""`lithox serve --processes 2` for real: deaths of processes and of their parent, and what is kept.

Few tests with long stories, since each server costs seconds; what can be seen without processes is
in tests/unit/{cluster,node/test_front.py,gateway/test_shared.py}.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lithox.cluster.placement import Placement
from tests.e2e.node.serving import (
    COMMAND,
    SECONDS_MAX,
    Served,
    ask,
    copy_data,
    make_data,
    serving,
    surroundings,
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EXAMPLES = Path(__file__).parents[3] / "examples"
SPREAD = ("--processes", "2", "--spread", "counter/*", "--log-level", "warning")
PLACEMENT = Placement(2, ("counter/*",))
ENTITIES = [f"counter/e{number}" for number in range(12)]
CALLERS = 6


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the counter deployed and its interpreter compiled, by a node alone."""
    return make_data(
        tmp_path_factory.mktemp("first"),
        manifest=(EXAMPLES / "counter" / "lithox.toml").read_text(),
        modules={"counter.lua": (EXAMPLES / "counter" / "counter.lua").read_text()},
    )


def children_of(served: Served) -> list[int]:
    """Returns the PIDs of a server's processes, in the order of their start."""
    pid = served.process.pid
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lithox(*words: str, url: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
        env=surroundings(LITHOX_NODE=url),
    )


def send(served: Served, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = served.connect()
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    finally:
        connection.close()


class Callers:
    """Callers who count what they were told, and what they cannot know."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.told: Counter[str] = Counter()
        self.unsure: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.is_over = threading.Event()
        self.has_more = threading.Condition(self.lock)
        self.threads = [threading.Thread(target=self._call, args=(n,)) for n in range(CALLERS)]
        for one in self.threads:
            one.start()

    def _call(self, number: int) -> None:
        chance = random.Random(number)
        while not self.is_over.is_set():
            entity = chance.choice(ENTITIES)
            try:
                said = self.served.call(entity, "increment", 1)
            except (OSError, http.client.HTTPException):
                said = {"status": "lost"}
            with self.lock:
                if said["status"] == "ok":
                    self.told[entity] += 1
                    self.has_more.notify_all()
                else:
                    assert said["status"] in {"lost", "store.unavailable"}, said
                    self.unsure[entity] += 1

    def wait_for_more(self, count: int, *, among: list[str]) -> None:
        """Returns once `count` more calls of these entities have been acknowledged."""
        with self.lock:
            before = sum(self.told[one] for one in among)
            assert self.has_more.wait_for(
                lambda: sum(self.told[one] for one in among) >= before + count, SECONDS_MAX
            )

    def finish(self) -> None:
        self.is_over.set()
        for one in self.threads:
            one.join()


def check_counts(served: Served, callers: Callers) -> None:
    """Nothing acknowledged is lost, and nothing was done twice."""
    for entity in ENTITIES:
        _, body = send(served, "GET", f"/v1/state/{entity}:count")
        told = callers.told[entity]
        assert told <= body["value"] <= told + callers.unsure[entity], entity


def test_deaths_of_processes_and_of_their_parent_lose_nothing(
    deployed: Path, tmp_path: Path
) -> None:
    """One dies under load: the other's entities go on; it comes back; the parent dies: all end."""
    data = copy_data(deployed, tmp_path / "data")
    of_volume = [[e for e in ENTITIES if PLACEMENT.volume_of(e) == volume] for volume in (0, 1)]
    with serving(data, *SPREAD) as served:
        callers = Callers(served)
        try:
            callers.wait_for_more(50, among=ENTITIES)
            for dead in (1, 0):
                # The newest process is last: after the first round that is the one of volume 1.
                os.kill(children_of(served)[1 if dead else 0], signal.SIGKILL)
                callers.wait_for_more(20, among=of_volume[1 - dead])
                callers.wait_for_more(20, among=of_volume[dead])
        finally:
            callers.finish()
        check_counts(served, callers)
        children = children_of(served)
        held = lithox("serve", "--data", str(data), "--processes", "2", "--listen", "127.0.0.1:0")
        assert "in use" in held.stderr
        served.stop(signal.SIGKILL)
        # The next server waits for the orphans, which end at once, and then owns all volumes.
        with serving(data, *SPREAD) as again:
            assert not any(is_alive(pid) for pid in children)
            check_counts(again, callers)
            assert again.stop(signal.SIGTERM) == 0
    other = lithox("serve", "--data", str(data), "--processes", "3", "--listen", "127.0.0.1:0")
    assert "say --processes 2" in other.stderr
    alone = lithox("call", ENTITIES[0], "increment", "--data", str(data))
    assert "--processes 2" in alone.stderr
    (data / "volumes.json").write_text("{}")
    broken = lithox("serve", "--data", str(data), "--processes", "2", "--listen", "127.0.0.1:0")
    assert "volumes.json is damaged" in broken.stderr


def free_ports(count: int) -> int:
    """Returns a port with `count` free ones in a row from it on."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
        with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
            for number in range(port, port + count):
                opened.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return port


def is_alive(pid: int) -> bool:
    """Returns whether a process runs; one that nobody has waited for yet has ended, too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_every_process_is_the_whole_server(deployed: Path, tmp_path: Path) -> None:
    """State, groups, programs, lists and figures are the same by whatever process one is served."""
    program = tmp_path / "answer.lua"
    program.write_text("print(6 * 7)\n")
    data = copy_data(deployed, tmp_path / "data")
    with serving(data, *SPREAD) as served, contextlib.ExitStack() as opened:
        bundle = tmp_path / "other"
        shutil.copytree(EXAMPLES / "counter", bundle)
        manifest = (bundle / "lithox.toml").read_text().replace("counter/*", "counter/*/more")
        (bundle / "lithox.toml").write_text(manifest)
        assert lithox("deploy", str(bundle), url=served.url).returncode == 0
        for entity in ENTITIES:
            assert served.call(entity, "increment", 1)["value"] == 1
            assert served.call(f"{entity}/more", "increment", 2)["value"] == 2
        connections = connections_to_both(served)
        opened.callback(lambda: [one.close() for one in connections])
        for connection in connections:
            assert get(connection, "/v1/entities")["entities"] == sorted(
                [*ENTITIES, *(f"{one}/more" for one in ENTITIES)]
            )
            for entity in ENTITIES:
                assert get(connection, f"/v1/state/{entity}:count") == {"value": 1}
            assert get(connection, "/v1/processes")["processes"] == []
            assert get(connection, "/readyz") == {"status": "ok"}
        # A key that is written in its own way in a path, and a value that is not small.
        key = "%D1%8F%2F%25%20"
        for entity in ENTITIES[:4]:
            body = {"value": "x" * 300_000}
            assert send(served, "PUT", f"/v1/state/{entity}:{key}", body)[0] == 204
            for connection in connections:
                assert get(connection, f"/v1/state/{entity}:{key}") == body
        ran = lithox("run", str(program), url=served.url)
        assert ran.stdout == "42\n", ran.stderr
        check_moving(served, tmp_path / "moved.jsonl")
        taken = lithox("serve", "--data", str(tmp_path / "b"), "--listen", served.address)
        assert "Address already in use" in taken.stderr


def check_moving(served: Served, file: Path) -> None:
    """All entities leave in one archive and come back to where they belong; a torn one does not."""
    url = served.url
    assert lithox("entity", "export", "counter/*", "-o", str(file), url=url).returncode == 0
    lines = file.read_text().splitlines()
    found = [json.loads(one)["e"] for one in lines if one.startswith('{"k":"entity"')]
    assert found == sorted(ENTITIES)
    for entity in ENTITIES:
        served.call(entity, "increment", 100)
    torn = file.with_name("torn.jsonl")
    torn.write_text("\n".join(lines[:-1]) + "\n")
    connection = served.connect()
    headers = {"content-type": "application/jsonl"}
    connection.request("POST", "/v1/import?mode=replace", torn.read_bytes(), headers)
    assert connection.getresponse().status == 400
    connection.close()
    for entity in ENTITIES:
        assert send(served, "GET", f"/v1/state/{entity}:count")[1]["value"] == 101
    refused = lithox("entity", "import", str(file), url=url)
    assert "is there" in refused.stderr, refused.stderr
    moved = lithox("entity", "import", str(file), "--replace", "--json", url=url)
    assert json.loads(moved.stdout)["imported"] == len(ENTITIES), moved.stdout + moved.stderr
    for entity in ENTITIES:
        assert send(served, "GET", f"/v1/state/{entity}:count")[1]["value"] == 1


def get(connection: http.client.HTTPConnection, path: str) -> Any:
    connection.request("GET", path)
    return json.loads(connection.getresponse().read())


def connections_to_both(served: Served) -> list[http.client.HTTPConnection]:
    """Returns a connection to each of two processes: which one takes one is chance."""
    found: dict[int, http.client.HTTPConnection] = {}
    for _ in range(200):
        connection = served.connect()
        number = get(connection, "/v1/node")["server"]["process"]
        if number in found:
            connection.close()
        found.setdefault(number, connection)
        if len(found) == 2:
            break
    return [found[number] for number in (0, 1)]


def test_by_default_everything_is_joined_and_the_number_is_free(
    deployed: Path, tmp_path: Path
) -> None:
    """Without `spread` groups and joined calls work as on one process, and N may change."""
    data = copy_data(deployed, tmp_path / "data")
    port = free_ports(3)
    with serving(data, "--processes", "2", "--direct", "--listen", f"127.0.0.1:{port}") as served:
        calls = [{"entity": one, "handler": "increment", "args": [2]} for one in ENTITIES]
        for _ in range(4):
            status, body = send(served, "POST", "/v1/atomic", {"calls": calls})
            assert (status, len(body["value"])) == (200, len(ENTITIES))
        direct = send(served, "GET", "/v1/node")[1]["server"]["direct"]
        for number, address in enumerate(direct):
            connection = http.client.HTTPConnection(address, timeout=SECONDS_MAX)
            assert get(connection, "/v1/node")["server"]["process"] == number
            assert ask(connection, ENTITIES[0], "increment", 1)["status"] == "ok"
            connection.close()
        assert served.stop(signal.SIGTERM) == 0
    # What is here is in volume 0, which is the directory itself: one node alone may open it.
    assert lithox("call", ENTITIES[0], "increment", "1", "--data", str(data)).stdout == "11\n"
    spread = lithox("serve", "--data", str(data), *SPREAD, "--listen", "127.0.0.1:0")
    assert "there are entities of that name" in spread.stderr
