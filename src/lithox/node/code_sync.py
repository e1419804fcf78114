"""The code of handlers in every process of a server: the lead's, copied by whoever owns a volume.

Templates and modules are cells of the node's own entities, so a process has the lead's code when it
has the lead's rows. It asks for them before it serves and whenever the lead has taken a deploy;
what it has already is not sent again. So a process that was away catches up in the same way, and
nothing is compiled twice to find out whether it may be deployed. One that could not take it over,
because its disk failed or the lead did not answer, tries again until it has.

Invariants: what is served is what the lead had committed at some moment; rows are replaced by one
commit; a module arrives before a template names it; while `is_behind`, another try is under way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from lithox.dispatch.module_cells import chunk_keys, module_entity
from lithox.dispatch.records import (
    MODULES_ENTITY,
    TEMPLATES_ENTITY,
    USER_KEYS_START,
    TemplateRecord,
    decode_module,
    decode_template,
)
from lithox.errors import BadArguments, Conflict, NotFound, PeerProtocolError
from lithox.node.commits import submit_durably
from lithox.node.deploy import NODE_TEMPLATES_MAX
from lithox.node.drafts import Draft
from lithox.node.module_garbage import plan_retirement
from lithox.node.template_watch import TemplateWatch
from lithox.store.contract import Cell, Range, Store

TEMPLATES: Final = "code.templates"
MODULE: Final = "code.module"
CHANGED: Final = "code.changed"
ATTEMPTS_MAX: Final = 5
RETRY_S_MIN: Final = 0.5
"""Until the code is asked for again that could not be taken over; doubled each time."""
RETRY_S_MAX: Final = 30.0
PART_BYTES: Final = 2 << 20
"""Of a large module in one answer."""
PART_ROWS_MAX: Final = 64
_ALL: Final = Range(TEMPLATES_ENTITY, USER_KEYS_START, None)

Ask = Callable[[str, Any], Awaitable[Any]]
"""Asks the lead: (name of the question, payload) -> plain data; raises LithoxError."""
Sleep = Callable[[float], Awaitable[None]]
_log: Final = logging.getLogger("lithox.node")


class CodeSync:
    """Gives a store's code away, and takes it over. All methods are called on the node's thread."""

    def __init__(
        self,
        *,
        store: Store,
        templates: TemplateWatch,
        wall_ms: Callable[[], int],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Does nothing yet."""
        self.is_behind = False
        """The lead has had other code than is served here, and it could not be taken over yet."""
        self._sleep = sleep
        self._again: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._store = store
        self._templates = templates
        self._wall_ms = wall_ms
        self._turn = asyncio.Lock()

    # The lead's side.

    async def tell_templates(self, _payload: Any) -> list[list[Any]]:
        """Returns [pattern, record] of every template."""
        return [[key, value] for key, value in self._read_rows().items()]

    async def tell_module(self, payload: Any) -> Any:
        """Returns a module's record for `[digest, None]`, or its chunks from a key on.

        Returns:
            bytes, or [[key, bytes], ...], empty at the end.

        Raises:
            NotFound: there is no such module (any more).
            BadArguments: the question is none.
        """
        match payload:
            case [str() as digest, None]:
                return self._module_record(digest)
            case [str() as digest, str() as start]:
                snapshot = self._store.open_snapshot()
                try:
                    area = Range(module_entity(digest), start, None)
                    page = snapshot.scan(area, PART_ROWS_MAX, PART_BYTES)
                finally:
                    snapshot.release()
                return [[key, item.value] for key, item in page.items]
            case _:
                raise BadArguments("a module is asked for by its digest and a key")

    def _module_record(self, digest: str) -> bytes:
        snapshot = self._store.open_snapshot()
        try:
            item = snapshot.find(MODULES_ENTITY, digest)
        finally:
            snapshot.release()
        if item is None:
            raise NotFound(f"no module with digest {digest[:80]}")
        return item.value

    def _read_rows(self) -> dict[str, bytes]:
        snapshot = self._store.open_snapshot()
        try:
            page = snapshot.scan(_ALL, NODE_TEMPLATES_MAX)
        finally:
            snapshot.release()
        return {key: item.value for key, item in page.items}

    # The side of the others.

    async def pull(self, ask: Ask) -> bool:
        """Makes this store's code the lead's; waits until that is durable and served.

        When that fails it is tried again, with pauses of `RETRY_S_MIN` to `RETRY_S_MAX` seconds,
        until it succeeds or `stop` is called.

        Args:
            ask: of the lead.

        Returns:
            Whether anything had to change.

        Raises:
            Conflict: the code changed under it as often as it was tried.
            LithoxError: the lead cannot be asked, or this store cannot be written.
        """
        try:
            return await self._pull_once(ask)
        except Exception:
            self._fall_behind(ask)
            raise

    def stop(self) -> None:
        """Tries nothing again any more. Idempotent."""
        self._is_stopped = True
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _fall_behind(self, ask: Ask) -> None:
        """Sees that the code is asked for until it is here."""
        self.is_behind = True
        if self._again is None and not self._is_stopped:
            self._again = asyncio.get_running_loop().create_task(self._catch_up(ask))

    async def _catch_up(self, ask: Ask) -> None:
        pause_s = RETRY_S_MIN
        try:
            while self.is_behind:
                await self._sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_S_MAX)
                try:
                    await self._pull_once(ask)
                except Exception as error:  # noqa: BLE001 - whatever it is, old code must not stay
                    _log.warning("the lead's code is not here; tried again soon: %s", error)
        finally:
            self._again = None

    async def _pull_once(self, ask: Ask) -> bool:
        async with self._turn:
            for _ in range(ATTEMPTS_MAX):
                rows = _check_rows(await ask(TEMPLATES, None))
                if rows == self._read_rows():
                    self.is_behind = False
                    return False
                try:
                    if await self._take(rows, ask):
                        self.is_behind = False
                        return True
                except NotFound:
                    continue  # The lead has deployed meanwhile, and has removed a module.
        raise Conflict("the code changed each time while it was taken over; try again")

    async def _take(self, rows: dict[str, bytes], ask: Ask) -> bool:
        """Commits `rows` and the modules they name; returns False when another was faster."""
        templates = [decode_template(row) for row in rows.values()]
        wanted = _modules_of(templates)
        fetched: dict[Cell, bytes] = {}
        for digest in sorted(wanted):
            if not self._has(digest):
                fetched |= await _fetch(digest, ask)
        snapshot = self._store.open_snapshot()
        try:
            draft = Draft(snapshot)
            before = dict(draft.scan(_ALL, NODE_TEMPLATES_MAX))
            for cell, value in fetched.items():
                draft.put(*cell, value)
            for key in before.keys() | rows.keys():
                if before.get(key) != rows.get(key):
                    draft.put(TEMPLATES_ENTITY, key, rows.get(key))
            known = _modules_of([decode_template(row) for row in before.values()])
            plan_retirement(draft, known, wanted, self._wall_ms())
            commit = draft.to_commit()
        finally:
            snapshot.release()

        def follow_up(error: Exception | None) -> None:
            if error is None:
                self._templates.adopt_own(templates)
            else:
                # Whoever waited may be gone with its link, and nobody else would ask again.
                self._fall_behind(ask)

        done = submit_durably(self._store, commit, follow_up)
        if done is None:
            return False
        await done
        return True

    def _has(self, digest: str) -> bool:
        snapshot = self._store.open_snapshot()
        try:
            return snapshot.find(MODULES_ENTITY, digest) is not None
        finally:
            snapshot.release()


def _modules_of(templates: list[TemplateRecord]) -> set[str]:
    named = {one.module for one in templates}
    for template in templates:
        named |= {one.module for one in template.handlers.values() if one.module is not None}
    return named


async def _fetch(digest: str, ask: Ask) -> dict[Cell, bytes]:
    """Returns the cells of one module."""
    data = await ask(MODULE, [digest, None])
    if not isinstance(data, bytes):
        raise PeerProtocolError("a module that is no bytes")
    cells: dict[Cell, bytes] = {(MODULES_ENTITY, digest): data}
    entity, keys = module_entity(digest), chunk_keys(decode_module(data))
    while len(cells) <= len(keys):
        part: Any = await ask(MODULE, [digest, keys[len(cells) - 1]])
        for key, value in _check_rows(part).items():
            cells[entity, key] = value
        if not part:
            raise NotFound(f"module {digest} is not whole (any more)")
    return cells


def _check_rows(data: Any) -> dict[str, bytes]:
    try:
        return dict(msgspec.convert(data, list[tuple[str, bytes]]))
    except msgspec.ValidationError as error:
        raise PeerProtocolError(f"rows that are none: {error}") from None
