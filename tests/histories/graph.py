"""Who must stand before whom in every serial order, and a cycle in it if there is one.

Nodes are numbers of operations. An edge has a kind and a reason; between two nodes the first
reason of each kind is kept. A history is explained by a serial order exactly if there is no cycle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import IntFlag
from typing import NamedTuple


class Kind(IntFlag):
    """Why one operation stands before another."""

    WW = 1
    """It wrote the version before the other's."""
    WR = 2
    """The other read what it wrote."""
    RW = 4
    """It read a version that the other then replaced."""
    TIME = 8
    """It had been answered before the other was asked."""


LADDER = (
    ("G0", Kind.WW),
    ("G1c", Kind.WW | Kind.WR),
    ("G2", Kind.WW | Kind.WR | Kind.RW),
    ("G0-realtime", Kind.WW | Kind.TIME),
    ("G1c-realtime", Kind.WW | Kind.WR | Kind.TIME),
    ("G2-realtime", Kind.WW | Kind.WR | Kind.RW | Kind.TIME),
)
"""Kinds of edges a cycle may have, from the gravest anomaly to the mildest, by Adya's names; with
exactly one RW edge a `G2` is called `G-single`. Source: A. Adya, "Weak Consistency: A Generalized
Theory and Optimistic Implementations for Distributed Transactions" (1999), chapter 4."""


class Edge(NamedTuple):
    """One step of a cycle."""

    source: int
    target: int
    kind: Kind
    reason: str


class Cycle(NamedTuple):
    """An anomaly's name and the edges that make it, the last leading back to the first's source."""

    name: str
    edges: list[Edge]


class Graph:
    """Edges between operations."""

    def __init__(self) -> None:
        self._edges: dict[int, dict[int, dict[Kind, str]]] = {}

    def add(self, source: int, target: int, kind: Kind, reason: str) -> None:
        """Adds one edge; an operation never stands before itself, so such an edge is dropped."""
        if source != target:
            self._edges.setdefault(source, {}).setdefault(target, {}).setdefault(kind, reason)

    def find_cycle(self) -> Cycle | None:
        """Returns a shortest cycle of the gravest kind there is, or None."""
        if not self._components(LADDER[-1][1]):
            return None
        for name, kinds in LADDER:
            for component in self._components(kinds):
                edges = self._shortest(component, kinds)
                is_single = sum(edge.kind is Kind.RW for edge in edges) == 1
                return Cycle(name.replace("G2", "G-single") if is_single else name, edges)
        raise AssertionError("a component has a cycle")

    def _targets(self, node: int, kinds: Kind) -> Iterable[int]:
        return (
            target
            for target, reasons in self._edges.get(node, {}).items()
            if any(kind & kinds for kind in reasons)
        )

    def _components(self, kinds: Kind) -> list[set[int]]:
        """Returns the strongly connected components of more than one node; smallest first.

        Source: R. Tarjan, "Depth-first search and linear graph algorithms" (1972), without
        recursion, since a history has thousands of operations in a row.
        """
        order: dict[int, int] = {}
        low: dict[int, int] = {}
        path: list[int] = []
        on_path: set[int] = set()
        found: list[set[int]] = []
        for root in list(self._edges):
            if root in order:
                continue
            work = [(root, iter(self._targets(root, kinds)))]
            order[root] = low[root] = len(order)
            path.append(root)
            on_path.add(root)
            while work:
                node, targets = work[-1]
                target = next(targets, None)
                if target is None:
                    work.pop()
                    if work:
                        low[work[-1][0]] = min(low[work[-1][0]], low[node])
                    if low[node] == order[node]:
                        at = path.index(node) if path[-1] != node else len(path) - 1
                        component = set(path[at:])
                        del path[at:]
                        on_path -= component
                        if len(component) > 1:
                            found.append(component)
                elif target not in order:
                    order[target] = low[target] = len(order)
                    path.append(target)
                    on_path.add(target)
                    work.append((target, iter(self._targets(target, kinds))))
                elif target in on_path:
                    low[node] = min(low[node], order[target])
        return sorted(found, key=len)

    def _shortest(self, component: set[int], kinds: Kind) -> list[Edge]:
        """Returns the edges of a shortest cycle through the first node of `component`."""
        start = min(component)
        came: dict[int, int] = {}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            for target in self._targets(node, kinds):
                if target == start:
                    nodes = [node]
                    while nodes[-1] != start:
                        nodes.append(came[nodes[-1]])
                    nodes.reverse()
                    pairs = zip(nodes, [*nodes[1:], start], strict=True)
                    return [self._edge(a, b, kinds) for a, b in pairs]
                if target in component and target not in came:
                    came[target] = node
                    queue.append(target)
        raise AssertionError("a component is strongly connected")

    def _edge(self, source: int, target: int, kinds: Kind) -> Edge:
        reasons = self._edges[source][target]
        kind = min(kind for kind in reasons if kind & kinds)
        return Edge(source, target, kind, reasons[kind])
