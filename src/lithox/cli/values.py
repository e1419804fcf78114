"""Copying the bytes of one value between a node and a file, a piece at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from lithox.cli.backend import open_backend
from lithox.cli.options import Target
from lithox.errors import BadArguments
from lithox.model.big_values import BigValue

PART_BYTES: Final = 64 << 10
STANDARD_INPUT: Final = Path("-")


async def copy_out(target: Target, entity: str, key: str, to: Path | None) -> int:
    """Writes a value to a file, or to the standard output for None; returns its size.

    Raises:
        BadArguments: the file cannot be written.
        LithoxError: the value cannot be read.

    Blocks: for the disk.
    """
    size = 0
    async with open_backend(target) as node:
        with _writing(to) as file:
            async for piece in node.read_value(entity, key):
                file.write(piece)
                size += len(piece)
            file.flush()
    return size


@contextmanager
def _writing(to: Path | None) -> Generator[BinaryIO]:
    """Opens what is written to; a file takes its place only when the block has ended well."""
    if to is None:
        yield sys.stdout.buffer
        return
    part = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(to)
    except OSError as error:
        raise BadArguments(f"{to} cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


async def copy_in(target: Target, entity: str, key: str, source: Path) -> BigValue:
    """Writes the bytes of a file (`-`: the standard input) as a big value.

    Raises:
        BadArguments: the file cannot be read.
        LithoxError: the value cannot be written; nothing was.

    Blocks: for the disk.
    """
    async with open_backend(target) as node:
        try:
            if source == STANDARD_INPUT:
                return await node.write_value(entity, key, _parts(sys.stdin.buffer))
            with source.open("rb") as file:
                return await node.write_value(entity, key, _parts(file))
        except OSError as error:
            raise BadArguments(f"{source} cannot be read: {error.strerror}") from None


def _parts(file: BinaryIO) -> Iterator[bytes]:
    while part := file.read(PART_BYTES):
        yield part
