"""The route that publishes code: a bundle as JSON, or in the frame of `model/bundles.py`.

A bundle may have 80 MiB. So who may not deploy is refused before any of it is read, and few are
read at once.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from lithox.errors import BadArguments
from lithox.gateway import bodies
from lithox.gateway.answers import Reply, reply_json
from lithox.gateway.guards import media_type_of
from lithox.gateway.routes import Asked, Route
from lithox.model.bundles import MEDIA_TYPE, BundleReader
from lithox.modules.bundle import Bundle

AT_ONCE_MAX: Final = 4
"""As many deploys as a node lets wait (`node/deploying.py`)."""
_FLAGS: Final = {"": True, "true": True, "false": False}


async def deploy(asked: Asked) -> Reply:
    check = read_flag(asked.query.get("check", "false"), "check")
    if media_type_of(asked.facts) == MEDIA_TYPE:
        bundle = await _read_frame(asked)
    else:
        body: bodies.DeployBody = asked.body
        files = {name: _read_file(name, content) for name, content in body.files.items()}
        bundle = Bundle(manifest=body.manifest, files=files)
        asked.body = None  # Its texts are in memory once more.
    return reply_json((await asked.node.deploy(bundle, asked.caller, check=check)).to_json())


async def _read_frame(asked: Asked) -> Bundle:
    reader = BundleReader()
    async for chunk in asked.chunks:
        reader.feed(chunk)
    reader.finish()
    return Bundle(manifest=reader.manifest, files=reader.files)


def _check_deployer(asked: Asked) -> None:
    asked.node.check_deployer(asked.caller)


def _read_file(name: str, content: str | dict[str, str]) -> bytes:
    if isinstance(content, str):
        return content.encode()
    try:
        if set(content) == {"$bytes"}:
            return base64.b64decode(content["$bytes"], validate=True)
    except (binascii.Error, ValueError):
        pass
    raise BadArguments(f'file {name[:80]!r} is a text or {{"$bytes": base64}}; found another form')


def read_flag(text: str, name: str) -> bool:
    """Returns a flag of the query: `?check`, `?check=true`, `?check=false`."""
    flag = _FLAGS.get(text)
    if flag is None:
        raise BadArguments(f"{name} is true or false; found {text[:40]!r}")
    return flag


DEPLOY_ROUTES: Final[tuple[Route, ...]] = (
    Route(name="deploy", method="POST", path="/v1/deploy", summary="Publish modules and templates",
          respond=deploy, body=bodies.DeployBody, answer=bodies.DeployAnswer, is_large=True,
          takes=MEDIA_TYPE, query=("check",), check=_check_deployer, at_once_max=AT_ONCE_MAX),
)  # fmt: skip
