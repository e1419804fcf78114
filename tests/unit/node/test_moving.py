"""Data going out of a serving node and coming in: consistent, bounded, with rights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import lithox
from lithox.dispatch.big_values import big_entity, blob_id_of, chunk_key
from lithox.dispatch.messages.records import OUTBOX
from lithox.dispatch.records import EntityRecord, encode_record
from lithox.dispatch.schedules.bounds import TimerBounds
from lithox.dispatch.schedules.records import DUE, due_key
from lithox.errors import (
    BadArguments,
    Conflict,
    NotFound,
    NotPermitted,
    Overloaded,
    TooManyTimers,
)
from lithox.model.archive import KIND_ENTITIES, ArchiveWriter
from lithox.model.big_values import CHUNK_BYTES, Manifest, encode_manifest
from lithox.model.values import decode_json, decode_value, encode_json, encode_value
from lithox.modules.bundle import Bundle
from lithox.node import moving_imports
from lithox.node.config import NodeConfig
from lithox.node.entity_lines import read_pieces
from lithox.node.moving import MOVES_MAX
from lithox.node.node import Node
from lithox.security.identities import LOCAL_OPERATOR
from lithox.store.contract import Commit
from lithox.store.dump import ORDERED_ENTITIES, CellRow
from lithox.store.dump_lines import read_rows
from lithox.testing.script import Module, ScriptedSelf
from lithox.testing.scripted import ScriptedEngine
from tests.unit.node.test_administration import acts, write
from tests.unit.node.test_node import ALICE, BOB, bundle_of, run

FAR_MS = 4_102_444_800_000
"""The year 2100."""
TEMPLATE = 'owner = "caller"\naccess = [{who = "bob", rights = ["read"]}]\n'


async def whole(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def parts(data: bytes, size: int = 1 << 16) -> AsyncIterator[bytes]:
    for begin in range(0, len(data), size):
        yield data[begin : begin + size]


def lines(data: bytes) -> list[dict[str, Any]]:
    """Returns the rows of an archive as plain JSON."""
    return [json.loads(line) for line in data.splitlines()[1:-1]]


def sealed(*rows: dict[str, Any]) -> bytes:
    """Returns an archive of entities made by hand."""
    writer = ArchiveWriter()
    header = writer.begin(KIND_ENTITIES)
    text = b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["k"]] = counts.get(row["k"], 0) + 1
    writer.add(text, counts)
    return header + text + writer.end()


def entity_line(entity: str, **changes: Any) -> dict[str, Any]:
    return {
        "k": "entity", "e": entity, "owner": "alice", "template": "counter/*", "created_ms": 1,
        "access": None, "limits": {}, "handlers": {}, "pin": None,
        "has_big": False, **changes,
    }  # fmt: skip


def timer_line(entity: str, timer_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "k": "timer", "e": entity, "id": timer_id, "handler": "increment", "args": [5],
        "due_ms": FAR_MS, "every_ms": 0, "cron": "", "zone": "", "missed": "once",
        "account": "alice", "owner": "alice", "hops": 1, "set_ms": 1, **changes,
    }  # fmt: skip


async def fill(node: Node, engine: ScriptedEngine) -> None:
    """Deploys the counter and makes counter/a of alice with two keys."""
    await node.deploy(bundle_of(engine, extra=TEMPLATE))
    await node.call("counter/a", "increment", 5, caller=ALICE)
    await node.admin_put_state("counter/a", "photo", b"\xff", ALICE)


async def take(node: Node, data: bytes, **options: Any) -> dict[str, Any]:
    return await node.entity_import(parts(data), **options)


def test_a_backup_holds_what_was_acknowledged(tmp_path: Path) -> None:
    """Every cell and the audit records are in it; its header names store and lithox."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await fill(node, engine)
        data = await whole(node.backup())
        header = json.loads(data.splitlines()[0])
        assert (header["kind"], header["lithox"]) == ("store", lithox.__version__)
        assert len(header["store"]) == 32
        cells = {(r.entity, r.key): r.value for r in read_rows([data]) if isinstance(r, CellRow)}
        assert cells["counter/a", "count"] == b"\x05"
        assert {"~lithox/templates", "~lithox/modules"} <= {entity for entity, _ in cells}
        assert acts(node, 1) == [("operator", "admin:backup", "ok")]

    run(tmp_path, body)


