"""The stores of programs, libraries and runtimes, over both engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lithox.errors import (
    BadArguments,
    Conflict,
    LithoxError,
    NotFound,
    Overloaded,
    StoreUnavailable,
    TooLarge,
)
from lithox.modules import boot, code
from lithox.node import code_plans
from lithox.node.code_stores import CodeStores
from lithox.store.contract import Commit
from tests.conformance.store.worlds import ENGINES, World, make_world


@dataclass
class House:
    """The stores over one world, a clock, and what was recorded."""

    world: World
    now_ms: int = 1_000
    acts: list[tuple[str, str, str, str]] = field(default_factory=list)
    told: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stores = CodeStores(self.world.store, lambda: self.now_ms, self._record)

    def _record(
        self, *, identity: str, act: str, entity: str, outcome: str, detail: str = ""
    ) -> None:
        assert entity == ""
        self.acts.append((identity, act, outcome, detail))

    def set(self, name: str, text: bytes | str, kind: str = "program", **more: Any) -> int:
        return self.stores.set(kind, name, text, by="op", on_done=self.told.append, **more)

    def reopen(self) -> None:
        self.world.settle()
        self.world.reopen()
        self.__post_init__()


@pytest.fixture(autouse=True)
def no_boot_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own programs are not these tests' business."""
    monkeypatch.setattr(boot, "_read_all", lambda kind: {})


@pytest.fixture(params=ENGINES)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    world = make_world(request.param, tmp_path)
    world.open()
    yield House(world)
    world.end()


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[House]:
    """The memory engine alone, for what no engine can change."""
    world = make_world("memory", tmp_path)
    world.open()
    yield House(world)
    world.end()


def keys_of(house: House) -> set[str]:
    """Returns every key of every entity the stores keep."""
    from lithox.dispatch.records import CODE_ENTITIES, TEXTS_ENTITY
    from lithox.store.contract import Range

    snapshot = house.world.store.open_snapshot()
    try:
        return {
            key
            for entity in (*CODE_ENTITIES.values(), TEXTS_ENTITY)
            for key, _ in snapshot.scan(Range(entity, "", None), 10_000).items
        }
    finally:
        snapshot.release()


def test_versions_count_and_survive_a_restart(house: House) -> None:
    """Each set is the next version, visible at once, durable when told, and kept with its info."""
    assert house.set("hello", "print(1)", note="first") == 1
    assert house.stores.get("program", "hello")[0] == b"print(1)"
    house.now_ms = 2_000
    assert house.set("hello", b"\xff\x00") == 2
    house.reopen()
    assert house.told == [None, None]
    text, info = house.stores.get("program", "hello")
    assert text == b"\xff\x00"
    assert (info["version"], info["by"], info["at_ms"], info["size"]) == (2, "op", 2_000, 2)
    text, info = house.stores.get("program", "hello", 1)
    assert (text, info["note"]) == (b"print(1)", "first")
    assert info["digest"] == code.digest_of_text(b"print(1)")
    assert [one["version"] for one in house.stores.history("program", "hello")] == [2, 1]


def test_kinds_are_spaces_of_their_own(quick: House) -> None:
    """One name may be a program, a library and a runtime at once."""
    for kind in code.KINDS:
        quick.set("x", kind, kind)
    assert [quick.stores.get(kind, "x")[0].decode() for kind in code.KINDS] == list(code.KINDS)
    quick.stores.remove("library", "x", by="op", on_done=quick.told.append)
    assert quick.stores.get("program", "x")[0] == b"program"
    with pytest.raises(NotFound):
        quick.stores.get("library", "x")


def test_a_text_is_kept_once_and_as_long_as_a_version_has_it(quick: House) -> None:
    """Two names with one text share it; it goes with the last version that has it."""
    quick.set("a", "same")
    quick.set("b", "same", "library")
    digest = code.digest_of_text(b"same")
    assert [key for key in keys_of(quick) if key.startswith("t/")] == [f"t/{digest}"]
    quick.stores.remove("program", "a", by="op", on_done=quick.told.append, forgets_history=True)
    assert quick.stores.get("library", "b")[0] == b"same"
    quick.stores.remove("library", "b", by="op", on_done=quick.told.append, forgets_history=True)
    assert not [key for key in keys_of(quick) if key.startswith(("t/", "r/", "m/bytes"))]


