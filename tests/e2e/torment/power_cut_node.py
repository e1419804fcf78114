"""A node on a disk that can lose power: `power_cut_node.py IMAGE SEED SYNC serve ...`.

SIGUSR1 cuts the power a few writes later, in the writer's thread: what the disk might hold then is
written to the folder IMAGE, and the process is killed. Unsynced sectors are forgotten, kept or
torn, as SEED says. SYNC is FULL; OFF plants a fault: answers do not wait for the disk.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from random import Random
from typing import Any

from lithox.cli.main import main
from lithox.store.embedded.lossy_vfs import LossyDisk
from lithox.store.embedded.store import EmbeddedOptions, EmbeddedStore

STEPS_MAX = 40
"""Writes and named points of the commit path between the signal and the cut."""


class PowerCut:
    """Waits for the signal, then for its moment."""

    def __init__(self, disk: LossyDisk, image: Path, random: Random) -> None:
        self._disk = disk
        self._image = image
        self._random = random
        self._steps_left: int | None = None

    def ask(self, number: int, frame: object) -> None:
        """Is the handler of the signal."""
        self._steps_left = self._random.randint(1, STEPS_MAX)

    def pass_step(self, name: str) -> None:
        """Is called at every write and every point of the commit path."""
        if self._steps_left is None:
            return
        self._steps_left -= 1
        if self._steps_left == 0:
            share = self._random.choice((0.0, 0.2, 0.5, 0.8, 1.0))
            self._disk.write_image(self._image, random=self._random, keep_share=share)
            os.kill(os.getpid(), signal.SIGKILL)


def run() -> None:
    """Runs the command line with every embedded store on the lossy disk."""
    image, seed, synchronous = (sys.argv.pop(1) for _ in range(3))
    disk = LossyDisk("torment")
    cut = PowerCut(disk, Path(image), Random(int(seed)))
    disk.on_write = cut.pass_step
    signal.signal(signal.SIGUSR1, cut.ask)
    really_open = EmbeddedStore.open

    def open_lossy(path: Any, *, post: Any, options: EmbeddedOptions | None = None) -> Any:
        chosen = options or EmbeddedOptions()
        chosen.vfs, chosen.reach, chosen.synchronous = disk.name, cut.pass_step, synchronous
        chosen.log_pages_max = 200
        return really_open(path, post=post, options=chosen)

    EmbeddedStore.open = open_lossy  # type: ignore[method-assign,assignment]
    main()


if __name__ == "__main__":
    run()
