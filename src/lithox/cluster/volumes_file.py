"""How many volumes does a data directory have, and what is spread over them? `volumes.json`.

The file is written before the first entity can be placed by what it says, whole or not at all. A
directory without one has volume 0 alone. Invariants: what is spread stays where it is: with spread
entities neither the number of volumes nor a pattern ever changes; patterns may be added while no
entity exists under them, since every entity that was not spread lives in volume 0.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

from lithox.cluster.placement import Placement
from lithox.errors import ConfigError

FILE_NAME: Final = "volumes.json"
FOLDER_NAME: Final = "volumes"
FORMAT: Final = "lithox-volumes"
VERSION: Final = 1
FILE_BYTES_MAX: Final = 64 << 10

HasEntities = Callable[[str], bool]
"""Says whether volume 0 has an entity a pattern names; may block for the disk."""


def folder_of(data: Path, volume: int) -> Path:
    """Returns the folder of one volume: the data directory itself for volume 0."""
    return data if volume == 0 else data / FOLDER_NAME / str(volume)


def read_volumes(data: Path) -> Placement | None:
    """Returns what the directory's file says, None when there is none. Blocks for the disk.

    Raises:
        ConfigError: the file is damaged, of a newer version, or cannot be read.
    """
    path = data / FILE_NAME
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise _damaged(path) from None
    said = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    if said.get("format") != FORMAT:
        raise _damaged(path)
    if said.get("version") != VERSION:
        raise ConfigError(f"{path}: written by a newer lithox; start that one")
    volumes, spread = said.get("volumes"), said.get("spread")
    if type(volumes) is not int or not isinstance(spread, list):
        raise _damaged(path)
    patterns = cast("list[Any]", spread)
    if not all(isinstance(one, str) for one in patterns):
        raise _damaged(path)
    try:
        return Placement(volumes, cast("list[str]", patterns))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}") from None


def _damaged(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is damaged; without it nobody knows where entities live: restore it from a copy "
        f"of the directory, or remove it if nothing was ever spread (no folder {FOLDER_NAME} holds "
        "entities)"
    )


def write_volumes(data: Path, placement: Placement) -> None:
    """Records a placement, atomically; it is on the disk when this returns. Blocks.

    Raises:
        ConfigError: it cannot be written.
    """
    path, fresh = data / FILE_NAME, data / f"{FILE_NAME}.new"
    said = {
        "format": FORMAT,
        "version": VERSION,
        "volumes": placement.volumes,
        "spread": list(placement.spread),
    }
    try:
        with fresh.open("wb") as file:
            file.write(json.dumps(said, indent=1).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        folder = os.open(data, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def settle_volumes(
    data: Path, processes: int, spread: Sequence[str], has_entities: HasEntities
) -> Placement:
    """Returns the placement a server starts with, once it is recorded. Blocks for the disk.

    The folders of its volumes are there then, too.

    Args:
        data: the data directory, there and locked.
        processes: how many the operator wants, one for each volume.
        spread: the patterns the operator wants spread; those that are recorded stay.
        has_entities: asked about patterns that are new to an old directory.

    Raises:
        ConfigError: what is recorded does not allow that, and what to do.
    """
    known = read_volumes(data)
    wanted = Placement(processes, (*spread, *(known.spread if known is not None else ())))
    if known is None and not wanted.spread:
        # Nothing is spread: the directory stays one that any number of processes may serve.
        _make_folders(data, wanted)
        return wanted
    if known is not None and known.spread and known.volumes != processes:
        raise ConfigError(
            f"{data}: its entities ({', '.join(known.spread)}) are spread over {known.volumes} "
            f"volumes, so it is served by {known.volumes} processes: say --processes "
            f"{known.volumes}; to have another number, export the entities and import them into a "
            "new directory",
            key="processes",
        )
    for pattern in wanted.spread:
        is_new = known is None or pattern not in known.spread
        if is_new and has_entities(pattern):
            raise ConfigError(
                f"{data}: spread {pattern!r}: there are entities of that name, in volume 0; "
                "spread them before the first is made, or export them, delete them and import "
                "them again",
                key="volumes",
            )
    if known is not None and known.spread:
        _check_folders(data, known)
    _make_folders(data, wanted)
    if known is None or known.spread != wanted.spread or known.volumes != wanted.volumes:
        write_volumes(data, wanted)
    return wanted


def _make_folders(data: Path, placement: Placement) -> None:
    try:
        for volume in range(placement.volumes):
            folder_of(data, volume).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{data}: {error.strerror}", key="data") from None


def _check_folders(data: Path, placement: Placement) -> None:
    """Refuses a directory that has lost a volume: it would be served as if it had been empty."""
    for volume in range(placement.volumes):
        folder = folder_of(data, volume)
        if not folder.is_dir():
            raise ConfigError(
                f"{folder} is gone, and with it the entities of volume {volume}; restore it from a "
                "backup",
                key="data",
            )


def check_alone(data: Path) -> None:
    """Raises ConfigError when one process alone must not open `data`: its entities are spread."""
    whole = data.absolute().parent.parent
    if data.absolute().parent.name == FOLDER_NAME and (whole / FILE_NAME).exists():
        raise ConfigError(
            f"{data} is one volume of {whole}; a node by itself would take what lives in the "
            f"others for lost: use lithox serve --data {whole}",
            key="data",
        )
    known = read_volumes(data)
    if known is not None and known.spread and known.volumes > 1:
        raise ConfigError(
            f"{data}: its entities are spread over {known.volumes} volumes, and a node by itself "
            f"would serve a part of them: use lithox serve --processes {known.volumes}, and speak "
            "to it over its address",
            key="data",
        )