def test_rollback_makes_a_new_version_of_an_old_text(quick: House) -> None:
    """The old text comes back as the newest, with its runtime, and nothing is lost."""
    quick.set("p", "old", runtime="compat-5.1")
    quick.set("p", "new", runtime="")
    assert quick.stores.rollback("program", "p", 1, by="amy", on_done=quick.told.append) == 3
    text, info = quick.stores.get("program", "p")
    assert (text, info["runtime"], info["note"], info["by"]) == (
        b"old",
        "compat-5.1",
        "rollback to 1",
        "amy",
    )
    assert [one["version"] for one in quick.stores.history("program", "p")] == [3, 2, 1]
    for version in (4, 0):
        with pytest.raises(NotFound):
            quick.stores.rollback("program", "p", version, by="op", on_done=quick.told.append)


def test_a_removed_name_keeps_its_history_and_goes_on_counting(house: House) -> None:
    """A removal is a version: the name is gone, its texts can be read, the next set follows it."""
    house.set("p", "one")
    assert house.stores.remove("program", "p", by="op", note="old", on_done=house.told.append) == 2
    house.reopen()
    with pytest.raises(NotFound, match="version 2 removed it"):
        house.stores.get("program", "p")
    with pytest.raises(NotFound, match="version 2 removed it"):
        house.stores.remove("program", "p", by="op", on_done=house.told.append)
    with pytest.raises(NotFound, match="has no text"):
        house.stores.get("program", "p", 2)
    assert house.stores.get("program", "p", 1)[0] == b"one"
    assert house.stores.list("program") == ([], False)
    rows = house.stores.history("program", "p")
    assert [(row["version"], row["removed"], row["note"]) for row in rows] == [
        (2, True, "old"),
        (1, False, ""),
    ]
    assert house.set("p", "three") == 3
    assert house.stores.get("program", "p")[0] == b"three"
    assert len(house.stores.list("program")[0]) == 1


def test_forgetting_the_history_frees_it_and_still_counts_on(quick: House) -> None:
    """Only the number is left; it works on a name that is removed already, too."""
    for number in range(5):
        quick.set("p", f"text {number}")
    remove = quick.stores.remove
    assert remove("program", "p", by="op", on_done=quick.told.append) == 6
    assert remove("program", "p", by="op", on_done=quick.told.append, forgets_history=True) == 6
    assert [row["version"] for row in quick.stores.history("program", "p")] == [6]
    assert quick.set("p", "again") == 7
    with pytest.raises(NotFound, match="6 to 7 are kept"):
        quick.stores.get("program", "p", 3)
    with pytest.raises(NotFound):
        remove("program", "q", by="op", on_done=quick.told.append, forgets_history=True)