def test_only_administrators_back_up(tmp_path: Path) -> None:
    """Anybody else is refused, and the refusal is recorded."""

    async def body(node: Node, _engine: ScriptedEngine) -> None:
        with pytest.raises(NotPermitted):
            node.backup(caller=ALICE)
        assert acts(node, 1) == [("alice", "admin:backup", "request.not_permitted")]

    run(tmp_path, body)


def transfer(self: ScriptedSelf, amount: int) -> Any:
    """Moves an amount from one key to another."""
    left, right = (yield ("get", "left")) or 0, (yield ("get", "right")) or 0
    yield ("set", "left", left - amount)
    yield ("set", "right", right + amount)
    return left - amount


SIDES = {"left", "right"}
BANK: Module = {"transfer": transfer}


def test_a_backup_during_commits_is_a_consistent_moment(tmp_path: Path) -> None:
    """While transfers go on, each of several backups shows a sum that never changes.

    Commits are made during every backup: between its first chunk and its last.
    """

    async def body(node: Node, engine: ScriptedEngine) -> None:
        source = engine.publish("bank", BANK)
        manifest = '[[template]]\nmatch = "bank/*"\nlanguage = "lua"\nsource = "bank"\n'
        await node.deploy(Bundle(manifest=manifest, files={"bank": source.text}))
        # Enough beside it that a backup has many chunks.
        for number in range(8):
            await node.admin_put_state("bank/pad", f"{number}", b"x" * 300_000, LOCAL_OPERATOR)
        seen: set[int] = set()
        for _ in range(4):
            chunks = node.backup()
            data = await anext(chunks)
            async for chunk in chunks:
                data += chunk
                await asyncio.gather(*(node.call("bank/a", "transfer", 3) for _ in range(4)))
            found = {
                row.key: decode_value(row.value)
                for row in read_rows([data])
                if isinstance(row, CellRow) and row.entity == "bank/a" and row.key in SIDES
            }
            assert sum(found.values()) == 0
            seen.add(found.get("left", 0))
        assert len(seen) >= 3

    run(tmp_path, body)


