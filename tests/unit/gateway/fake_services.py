"""The part of the fake node that keeps services: a dict of rows, and a log that is one text."""

from __future__ import annotations

from typing import Any

from lithox.errors import NotFound, NotPermitted
from lithox.model.request import Caller
from lithox.modules.services import parse_service

LOG = b"2026-11-22T00:00:00.000Z out hello\n"


def make_row(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    """Returns a row as the node shows it."""
    return {
        "name": name,
        "state": "running",
        "reason": None,
        "pid": 9,
        "program": definition["program"],
        "restarts": 0,
        "changes": 3,
        "since_ms": 5,
        "wanted": True,
        "builtin": False,
        "last_exit": None,
        "next_start_in_ms": None,
        "definition": definition,
    }


class FakeServices:
    """Services: `hello` is there; the acts asked of them are remembered."""

    services: dict[str, dict[str, Any]]
    service_acts: list[tuple[str, str]]

    def _service(self, name: str, caller: Caller | None) -> dict[str, Any]:
        self._check(caller)
        if name not in self.services:
            raise NotFound(f"no service {name!r}")
        return self.services[name]

    @staticmethod
    def _check(caller: Caller | None) -> None:
        if caller is not None and not caller.is_admin:
            raise NotPermitted(f"{caller.identity} may not use services")

    async def service_list(self, *, caller: Caller | None = None) -> list[dict[str, Any]]:
        self._check(caller)
        return [
            {key: value for key, value in row.items() if key != "definition"}
            for row in self.services.values()
        ]

    async def service_show(
        self,
        name: str,
        *,
        seen: int | None = None,
        wait_ms: int = 0,
        caller: Caller | None = None,
    ) -> dict[str, Any]:
        self.service_acts.append((f"show {seen} {wait_ms}", name))
        return self._service(name, caller)

    async def service_put(
        self, name: str, definition: dict[str, Any], *, caller: Caller | None = None
    ) -> dict[str, Any]:
        self._check(caller)
        parse_service({**definition, "name": name}, f"service {name}")
        self.services[name] = make_row(name, definition)
        return self.services[name]

    async def service_start(self, name: str, *, caller: Caller | None = None) -> None:
        self._service(name, caller)
        self.service_acts.append(("start", name))

    async def service_stop(self, name: str, *, caller: Caller | None = None) -> None:
        self._service(name, caller)
        self.service_acts.append(("stop", name))

    async def service_restart(self, name: str, *, caller: Caller | None = None) -> None:
        self._service(name, caller)
        self.service_acts.append(("restart", name))

    async def service_remove(self, name: str, *, caller: Caller | None = None) -> None:
        self._service(name, caller)
        del self.services[name]

    async def service_logs(
        self,
        name: str,
        *,
        lines: int | None = None,
        after: int | None = None,
        wait_ms: int = 0,
        caller: Caller | None = None,
    ) -> dict[str, Any]:
        self._service(name, caller)
        self.service_acts.append((f"logs {lines} {after} {wait_ms}", name))
        return {"text": LOG, "next": len(LOG), "missed": 0}
