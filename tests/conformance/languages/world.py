"""A node that serves one language's module, driven from plain tests: each call runs its loop.

One node a language and process, because opening engines costs; every test has entities of its own.
Its wall clock is days ahead of the machine's: a guest which reads the machine's is found out.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

import lithox
from lithox.model.ids import EntityPath, HandlerName, RequestId
from lithox.model.limits import Limits
from lithox.model.request import Answer, Request
from lithox.modules.bundle import Bundle
from lithox.node.clock import RealClock
from lithox.security.identities import LOCAL_OPERATOR
from tests.conformance.languages.languages import Language

T = TypeVar("T")
DAYS_AHEAD_NS = 1_000 * 86_400 * 1_000_000_000
WAIT_S = 30.0
"""How long a test waits for what must come; more is a failure, less proves nothing."""
MANIFEST = """
[[template]]
match = "t/**"
language = "{language}"
source = "{file_name}"
access = ["entity:t/**"]
preload = []
limits = {{ fuel = 2_000_000_000, memory = "64MiB", wall = "30s", output = "8MiB", \
calls = 1_000_000, state = "8MiB" }}
"""


def is_refusal(code: str) -> bool:
    """Returns whether a run failed at the border by its own fault, uncaught or at its end.

    Where a refusal of the node reached the handler and it let it through, the code is `app.` and
    the node's.
    """
    return code in {"guest.raised", "guest.protocol", "request.bad_arguments"} or code.startswith(
        "app."
    )


class ClockAhead(RealClock):
    """The machine's clocks, with a wall clock that is days ahead."""

    @staticmethod
    def wall_ns() -> int:
        """Returns nanoseconds since 1970, and some days."""
        return time.time_ns() + DAYS_AHEAD_NS


class World:
    """An open node with one language's module under `t/**`."""

    def __init__(self, language: Language, folder: Path) -> None:
        self.language = language
        self._folder = folder
        self._runner = asyncio.Runner()
        self._numbers = itertools.count(1)
        self.clock = ClockAhead()
        self.node = lithox.Node(folder / "data", clock=self.clock)

    def open(self) -> None:
        """Opens the node and deploys the module."""
        self.run(self.node.open())
        self.deploy(self.language.read())

    def deploy(self, text: bytes, *, match: str = "t/**", file_name: str = "") -> None:
        """Publishes `text` as this language's module for entities that match."""
        file_name = file_name or self.language.file_name
        manifest = MANIFEST.format(language=self.language.language, file_name=file_name)
        manifest = manifest.replace("t/**", match, 1)
        self.run(self.node.deploy(Bundle(manifest=manifest, files={file_name: text})))

    def close(self) -> None:
        """Closes the node and its loop."""
        self.run(self.node.close())
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` on the node's loop to its end."""
        return self._runner.run(work)

    def fresh(self) -> str:
        """Returns the path of an entity nobody has used."""
        return f"t/e{next(self._numbers)}"

    def call(self, entity: str, handler: str, *args: Any, **settings: Any) -> Any:
        """Returns the handler's value, or raises its error."""
        return self.run(self.node.call(entity, handler, *args, **settings))

    def fail(self, entity: str, handler: str, *args: Any, **settings: Any) -> lithox.LithoxError:
        """Returns the error of a call that must fail."""
        with pytest.raises(lithox.LithoxError) as caught:
            self.call(entity, handler, *args, **settings)
        return caught.value

    def begin(
        self,
        entity: str,
        handler: str,
        *args: Any,
        limits: Limits | None = None,
        request_id: str | None = None,
    ) -> asyncio.Future[Answer]:
        """Submits a request, from inside the loop, and returns the future of its answer."""
        return self.node.submit(
            Request(
                entity=EntityPath(entity),
                handler=HandlerName(handler),
                args=list(args),
                caller=LOCAL_OPERATOR,
                limits=limits,
                request_id=None if request_id is None else RequestId(request_id),
            )
        )

    def answer(self, entity: str, handler: str, *args: Any, **settings: Any) -> Answer:
        """Returns the whole answer, value or error, and what the run used."""

        async def ask() -> Answer:
            return await self.begin(entity, handler, *args, **settings)

        return self.run(ask())

    async def until(self, holds: Callable[[], Any], what: str) -> Any:
        """Lets the node work until `holds()` is true; fails when that never comes."""
        give_up_s = time.monotonic() + WAIT_S
        while not (found := holds()):
            assert time.monotonic() < give_up_s, f"{what}: it never came"
            await asyncio.sleep(0)
        return found

    async def until_running(self, entity: str, handler: str) -> dict[str, Any]:
        """Returns the process row of a run of that handler that has burned some fuel."""

        def find() -> dict[str, Any] | None:
            for row in self.node.processes(LOCAL_OPERATOR):
                if (row.get("entity"), row.get("handler")) == (entity, handler) and row["fuel"]:
                    return row
            return None

        row: dict[str, Any] = await self.until(find, f"a run of {entity}:{handler}")
        return row

    def kill_all(self, entity: str) -> None:
        """Kills every run of an entity; from inside the loop, so that none ends meanwhile."""
        for row in self.node.processes(LOCAL_OPERATOR):
            if row.get("entity") == entity:
                self.node.kill(row["pid"], LOCAL_OPERATOR)

    def state(self, entity: str) -> dict[str, Any]:
        """Returns all of an entity's state, as the operator sees it, by key."""
        page = self.node.admin_list_state(entity, "", "", 1000, LOCAL_OPERATOR)
        items: dict[str, Any] = page["items"]
        return items

    def put(self, entity: str, key: str, value: Any) -> None:
        """Puts one key from outside."""
        self.run(self.node.admin_put_state(entity, key, value, LOCAL_OPERATOR))

    def versions(self, entity: str) -> dict[str, int]:
        """Returns which version wrote each key of the entity's state last."""
        snapshot = self.node._store.open_snapshot()
        try:
            return {
                key: found.version
                for key in self.state(entity)
                if (found := snapshot.find(entity, key)) is not None
            }
        finally:
            snapshot.release()
