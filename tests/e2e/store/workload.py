"""Commits whose every prefix is known: after any crash the database is that of one of them.

Commit n sets hot/n to n, makes log/n with two keys, deletes log/(n-20), and records the answer of
request n. So a database holds exactly the commits 0..n for the n that hot/n says, or it is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from lithox.store.contract import Commit, Range, ResultRecord, Store
from lithox.store.embedded import EmbeddedStore

KEPT = 20
GROUP = 8


def make_commit(n: int) -> Commit:
    writes: dict[tuple[str, str], bytes | None] = {("hot", "n"): b"%d" % n}
    for key in ("a", "b"):
        writes[f"log/{n}", key] = b"%d" % n + b"." * (n % 7 * 100)
        if n >= KEPT:
            writes[f"log/{n - KEPT}", key] = None
    # Every other group writes state only, as one statement; the others need several.
    result = None
    if n // GROUP % 2:
        result = ResultRecord(
            identity="i", entity="hot", request_id=f"r{n}", account="acc",
            asked_digest=b"", answer=b"%d" % n, expires_ns=n,
        )  # fmt: skip
    return Commit(0, writes=writes, result=result)


def run(
    store: Store,
    posted: SimpleQueue[Callable[[], None]],
    *,
    count: int,
    acknowledge: Callable[[int], None],
) -> None:
    """Submits `count` commits, GROUP at a time; tells of each one that it is durable."""
    done: set[int] = set()

    def make_on_done(n: int) -> Callable[[Exception | None], None]:
        def on_done(error: Exception | None) -> None:
            if error is None:
                acknowledge(n)
            done.add(n)

        return on_done

    for first in range(0, count, GROUP):
        for n in range(first, first + GROUP):
            store.submit(make_commit(n), make_on_done(n))
        while len(done) < first + GROUP:
            posted.get(timeout=30)()


def find_problem(path: Path, *, acknowledged: int) -> str | None:
    """Opens the database and returns what is wrong with it; None: nothing.

    Args:
        path: the database.
        acknowledged: the highest commit that was acknowledged, -1 for none.
    """
    posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
    store = EmbeddedStore.open(path, post=posted.put)
    try:
        return _compare(store, acknowledged)
    finally:
        store.close()


def _compare(store: Store, acknowledged: int) -> str | None:
    snapshot = store.open_snapshot()
    hot = snapshot.find("hot", "n")
    last = -1 if hot is None else int(hot.value)
    if last < acknowledged:
        return f"commit {acknowledged} was acknowledged, {last} is the last that is there"
    expected = {n: make_commit(n) for n in range(max(0, last - KEPT + 1), last + 1)}
    names = {f"log/{n}" for n in expected}
    if set(store.list_entities("log/", "", 10_000)) != names:
        return f"the entities after commit {last} are not those of it"
    for n, commit in expected.items():
        page = snapshot.scan(Range(f"log/{n}", "", None), 10)
        found = {(f"log/{n}", key): item.value for key, item in page.items}
        wanted = {cell: v for cell, v in commit.writes.items() if cell[0] == f"log/{n}"}
        if found != wanted:
            return f"commit {n} is there in part"
        if commit.result and store.find_result("i", "hot", f"r{n}") != commit.result:
            return f"the answer of commit {n} is missing"
    if store.find_result("i", "hot", f"r{last + 1}") is not None:
        return f"the answer of commit {last + 1} is there without its writes"
    return None
