"""`lithox.Client`: a node somewhere else, with the methods of an embedded one.

Values go out and come back through `model.values`; errors come back as the classes they left as.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncGenerator, Iterable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast
from urllib.parse import quote, urlencode

import msgspec

from lithox.client.messages import MessageMethods
from lithox.client.moving import MovingMethods
from lithox.client.processes import ProcessMethods
from lithox.client.requests import RequestMethods, encode_call, read_answer
from lithox.client.services import ServiceMethods
from lithox.client.stores import StoreMethods
from lithox.client.values import ValueMethods
from lithox.client.wire import ANSWER_SECONDS_DEFAULT, Wire, item_path, open_link
from lithox.client.words import call_words, read_told
from lithox.errors import ConfigError, NotFound, TooLarge
from lithox.model.bundles import MEDIA_TYPE, WASM_BYTES_MAX, write_bundle
from lithox.model.ids import (
    check_entity_path,
    check_handler_name,
    check_request_id,
)
from lithox.model.limits import Limits
from lithox.model.request import Answer
from lithox.model.values import check_value, from_json, to_json

MANIFEST_NAME: Final = "lithox.toml"
SOURCE_SECTIONS: Final = ("template", "program", "library", "runtime")
"""Tables of a manifest that name a file."""
JSON_BYTES_MAX: Final = 4 << 20
"""A larger bundle goes in its frame (`model/bundles.py`); nodes of before take JSON only."""
_encoder: Final = msgspec.json.Encoder()


class Client(
    MessageMethods,
    MovingMethods,
    ProcessMethods,
    RequestMethods,
    ServiceMethods,
    StoreMethods,
    ValueMethods,
):
    """A node elsewhere, used as an async context manager.

        async with lithox.Client("lithox://127.0.0.1:7070") as client:
            await client.call("counter/alice", "increment", 5, request_id="r-1")

    Args:
        url: `http://HOST:PORT` of the node: everything goes over HTTP. `lithox://HOST:PORT` of the
            same port: calls, groups and async requests of all callers share one connection, which
            takes a fraction of the time; the rest goes over HTTP.
        token: bearer token; a node on loopback only may need none.
        answer_seconds_max: how long to wait for any answer.

    Every method raises a `LithoxError`: the node's own, `PeerUnreachable` when it cannot be asked,
    or `PeerProtocolError` when what answers is no node. None blocks the loop.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        answer_seconds_max: float = ANSWER_SECONDS_DEFAULT,
    ) -> None:
        self._link, url = open_link(url, token=token, answer_seconds_max=answer_seconds_max)
        self._wire = Wire(url, token=token, answer_seconds_max=answer_seconds_max)

    async def __aenter__(self) -> Self:
        await self._wire.open()
        if self._link is not None:
            self._link.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._link is not None:
            await self._link.close()
        await self._wire.close()

    # -- requests ---------------------------------------------------------------------------

    async def call(
        self,
        entity: str,
        handler: str,
        *args: Any,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
    ) -> Any:
        """Runs `handler` of `entity` and returns its value, once it is durable.

        Args:
            args: plain data: None, bool, int, float, str, bytes, list, dict with text keys.
            request_id: makes the request idempotent for 24 hours, so that you may ask again when
                the connection breaks.
            limits: lowers what the run may use.
            deadline_ms: milliseconds from its arrival after which the run is ended.

        Raises:
            LithoxError: by its code; nothing of the run remains.
        """
        answer = await self.ask(
            entity,
            handler,
            *args,
            request_id=request_id,
            limits=limits,
            deadline_ms=deadline_ms,
        )
        if answer.error is not None:
            raise answer.error
        return answer.value

    async def ask(
        self,
        entity: str,
        handler: str,
        *args: Any,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
    ) -> Answer:
        """Runs a handler like `call`; returns the whole answer, with what the run used.

        Raises:
            BadArguments: what is asked cannot be written down; nothing was sent.
            PeerUnreachable, PeerProtocolError: whether it ran is not known.
        """
        if self._link is not None:
            options: Any = {"limits": limits, "deadline_ms": deadline_ms}
            words = call_words(entity, handler, args, request_id=request_id, **options)
            return read_told(await self._link.ask(words))
        path = f"/v1/entities/{check_entity_path(entity)}:{check_handler_name(handler)}"
        if request_id is not None:
            check_request_id(request_id)
        body = encode_call(list(args), limits=limits, deadline_ms=deadline_ms)
        status, data = await self._wire.exchange("POST", path, body, request_id=request_id)
        return read_answer(self._wire, status, data)

    # -- code -------------------------------------------------------------------------------

    async def deploy(self, path: str | PathLike[str], *, check: bool = False) -> dict[str, Any]:
        """Publishes the folder `path` (or the one of the manifest `path`), all or nothing.

        Args:
            check: only says what a deploy would come to: everything is compiled, nothing stored.

        Returns:
            {"modules": {source: digest}, "templates": [match], "handlers": {match: [name]},
            "code": {kind: {name: version}}, "services": [name]}.

        Raises:
            NotFound, ConfigError, TooLarge: no `lithox.toml` there, or it names files that are not,
                or are too large for any node.
            LithoxError: what the node says is wrong with it, and where.
        """
        manifest, files = await asyncio.to_thread(read_bundle, Path(path))
        target = "/v1/deploy?check=true" if check else "/v1/deploy"
        if sum(map(len, files.values())) <= JSON_BYTES_MAX:
            return await self._wire.ask("POST", target, encode_bundle(manifest, files))
        # Read a part at a time while it leaves, so that there is no second copy of a large module.
        return await self._wire.send(target, _each(write_bundle(manifest, files)), MEDIA_TYPE)

    # -- administration ---------------------------------------------------------------------

    async def entities(
        self, prefix: str = "", *, after: str = "", limit: int = 100
    ) -> tuple[list[str], bool]:
        """Returns (paths in order, whether others follow the last one); asks as often as it takes.

        The node looks at a bounded number of entities for one answer, so a caller who may read
        few of many needs several.
        """
        found: list[str] = []
        more = True
        while more and len(found) < limit:
            wanted = _page(prefix, after, limit - len(found))
            page = await self._wire.ask("GET", f"/v1/entities?{wanted}")
            found += page["entities"]
            more, after = page["more"], page["after"]
        return found, more

    async def entity_show(self, entity: str) -> dict[str, Any]:
        """Returns what the entity is: owner, template, access, handlers, limits, size."""
        return from_json(await self._wire.ask("GET", f"/v1/entities/{check_entity_path(entity)}"))

    async def entity_delete(self, entity: str) -> None:
        """Deletes the entity with all its state; raises NotFound."""
        await self._wire.ask("DELETE", f"/v1/entities/{check_entity_path(entity)}")

    async def state_get(self, entity: str, key: str) -> Any:
        """Returns the value under `key`, a `BigValue` for a big one; raises NotFound."""
        return from_json((await self._wire.ask("GET", item_path(entity, key)))["value"])

    async def state_put(self, entity: str, key: str, value: Any) -> None:
        """Writes one key; returns once it is durable."""
        check_value(value)
        body = _encoder.encode({"value": to_json(value)})
        await self._wire.ask("PUT", item_path(entity, key), body)

    async def state_delete(self, entity: str, key: str) -> None:
        """Deletes one key; raises NotFound."""
        await self._wire.ask("DELETE", item_path(entity, key))

    async def state_list(  # noqa: PLR0913 - one listing, described whole
        self,
        entity: str,
        prefix: str = "",
        *,
        start: str = "",
        end: str | None = None,
        after: str = "",
        limit: int = 100,
    ) -> tuple[dict[str, Any], bool]:
        """Returns (items in key order, whether others follow the last one).

        Args:
            prefix: only keys that begin with it.
            start, end: only keys with start <= key < end; None: to the last.
            after: only keys behind it.
            limit: items at most; a page ends earlier when it gets long.
        """
        if end == "":
            return {}, False
        wanted = _page(prefix, after, limit, **{"from": start, "to": end})
        page = await self._wire.ask("GET", f"/v1/state/{check_entity_path(entity)}?{wanted}")
        return {key: from_json(value) for key, value in page["items"].items()}, page["more"]

    async def handlers_get(self, entity: str) -> dict[str, Any]:
        """Returns {name: {module, language, priority, limits}}."""
        path = f"/v1/handlers/{check_entity_path(entity)}"
        return from_json((await self._wire.ask("GET", path))["handlers"])

    async def handlers_put(self, entity: str, handlers: dict[str, Any]) -> None:
        """Replaces the entity's own overrides of handlers."""
        check_value(handlers)
        body = _encoder.encode({"handlers": to_json(handlers)})
        await self._wire.ask("PUT", f"/v1/handlers/{check_entity_path(entity)}", body)

    async def node_info(self) -> dict[str, Any]:
        """Returns what the node is."""
        return await self._wire.ask("GET", "/v1/node")

    async def audit(self, limit: int = 100) -> list[dict[str, Any]]:
        """Returns the newest audit records, newest first; administrators only."""
        return (await self._wire.ask("GET", f"/v1/audit?limit={int(limit)}"))["records"]


