"""A node that remembers in a dict: what the gateway's and the client's tests speak to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lithox.errors import (
    BadArguments,
    CompileFailed,
    GuestRaised,
    LimitExceeded,
    LithoxError,
    NotFound,
    NotPermitted,
    Overloaded,
)
from lithox.model.ids import AccountName, Identity
from lithox.model.request import Answer, Caller, Request, Usage
from lithox.modules.bundle import Bundle, read_bundle
from lithox.modules.digest import digest_of
from lithox.node.code_stores import CodeStores
from lithox.node.store_admin import StoreAdmin
from lithox.node.store_methods import StoreMethods
from lithox.security.identities import Identities, KnownIdentity, digest_of_token
from lithox.store.memory import MemoryStore
from tests.unit.gateway.fake_messages import FakeMessages
from tests.unit.gateway.fake_moving import FakeMoving
from tests.unit.gateway.fake_programs import FakePrograms, FakeRun
from tests.unit.gateway.fake_requests import DEAD, FakeRequests
from tests.unit.gateway.fake_services import FakeServices, make_row
from tests.unit.gateway.fake_values import FakeValues

TOKENS = {"alice-token": "alice", "admin-token": "admin"}


@dataclass
class FakeReport:
    modules: dict[str, str]
    templates: list[str]

    def to_json(self) -> dict[str, Any]:
        return {
            "modules": self.modules,
            "templates": self.templates,
            "handlers": {one: ["increment"] for one in self.templates},
            "code": {},
            "services": [],
        }


@dataclass
class FakeNode(
    FakeMessages, FakeMoving, FakePrograms, FakeRequests, FakeServices, FakeValues, StoreMethods
):
    """Answers by handler name: `echo`, `increment`, `raise`, `fuel`, `wait`, `bug`, `busy`."""

    has_tokens: bool = False
    ready: bool = True
    state: dict[str, dict[str, Any]] = field(default_factory=dict)
    values: dict[tuple[str, str], bytes] = field(default_factory=dict)
    handlers: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    deployed: list[Bundle] = field(default_factory=list)
    checked: list[Bundle] = field(default_factory=list)
    gates: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    clock_ns: int = 0
    arrivals: dict[str, asyncio.Event] = field(default_factory=dict)
    runs: dict[int, FakeRun] = field(default_factory=dict)
    is_released: bool = False
    services: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"hello": make_row("hello", {"program": "hello"})}
    )
    service_acts: list[tuple[str, str]] = field(default_factory=list)

    acts: list[tuple[str, str, str]] = field(default_factory=list)
    accepted: list[tuple[Request, str | None]] = field(default_factory=list)
    looked: list[tuple[str, str | None, int]] = field(default_factory=list)
    dead: list[dict[str, Any]] = field(default_factory=lambda: [dict(DEAD)])
    closed: list[str] = field(default_factory=list)
    message_acts: list[tuple[str, Any]] = field(default_factory=list)
    imports: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stores = StoreAdmin(
            CodeStores(
                MemoryStore(post=lambda call: asyncio.get_running_loop().call_soon(call)),
                lambda: 1_700_000_000_000,
                self._record,
            ),
            {},
            self._record,
        )
        self._identities = Identities(
            KnownIdentity(
                name=Identity(name),
                account=AccountName(name),
                token_sha256=digest_of_token(token),
                is_admin=name == "admin",
            )
            for token, name in (TOKENS.items() if self.has_tokens else ())
        )

    def _record(
        self, *, identity: str, act: str, entity: str, outcome: str, detail: str = ""
    ) -> None:
        self.acts.append((identity, act, outcome))

    def deadline_in(self, duration_ms: int) -> int:
        return self.clock_ns + duration_ms * 1_000_000

    def submit(self, request: Request) -> asyncio.Future[Answer]:
        self.requests.append(request)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        answer = Answer(request_id=request.request_id, usage=Usage(fuel=7, attempts=1))
        try:
            answer.value = self._run(request)
        except LithoxError as error:
            answer.error = error
        except ZeroDivisionError as error:
            answer.error = error
        if request.handler == "wait":
            gate = self.gates.setdefault(request.entity, asyncio.get_running_loop().create_future())
            self.arrival(request.entity).set()
            gate.add_done_callback(lambda _gate: future.done() or future.set_result(answer))
        else:
            future.set_result(answer)
        return future

    def submit_to(self, request: Request, on_answer: Callable[[Answer], None]) -> None:
        self.submit(request).add_done_callback(lambda done: on_answer(done.result()))

    def arrival(self, entity: str) -> asyncio.Event:
        """Is set once a `wait` of `entity` has arrived."""
        return self.arrivals.setdefault(entity, asyncio.Event())

    def _run(self, request: Request) -> Any:
        match request.handler:
            case "echo":
                return list(request.args)
            case "increment":
                own = self.state.setdefault(request.entity, {})
                own["count"] = own.get("count", 0) + (request.args[0] if request.args else 1)
                return own["count"]
            case "raise":
                raise GuestRaised("no more apples", code="app.sold_out", left=0)
            case "fuel":
                raise LimitExceeded("out of fuel", limit="fuel", used=10, allowed=9)
            case "busy":
                raise Overloaded("too many runs", retry_after_ms=1500)
            case "compile":
                raise CompileFailed(
                    "counter.lua:3: 'end' expected near 'x'",
                    file="counter.lua",
                    line=3,
                    excerpt="  retrun x",
                )
            case "bug":
                raise ZeroDivisionError("secret inside")
            case "wait":
                return "waited"
            case _:
                raise NotFound(f"no handler {request.handler!r}")

    def identify(self, token: str | None, *, is_loopback: bool) -> Caller:
        return self._identities.identify(token, is_loopback=is_loopback)

    def check_deployer(self, caller: Caller) -> None:
        if self.has_tokens and not caller.is_admin:
            raise NotPermitted(f"{caller.identity} may not deploy: it takes an administrator")

    async def deploy(
        self, bundle: Any, caller: Caller | None = None, *, check: bool = False
    ) -> FakeReport:
        if "deploy" in self.gates:
            await self.gates["deploy"]
        if not isinstance(bundle, Bundle):
            bundle = read_bundle(Path(bundle))
        if b"syntax error" in b"".join(bundle.files.values()):
            raise CompileFailed("counter.lua:2: '=' expected", file="counter.lua", line=2)
        manifest = bundle.parse()
        (self.checked if check else self.deployed).append(bundle)
        return FakeReport(
            modules={
                one.source: str(digest_of(one.language, bundle.files[one.source]))
                for one in manifest.templates
            },
            templates=[one.match for one in manifest.templates],
        )

    def _own(self, entity: str) -> dict[str, Any]:
        if entity not in self.state:
            raise NotFound(f"no entity {entity!r}")
        return self.state[entity]

    async def admin_show(self, entity: str, caller: Caller) -> dict[str, Any]:
        own = self._own(entity)
        return {
            "id": entity,
            "template": "counter/*",
            "module": "ab" * 32,
            "created_ms": 1,
            "owner": "operator",
            "access": [],
            "handlers": {},
            "limits": {},
            "keys": len(own),
            "bytes": 10,
        }

    async def admin_delete(self, entity: str, caller: Caller) -> None:
        self._own(entity)
        del self.state[entity]

    def admin_get_state(self, entity: str, key: str, caller: Caller) -> Any:
        own = self._own(entity)
        if key not in own:
            raise NotFound(f"no key {key!r}")
        return own[key]

    async def admin_put_state(self, entity: str, key: str, value: Any, caller: Caller) -> None:
        self.state.setdefault(entity, {})[key] = value

    async def admin_delete_state(self, entity: str, key: str, caller: Caller) -> None:
        self._own(entity).pop(key, None)

    def admin_list_state(  # noqa: PLR0913 - one listing, described whole
        self,
        entity: str,
        prefix: str,
        after: str,
        limit: int,
        caller: Caller,
        *,
        start: str = "",
        end: str | None = None,
    ) -> dict[str, Any]:
        keys = sorted(k for k in self._own(entity) if k.startswith(prefix) and k > after)
        keys = [k for k in keys if k >= start and (end is None or k < end)]
        return {
            "items": {k: self.state[entity][k] for k in keys[:limit]},
            "more": len(keys) > limit,
        }

    def admin_get_handlers(self, entity: str, caller: Caller) -> dict[str, Any]:
        return self.handlers.get(entity, {})

    async def admin_put_handlers(
        self, entity: str, handlers: dict[str, Any], caller: Caller
    ) -> None:
        for name in handlers:
            if name.startswith("!"):
                raise BadArguments(f"not a handler name: {name}")
        self.handlers[entity] = handlers

    def list_entities(self, prefix: str, after: str, limit: int, caller: Caller) -> dict[str, Any]:
        found = sorted(e for e in self.state if e.startswith(prefix) and e > after)
        names = found[:limit]
        return {
            "entities": names,
            "more": len(found) > limit,
            "after": names[-1] if names else after,
        }

    def processes(self, caller: Caller) -> list[dict[str, Any]]:
        return [
            {
                "pid": 7,
                "entity": "counter/alice",
                "handler": "increment",
                "account": "operator",
                "state": "running",
                "level": 1,
                "lane": "fast",
                "priority": 4,
                "fuel": 1200,
                "cpu_us": 5,
                "memory": 65536,
                "parent": None,
                "kind": "handler",
                "mode": "preemptive",
                "age_ms": 12,
            }
        ]

    def release_waiting(self) -> None:
        self.is_released = True

    def process_show(self, pid: int, caller: Caller) -> dict[str, Any]:
        for row in self.processes(caller):
            if row["pid"] == pid:
                return row
        raise NotFound(f"no process {pid}")

    def kill(self, pid: int, caller: Caller) -> None:
        if not caller.is_admin:
            raise NotPermitted("only an administrator may end a process")
        if self.kill_program(pid):
            return
        if pid != 7:
            raise NotFound(f"no process {pid}")
        self.killed.append(pid)

    def info(self) -> dict[str, Any]:
        return {"id": "node-1", "version": "0.1", "store": "memory"}

    def statistics(self) -> dict[str, float]:
        return {"runs_total": 3.0, "processes": 1.0}

    def is_ready(self) -> bool:
        return self.ready

    def read_audit(self, limit: int, caller: Caller) -> list[dict[str, Any]]:
        record = {
            "at_ms": 1_700_000_000_000,
            "identity": "mallory",
            "act": "call",
            "entity": "counter/alice",
            "outcome": "request.not_permitted",
            "detail": "",
        }
        return [record][:limit]
