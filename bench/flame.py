"""Where the time of a durable run goes, as a picture: a flame graph of the loop's thread.

The load of row 1 runs in a child process, which py-spy samples from outside, through machine code
too, so that compiled modules (tools/compiled.py) are seen by the names of their sources. Frames of
the interpreter itself and of libraries are folded into what they belong to: `python`, `wasmtime`,
`sqlite`, `kernel and C library`. The picture is a plain SVG without script: width is the share of
samples, colour is the room, and every box says its share when it is pointed at.

Usage: python -m bench.flame FILE.svg [--title TEXT] [--seconds 10] [--callers 64]
needs py-spy: pip install py-spy. LITHOX_PURE=1 shows the sources uncompiled.
"""

from __future__ import annotations

import argparse
import html
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop

import lithox
from bench.counter import CALLERS, data_directory, increment, prepare
from bench.figures import say
from bench.loads import closed_loop

SAMPLES_A_SECOND: Final = 200
"""Each stops the process for as long as its stack takes to read; shares stay what they are."""
WARM_S: Final = 1.0
WIDTH: Final = 1200
ROW_HEIGHT: Final = 17
LETTER_WIDTH: Final = 6.4
SHARE_MIN: Final = 0.002
"""Boxes narrower than this share are left out; their parents keep their width."""
COLOURS: Final = {
    "dispatch": "#e8a33d",
    "kernel": "#d9c343",
    "sandbox": "#7fb069",
    "store": "#5fa8a0",
    "node": "#c98bb9",
    "model": "#b8b8ff",
    "modules": "#b8b8ff",
    "security": "#b8b8ff",
}
OTHER_COLOUR: Final = "#c9c9c9"
LIBRARIES: Final = (
    ("wasmtime", "wasmtime"),
    ("sqlite", "sqlite"),
    ("apsw", "sqlite"),
    ("ffi", "ctypes"),
    ("ctypes", "ctypes"),
    ("libc.so", "kernel and C library"),
    ("vdso", "kernel and C library"),
    ("msgspec", "msgspec"),
    ("uvloop", "uvloop"),
    ("loop.c", "uvloop"),
)


@dataclass(slots=True)
class Box:
    """A function as called from one place, and what it calls."""

    samples: int = 0
    children: dict[str, Box] = field(default_factory=dict["str", "Box"])


def name_of(frame: str) -> str:
    """Returns how a frame of py-spy's is shown; empty for one that belongs to its caller."""
    function, _, place = frame.partition(" (")
    if "lithox/" in place:
        module = place.rpartition("lithox/")[2].partition(".py")[0]
        return f"{module}: {function}"
    for mark, name in LIBRARIES:
        if mark in frame:
            return name
    return "" if place else "python"


def fold(lines: list[str]) -> Box:
    """Returns the tree of the samples that pass through lithox on the loop's thread."""
    root = Box()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        first = next((n for n, frame in enumerate(frames) if "lithox/" in frame), None)
        if first is None:
            continue
        samples = int(count)
        root.samples += samples
        box, before = root, ""
        for frame in frames[first:]:
            name = name_of(frame)
            if not name or name == before:
                continue
            box = box.children.setdefault(name, Box())
            box.samples += samples
            before = name
    return root


def draw(root: Box, title: str) -> str:
    """Returns the picture."""
    boxes: list[str] = []
    deepest = 0

    def add(box: Box, left: float, depth: int) -> None:
        nonlocal deepest
        deepest = max(deepest, depth)
        for name, child in sorted(box.children.items()):
            share = child.samples / root.samples
            width = share * WIDTH
            if share >= SHARE_MIN:
                colour = COLOURS.get(name.partition("/")[0], OTHER_COLOUR)
                text = html.escape(name.rpartition("/")[2])
                letters = int((width - 4) / LETTER_WIDTH)
                label = text if len(text) <= letters else text[: max(0, letters)]
                y = depth * ROW_HEIGHT + 30
                boxes.append(
                    f'<g><title>{html.escape(name)}: {share:.1%}</title><rect x="{left:.1f}" '
                    f'y="{y}" width="{max(0.5, width - 0.5):.1f}" height="{ROW_HEIGHT - 1}" '
                    f'fill="{colour}"/><text x="{left + 2:.1f}" y="{y + 12}">{label}</text></g>'
                )
                add(child, left, depth + 1)
            left += width

    add(root, 0.0, 0)
    height = (deepest + 1) * ROW_HEIGHT + 40
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="monospace" font-size="10.5"><rect width="{WIDTH}" height="{height}" '
        f'fill="#ffffff"/><text x="4" y="18" font-size="14">{html.escape(title)}</text>'
    )
    return "\n".join([head, *boxes, "</svg>"]) + "\n"


async def load(seconds: float, callers: int) -> None:
    """Runs the durable counter."""
    with data_directory() as data:
        async with lithox.Node(data / "node") as node:
            await prepare(node)
            await closed_loop(lambda n: increment(node, n), callers=callers, seconds=WARM_S)
            print("ready", flush=True)
            await closed_loop(lambda n: increment(node, n), callers=callers, seconds=seconds)


def sample(seconds: float, callers: int) -> list[str]:
    """Returns py-spy's folded stacks."""
    program = shutil.which("py-spy") or shutil.which("py-spy", path=Path(sys.executable).parent)
    if program is None:
        raise SystemExit("py-spy is not installed: pip install py-spy")
    words = [sys.executable, "-m", "bench.flame", "-", "--load", str(seconds + 2)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [*words, "--callers", str(callers)], stdout=subprocess.PIPE, text=True
        ) as child,
    ):
        assert child.stdout is not None
        child.stdout.readline()
        raw = Path(folder) / "stacks"
        subprocess.run(
            [
                *(program, "record", "--native", "-r", str(SAMPLES_A_SECOND), "-f", "raw"),
                *("-d", str(round(seconds)), "-o", str(raw), "-p", str(child.pid)),
            ],
            check=True,
            capture_output=True,
        )
        return raw.read_text().splitlines()


def main() -> None:
    """Reads the command line, measures, writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--title", default="A durable run")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--callers", type=int, default=CALLERS)
    parser.add_argument("--load", type=float, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        uvloop.run(load(options.load, options.callers))
        return
    root = fold(sample(options.seconds, options.callers))
    Path(options.file).write_text(draw(root, options.title))
    say(f"{options.file}: {root.samples} samples")


if __name__ == "__main__":
    main()