def test_who_leaves_a_backup_frees_its_place(tmp_path: Path) -> None:
    """Only so many are made at once; one that is left early makes room and is recorded."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await fill(node, engine)
        begun = [node.backup() for _ in range(MOVES_MAX)]
        for chunks in begun:
            await anext(chunks)
        with pytest.raises(Overloaded, match="under way"):
            node.backup()
        await begun[0].aclose()
        assert acts(node, 1) == [("operator", "admin:backup", "request.cancelled")]
        assert await whole(node.backup())
        for chunks in begun[1:]:
            await chunks.aclose()

    run(tmp_path, body)


def test_a_node_that_closes_ends_its_backups(tmp_path: Path) -> None:
    """Closing waits for no reader: the backup ends, and what is left of it is no archive."""

    async def main() -> None:
        node = Node(tmp_path / "data", engines={"lua": ScriptedEngine()})
        await node.open()
        for number in range(40):
            await write(node, {("e", f"{number}"): b"x" * 100_000})
        chunks = node.backup()
        first = await anext(chunks)
        await node.close()
        rest = b"".join([chunk async for chunk in chunks])
        with pytest.raises(BadArguments, match="cut off"):
            list(read_rows([first + rest]))

    asyncio.run(main())


def test_an_export_is_read_by_people_and_imported_again(tmp_path: Path) -> None:
    """Record and values are plain JSON; another node makes the same cells of them."""
    found: dict[str, bytes] = {}
    wanted: dict[tuple[str, str], bytes] = {}

    async def cells_of(node: Node) -> dict[tuple[str, str], bytes]:
        return {
            (row.entity, row.key): row.value
            for row in read_rows([await whole(node.backup())])
            if isinstance(row, CellRow) and not row.entity.startswith("~lithox/")
        }

    async def first(node: Node, engine: ScriptedEngine) -> None:
        await fill(node, engine)
        await node.admin.put_access("counter/a", ["carol"], ALICE)
        found["data"] = await whole(node.entity_export("counter/a", caller=ALICE))
        assert acts(node, 1) == [("alice", "admin:export", "ok")]
        record, photo_key = lines(found["data"])[0], lines(found["data"])[1:]
        assert {k: v for k, v in record.items() if k != "created_ms"} == {
            k: v for k, v in entity_line("counter/a", access=["carol"]).items() if k != "created_ms"
        }
        assert photo_key == [
            {"k": "value", "e": "counter/a", "key": "count", "v": 5},
            {"k": "value", "e": "counter/a", "key": "photo", "v": {"$bytes": "/w=="}},
        ]
        wanted.update(await cells_of(node))

    async def second(node: Node, engine: ScriptedEngine) -> None:
        await node.deploy(bundle_of(engine, extra=TEMPLATE))
        report = await take(node, found["data"])
        assert report == {"imported": 1, "skipped": 0, "keys": 2, "in_pieces": []}
        assert await cells_of(node) == wanted
        assert acts(node, 2)[1] == ("operator", "admin:import", "ok")
        assert await node.call("counter/a", "increment", caller=ALICE) == 6

    run(tmp_path / "1", first)
    run(tmp_path / "2", second)


def test_a_pattern_exports_what_matches_and_may_be_read(tmp_path: Path) -> None:
    """In order; without the node's own entities, and without what the caller may not read."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await fill(node, engine)
        await node.call("counter/b", "increment", caller=BOB)
        await node.admin.put_access("counter/b", [], BOB)
        await write(node, {("zoo/a/b", "\0entity"): encode_record(EntityRecord(owner="zoe"))})

        async def names(pattern: str, caller: lithox.Caller = LOCAL_OPERATOR) -> list[str]:
            data = await whole(node.entity_export(pattern, caller=caller))
            return [row["e"] for row in lines(data) if row["k"] == "entity"]

        assert await names("**") == ["counter/a", "counter/b", "zoo/a/b"]
        assert await names("counter/*") == ["counter/a", "counter/b"]
        assert await names("*/*/b") == ["zoo/a/b"]
        assert await names("x/**") == []
        assert await names("~lithox/**") == []
        assert await names("**", BOB) == ["counter/a", "counter/b"]
        assert await names("**", ALICE) == ["counter/a"]
        for wrong in ("a//b", "a/**/b", ""):
            with pytest.raises(BadArguments):
                node.entity_export(wrong)
        with pytest.raises(NotFound):
            node.entity_export("counter/none")
        with pytest.raises(NotPermitted):
            node.entity_export("counter/b", caller=ALICE)
        assert acts(node, 1) == [("alice", "admin:export", "request.not_permitted")]
        with pytest.raises(NotPermitted):
            node.entity_export("~lithox/templates")

    run(tmp_path, body)


