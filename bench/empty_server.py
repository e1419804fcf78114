"""The yardstick b of row 2: the gateway's own server around a handler that does nothing.

The socket, uvicorn's settings and the bounded protocol are those of `lithox.gateway.serve`; only
the application is another one: it reads the whole body and answers a constant of an answer's size.

Usage: python -m bench.empty_server    (prints one JSON line with its "url", serves until SIGTERM)
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any, Final, cast

import uvloop

from lithox.gateway import serve as gateway_serve
from lithox.gateway.settings import GatewaySettings

ANSWER: Final = json.dumps(
    {
        "request": None,
        "status": "ok",
        "value": 12345,
        "usage": {"fuel": 12345, "cpu_us": 55, "ms": 0.912, "memory": 196608, "attempts": 1},
    }
).encode()
HEADERS: Final = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(ANSWER)).encode()),
]


async def answer(_scope: Any, receive: Any, send: Any) -> None:
    """Reads the whole body and answers; the least any ASGI gateway must do."""
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


async def serve() -> None:
    """Serves until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    # The wiring makes the application itself; here it is given another one.
    cast("Any", gateway_serve).Gateway = lambda _node, _settings: answer
    await gateway_serve.serve(
        cast("Any", None),
        GatewaySettings(port=0),
        stop=stop,
        on_ready=lambda address: print(json.dumps({"url": address.url}), flush=True),
    )


if __name__ == "__main__":
    uvloop.run(serve())
