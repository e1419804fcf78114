"""A deploy of programs, libraries, runtimes and services: one commit, told once durable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lithox.errors import ConfigError, LithoxError, NotFound, StoreUnavailable
from lithox.modules.bundle import Bundle
from lithox.node import code_plans
from lithox.node import node as node_module
from lithox.node import opening as opening_module
from lithox.node.node import Node
from lithox.store.memory import MemoryDisk, MemoryStore
from lithox.testing.scripted import ScriptedEngine
from tests.unit.node.test_node import bundle_of, run

MANIFEST = """
[[program]]
name = "web"
source = "web.lua"
runtime = "compat-5.1"

[[library]]
name = "http"
source = "http.lua"

[[runtime]]
name = "cc"
source = "cc.lua"

[[service]]
name = "web"
program = "web"
requires = ["db"]

[[service]]
name = "db"
program = "web"
after = ["later"]
"""
FILES = {"web.lua": b"print(1)", "http.lua": b"return {}", "cc.lua": b"x = 1"}


def bundle(manifest: str = MANIFEST, **files: bytes) -> Bundle:
    return Bundle(manifest=manifest, files={**FILES, **files})


def service(name: str, **said: Any) -> str:
    """Returns the `[[service]]` of a program that is there."""
    lines = [f"{key} = {value!r}" for key, value in said.items()]
    return "\n".join(
        ['[[service]]\nname = "%s"' % name, 'program = "web"', *lines, ""]  # noqa: UP031
    )


def all_parts(node: Node) -> tuple[list[str], list[str]]:
    """Returns (programs that are not the package's, registry keys)."""
    rows, _ = node.store_list("program")
    keys = [key for key, _ in node.registry.list()[0]]
    return [row["name"] for row in rows if row["version"]], keys


def test_code_and_services_are_published_together(tmp_path: Path) -> None:
    """Texts, runtimes and definitions are there after a restart, the deploy is on record once."""

    async def first(node: Node, _engine: ScriptedEngine) -> None:
        heard: list[str] = []
        node.registry.on_change = heard.append
        report = await node.deploy(bundle())
        assert report.to_json() == {
            "modules": {},
            "templates": [],
            "handlers": {},
            "code": {"program": {"web": 1}, "library": {"http": 1}, "runtime": {"cc": 1}},
            "services": ["web", "db"],
        }
        assert heard == ["service/web", "service/db"]
        (record, *_) = node.read_audit(1, node_module.LOCAL_OPERATOR)
        assert (record["act"], record["outcome"]) == ("deploy", "ok")
        assert record["detail"] == (
            "program web, library http, runtime cc, service web, service db"
        )

    async def second(node: Node, _engine: ScriptedEngine) -> None:
        text, info = node.store_get("program", "web")
        assert (text, info["runtime"], info["note"], info["by"]) == (
            b"print(1)",
            "compat-5.1",
            "deploy",
            "operator",
        )
        assert node.store_get("library", "http")[0] == b"return {}"
        assert node.store_get("runtime", "cc")[0] == b"x = 1"
        assert node.registry.get("service/web")["requires"] == ["db"]

    run(tmp_path, first)
    run(tmp_path, second)


def test_what_is_there_already_gets_no_new_version(tmp_path: Path) -> None:
    """Only what differs is written and heard of; a removed or changed one is set again."""

    async def body(node: Node, _engine: ScriptedEngine) -> None:
        await node.deploy(bundle())
        heard: list[str] = []
        node.registry.on_change = heard.append
        again = await node.deploy(bundle())
        assert (again.code["program"], heard) == ({"web": 1}, [])
        changed = MANIFEST.replace('after = ["later"]', "priority = 9")
        changed = changed.replace('runtime = "compat-5.1"\n', "")
        report = await node.deploy(bundle(changed, **{"http.lua": b"return 2"}))
        assert report.code == {
            "program": {"web": 2},
            "library": {"http": 2},
            "runtime": {"cc": 1},
        }
        assert heard == ["service/db"]
        assert node.store_get("program", "web")[1]["runtime"] is None
        await node.store_remove("runtime", "cc")
        assert (await node.deploy(bundle(changed))).code["runtime"] == {"cc": 3}

    run(tmp_path, body)


def test_templates_and_code_are_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails takes all of it back, and nobody hears of a service."""
    disk = MemoryDisk()

    class OnDisk:
        @staticmethod
        def open(_path: Path, *, post: Any, options: Any) -> MemoryStore:
            del options
            return MemoryStore(post=post, disk=disk)

    monkeypatch.setattr(opening_module, "EmbeddedStore", OnDisk)

    async def body(node: Node, engine: ScriptedEngine) -> None:
        heard: list[str] = []
        node.registry.on_change = heard.append
        both = bundle_of(engine)
        whole = Bundle(manifest=both.manifest + MANIFEST, files={**both.files, **FILES})
        submits: list[int] = []
        submit = node._store.submit

        def count(commit: Any, on_done: Callable[[Any], None]) -> int | None:
            submits.append(len(commit.writes))
            return submit(commit, on_done)

        node._store.submit = count  # type: ignore[method-assign]
        disk.fail(StoreUnavailable("full"))
        with pytest.raises(StoreUnavailable):
            await node.deploy(whole)
        assert (len(submits), heard) == (1, [])
        assert (all_parts(node), node.info()["templates"]) == (([], []), [])
        disk.mend()

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        (service("a", requires=["nobody"]), "requires 'nobody', which is no service"),
        (service("a", requires=["b"]) + service("b", after=["a"]), "each other: a -> b -> a"),
        (service("a").replace("web", "missing"), "runs program 'missing', which nobody has set"),
        (service("a", requires=["web"]) + service("web", requires=["a"]), "a -> web -> a"),
        ('[[runtime]]\nname = "compat"\nsource = "cc.lua"\n', "'compat' is built in"),
        (
            '[[program]]\nname = "new"\nsource = "web.lua"\n' + service("b", requires=["x"]),
            "requires 'x'",
        ),
    ],
)
def test_services_that_could_not_start_are_refused(
    tmp_path: Path, manifest: str, told: str
) -> None:
    """Unknown ones, rings and programs nobody has: told, with nothing of the deploy done."""

    async def body(node: Node, _engine: ScriptedEngine) -> None:
        await node.deploy(bundle())
        before = all_parts(node)
        with pytest.raises(ConfigError, match=told):
            await node.deploy(bundle(manifest))
        assert all_parts(node) == before

    run(tmp_path, body)


def test_a_ring_through_services_that_are_there_is_refused(tmp_path: Path) -> None:
    """What the registry has counts, whoever put it there and whatever it is."""

    async def body(node: Node, _engine: ScriptedEngine) -> None:
        await node.deploy(bundle())
        odd: list[Any] = [5, {"requires": 5}, {"after": [5, "web"]}]
        for number, value in enumerate(odd):
            node.registry.put(f"service/odd{number}", value, on_done=lambda error: None)
        with pytest.raises(ConfigError, match="db -> odd2 -> web -> db"):
            await node.deploy(bundle(service("db", requires=["odd0", "odd1", "odd2"])))
        await node.deploy(bundle(service("db", requires=["odd0", "odd1"])))

    run(tmp_path, body)


def test_a_full_store_refuses_the_whole_deploy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bound reached half way leaves nothing of it."""
    monkeypatch.setattr(code_plans, "CODE_BYTES_MAX", 10)

    async def body(node: Node, _engine: ScriptedEngine) -> None:
        with pytest.raises(LithoxError, match="they may have 10"):
            await node.deploy(bundle())
        with pytest.raises(NotFound):
            node.store_get("program", "web")

    run(tmp_path, body)


def test_the_node_keeps_the_stores_for_the_operator(tmp_path: Path) -> None:
    """The methods of a node, without a caller, are the operator's."""

    async def body(node: Node, _engine: ScriptedEngine) -> None:
        assert await node.store_set("program", "p", "1", note="n", runtime="cc") == 1
        assert await node.store_set("program", "p", b"2") == 2
        assert await node.store_rollback("program", "p", 1, note="back") == 3
        assert [row["note"] for row in node.store_history("program", "p")] == ["back", "", "n"]
        assert await node.store_remove("program", "p") == 4
        with pytest.raises(NotFound):
            node.store_get("program", "p")
        assert node.store_get("program", "p", 2)[0] == b"2"
        acts = [one["act"] for one in node.read_audit(4, node_module.LOCAL_OPERATOR)]
        assert acts == ["program.remove:p", "program.rollback:p", "program.set:p", "program.set:p"]

    run(tmp_path, body)
