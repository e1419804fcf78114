"""The stores of code behave as plain dicts of lists, whatever is done in whatever order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lithox.dispatch.records import CODE_ENTITIES, TEXTS_ENTITY
from lithox.errors import NotFound
from lithox.modules import boot
from lithox.modules.code import KINDS, digest_of_text
from lithox.node import code_plans
from lithox.node.code_stores import CodeStores
from lithox.node.drafts import read_count
from lithox.store.contract import Range
from lithox.store.memory import MemoryStore

VERSIONS_KEPT = 4
NAMES = st.sampled_from(["a", "a.b", "b", "b-1"])
TEXTS = st.sampled_from([b"", b"one", b"two", b"three"])


class Model(RuleBasedStateMachine):
    """Each name is the list of its versions, None for a removal, and the first that is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(code_plans, "VERSIONS_MAX", VERSIONS_KEPT)
        self.patch.setattr(boot, "_read_all", lambda kind: {})
        self.store = MemoryStore(post=lambda call: None)
        self.stores = CodeStores(self.store, lambda: 1, lambda **_: None)
        self.names: dict[tuple[str, str], list[bytes | None]] = {}
        self.first: dict[tuple[str, str], int] = {}

    def teardown(self) -> None:
        self.patch.undo()

    def add(self, key: tuple[str, str], text: bytes | None) -> int:
        versions = self.names.setdefault(key, [])
        versions.append(text)
        self.first[key] = max(self.first.get(key, 1), len(versions) - VERSIONS_KEPT + 1)
        return len(versions)

    def is_live(self, key: tuple[str, str]) -> bool:
        return key in self.names and self.names[key][-1] is not None

    @rule(kind=st.sampled_from(KINDS), name=NAMES, text=TEXTS)
    def set(self, kind: str, name: str, text: bytes) -> None:
        version = self.stores.set(kind, name, text, by="x", on_done=ignore)
        assert version == self.add((kind, name), text)

    @rule(kind=st.sampled_from(KINDS), name=NAMES, forgets=st.booleans())
    def remove(self, kind: str, name: str, *, forgets: bool) -> None:
        key = (kind, name)

        def work() -> int:
            return self.stores.remove(kind, name, by="x", on_done=ignore, forgets_history=forgets)

        if key not in self.names or not (self.is_live(key) or forgets):
            with pytest.raises(NotFound):
                work()
            return
        expected = self.add(key, None) if self.is_live(key) else len(self.names[key])
        assert work() == expected
        if forgets:
            self.first[key] = expected

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def rollback(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.names)))
        versions = self.names[key]
        number = data.draw(st.integers(1, len(versions) + 1))
        is_there = self.first[key] <= number <= len(versions)
        text = versions[number - 1] if is_there else None
        if text is None:
            with pytest.raises(NotFound):
                self.stores.rollback(*key, number, by="x", on_done=ignore)
            return
        version = self.stores.rollback(*key, number, by="x", on_done=ignore)
        assert version == self.add(key, text)

    @invariant()
    def reads_are_the_models(self) -> None:
        for key, versions in self.names.items():
            rows = self.stores.history(*key)
            kept = range(len(versions), self.first[key] - 1, -1)
            assert [row["version"] for row in rows] == list(kept)
            for row in rows:
                text = versions[row["version"] - 1]
                assert row["removed"] == (text is None)
                if text is not None:
                    assert self.stores.get(*key, row["version"])[0] == text
            if self.is_live(key):
                assert self.stores.get(*key)[0] == versions[-1]
        for kind in KINDS:
            rows, more = self.stores.list(kind)
            live = sorted(
                name for one, name in self.names if one == kind and self.is_live((one, name))
            )
            assert ([row["name"] for row in rows], more) == (live, False)

    @invariant()
    def nothing_else_is_kept(self) -> None:
        """Texts are exactly those that a kept version has, and so are the counts."""
        texts = [
            text
            for key, versions in self.names.items()
            for text in versions[self.first[key] - 1 :]
            if text is not None
        ]
        kept = self.items(TEXTS_ENTITY)
        sizes = {digest_of_text(text): len(text) for text in texts}
        assert {key[2:] for key in kept if key.startswith("t/")} == set(sizes)
        for digest in sizes:
            users = sum(digest_of_text(text) == digest for text in texts)
            assert read_count(kept[f"r/{digest}"]) == users
        total = sum(sizes.values())
        assert (read_count(kept["m/bytes"]) if "m/bytes" in kept else 0) == total
        assert len(kept) == 2 * len(sizes) + (1 if total else 0)
        for kind in KINDS:
            names = [name for one, name in self.names if one == kind]
            found = self.items(CODE_ENTITIES[kind])
            versions = sum(
                len(self.names[kind, name]) - self.first[kind, name] + 1 for name in names
            )
            assert len(found) == len(names) + versions + (1 if names else 0)

    def items(self, entity: str) -> dict[str, bytes]:
        snapshot = self.store.open_snapshot()
        try:
            page = snapshot.scan(Range(entity, "", None), 10_000)
        finally:
            snapshot.release()
        return {key: item.value for key, item in page.items}


def ignore(error: Any) -> None:
    del error


TestCodeModel = Model.TestCase
TestCodeModel.settings = settings(max_examples=40, stateful_step_count=25)
