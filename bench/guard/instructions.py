"""Processor instructions of the hot path, counted by callgrind; of the guest's machine code, too.

    python -m bench.guard.instructions --marks LIBRARY --cache FOLDER      (only under valgrind)

Callgrind counts one `rep movsb` as one instruction for every byte it moves, so the copy of a
guest's image (192 KiB in each run, told as `libffi`, through which it is made) weighs more than on
a real processor: a byte less to copy is seen at once.

Valgrind gives every process the same addresses and a processor of its own making, so counts of the
same code differ by some tenths of a percent only. They depend on how Python and wasmtime were
built, so they are compared with figures of the same builds only (`comparing`). The cycle collector
is off while something is counted: when it comes round is chance.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.guard.house import House, open_lua
from bench.guard.http import Connection
from bench.guard.measure import CACHE, REQUESTS, ROOT, RUNS, SURROUNDINGS, WORKS
from bench.guard.resp import DEPTH, RespWire
from bench.guard.sqlite import BATCH, BatchFigures

SOURCE: Final = Path(__file__).parent / "marks.c"
HEADERS: Final = Path("/usr/include")
"""Where Debian's valgrind puts `valgrind/callgrind.h`."""
WARM_ROUNDS: Final = 3
SECONDS_MAX: Final = 600
"""Minutes only where Lua's interpreter has to be compiled under valgrind first."""
_OBJECT: Final = re.compile(r"(c?)ob=\((\d+)\)(?: (.+))?$")
_TRIGGER: Final = "desc: Trigger: Client Request: "
_PACKAGE: Final = re.compile(r"/site-packages/(\w+)")
_SYSTEM: Final = re.compile(r"/(?:libc|libm|libpthread|ld-linux)[.-]")
_INTERPRETER: Final = re.compile(r"/(?:lib)?python3[\w.]*$|/lib-dynload/")


def why_not() -> str:
    """Returns what is missing for counting instructions here, or an empty text."""
    if not shutil.which("valgrind"):
        return "valgrind is not installed (apt-get install valgrind)"
    if not (HEADERS / "valgrind" / "callgrind.h").exists():
        return f"valgrind's headers are not in {HEADERS}"
    if importlib.util.find_spec("ziglang") is None:
        return "ziglang is not installed; `make` sets it up"
    return ""


def count_instructions(
    cache: Path = CACHE, *, keep: Path | None = None
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Returns instructions by piece of work, and the same split by whose code they are.

    Args:
        cache: where the interpreter compiled for valgrind's processor and the marks are kept.
        keep: a folder in which callgrind's own files stay; None throws them away.

    Raises:
        SystemExit: what ran under valgrind failed; its last words.

    Blocks: about a minute, three the first time.
    """
    folder = cache / "valgrind"
    folder.mkdir(parents=True, exist_ok=True)
    marks = _build_marks(folder)
    with tempfile.TemporaryDirectory() as where:
        out = Path(where) / "callgrind.out"
        command = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no"]
        command += [f"--callgrind-out-file={out}", sys.executable]
        command += ["-m", "bench.guard.instructions", "--marks", str(marks), "--cache", str(folder)]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **SURROUNDINGS},
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"nothing counted under valgrind:\n{done.stderr[-4000:]}")
        dumps = sorted(Path(where).glob("callgrind.out.*"))
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            for dump in dumps:
                shutil.copy(dump, keep)
        texts = [dump.read_text() for dump in dumps]
    return _read_all(texts)


def _build_marks(folder: Path) -> Path:
    """Returns the library of marks; builds it when its source is newer."""
    library = folder / "marks.so"
    if not library.exists() or library.stat().st_mtime < SOURCE.stat().st_mtime:
        command = [sys.executable, "-m", "ziglang", "cc", "-O1", "-shared", "-fPIC"]
        command += ["-idirafter", str(HEADERS), "-o", str(library), str(SOURCE)]
        subprocess.run(command, check=True, capture_output=True)
    return library


def _read_all(texts: list[str]) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    figures: dict[str, float] = {}
    parts: dict[str, dict[str, float]] = {}
    for text in texts:
        found = read_dump(text)
        if found is not None:
            label, counts = found
            name, _, pieces = label.partition("/")
            figures[name] = round(counts.total() / int(pieces))
            parts[name] = {part: round(n / int(pieces)) for part, n in sorted(counts.items())}
    return figures, parts


def read_dump(text: str) -> tuple[str, Counter[str]] | None:
    """Returns (label, instructions by part) of one dump, or None when no mark made it.

    The format: `ob=(id) file` names whose code follows (`cob=` whose is called; the file stands
    with an id's first use), a line that begins with a position holds the cost of that code itself,
    and one behind `calls=` the cost of what it called, which is counted where it was spent.
    """
    label = ""
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    part, is_call = "", False
    for line in text.splitlines():
        if found := _OBJECT.match(line):
            is_callee, number, file = found.groups()
            if file is not None:
                names[number] = part_of(file)
            if not is_callee:
                part = names[number]
        elif line.startswith("calls="):
            is_call = True
        elif line[:1] in "0123456789+-*" and line:
            if not is_call:
                counts[part] += int(line.split()[1])
            is_call = False
        elif line.startswith(_TRIGGER):
            label = line.removeprefix(_TRIGGER)
    return (label, counts) if label else None


def part_of(file: str) -> str:
    """Returns whose code the object `file` holds: a package's, or that of no file, a guest's."""
    if file == "???":
        return "guest"
    if found := _PACKAGE.search(file):
        return found[1]
    if _SYSTEM.search(file):
        return "libc"
    return "interpreter" if _INTERPRETER.search(file) else Path(file).name


class Marks:
    """Begins and ends what is counted."""

    def __init__(self, library: Path) -> None:
        loaded = ctypes.CDLL(str(library))
        self._begin = loaded.lithox_mark_begin
        self._end = loaded.lithox_mark_end

    def count(self, name: str, pieces: int, work: Callable[[], object]) -> None:
        """Warms up, then counts one call of `work`, which does `pieces` pieces."""
        for _ in range(WARM_ROUNDS):
            work()
        gc.collect()
        gc.disable()
        self._begin()
        work()
        self._end(f"{name}/{pieces}".encode())
        gc.enable()


def main() -> None:
    """Does every piece of work between marks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--marks", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    marks = Marks(options.marks)
    engine = open_lua(options.cache)
    for name, make in WORKS.items():
        house, asks = House(engine), make()
        marks.count(f"{name}.instructions", RUNS, lambda house=house, asks=asks: house.run(asks))
        house.close()
    engine.close()
    for name, wire, each in (("http", Connection(), 1), ("resp", RespWire(), DEPTH)):
        marks.count(f"{name}.instructions", REQUESTS * each, lambda wire=wire: wire.ask(REQUESTS))
        wire.close()
    with tempfile.TemporaryDirectory() as folder:
        batch = BatchFigures(Path(folder), is_counted=False)
        marks.count("sqlite.instructions", BATCH + 1, batch.make_batch)
        batch.close()


if __name__ == "__main__":
    main()
