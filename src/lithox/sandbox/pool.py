"""Which cell does the next guest get?

A cell whose guest ended in the ordinary way is kept and given to the next guest, of any program:
all are instances of one module, and the whole memory is restored first. Making a cell costs
40 us and a system call or two, restoring one costs the copy of its memory.

Invariants: at most `IDLE_MAX` cells of at most `IDLE_BYTES_MAX` bytes together wait (one list for
each memory size, since a guest can see the size of its memory); a cell is in the hands of one guest
or waits here, never both; used by the node's thread alone.
"""

from __future__ import annotations

from typing import Final

from lithox.errors import InternalError, Overloaded
from lithox.sandbox.cell import Cell
from lithox.sandbox.image import Image
from lithox.sandbox.mappings import RETRY_AFTER_MS, MappingBudget
from lithox.sandbox.wasm import WasmHost

IDLE_MAX: Final = 256
"""Cells kept for reuse: 256 of 0.3 MB."""
IDLE_BYTES_MAX: Final = 64 << 20
"""Memory of the cells that wait, all sizes together."""
IDLE_CELL_BYTES_MAX: Final = 1 << 20
"""A larger cell is not kept: it would take the place of many ordinary ones, and next to what its
guest did, making it anew costs little."""


class CellPool:
    """Makes, keeps and closes cells.

    Attributes:
        library: the C functions.
        live: cells in the hands of guests.
        made: cells made since the start.
        recycled: guests that got a used cell.
    """

    __slots__ = (
        "_budget",
        "_host",
        "_idle",
        "_idle_bytes",
        "_idle_count",
        "_idle_max",
        "library",
        "live",
        "made",
        "recycled",
    )

    def __init__(self, host: WasmHost, budget: MappingBudget, *, idle_max: int = IDLE_MAX) -> None:
        """Begins empty."""
        self._host = host
        self._budget = budget
        self._idle: dict[int, list[Cell]] = {}
        self._idle_count = 0
        self._idle_bytes = 0
        self._idle_max = idle_max
        self.library = host.library
        self.live = 0
        self.made = 0
        self.recycled = 0

    @property
    def idle(self) -> int:
        """Cells that wait."""
        return self._idle_count

    @property
    def idle_bytes(self) -> int:
        """Memory of the cells that wait."""
        return self._idle_bytes

    def make(self, memory_bytes_max: int) -> Cell:
        """Returns a cell whose memory is the module's blank one.

        Raises:
            Overloaded: the operating system's limit of mappings is near, and no cell waits that
                could be given up.
        """
        try:
            self._budget.take()
        except Overloaded:
            if not self._idle_count:
                raise
            self._close_one_idle()
            self._budget.take()
        try:
            cell = Cell(self._host, memory_bytes_max=memory_bytes_max)
        except BaseException:
            self._budget.give()
            raise
        self.made += 1
        self.live += 1
        return cell

    def take(self, image: Image, memory_bytes_max: int) -> Cell:
        """Returns a cell whose memory is `image`, at most `memory_bytes_max` to be reached.

        Raises:
            Overloaded: none waits, and there is no room for another.
        """
        idle = self._idle.get(image.size_bytes)
        if idle:
            cell = idle.pop()
            self._idle_count -= 1
            self._idle_bytes -= image.size_bytes
            self.live += 1
            self.recycled += 1
            if cell.memory_bytes_max != memory_bytes_max:
                cell.set_memory_limit(memory_bytes_max)
            image.restore_used(self.library.memmove, cell.base)
            return cell
        if self._idle_count >= self._idle_max:
            self._close_one_idle()
        try:
            cell = self.make(memory_bytes_max)
        except InternalError as error:
            # The module has had instances before, so it is the machine that has no room.
            raise Overloaded(
                f"no room for another guest: {error}", retry_after_ms=RETRY_AFTER_MS
            ) from None
        try:
            if cell.memory_bytes < image.size_bytes:
                cell.grow_memory(image.size_bytes)
            image.restore_blank(self.library.memmove, cell.base)
        except BaseException:
            self.drop(cell)
            raise
        return cell

    def give(self, cell: Cell) -> None:
        """Takes back a cell whose guest ended in the ordinary way; its memory may hold anything."""
        size_bytes = cell.memory_bytes
        if (
            self._idle_count >= self._idle_max
            or size_bytes > IDLE_CELL_BYTES_MAX
            or self._idle_bytes + size_bytes > IDLE_BYTES_MAX
        ):
            self.drop(cell)
            return
        self.live -= 1
        self._idle_count += 1
        self._idle_bytes += size_bytes
        idle = self._idle.get(size_bytes)
        if idle is None:
            idle = self._idle[size_bytes] = []
        idle.append(cell)

    def drop(self, cell: Cell) -> None:
        """Closes a cell that a guest held."""
        self.live -= 1
        self._close(cell)

    def _close(self, cell: Cell) -> None:
        cell.close()
        self._budget.give()

    def _close_one_idle(self) -> None:
        """Makes room for a size that has no cell waiting."""
        for size_bytes, idle in self._idle.items():
            if idle:
                self._close(idle.pop())
                self._idle_count -= 1
                self._idle_bytes -= size_bytes
                return

    def close(self) -> None:
        """Closes the cells that wait."""
        while self._idle_count:
            self._close_one_idle()
        self._idle.clear()