def test_an_entity_that_is_there_is_refused_replaced_or_skipped(tmp_path: Path) -> None:
    """By choice; replacing leaves nothing of the old one, in one commit."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await fill(node, engine)
        data = sealed(
            entity_line("counter/a"),
            {"k": "value", "e": "counter/a", "key": "count", "v": 70},
            entity_line("counter/b"),
        )
        with pytest.raises(BadArguments, match=r"entity counter/a: it is there already"):
            await take(node, data)
        assert node.admin_get_state("counter/a", "count", ALICE) == 5
        report = await take(node, data, mode="skip")
        assert report == {"imported": 1, "skipped": 1, "keys": 0, "in_pieces": []}
        assert node.admin_get_state("counter/a", "count", ALICE) == 5
        before = node._store.visible_version
        report = await take(node, data, mode="replace")
        assert report == {"imported": 2, "skipped": 0, "keys": 1, "in_pieces": []}
        assert node._store.visible_version == before + 2
        assert node.admin_list_state("counter/a", "", "", 10, ALICE)["items"] == {"count": 70}
        with pytest.raises(BadArguments, match="mode is one of"):
            await take(node, data, mode="merge")

    run(tmp_path, body)


def test_a_damaged_import_writes_nothing(tmp_path: Path) -> None:
    """Whatever is wrong anywhere is found before the first commit; nothing is left behind."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await fill(node, engine)
        good = sealed(
            entity_line("counter/x"),
            {"k": "value", "e": "counter/x", "key": "n", "v": 1},
            entity_line("counter/y"),
        )
        version = node._store.visible_version
        files = set(node.data.iterdir())
        bad = [good[:-1], good[:200], good.replace(b'"v":1', b'"v":2'), b"", good + good]
        bad += [await whole(node.backup())]
        for data in bad:
            with pytest.raises(BadArguments, match="not a whole archive"):
                await take(node, data)
        assert node._store.visible_version == version
        assert set(node.data.iterdir()) == files

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"k": "value", "e": "a", "key": "n", "v": 1}], "stands outside its entity"),
        ([entity_line("a"), {"k": "value", "e": "b", "key": "n", "v": 1}], "outside its entity"),
        ([entity_line("b"), entity_line("a")], "out of order"),
        ([entity_line("a"), entity_line("a")], "out of order"),
        ([entity_line("a", extra=1)], "unknown field"),
        ([entity_line("a//b")], "an entity path is"),
        ([entity_line("~lithox/templates")], "belongs to the node"),
        ([entity_line("a", access=[{"who": "x", "rights": ["fly"]}])], "found 'fly'"),
        ([entity_line("a", limits={"fuel": -1})], "entity a: "),
        ([entity_line("a", handlers={"Bad": {}})], "a handler name is"),
        ([entity_line("a"), {"k": "value", "e": "a", "key": "", "v": 1}], "a state key is"),
        ([entity_line("a"), {"k": "value", "e": "a", "key": "\0x", "v": 1}], "a state key is"),
        ([entity_line("a"), {"k": "value", "e": "a", "key": "n", "v": {"$x": 1}}], "first key"),
        ([entity_line("a"), {"k": "value", "e": "a", "key": "n", "v": 1 << 64}], "64-bit"),
        ([entity_line("a"), *2 * [{"k": "value", "e": "a", "key": "n", "v": 1}]], "'n' twice"),
        ([entity_line("a"), {"k": "chunk", "e": "a", "id": "b", "n": -1, "v": ""}], "no such"),
        ([entity_line("a"), {"k": "big", "e": "a", "key": "k", "id": "b", "size": 1, "chunks": 1,
                             "sha256": "00"}], "not described"),
        ([entity_line("a"), timer_line("a", "t", every_ms=1)], "what no timer can"),
        ([entity_line("a"), timer_line("a", "t", every_ms=1000, cron="* * * * *", zone="UTC")],
         "what no timer can"),
        ([entity_line("a"), timer_line("a", "t", due_ms=-1)], "what no timer can"),
        ([entity_line("a"), timer_line("a", "t", missed="never")], "what no timer can"),
        ([entity_line("a"), timer_line("a", "t", cron="x")], "cron"),
        ([entity_line("a"), timer_line("a", "t", args={})], "list"),
        ([entity_line("a"), timer_line("a", "a/b")], "a timer's name"),
        ([entity_line("a"), *2 * [timer_line("a", "t")]], "timer 't' twice"),
        ([{"k": "cell", "e": "a", "key": "k", "v": ""}], "cannot be read"),
    ],
)  # fmt: skip
def test_lines_that_say_what_cannot_be_are_refused(rows: list[dict[str, Any]], words: str) -> None:
    """A well-sealed archive made by hand is checked like any input."""
    with pytest.raises(BadArguments, match=words):
        list(read_pieces([sealed(*rows)]))


