"""Programs made for Redis against a real node: redis-cli, redis-benchmark, redis-py, and lithox."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import redis

from tests.e2e.node.serving import SECONDS_MAX, make_data, serving, surroundings
from tests.servers import require_tool

pytestmark = pytest.mark.e2e
COUNTER = """\
local counter = {}

function counter.increment(self, by)
  self.state.count = (self.state.count or 0) + (by or 1)
  return self.state.count
end

function counter.all(self)
  return {name = "ü", list = {1, 2.5, true}, none = nil}
end

function counter.spin(self)
  while true do end
end

return counter
"""
MANIFEST = '[[template]]\nmatch = "counter/*"\nlanguage = "lua"\nsource = "counter.lua"\n'


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a served node that has a counter."""
    folder = tmp_path_factory.mktemp("resp")
    data = make_data(folder, manifest=MANIFEST, modules={"counter.lua": COUNTER})
    with serving(data) as served:
        found = urlsplit(served.url).port
        assert found is not None
        yield found


def tool(name: str, port: int, *words: str, given: bytes = b"") -> str:
    """Returns what one of Redis's own tools prints."""
    require_tool(name, "redis-tools")
    done = subprocess.run(
        [name, "-h", "127.0.0.1", "-p", str(port), *words],
        check=False,
        input=given,
        capture_output=True,
        timeout=SECONDS_MAX,
    )
    return done.stdout.decode()


def test_redis_cli_calls_handlers(port: int) -> None:
    """Values, errors and options, in both versions of the protocol."""
    assert tool("redis-cli", port, "CALL", "counter/cli", "increment", "5") == "5\n"
    options = ("ID", "r-1", "REPLY", "VALUE", "ARGS", "2")
    for _ in range(2):
        assert tool("redis-cli", port, "CALLWITH", "counter/cli", "increment", *options) == "7\n"
    told = tool("redis-cli", port, "-3", "--json", "CALL", "counter/cli", "all")
    assert told == '{"list":[1,2.5,true],"name":"ü"}\n'
    assert tool("redis-cli", port, "CALLWITH", "counter/x", "spin", "FUEL", "100000").startswith(
        "guest.out_of_fuel counter/x:spin used up its fuel of 100000"
    )
    assert tool("redis-cli", port, "FLUSHALL").startswith("ERR unknown command 'FLUSHALL'")


def test_redis_cli_pipes_commands(port: int) -> None:
    """A pipe of a thousand commands is answered whole, without an error."""
    words = (b"CALL", b"counter/pipe", b"increment")
    one = b"*3\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    told = tool("redis-cli", port, "--pipe", given=one * 1_000)
    assert "errors: 0, replies: 1000" in told
    assert tool("redis-cli", port, "CALL", "counter/pipe", "increment") == "1001\n"


def test_redis_benchmark_counts_as_many_as_it_sent(port: int) -> None:
    """Pipelined from several connections; each of its calls is one run."""
    words = ("-n", "2000", "-c", "8", "-P", "16", "-q", "CALL", "counter/bench", "increment")
    assert "requests per second" in tool("redis-benchmark", port, *words)
    assert tool("redis-cli", port, "CALL", "counter/bench", "increment") == "2001\n"


@pytest.mark.parametrize("version", [2, 3])
def test_redis_py_calls_handlers(port: int, version: int) -> None:
    """Its pipeline, its errors and its blocking calls, as its users know them."""
    with redis.Redis(port=port, protocol=version) as client:
        assert client.ping()
        entity = f"counter/py{version}"
        pipeline = client.pipeline(transaction=False)
        for _ in range(100):
            pipeline.execute_command("CALL", entity, "increment")
        # Answers come in the order of the commands; the runs took place in any.
        assert sorted(pipeline.execute()) == list(range(1, 101))
        with pytest.raises(redis.ResponseError, match=r"^request\.not_found "):
            client.execute_command("CALL", entity, "nope")
        found = client.execute_command("CALL", entity, "all")
        expected = {b"list": [1, 2.5, True], b"name": "ü".encode()}
        if version == 2:
            assert found == [b"list", [1, b"2.5", 1], b"name", "ü".encode()]
        else:
            assert found == expected
        call = ("CALLWITH", entity, "increment", "ID", f"later-{version}")
        assert client.execute_command("ASYNC", *call) == call[-1].encode()
        told = client.execute_command("RESULT", call[-1], "WAIT_MS", 10_000)
        assert (told[b"value"] if version == 3 else told[-1]) == 101
        group = ("CALL", entity, "increment", 0, "CALL", "counter/other", "increment", 1, 5)
        assert client.execute_command("ATOMIC", *group)[0] == 102
        assert client.info()["version"]


def test_the_command_line_speaks_it(port: int) -> None:
    """`--node lithox://...` does for calls and for all else."""
    node = f"lithox://127.0.0.1:{port}"

    def say(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "lithox.cli.main", *words, "--node", node],
            check=True,
            capture_output=True,
            env=surroundings(),
            timeout=SECONDS_MAX,
        )
        return done.stdout.decode()

    assert say("call", "counter/line", "increment", "5") == "5\n"
    assert say("entity", "get", "counter/line", "count") == "5\n"
