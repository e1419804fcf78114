"""Tests of `lithox.sandbox.image_file`."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os

import pytest

from lithox.sandbox.capi import open_library
from lithox.sandbox.image import MAPPED_BYTES_MIN, Image
from lithox.sandbox.image_file import ImageFile

PAGE_BYTES = mmap.PAGESIZE
DATA = b"".join(bytes([65 + page % 20]) * PAGE_BYTES for page in range(30))

on_linux = pytest.mark.skipif(
    not hasattr(os, "memfd_create"),
    reason="files in memory (memfd_create) are Linux's; on other systems images are copied, which "
    "the tests of copying show on every system",
)


class Room:
    """Address space that something can be mapped over."""

    def __init__(self, size_bytes: int) -> None:
        self.area = mmap.mmap(-1, size_bytes)
        self.size_bytes = size_bytes
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.area))

    def read(self) -> bytes:
        return ctypes.string_at(self.address, self.size_bytes)


@on_linux
def test_mapped_image_has_its_bytes() -> None:
    """A mapping shows what was kept, whatever was there before."""
    place = ImageFile().keep(DATA)
    assert place is not None
    room = Room(len(DATA))
    room.area[:4] = b"old!"
    assert place.map_at(room.address)
    assert room.read() == DATA


@on_linux
def test_writing_to_one_mapping_changes_no_other() -> None:
    """Views are private: what one guest writes, neither another nor the image sees."""
    place = ImageFile().keep(DATA)
    assert place is not None
    rooms = [Room(len(DATA)) for _ in range(3)]
    assert place.map_at(rooms[0].address)
    assert place.map_at(rooms[1].address)
    ctypes.memset(rooms[0].address, 0, len(DATA))
    assert rooms[1].read() == DATA
    assert place.map_at(rooms[2].address)
    assert rooms[2].read() == DATA


@on_linux
def test_place_is_used_again_when_its_last_holder_lets_go() -> None:
    """The file does not grow for an image that takes the place of one that is gone."""
    file = ImageFile()
    first, second = file.keep(DATA), file.keep(DATA)
    size_bytes = file.size_bytes
    assert first is not None
    del first
    gc.collect()
    zeros = bytes(len(DATA))
    again = file.keep(zeros)
    assert file.size_bytes == size_bytes
    room, other = Room(len(DATA)), Room(len(DATA))
    assert again is not None
    assert second is not None
    assert again.map_at(room.address)
    assert second.map_at(other.address)
    assert room.read() == zeros
    assert other.read() == DATA


@on_linux
def test_zeros_take_no_memory() -> None:
    """Pages of an image that are all zeros are holes of the file."""
    file = ImageFile()
    place = file.keep(bytes(1 << 20) + DATA[:PAGE_BYTES])
    assert place is not None
    assert os.fstat(file._fd).st_blocks * 512 <= 4 * PAGE_BYTES


@on_linux
def test_what_is_not_whole_pages_is_not_kept() -> None:
    """An image that cannot be mapped is copied."""
    assert ImageFile().keep(b"x") is None


@on_linux
def test_refused_mapping_leaves_what_was_there() -> None:
    """An address that cannot be mapped is told, and nothing is changed."""
    place = ImageFile().keep(DATA)
    assert place is not None
    room = Room(2 * len(DATA))
    assert not place.map_at(room.address + 1)
    assert room.read() == bytes(2 * len(DATA))


def test_system_without_files_in_memory_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no memfd, images are copied as before."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    image = Image(DATA, bytes(len(DATA)), ImageFile())
    assert image.place is None
    room = Room(len(DATA))
    image.restore_blank(open_library().memmove, room.address)
    assert room.read() == DATA


@on_linux
def test_only_large_images_are_mapped() -> None:
    """An image that differs little from the blank memory is copied; a large one is mapped."""
    assert len(DATA) >= MAPPED_BYTES_MIN
    file = ImageFile()
    small = DATA[: MAPPED_BYTES_MIN - PAGE_BYTES] + bytes(len(DATA))
    assert Image(small, bytes(len(small)), file).place is None
    assert Image(DATA, bytes(len(DATA))).place is None
    image = Image(DATA, bytes(len(DATA)), file)
    assert image.place is not None
    room = Room(len(DATA))
    image.restore_blank(open_library().memmove, room.address)
    assert room.read() == DATA
