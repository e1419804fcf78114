"""Whatever happens, a store is a dictionary with versions: every engine against one model."""

from __future__ import annotations

import shutil
import tempfile
from itertools import accumulate
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lithox.store.contract import Commit, Item, Range, Snapshot
from lithox.store.visible import Options
from tests.conformance.store.worlds import Answers, make_world

ENTITIES = st.sampled_from(["a", "a/b", "ü"])
KEYS = st.sampled_from(["\x00sys", "k", "k\x00", "l", "é", "\U0001f600"])
CELLS = st.tuples(ENTITIES, KEYS)
RANGES = st.builds(Range, ENTITIES, st.just("") | KEYS, st.none() | KEYS)
WRITES = st.dictionaries(CELLS, st.none() | st.binary(max_size=40), max_size=4)
Cells = dict[tuple[str, str], Item]


class StoreMachine(RuleBasedStateMachine):
    """Random commits, snapshots, syncs, failures and restarts; see the rules."""

    engine = ""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="lithox-model-"))
        self.world = make_world(self.engine, self.folder)
        # Small bounds, so that eviction happens all the time.
        self.world.open(Options(cache_bytes_max=6_000))
        self.cells: Cells = {}
        self.durable: Cells = {}
        self.modified: dict[tuple[str, str], int] = {}
        self.open: list[tuple[Snapshot, Cells]] = []
        self.waiting: list[Answers] = []
        self.pending_cells: set[tuple[str, str]] = set()
        self.versions: set[int] = set()

    def teardown(self) -> None:
        self.world.end()
        shutil.rmtree(self.folder)

    # What happens.

    @rule()
    def open_snapshot(self) -> None:
        self.open.append((self.world.store.open_snapshot(), dict(self.cells)))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def release_snapshot(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.open) - 1))
        self.open.pop(index)[0].release()

    @rule(
        data=st.data(),
        reads=st.lists(CELLS, max_size=3),
        ranges=st.lists(RANGES, max_size=2),
        writes=WRITES,
    )
    def submit(self, data, reads, ranges, writes) -> None:
        """A commit is taken exactly when nothing it read changed after its snapshot."""
        versions = [snapshot.version for snapshot, _ in self.open]
        version = data.draw(st.sampled_from([*versions, self.world.store.visible_version]))
        is_current = not any(
            changed > version and (cell in reads or any(covers(r, cell) for r in ranges))
            for cell, changed in self.modified.items()
        )
        answers = Answers()
        made = self.world.store.submit(
            Commit(version, reads=reads, ranges=ranges, writes=writes), answers.add
        )
        assert (made is not None) == is_current
        if made is None:
            return
        self.waiting.append(answers)
        if not writes:
            assert made == self.world.store.visible_version
            return
        assert made not in self.versions
        assert made == self.world.store.visible_version
        self.versions.add(made)
        for cell, value in writes.items():
            self.modified[cell] = made
            self.pending_cells.add(cell)
            if value is None:
                self.cells.pop(cell, None)
            else:
                self.cells[cell] = Item(value, made)

    @rule()
    def hold(self) -> None:
        self.world.hold()

    @rule()
    def settle(self) -> None:
        """Everything becomes durable and everyone is told so, once."""
        self.world.release()
        self.world.settle()
        self.check_answers(is_withdrawn=False)
        self.durable = dict(self.cells)
        self.pending_cells.clear()

    @rule()
    def fail(self) -> None:
        """What is durable stays, the rest is withdrawn and counts as changed; then all works."""
        # Held first and settled before, so that it is known which commits the failure meets.
        self.settle()
        self.world.hold()
        lost = Answers()
        self.world.store.submit(Commit(0, writes={("a", "k"): b"lost", ("ü", "l"): None}), lost.add)
        seen = self.world.store.open_snapshot()
        assert seen.find("a", "k").value == b"lost"
        self.world.fail()
        self.world.release()
        self.world.settle()
        assert [error is not None for error in lost.errors] == [True]
        self.world.mend()
        self.world.wait_writable()
        assert seen.find("a", "k").value == b"lost"
        seen.release()
        for cell in (("a", "k"), ("ü", "l")):
            self.modified[cell] = self.world.store.visible_version
        self.cells = dict(self.durable)

    @precondition(lambda self: not self.open)
    @rule()
    def reopen(self) -> None:
        """Closing makes everything durable; versions go on growing."""
        self.world.release()
        self.world.reopen()
        self.check_answers(is_withdrawn=False)
        self.durable = dict(self.cells)
        self.pending_cells.clear()
        # What changed before can be read at no snapshot any more.
        self.modified = {}

    # What must hold.

    @rule(cell=CELLS, area=RANGES, limit=st.integers(1, 5), bytes_max=st.integers(0, 100))
    def read_everywhere(self, cell, area, limit, bytes_max) -> None:
        """Every snapshot, and a new one, finds, loads and scans what the model had then."""
        newest = self.world.store.open_snapshot()
        for snapshot, cells in [*self.open, (newest, self.cells)]:
            assert snapshot.find(*cell) == cells.get(cell)
            items = {k: item for (entity, k), item in sorted(cells.items()) if entity == cell[0]}
            size = sum(len(k.encode()) + len(item.value) for k, item in items.items())
            loaded = snapshot.load(cell[0], bytes_max)
            if loaded.is_complete:
                assert loaded.items == items
                assert size <= bytes_max
            found = [(c[1], item) for c, item in sorted(cells.items()) if covers(area, c)]
            page = snapshot.scan(area, limit)
            assert page == (found[:limit], len(found) > limit)
            sizes = accumulate(len(k.encode()) + len(item.value) for k, item in found)
            count = min(limit, max(1, sum(size <= bytes_max for size in sizes)))
            cut = snapshot.scan(area, limit, bytes_max)
            assert cut == (found[:count], len(found) > count)
        newest.release()

    @rule(prefix=st.sampled_from(["", "a", "a/", "ü"]), limit=st.integers(1, 4))
    def list_and_measure(self, prefix, limit) -> None:
        """Entities are those with a key, and their sizes those of the user's keys."""
        names = sorted({entity for entity, _ in self.cells})
        expected = [name for name in names if name.startswith(prefix)]
        assert self.world.store.list_entities(prefix, "", limit) == expected[:limit]
        for name in names:
            own = [(k, i) for (e, k), i in self.cells.items() if e == name and k[0] != "\x00"]
            size = sum(len(k.encode()) + len(item.value) for k, item in own)
            assert self.world.store.measure_entity(name) == (len(own), size)

    @invariant()
    def versions_are_ordered(self) -> None:
        """Durable never passes visible, and the cache keeps its bound."""
        assert self.world.store.durable_version <= self.world.store.visible_version
        statistics = self.world.store.statistics()
        assert 0 <= statistics["cache_bytes"] <= 6_000
        if not self.open:
            assert statistics["undo_bytes"] == 0

    def check_answers(self, *, is_withdrawn: bool) -> None:
        self.world.go_round()
        for answers in self.waiting:
            assert [error is not None for error in answers.errors] == [is_withdrawn]
        self.waiting = []


def covers(area: Range, cell: tuple[str, str]) -> bool:
    entity, key = cell
    return area.entity == entity and area.start <= key and (area.end is None or key < area.end)


class MemoryMachine(StoreMachine):
    engine = "memory"


class EmbeddedMachine(StoreMachine):
    engine = "embedded"


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(max_examples=50, stateful_step_count=40)
TestEmbedded = EmbeddedMachine.TestCase
TestEmbedded.settings = settings(max_examples=20, stateful_step_count=30)


class PostgresMachine(StoreMachine):
    engine = "postgres"


TestPostgres = PostgresMachine.TestCase
TestPostgres.settings = settings(max_examples=6, stateful_step_count=25)
