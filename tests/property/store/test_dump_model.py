"""Any content survives every way from engine to engine, byte for byte."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from lithox.store.contract import AuditRecord, ResultRecord
from lithox.store.dump import ORDERED_ENTITIES, CellRow, DumpRow
from lithox.store.dump_lines import read_rows
from tests.store_rows import make_archive, pieces, through_embedded, through_memory

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ENTITIES = st.sampled_from(["a", "a/b", "~lithox/q/outbox", "ü\x00", "\U0001f600"]) | TEXTS
BLOBS = st.binary(max_size=300)
INTS = st.integers(0, (1 << 63) - 1)
CELLS = st.dictionaries(
    st.tuples(ENTITIES, TEXTS), st.tuples(BLOBS, st.integers(1, 1 << 40)), max_size=12
)
RESULTS = st.dictionaries(
    st.tuples(TEXTS, ENTITIES, TEXTS), st.tuples(TEXTS, BLOBS, BLOBS, INTS), max_size=4
)
AUDIT = st.lists(st.builds(AuditRecord, at_ns=INTS, identity=TEXTS, act=TEXTS, entity=TEXTS,
                           outcome=TEXTS, detail=TEXTS), max_size=4)  # fmt: skip


@st.composite
def contents(draw: st.DrawFn) -> list[DumpRow]:
    """Draws the rows of a whole store, in order."""
    rows: list[DumpRow] = [
        CellRow(entity, key, value, version if entity in ORDERED_ENTITIES else 0)
        for (entity, key), (value, version) in sorted(draw(CELLS).items())
    ]
    for (identity, entity, request_id), (account, asked, answer, expires_ns) in sorted(
        draw(RESULTS).items()
    ):
        rows.append(
            ResultRecord(
                identity=identity,
                entity=entity,
                request_id=request_id,
                account=account,
                asked_digest=asked,
                answer=answer,
                expires_ns=expires_ns,
            )
        )
    return rows + draw(AUDIT)


@given(contents(), st.integers(1, 4096))
@settings(max_examples=60)
def test_any_rows_survive_every_engine_and_the_archive(rows: list[DumpRow], size: int) -> None:
    """From SQLite over an archive in pieces to memory, and back: the rows stay equal."""
    with tempfile.TemporaryDirectory(prefix="lithox-dump-") as folder:
        first = through_embedded(Path(folder) / "a.db", rows)
        archive = make_archive(first)
        second = through_memory(read_rows(pieces(archive, size)))
        third = through_embedded(Path(folder) / "b.db", read_rows([make_archive(second)]))
    assert first == second == third == rows
    assert make_archive(third) == archive
