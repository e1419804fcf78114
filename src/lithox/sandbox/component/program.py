"""What is a component that is ready to run?

A `ComponentProgram` has the machine code, as wasmtime has taken it over, and the linked world; each
run is a guest of its own. An engine may let a program go at any time: its code is freed when nobody
refers to it any more, and each guest does.
"""

from __future__ import annotations

import weakref
from typing import Final

from lithox.model.limits import Limits
from lithox.sandbox.capi import Library
from lithox.sandbox.component.guest import ComponentGuest
from lithox.sandbox.component.linking import Wall, World
from lithox.sandbox.mappings import MappingBudget

MAPPINGS_PARTS: Final = 2
"""How many guests' mappings one component's guest may take (`mappings.MAPPINGS_PER_CELL` each):
fibre and guard, memory with its image and its reservation, tables."""


class Code:
    """Machine code that wasmtime has taken over.

    Attributes:
        component: `wasmtime_component_t*`.
        size_bytes: its length.
        memory_bytes: what the memories of an instance begin with.
    """

    __slots__ = ("component", "memory_bytes", "size_bytes")

    def __init__(self, component: int, size_bytes: int, memory_bytes: int) -> None:
        """Keeps them."""
        self.component = component
        self.size_bytes = size_bytes
        self.memory_bytes = memory_bytes


class ComponentProgram:
    """A loaded component: see `contract.Program`.

    Attributes:
        code_bytes: size of its machine code.
        component: `wasmtime_component_t*`.
        digest: of its source.
        handler_names: names it gives, sorted, without those that begin with `_`.
        live: guests that are open.
        made: guests there have been.
        memories: how many memories an instance has at least.
        memory_bytes: what an instance's memory is at least.
        wall: what all components share.
        world: its imports and exports.
    """

    __slots__ = (
        "__weakref__",
        "_budget",
        "code_bytes",
        "component",
        "digest",
        "handler_names",
        "live",
        "made",
        "memories",
        "memory_bytes",
        "wall",
        "world",
    )

    def __init__(
        self, wall: Wall, budget: MappingBudget, code: Code, world: World, *, digest: str
    ) -> None:
        """Made by `ComponentEngine.load`."""
        self.wall = wall
        self._budget = budget
        self.component = code.component
        self.code_bytes = code.size_bytes
        self.world = world
        self.digest = digest
        self.handler_names: tuple[str, ...] = ()
        self.memories = 1
        self.memory_bytes = code.memory_bytes
        self.live = 0
        self.made = 0
        weakref.finalize(self, _free, wall.library, world, code.component)

    def start(self, message: bytes, limits: Limits) -> ComponentGuest:
        """Returns a guest that will run the `RunMessage` in `message` under `limits`.

        Raises:
            Overloaded: the node holds as many guests as it can.
        """
        return self.open_guest(message, limits)

    def open_guest(self, message: bytes | None, limits: Limits) -> ComponentGuest:
        """Returns a guest; without a message it will ask for the names of the handlers."""
        for taken in range(MAPPINGS_PARTS):
            try:
                self._budget.take()
            except BaseException:
                self._give_mappings(taken)
                raise
        self.live += 1
        try:
            guest = ComponentGuest(self, message, limits)
        except BaseException:
            self.give_back()
            raise
        self.made += 1
        return guest

    def _give_mappings(self, count: int) -> None:
        for _ in range(count):
            self._budget.give()

    def give_back(self) -> None:
        """Takes note that a guest is closed."""
        self.live -= 1
        self._give_mappings(MAPPINGS_PARTS)


def _free(library: Library, world: World, component: int) -> None:
    """Frees what a program had, on whatever thread its last reference goes."""
    world.close()
    library.by_name["wasmtime_component_delete"](component)