def read_bundle(path: Path) -> tuple[str, dict[str, bytes]]:
    """Returns the text of a manifest and every file it names. Blocks for the disk.

    Only the names of the files are read from the manifest here; the node judges the rest.

    Raises:
        NotFound: no manifest there.
        ConfigError: it is not TOML, or a file cannot be read.
        TooLarge: a file is larger than any node takes.
    """
    manifest_path = path / MANIFEST_NAME if path.is_dir() else path
    try:
        manifest = manifest_path.read_text(encoding="utf-8")
        sources = _sources_of(tomllib.loads(manifest))
    except FileNotFoundError:
        raise NotFound(f"no {MANIFEST_NAME} in {path}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{manifest_path}: malformed TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{manifest_path}: cannot be read: {error}") from None
    return manifest, {name: _read_source(manifest_path, name) for name in dict.fromkeys(sources)}


def encode_bundle(manifest: str, files: dict[str, bytes]) -> bytes:
    """Returns a bundle as the JSON body of a deploy: text as text, other bytes in base64."""
    content: dict[str, Any] = {}
    for name, data in files.items():
        try:
            content[name] = data.decode()
        except UnicodeDecodeError:
            content[name] = to_json(data)
    return _encoder.encode({"manifest": manifest, "files": content})


async def _each(parts: Iterable[bytes]) -> AsyncGenerator[bytes]:
    for part in parts:
        yield part


