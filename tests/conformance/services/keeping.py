"""Real nodes that keep services, for tests: programs by name, waits on what a service says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from lithox.node.config import NodeConfig
from lithox.node.node import Node

MODES = ("preemptive", "cooperative")
WAIT_S = 20.0
LISTENER = """
os.listen(os.contexts.control, "stop")
print("up", ...)
while true do
  local event = os.pull()
  if event.type == "message" and event.queue == "stop" then break end
end
print("bye")
"""
"""A service as it should be: hears that it is to end, and ends."""
NOTIFIER = LISTENER.replace(
    'print("up", ...)', 'os.request(os.contexts.control, "ready") print("up", ...)'
)
DEAF = "print('up') while true do os.pull(1000000) end"
CRASHER = "error('no luck')"


def with_node(data: Path, mode: str, work: Callable[[Node], Awaitable[Any]], **options: Any) -> Any:
    """Runs `work` with an open node in a mode; returns what it returns."""

    async def run() -> Any:
        config = NodeConfig(is_cooperative=mode == "cooperative")
        async with Node(data, config=config, **options) as node:
            return await work(node)

    return asyncio.run(asyncio.wait_for(run(), 2 * WAIT_S))


async def publish(node: Node, **programs: str) -> None:
    """Sets programs of the store."""
    for name, text in programs.items():
        await node.store_set("program", name, text)


async def reach(node: Node, name: str, *states: str, restarts: int = 0) -> dict[str, Any]:
    """Waits until a service is in one of `states`, after so many restarts; returns its row."""

    async def watch() -> dict[str, Any]:
        row = await node.service_show(name)
        while row["state"] not in states or row["restarts"] < restarts:
            row = await node.service_show(name, seen=row["changes"], wait_ms=10_000)
        return row

    try:
        return await asyncio.wait_for(watch(), WAIT_S)
    except TimeoutError:
        row = await node.service_show(name)
        raise AssertionError(f"{name} is {row['state']} ({row['reason']}), not {states}") from None


async def read_log(node: Node, name: str) -> list[str]:
    """Returns the lines of a service's log without their times."""
    text = (await node.service_logs(name, lines=1_000))["text"].decode()
    return [line.partition(" ")[2] for line in text.splitlines()]


async def check(node: Node, name: str, code: str, *args: Any) -> Any:
    """Runs code as the program `name`; fails with its error unless it ends well."""
    await node.store_set("program", name, code)
    result = await node.run(name, *args)
    assert result.code == "", f"{result.message}\n{result.errors.decode()}"
    return result.values


async def wait_log(node: Node, name: str, wanted: str) -> str:
    """Waits until a service has written `wanted`; returns all it wrote."""

    async def follow() -> str:
        page = await node.service_logs(name, after=0)
        text = page["text"]
        while wanted.encode() not in text:
            page = await node.service_logs(name, after=page["next"], wait_ms=5_000)
            text += page["text"]
        return text.decode()

    return await asyncio.wait_for(follow(), WAIT_S)
