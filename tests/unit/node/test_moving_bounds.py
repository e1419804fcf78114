"""Who may move how much, and for how long: nobody takes a disk or a snapshot for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import lithox
from lithox.errors import (
    BadArguments,
    Cancelled,
    DeadlinePassed,
    NotFound,
    NotPermitted,
    Overloaded,
    TooLarge,
)
from lithox.node import moving, moving_imports
from lithox.node.moving import ACCOUNT_MOVES_MAX, ADMIN_MOVES, MOVES_MAX
from lithox.node.node import Node
from lithox.testing.scripted import ScriptedEngine
from tests.unit.node.test_administration import acts, write
from tests.unit.node.test_moving import entity_line, fill, sealed, whole
from tests.unit.node.test_node import ALICE, BOB, run

CAROL = lithox.Caller(identity="carol", account="carol")  # type: ignore[arg-type]


class Upload:
    """An archive that comes in pieces; counts those that were asked for."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            self.taken += 1
            yield part


class Stuck:
    """An upload that begins and then says nothing."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.begun.set()
        await asyncio.Event().wait()
        yield b""


async def fill_large(node: Node) -> None:
    """Makes the store large enough that its backup has more chunks than are made ahead."""
    for number in range(40):
        await write(node, {("e", f"{number}"): b"x" * 100_000})


async def wait_freed(node: Node) -> None:
    """Returns when no place is taken; the test's own time limit ends it otherwise."""
    while node._moves._open:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)


def test_who_has_no_right_is_refused_before_the_rest_comes(tmp_path: Path) -> None:
    """An import whose first entity the caller may not write is read no further than that."""

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await fill(node, engine)
        head, _, rest = sealed(entity_line("counter/a")).partition(b"\n")
        refused = Upload(head + b"\n", rest[:40], rest[40:], b"x" * 1_000, b"x" * 1_000)
        with pytest.raises(NotPermitted, match=r"^entity counter/a: bob holds no right 'admin'"):
            await node.entity_import(refused, caller=BOB)
        assert refused.taken == 3
        assert acts(node, 1) == [("bob", "admin:import", "request.not_permitted")]
        nowhere = Upload(sealed(entity_line("nowhere/a", owner="bob")), b"x" * 1_000)
        with pytest.raises(NotFound, match=r"^entity nowhere/a: .* no deployed template"):
            await node.entity_import(nowhere, caller=BOB)
        assert nowhere.taken == 1
        noise = Upload(b"x\n", b"x" * 1_000)
        with pytest.raises(BadArguments, match="not a header"):
            await node.entity_import(noise, caller=BOB)
        assert noise.taken == 1

    run(tmp_path, body)


def test_an_import_has_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger than a caller may bring is refused at the first byte too many."""
    monkeypatch.setattr(moving_imports, "IMPORT_BYTES_MAX", 1_000)

    async def body(node: Node, engine: ScriptedEngine) -> None:
        await fill(node, engine)
        data = sealed(entity_line("counter/mine", owner="bob"))
        parts = Upload(data[:-10], b" " * 1_000, b"more")
        with pytest.raises(TooLarge, match="an import has at most 1000 bytes"):
            await node.entity_import(parts, caller=BOB)
        assert parts.taken == 2
        assert (await node.entity_import(Upload(data), caller=BOB))["imported"] == 1

    run(tmp_path, body)


def test_uploads_count_from_their_first_byte(tmp_path: Path) -> None:
    """Imports that have not come yet are counted, per account too, and one place is kept back."""

    async def body(node: Node, _engine: ScriptedEngine) -> None:
        callers = [ALICE, ALICE, BOB]
        assert len(callers) == MOVES_MAX - ADMIN_MOVES
        uploads = [Stuck() for _ in callers]
        tasks = []
        for caller, upload in zip(callers, uploads, strict=True):
            task = asyncio.ensure_future(node.entity_import(upload, caller=caller))
            tasks.append(task)
            await upload.begun.wait()
            if len(tasks) == ACCOUNT_MOVES_MAX:
                refused = Upload(b"")
                with pytest.raises(Overloaded, match="2 exports and imports of this account"):
                    await node.entity_import(refused, caller=ALICE)
                assert refused.taken == 0
        with pytest.raises(Overloaded, match=r"^3 exports and imports are under way"):
            node.entity_export("**", caller=CAROL)
        assert await whole(node.backup())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await whole(node.entity_export("**", caller=ALICE))

    run(tmp_path, body)


def test_a_reader_who_takes_nothing_is_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its snapshot and place are free though it never comes back; if it does, it is told."""
    monkeypatch.setattr(moving, "IDLE_S_MAX", 0.01)

    async def body(node: Node, _engine: ScriptedEngine) -> None:
        await fill_large(node)
        begun = [node.backup() for _ in range(MOVES_MAX)]
        for chunks in begun:
            await anext(chunks)
        await wait_freed(node)
        monkeypatch.setattr(moving, "IDLE_S_MAX", 30.0)
        assert await whole(node.backup())
        with pytest.raises(Cancelled, match=r"nothing of it was taken for 0.01 s"):
            await whole(begun[0])
        assert acts(node, 1) == [("operator", "admin:backup", "request.cancelled")]
        for chunks in begun[1:]:
            await chunks.aclose()

    run(tmp_path, body)


def test_a_move_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who takes a little now and then, and an upload that stops, are broken off too."""
    monkeypatch.setattr(moving, "ADMIN_MOVE_S_MAX", 0.5)

    async def body(node: Node, _engine: ScriptedEngine) -> None:
        await fill_large(node)
        chunks = node.backup()
        await anext(chunks)
        await wait_freed(node)
        with pytest.raises(DeadlinePassed, match=r"it took longer than 0.5 s"):
            await whole(chunks)
        with pytest.raises(DeadlinePassed, match=r"it was not whole after 0.5 s"):
            await node.entity_import(Stuck())

    run(tmp_path, body)