def _sources_of(manifest: dict[str, Any]) -> list[str]:
    tables: list[dict[str, Any]] = []
    for section in SOURCE_SECTIONS:
        rows = manifest.get(section)
        listed = cast("list[Any]", rows) if isinstance(rows, list) else []
        tables += [cast("dict[str, Any]", row) for row in listed if isinstance(row, dict)]
    return [name for name in (row.get("source") for row in tables) if isinstance(name, str)]


def _read_source(manifest_path: Path, name: str) -> bytes:
    folder = manifest_path.parent.resolve()
    source = (folder / name).resolve()
    # A manifest from a stranger must not upload files from outside its folder.
    if not source.is_relative_to(folder):
        raise ConfigError(f"{manifest_path}: {name}: lies outside the folder of the manifest")
    try:
        with source.open("rb") as file:
            content = file.read(WASM_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{manifest_path}: {name}: cannot be read: {error.strerror}") from None
    if len(content) > WASM_BYTES_MAX:
        raise TooLarge(f"{name}: no source has more than {WASM_BYTES_MAX} bytes", file=name)
    return content


def _page(prefix: str, after: str, limit: int, **within: str | None) -> str:
    said = {name: text for name, text in within.items() if text}
    asked = {"prefix": prefix, "after": after, "limit": int(limit), **said}
    return urlencode(asked, quote_via=quote)
