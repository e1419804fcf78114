"""Does some serial order explain a history, and respect who was answered before whom asked?

That is strict serializability of everything in it: of each entity, and of the groups of entities
that were changed in one transaction. `find_problems` gives nothing exactly when there is such an
order, as far as what was seen tells; a failure comes with the operations that contradict it.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.histories.graph import Graph
from tests.histories.lists import analyse_lists
from tests.histories.records import Operation
from tests.histories.registers import analyse_registers
from tests.histories.versions import Problem, add_time

SHOWN_MAX = 10
"""Problems named in a failure; one broken rule makes many."""


def find_problems(history: Iterable[Operation]) -> list[Problem]:
    """Returns what no serial order explains; empty: accepted."""
    operations = list(history)
    by_number = {one.number: one for one in operations}
    lists, problems = analyse_lists(operations)
    registers, more = analyse_registers(operations)
    problems += more
    graph = Graph()
    for versions in [*lists, *registers]:
        versions.add_to(graph)
    add_time(graph, operations)
    cycle = graph.find_cycle()
    if cycle is not None:
        steps = "\n  ".join(
            f"{by_number.get(edge.source, 'nobody')} {edge.reason}:" for edge in cycle.edges
        )
        problems.append(Problem(cycle.name, f"\n  {steps}\n  ... and so on from the first"))
    return problems


def assert_accepted(history: Iterable[Operation]) -> None:
    """Fails with the first problems unless the history is accepted."""
    problems = find_problems(history)
    assert not problems, "\n".join(map(str, problems[:SHOWN_MAX]))
