"""One key's versions in order, and who read which, as edges of the graph.

Lists and registers differ in how the order is found; once it is, they are the same thing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.histories.graph import Graph, Kind
from tests.histories.records import Operation, Outcome


class Problem(NamedTuple):
    """What no serial order explains: the anomaly's name, and where it shows."""

    name: str
    where: str

    def __str__(self) -> str:
        return f"{self.name}: {self.where}"


@dataclass(slots=True, kw_only=True)
class Versions:
    """What is known of one key.

    Attributes:
        writers: operation that made each version, the first version first; 0 versions: never
            written. A version nobody saw may be left out.
        readers: (operation, how many of `writers` it had seen).
        late: operations that certainly wrote, at places nobody saw: behind all of `writers`.
    """

    key: str
    writers: list[int] = field(default_factory=list[int])
    readers: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    late: list[int] = field(default_factory=list[int])

    def add_to(self, graph: Graph) -> None:
        """Adds every dependency this key makes between operations."""
        key, writers = self.key, self.writers
        for before, after in itertools.pairwise(writers):
            graph.add(before, after, Kind.WW, f"wrote {key} just before")
        for one in self.late:
            for writer in writers[-1:]:
                graph.add(writer, one, Kind.WW, f"wrote {key} before, by the last read of it")
        for reader, seen in set(self.readers):
            if seen > 0:
                graph.add(writers[seen - 1], reader, Kind.WR, f"wrote the {key} that was read")
            following = next((one for one in writers[seen:] if one != reader), None)
            for one in self.late if following is None else [following]:
                graph.add(reader, one, Kind.RW, f"read {key} without what was written next")


def add_time(graph: Graph, history: Iterable[Operation]) -> None:
    """Adds an edge wherever one operation was over before another was asked.

    Only the newest ends are kept, since older ones stand before those already: as many edges for
    each operation as clients work at once.
    """
    moments: list[tuple[int, int, Operation]] = []
    for one in history:
        if one.outcome is Outcome.FAIL:
            continue
        moments.append((one.invoked_ns, 1, one))
        if one.outcome is Outcome.OK:
            assert one.ended_ns is not None
            moments.append((one.ended_ns, 2, one))
    newest: dict[int, Operation] = {}
    # At one and the same moment nothing is before anything: questions are taken first.
    for _, what, one in sorted(moments, key=lambda moment: moment[:2]):
        if what == 1:
            for number in newest:
                graph.add(number, one.number, Kind.TIME, "was answered before this was asked")
        else:
            for number, other in list(newest.items()):
                assert other.ended_ns is not None
                if other.ended_ns < one.invoked_ns:
                    del newest[number]
            newest[one.number] = one
