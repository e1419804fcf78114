"""Where does the run of a stranger's module find an instance, and what happens to it afterwards?

Each program has its own cells, since each is another module. Where a module can be restored
(`scan`), the cell of a run that ended in the ordinary way waits for the next: memory and globals
are put back then, all else cannot have changed. Any other cell is closed, and the next run gets a
fresh one: 40 us more.

Invariants: at most `IDLE_MAX` cells of `IDLE_BYTES_MAX` bytes wait, those of all programs of an
engine together, and they are closed first when mappings are short; a cell waits or is in the hands
of one guest; used by one thread at a time.
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from lithox.errors import InternalError, Overloaded
from lithox.sandbox.capi import GLOBAL_WORDS, VAL_WORDS
from lithox.sandbox.cell import Cell
from lithox.sandbox.image import Image
from lithox.sandbox.mappings import RETRY_AFTER_MS, MappingBudget

if TYPE_CHECKING:
    from lithox.sandbox.core.host import CoreHost, CoreModule

IDLE_MAX: Final = 256
IDLE_BYTES_MAX: Final = 64 << 20
IDLE_CELL_BYTES_MAX: Final = 1 << 20
"""A larger cell is not kept: what its guest did costs more than making another one."""

_WIDTHS: Final = (4, 8, 4, 8, 16)
"""Bytes of i32, i64, f32, f64 and v128 in a `wasmtime_val_t`, by kind."""

Globals = tuple[tuple[bytes, bytes], ...]
"""(export, `wasmtime_val_t`) of globals to be put back."""


class CoreImage(Image):
    """A memory, and the values of globals, before the first instruction of a run.

    Attributes:
        globals: those a used cell gets back: every mutable one.
        changed: those a fresh cell gets: they differ from what the module says itself.
    """

    __slots__ = ("changed", "globals")

    def __init__(self, data: bytes, blank: bytes, *, of_all: Globals, of_blank: Globals) -> None:
        """Keeps memory `data` and globals `of_all`; `blank` and `of_blank` are a new instance's."""
        super().__init__(data, blank)
        self.globals = of_all
        self.changed = tuple(pair for pair in of_all if pair not in of_blank)


class BlankImage:
    """What a new instance has by itself; a module is set up in it.

    Attributes:
        size_bytes: of its memory.
    """

    __slots__ = ("size_bytes",)

    def __init__(self, size_bytes: int) -> None:
        """Of a module with `size_bytes` of memory."""
        self.size_bytes = size_bytes


class CoreCell(Cell):
    """A cell whose mutable globals are known by the host."""

    __slots__ = ("_handles", "_names")

    def __init__(self, module: CoreModule, *, memory_bytes_max: int) -> None:
        """Makes a fresh instance of `module`."""
        super().__init__(module, memory_bytes_max=memory_bytes_max)
        self._names: dict[bytes, int] = {}
        self._handles: list[ctypes.Array[ctypes.c_uint64]] = []

    def _global(self, name: bytes) -> int:
        """Returns the address of an exported global's handle, fetched when first asked."""
        address = self._names.get(name)
        if address is None:
            handle = (ctypes.c_uint64 * GLOBAL_WORDS)()
            address = ctypes.addressof(handle)
            self.fetch_global(name, address)
            self._handles.append(handle)
            self._names[name] = address
        return address

    def read_globals(self, names: tuple[bytes, ...]) -> Globals:
        """Returns the values of exported globals as they are now."""
        out = (ctypes.c_uint64 * VAL_WORDS)()
        found: list[tuple[bytes, bytes]] = []
        for name in names:
            self._library.global_get(self.context, self._global(name), ctypes.addressof(out))
            found.append((name, _plain(bytes(out))))
        return tuple(found)

    def write_globals(self, values: Globals) -> None:
        """Sets exported globals."""
        for name, value in values:
            error = self._library.global_set(self.context, self._global(name), value)
            assert not error, "a global that was read before can be set"


def _plain(value: bytes) -> bytes:
    """Returns a `wasmtime_val_t` of a number with zeros where it means nothing."""
    return (value[:1].ljust(8, b"\0") + value[8 : 8 + _WIDTHS[value[0]]]).ljust(len(value), b"\0")