@pytest.mark.parametrize("row", [entity_line("a", access="?"), timer_line("a", "t", args="?")])
def test_lists_in_lists_without_end_are_refused(row: dict[str, Any]) -> None:
    """A row that nests deeper than a decoder goes is told as one that cannot be read."""
    deep = b"[" * 100_000 + b"]" * 100_000
    whole_text = sealed(entity_line("0"), row)
    lines = whole_text.replace(b'"?"', deep).splitlines(keepends=True)
    with pytest.raises(BadArguments, match="cannot be read"):
        list(read_pieces(lines[:-1]))


def test_an_import_needs_rights(tmp_path: Path) -> None:
    """Who is no administrator imports own entities as their owner, and no one else's."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await fill(node, engine)
        own = sealed(entity_line("counter/mine", owner="bob"))
        assert (await take(node, own, caller=BOB))["imported"] == 1
        assert (await node.admin_show("counter/mine", BOB))["owner"] == "bob"
        for line, words in [
            (entity_line("counter/mine2", owner="alice"), "gives it to alice"),
            (entity_line("counter/a", owner="alice"), "holds no right 'admin'"),
            (entity_line("nowhere/a", owner="bob"), "no deployed template"),
            (entity_line("counter/c", owner="bob", pin="0" * 64), "no module"),
        ]:
            with pytest.raises((NotPermitted, NotFound), match=words):
                await take(node, sealed(line), mode="replace", caller=BOB)
            assert acts(node, 1)[0][1] == "admin:import"
        assert (await take(node, sealed(entity_line("nowhere/a", owner="bob"))))["imported"] == 1

    run(tmp_path, body)


def test_what_is_too_large_for_one_commit_goes_in_pieces(tmp_path: Path) -> None:
    """All of it arrives, the old state is cleared step by step, and the report names it."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await fill(node, engine)
        values = [
            {"k": "value", "e": "counter/a", "key": f"k{number:03}", "v": number}
            for number in range(25)
        ]
        data = sealed(entity_line("counter/a"), *values, entity_line("counter/b"))
        for _ in range(2):
            report = await take(node, data, mode="replace")
            assert report == {
                "imported": 2, "skipped": 0, "keys": 25, "in_pieces": ["counter/a"]
            }  # fmt: skip
            items = node.admin_list_state("counter/a", "", "", 100, ALICE)["items"]
            assert items == {row["key"]: row["v"] for row in values}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moving_imports, "PIECE_KEYS_MAX", 10)
        patch.setattr("lithox.node.entity_lines.PIECE_KEYS_MAX", 10)
        run(tmp_path, body)