def test_the_oldest_versions_go_beyond_the_bound(
    quick: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many versions as the bound says are kept, with their texts and no others."""
    monkeypatch.setattr(code_plans, "VERSIONS_MAX", 3)
    for number in range(1, 8):
        quick.set("p", f"text {number}")
    assert [row["version"] for row in quick.stores.history("program", "p")] == [7, 6, 5]
    assert quick.stores.get("program", "p", 5)[0] == b"text 5"
    with pytest.raises(NotFound, match="5 to 7 are kept"):
        quick.stores.get("program", "p", 4)
    assert len([key for key in keys_of(quick) if key.startswith("t/")]) == 3


def test_versions_are_ordered_by_number(quick: House) -> None:
    """The tenth follows the ninth, though as text it would not."""
    for number in range(1, 12):
        quick.set("p", str(number))
    rows = quick.stores.history("program", "p")
    assert [row["version"] for row in rows] == list(range(11, 0, -1))


def test_history_comes_in_parts(quick: House) -> None:
    """`before` and `limit` cut it, newest first."""
    for number in range(1, 6):
        quick.set("p", str(number))
    history = quick.stores.history
    assert [row["version"] for row in history("program", "p", limit=2)] == [5, 4]
    assert [row["version"] for row in history("program", "p", before=4, limit=2)] == [3, 2]
    assert history("program", "p", before=1) == []
    with pytest.raises(NotFound):
        history("program", "q")


def test_names_are_listed_by_prefix_and_in_pages(house: House) -> None:
    """Each name once, in order, whatever the page size; a removed one is left out."""
    names = ["a", "b.1", "b.2", "b.3", "b.4", "c"]
    for name in names:
        house.set(name, name)
    house.stores.remove("program", "b.2", by="op", on_done=house.told.append)
    rows, more = house.stores.list("program", "b.")
    assert ([row["name"] for row in rows], more) == (["b.1", "b.3", "b.4"], False)
    found: list[str] = []
    more = True
    while more:
        rows, more = house.stores.list("program", "", found[-1] if found else "", 2)
        found += [row["name"] for row in rows]
    assert found == ["a", "b.1", "b.3", "b.4", "c"]
    assert house.stores.list("program", "b.", "a")[0][0]["name"] == "b.1"


@pytest.mark.parametrize(
    "name", ["", ".x", "..", "a/b", "a b", "a#b", "ä", "x" * 129, "a\n", "a\x00", None, 5, b"a"]
)
def test_odd_names_are_refused(quick: House, name: Any) -> None:
    """A name is never a path, and every way in refuses it before anything is written."""
    for work in (
        lambda: quick.set(name, "x"),
        lambda: quick.stores.get("program", name),
        lambda: quick.stores.history("program", name),
        lambda: quick.stores.rollback("program", name, 1, by="op", on_done=quick.told.append),
        lambda: quick.stores.remove("program", name, by="op", on_done=quick.told.append),
        lambda: quick.set("fine", "x", runtime=name) if name else quick.set("", "x"),
    ):
        with pytest.raises(BadArguments):
            work()
    assert keys_of(quick) == set()


@pytest.mark.parametrize(
    ("change", "kind_of_error"),
    [
        ({"kind": "prog"}, BadArguments),
        ({"kind": None}, BadArguments),
        ({"text": None}, BadArguments),
        ({"text": 5}, BadArguments),
        ({"text": "\ud800"}, BadArguments),
        ({"text": b"x" * (code.TEXT_BYTES_MAX + 1)}, TooLarge),
        ({"note": "x" * 1001}, BadArguments),
        ({"note": 5}, BadArguments),
        ({"note": "\ud800"}, BadArguments),
        ({"kind": "library", "runtime": "compat"}, BadArguments),
    ],
)
def test_wrong_arguments_are_refused_and_recorded(
    quick: House, change: dict[str, Any], kind_of_error: type[LithoxError]
) -> None:
    """Nothing is written, nobody is told of success, and the refusal is on record."""
    with pytest.raises(kind_of_error) as caught:
        quick.set(**{"name": "p", "text": "x", **change})
    assert quick.acts == [
        ("op", f"{change.get('kind', 'program')}.set:p", caught.value.code, caught.value.message)
    ]
    quick.world.go_round()
    assert (quick.told, keys_of(quick)) == ([], set())


@pytest.mark.parametrize("version", [-1, "1", 1.5, True, 1 << 60, b"1"])
def test_a_version_is_a_number(quick: House, version: Any) -> None:
    """Anything else is told as such."""
    quick.set("p", "x")
    with pytest.raises(BadArguments):
        quick.stores.get("program", "p", version)


def test_the_largest_text_fits(house: House) -> None:
    """Exactly the bound is taken and given back."""
    text = b"x" * code.TEXT_BYTES_MAX
    house.set("p", text)
    house.reopen()
    assert house.stores.get("program", "p")[0] == text


def test_a_program_keeps_its_runtime_until_told_otherwise(quick: House) -> None:
    """A new text alone leaves it; an empty one takes it away; a removal ends it."""
    runtime = lambda: quick.stores.get("program", "p")[1]["runtime"]  # noqa: E731
    quick.set("p", "1", runtime="compat-5.1")
    quick.set("p", "2")
    assert runtime() == "compat-5.1"
    quick.set("p", "3", runtime="")
    assert runtime() is None
    quick.set("p", "4", runtime="cc")
    quick.stores.remove("program", "p", by="op", on_done=quick.told.append)
    quick.set("p", "5")
    assert runtime() is None


def test_bounds_of_names_and_bytes_are_told(quick: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a bound nothing is written; what is there can still be set and freed."""
    monkeypatch.setattr(code_plans, "NAMES_MAX", 2)
    quick.set("a", "1")
    quick.set("b", "2")
    with pytest.raises(Overloaded, match="it may have 2"):
        quick.set("c", "3")
    quick.set("c", "3", "library")
    quick.set("a", "11")
    monkeypatch.setattr(code_plans, "CODE_BYTES_MAX", 6)
    with pytest.raises(Overloaded, match="they may have 6"):
        quick.set("a", "22")
    quick.set("a", "2")
    quick.stores.remove("program", "a", by="op", on_done=quick.told.append, forgets_history=True)
    quick.set("b", "22")


def test_concurrent_changes_each_get_their_own_version(quick: House) -> None:
    """A change that another overtakes is planned again; one that always loses is told."""
    store, submit = quick.world.store, quick.world.store.submit
    overtakes = 2

    def slow(commit: Commit, on_done: Callable[[Any], None]) -> int | None:
        nonlocal overtakes
        if overtakes:
            overtakes -= 1
            store.submit = submit  # type: ignore[method-assign]
            quick.set("p", f"faster {overtakes}")
            store.submit = slow  # type: ignore[method-assign]
        return submit(commit, on_done)

    store.submit = slow  # type: ignore[method-assign]
    assert quick.set("p", "mine") == 3
    texts = [quick.stores.get("program", "p", number)[0] for number in (1, 2, 3)]
    assert texts == [b"faster 1", b"faster 0", b"mine"]
    overtakes = 1_000
    with pytest.raises(Conflict):
        quick.set("p", "never")
    assert quick.acts[-1][2] == "transaction.conflict"


def test_acts_are_recorded_when_they_are_durable(quick: House) -> None:
    """One record a change, with its version, and none before the disk has it."""
    quick.world.hold()
    quick.set("p", "x")
    quick.world.go_round()
    assert (quick.acts, quick.told) == ([], [])
    quick.world.release()
    quick.world.settle()
    assert (quick.acts, quick.told) == ([("op", "program.set:p", "ok", "version 1")], [None])


def test_a_withdrawn_version_is_told_and_its_number_is_free(house: House) -> None:
    """What the disk refused never was: the caller hears so, and the next set is that version."""
    house.set("p", "kept")
    house.world.settle()
    house.world.hold()
    house.set("p", "lost")
    house.world.fail()
    house.world.release()
    house.world.wait_until(lambda: len(house.told) == 2)
    assert isinstance(house.told[1], StoreUnavailable)
    assert house.acts[-1][:3] == ("op", "program.set:p", "store.unavailable")
    assert house.stores.get("program", "p")[0] == b"kept"
    with pytest.raises(StoreUnavailable):
        house.set("p", "refused")
    house.world.mend()
    house.world.wait_writable()
    assert house.set("p", "next") == 2


def test_the_boot_copy_is_there_until_the_store_has_the_name(
    quick: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package's text is version 0; a set wins over it; a removal brings it back."""
    texts = {"init": b"boot init", "zz": b"boot zz"}
    monkeypatch.setattr(boot, "_read_all", lambda kind: texts if kind == "program" else {})
    text, info = quick.stores.get("program", "init")
    assert (text, info["version"], info["by"]) == (b"boot init", 0, "package")
    assert quick.stores.history("program", "init") == [info]
    assert quick.set("init", "own") == 1
    assert quick.stores.get("program", "init")[0] == b"own"
    assert quick.stores.get("program", "init", 0)[0] == b"boot init"
    assert [row["version"] for row in quick.stores.history("program", "init")] == [1, 0]
    quick.set("mm", "x")
    rows = quick.stores.list("program")[0]
    assert [(row["name"], row["version"]) for row in rows] == [("init", 1), ("mm", 1), ("zz", 0)]
    found: list[str] = []
    more = True
    while more:
        rows, more = quick.stores.list("program", "", found[-1] if found else "", 1)
        found += [row["name"] for row in rows]
    assert found == ["init", "mm", "zz"]
    quick.stores.remove("program", "init", by="op", on_done=quick.told.append)
    assert quick.stores.get("program", "init")[0] == b"boot init"
    assert quick.stores.rollback("program", "init", 0, by="op", on_done=quick.told.append) == 3
    assert quick.stores.get("program", "init")[1]["version"] == 3
    with pytest.raises(NotFound):
        quick.stores.remove("program", "zz", by="op", on_done=quick.told.append)
