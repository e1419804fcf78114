"""Speaks ASGI to the gateway in process: raw paths, raw headers, bodies in any pieces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lithox.gateway.app import Gateway
from lithox.gateway.settings import GatewaySettings
from tests.unit.gateway.fake_node import FakeNode


@dataclass(frozen=True)
class Got:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json["status"]

    @property
    def message(self) -> str:
        return self.json["error"]["message"]


class AsgiClient:
    """One client of one gateway; adds the headers that a well-behaved client sends."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.reads = 0
        """How often the application asked for a part of the body."""

    async def send(  # noqa: PLR0913 - one request, described whole
        self,
        method: str,
        target: str | bytes,
        body: Any = None,
        *,
        headers: Iterable[tuple[str, str]] = (),
        parts: list[bytes] | None = None,
        is_bare: bool = False,
    ) -> Got:
        """Sends one request; `body` is JSON, `parts` raw pieces, `is_bare` adds no header."""
        raw = target.encode() if isinstance(target, str) else target
        path, _, query = raw.partition(b"?")
        if parts is None:
            parts = [] if body is None else [json.dumps(body).encode()]
        sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        names = {name for name, _ in sent}
        if not is_bare:
            if b"host" not in names:
                sent.append((b"host", b"127.0.0.1:7070"))
            if parts and b"content-type" not in names:
                sent.append((b"content-type", b"application/json"))
            if parts and not names & {b"content-length", b"transfer-encoding"}:
                sent.append((b"content-length", str(sum(map(len, parts))).encode()))
        scope = {
            "type": "http",
            "method": method,
            "raw_path": path,
            "path": path.decode("latin-1"),
            "query_string": query,
            "headers": sent,
        }
        pending = list(parts) or [b""]
        messages: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            self.reads += 1
            if not pending:
                # Nothing more comes; a server tells of the client's leaving, which never happens.
                await asyncio.Event().wait()
            piece = pending.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pending)}

        async def answer(message: dict[str, Any]) -> None:
            messages.append(message)

        await self.gateway(scope, receive, answer)
        if not messages:
            return Got(0, {}, b"")
        found = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        body = b"".join(message["body"] for message in messages[1:])
        return Got(messages[0]["status"], found, body)


def send(method: str, target: str | bytes, body: Any = None, **kwargs: Any) -> Got:
    """Sends one request to a fresh gateway over a fresh fake node, or over `node`."""
    node = kwargs.pop("node", None) or FakeNode()
    settings = kwargs.pop("settings", GatewaySettings())
    client = AsgiClient(Gateway(node, settings))
    return asyncio.run(client.send(method, target, body, **kwargs))