class Shelf:
    """The account of all cells of an engine.

    Attributes:
        budget: of mappings, the process's.
        live: cells in the hands of guests.
        made: cells made since the start.
        recycled: guests that got a used cell.
        idle: cells that wait.
        idle_bytes: their memory.
        holders: pools with cells that wait, the one used longest ago first.
    """

    __slots__ = ("budget", "holders", "idle", "idle_bytes", "live", "made", "recycled")

    def __init__(self, budget: MappingBudget) -> None:
        """Begins empty."""
        self.budget = budget
        self.live = self.made = self.recycled = self.idle = self.idle_bytes = 0
        self.holders: OrderedDict[CorePool, None] = OrderedDict()

    def close_one(self) -> bool:
        """Closes the cell that has waited for the program used longest ago; False: none waits."""
        for pool in self.holders:
            pool.close_one_idle()
            return True
        return False


class CorePool:
    """Makes, keeps and closes the cells of one program.

    Attributes:
        library: the C functions.
    """

    __slots__ = ("_idle", "_is_open", "_module", "_shelf", "library")

    def __init__(self, host: CoreHost, module: CoreModule, shelf: Shelf) -> None:
        """Begins empty."""
        self.library = host.library
        self._module = module
        self._shelf = shelf
        self._idle: list[CoreCell] = []
        self._is_open = True

    def make(self, memory_bytes_max: int) -> CoreCell:
        """Returns a fresh cell.

        Raises:
            Overloaded: the operating system's limit of mappings is near, and no cell waits.
            InternalError: wasmtime cannot make an instance.
        """
        shelf = self._shelf
        try:
            shelf.budget.take()
        except Overloaded:
            if not shelf.close_one():
                raise
            shelf.budget.take()
        try:
            cell = CoreCell(self._module, memory_bytes_max=memory_bytes_max)
        except BaseException:
            shelf.budget.give()
            raise
        shelf.made += 1
        shelf.live += 1
        return cell

    def take(self, image: CoreImage | BlankImage, memory_bytes_max: int) -> Cell:
        """Returns a cell that holds `image`, at most `memory_bytes_max` to be reached.

        Raises:
            Overloaded: none waits, and there is no room for another.
            InternalError: a module that has had no instance yet cannot have one.
        """
        if isinstance(image, BlankImage):
            return self.make(memory_bytes_max)
        memmove = self.library.memmove
        if self._idle:
            cell = self._idle.pop()
            shelf = self._shelf
            self._forget(cell)
            shelf.live += 1
            shelf.recycled += 1
            cell.set_memory_limit(memory_bytes_max)
            image.restore_used(memmove, cell.base)
            cell.write_globals(image.globals)
            return cell
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
            image.restore_blank(memmove, cell.base)
            cell.write_globals(image.changed)
        except BaseException:
            self.drop(cell)
            raise
        return cell

    def give(self, cell: Cell) -> None:
        """Takes back a cell whose guest ended in the ordinary way; its memory may hold anything."""
        shelf = self._shelf
        size_bytes = cell.memory_bytes
        if not (
            self._is_open
            and self._module.is_restorable
            and size_bytes <= IDLE_CELL_BYTES_MAX
            and isinstance(cell, CoreCell)
        ):
            self.drop(cell)
            return
        while shelf.idle >= IDLE_MAX or shelf.idle_bytes + size_bytes > IDLE_BYTES_MAX:
            shelf.close_one()
        shelf.live -= 1
        shelf.idle += 1
        shelf.idle_bytes += size_bytes
        self._idle.append(cell)
        shelf.holders[self] = None
        shelf.holders.move_to_end(self)

    def drop(self, cell: Cell) -> None:
        """Closes a cell that a guest held."""
        self._shelf.live -= 1
        cell.close()
        self._shelf.budget.give()

    def _forget(self, cell: CoreCell) -> None:
        """Takes a cell that has just left the list out of the account of those that wait."""
        shelf = self._shelf
        shelf.idle -= 1
        shelf.idle_bytes -= cell.memory_bytes
        if not self._idle:
            del shelf.holders[self]

    def close_one_idle(self) -> None:
        """Closes a cell that waits."""
        cell = self._idle.pop()
        self._forget(cell)
        cell.close()
        self._shelf.budget.give()

    def close(self) -> None:
        """Closes the cells that wait, and every other once its guest has ended."""
        self._is_open = False
        while self._idle:
            self.close_one_idle()