def test_big_values_travel_in_chunks(tmp_path: Path) -> None:
    """Reference and chunks come out readable and go in as the same cells."""
    blob_id, size = blob_id_of("film"), CHUNK_BYTES + 2
    digest = b"\x11" * 32
    cells: dict[tuple[str, str], bytes | None] = {
        ("counter/a", "film"): encode_manifest(Manifest(blob_id, size, 2, digest)),
        (big_entity("counter/a"), chunk_key(blob_id, 0)): b"a" * CHUNK_BYTES,
        (big_entity("counter/a"), chunk_key(blob_id, 1)): b"de",
        (big_entity("counter/ab"), chunk_key(blob_id, 0)): b"of another",
        ("counter/a", "\0entity"): encode_record(EntityRecord(owner="alice", has_big=True)),
    }

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await fill(node, engine)
        await write(node, cells)
        data = await whole(node.entity_export("counter/a"))
        rows = lines(data)
        assert rows[0]["has_big"] is True
        assert [(row["k"], row.get("n"), len(row["v"])) for row in rows[1:3]] == [
            ("chunk", 0, -(-CHUNK_BYTES // 3) * 4),
            ("chunk", 1, 4),
        ]
        assert rows[4] == {
            "k": "big", "e": "counter/a", "key": "film", "id": blob_id, "size": size, "chunks": 2,
            "sha256": digest.hex(),
        }  # fmt: skip
        left_over = (big_entity("counter/a"), chunk_key(blob_id, 2))
        await write(node, {left_over: b"left over"})
        await take(node, data, mode="replace")
        found = {
            (row.entity, row.key): row.value
            for row in read_rows([await whole(node.backup())])
            if isinstance(row, CellRow) and (row.entity, row.key) in cells
        }
        assert found == cells
        snapshot = node._store.open_snapshot()
        assert snapshot.find(*left_over) is None
        snapshot.release()

    run(tmp_path, body)


def test_timers_travel_and_go_off(tmp_path: Path) -> None:
    """They come out readable and go in armed; those of what was replaced are gone."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await fill(node, engine)
        far = timer_line("counter/a", "far", cron="0 5 * * *", zone="Europe/Berlin")
        due = timer_line("counter/a", "now", due_ms=1)
        data = sealed(entity_line("counter/a"), far, due)
        assert (await take(node, data, mode="replace"))["imported"] == 1
        while await node.call("counter/a", "increment", 0, caller=ALICE) != 5:
            pass  # The call gives the timer's message its turn.
        rows = lines(await whole(node.entity_export("counter/a")))
        assert [row for row in rows if row["k"] == "timer"] == [far]
        assert node.statistics()["timers_armed"] == 1
        other = sealed(entity_line("counter/a"), timer_line("counter/a", "other"))
        await take(node, other, mode="replace")
        found, more = await node.timers_list("counter/a")
        assert ([timer["id"] for timer in found], more) == (["other"], False)
        assert node.statistics()["timers_armed"] == 1
        cells = [row for row in read_rows([await whole(node.backup())]) if isinstance(row, CellRow)]
        assert [row.key for row in cells if row.entity == DUE] == [
            due_key(FAR_MS, "counter/a", "other")
        ]

    run(tmp_path, body)


def test_timers_of_others_are_paid_by_who_imports_them(tmp_path: Path) -> None:
    """Who is no administrator cannot let another account pay; bounds hold as for handlers."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await fill(node, engine)
        data = sealed(
            entity_line("counter/b", owner="bob"), timer_line("counter/b", "t", account="alice")
        )
        await take(node, data, caller=BOB)
        (row,) = [
            row
            for row in lines(await whole(node.entity_export("counter/b")))
            if row["k"] == "timer"
        ]
        assert (row["account"], row["owner"]) == ("bob", "bob")
        timers = [timer_line("counter/c", f"t{number}") for number in range(3)]
        with pytest.raises(TooManyTimers, match="entity counter/c: the entity may have 2"):
            await take(node, sealed(entity_line("counter/c"), *timers))

    run(tmp_path, body, config=NodeConfig(timers=TimerBounds(entity_max=2)))


def test_an_import_that_always_loses_says_so(tmp_path: Path) -> None:
    """When runs on the entity are faster each time, the answer is a conflict."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await fill(node, engine)
        real = moving_imports._plan

        def disturbed(snapshot: Any, piece: Any) -> Any:
            planned = real(snapshot, piece)
            other = Commit(snapshot.version, writes={("counter/a", "x"): b"\xc0"})
            node._store.submit(other, lambda _: None)
            return planned

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(moving_imports, "_plan", disturbed)
            with pytest.raises(Conflict, match="lost 10 times"):
                await take(node, sealed(entity_line("counter/a")), mode="replace")
        assert node.admin_get_state("counter/a", "count", ALICE) == 5

    run(tmp_path, body)


def test_names_that_stand_twice_agree() -> None:
    """The store knows the outbox by the name that dispatch gives it."""
    assert {OUTBOX} == ORDERED_ENTITIES


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        -0.0,
        1e300,
        2**63 - 1,
        -(2**63),
        "\x00é\U0001f600",
        b"",
        {"$a": {"$bytes": 1}},
        [{}, None],
    ],
)
def test_any_value_survives_as_json(value: Any) -> None:
    """The stored bytes after a way through JSON are the stored bytes before."""
    stored = encode_value(value)
    assert encode_value(decode_json(encode_json(decode_value(stored)))) == stored
