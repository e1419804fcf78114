"""How do many live guests share what none of them has changed?

A guest whose image is large (a program with its runtime) would cost its whole image in memory, all
guests of a program the same bytes. So images are also kept in one file in memory (`memfd`), and a
new guest's memory is a private mapping of it: pages are shared until somebody writes to them. Where
the system has no such files, or refuses a mapping, images are copied as before.

Invariant: a place in the file is given to another image only when nobody maps it any more; `Place`
gives it back when its last holder, an image or a guest that runs on it, lets it go.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from typing import Final

_PAGE_BYTES: Final = mmap.PAGESIZE
_MAP_FIXED: Final = 0x10
_MAP_FAILED: Final = ctypes.c_void_p(-1).value
_PROTECTION: Final = 0x1 | 0x2
"""PROT_READ | PROT_WRITE, of every system there is."""


class Place:
    """Where one image lies in an `ImageFile`.

    Attributes:
        size_bytes: its length, whole pages.
    """

    __slots__ = ("__weakref__", "_file", "_offset", "size_bytes")

    def __init__(self, file: ImageFile, offset: int, size_bytes: int) -> None:
        """Made by `ImageFile.keep`."""
        self._file = file
        self._offset = offset
        self.size_bytes = size_bytes

    def map_at(self, address: int) -> bool:
        """Makes [address, address + size_bytes) of this process a private view of the image.

        What was there is gone. The holder of the view must hold this object too.

        Returns:
            Whether the system did it; if not, what was there still is.
        """
        return self._file.map_at(address, self.size_bytes, self._offset)


class ImageFile:
    """A file in memory that holds images. Used by one thread at a time.

    Attributes:
        size_bytes: length of the file; pages that are all zeros take no memory.
    """

    __slots__ = ("__weakref__", "_fd", "_free", "_mmap", "size_bytes")

    def __init__(self) -> None:
        """Opens an empty file; where there are none, `keep` gives None."""
        self.size_bytes = 0
        self._fd = -1
        self._free: dict[int, list[int]] = {}
        make = getattr(os, "memfd_create", None)
        if make is None:
            return
        self._fd = int(make("lithox-images"))
        weakref.finalize(self, os.close, self._fd)
        libc = ctypes.CDLL(None)
        kind = ctypes.PYFUNCTYPE(
            ctypes.c_void_p,
            *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int),
            *(ctypes.c_int, ctypes.c_long),
        )
        self._mmap = kind(("mmap", libc))

    def keep(self, data: bytes) -> Place | None:
        """Writes an image to the file; returns its place, or None where that cannot be.

        Args:
            data: whole pages.

        Blocks: for the copy, 0.1 ms a megabyte.
        """
        if self._fd < 0 or len(data) % _PAGE_BYTES:
            return None
        free = self._free.get(len(data))
        offset = free.pop() if free else self.size_bytes
        try:
            if offset == self.size_bytes:
                os.ftruncate(self._fd, self.size_bytes + len(data))
                self.size_bytes += len(data)
            self._write(data, offset)
        except OSError:
            self._free.setdefault(len(data), []).append(offset)
            return None
        place = Place(self, offset, len(data))
        weakref.finalize(place, _give_back, self._free, len(data), offset)
        return place

    def _write(self, data: bytes, offset: int) -> None:
        """Writes all pages, leaving out those that are zeros in a new part of the file."""
        zeros = bytes(_PAGE_BYTES)
        view = memoryview(data)
        for at in range(0, len(data), _PAGE_BYTES):
            page = view[at : at + _PAGE_BYTES]
            if page != zeros or os.pread(self._fd, _PAGE_BYTES, offset + at) != zeros:
                os.pwrite(self._fd, page, offset + at)

    def map_at(self, address: int, size_bytes: int, offset: int) -> bool:
        """Maps part of the file over what is at `address`: see `Place.map_at`."""
        flags = mmap.MAP_PRIVATE | _MAP_FIXED
        got = self._mmap(address, size_bytes, _PROTECTION, flags, self._fd, offset)
        return got != _MAP_FAILED


def _give_back(free: dict[int, list[int]], size_bytes: int, offset: int) -> None:
    free.setdefault(size_bytes, []).append(offset)
