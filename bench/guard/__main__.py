"""`make bench-compare`: what moved on the hot path since the last tag; 1 when something got worse.

    python -m bench.guard [--ref COMMIT] [--quick] [--keep FOLDER] [--write]

Measures counts (seconds) and instructions (half a minute, with valgrind), takes ratios from the
last `make bench`, and compares with the figures kept in the last tag; where there is no tag, or it
has none, with those of this commit. `--write` renews the file that is committed with them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bench.guard.comparing import compare
from bench.guard.files import (
    FIGURES,
    Figures,
    find_figures,
    last_tag,
    made_counts,
    made_instructions,
    read_figures,
    read_ratios,
    write_figures,
)
from bench.guard.instructions import count_instructions, why_not
from bench.guard.measure import ROOT, exact


def measure_now(*, is_quick: bool, keep: Path | None = None) -> Figures:
    """Returns every section that can be measured here. Blocks: a minute at most, once warm."""
    print("counting calls, bytecodes and bytes", flush=True)
    found = exact()
    now: Figures = {
        "counts": {"made": made_counts(), "figures": found["counts"], "parts": found["rooms"]}
    }
    why = "left out" if is_quick else why_not()
    if why:
        print(f"instructions are not counted: {why}")
    else:
        print("counting instructions (callgrind)", flush=True)
        figures, parts = count_instructions(keep=keep)
        now["instructions"] = {"made": made_instructions(), "figures": figures, "parts": parts}
    if ratios := read_ratios():
        now["ratios"] = ratios
    return now


def choose_reference(ref: str | None) -> tuple[str, Figures]:
    """Returns (its name, its figures) of what is compared with; says what it had to pass over.

    Raises:
        SystemExit: `ref` was given and has no figures, or there are none anywhere.
    """
    if ref:
        found = find_figures(ref)
        if found is None:
            raise SystemExit(f"{ref} is unknown or has no {FIGURES.relative_to(ROOT)}")
        return ref, found
    tag = last_tag()
    if tag is None:
        print("no tag yet: compared with the figures of this commit")
    else:
        found = find_figures(tag)
        if found is not None:
            return tag, found
        print(f"{tag} has no {FIGURES.relative_to(ROOT)}: compared with those of this commit")
    found = find_figures("HEAD") or read_figures()
    if not found:
        raise SystemExit("no figures are kept yet: `make bench-compare WRITE=1` makes them")
    return "this commit", found


def tell(name: str, then: Figures, now: Figures) -> bool:
    """Prints what moved since `name`; returns whether something got worse."""
    moves, notes = compare(then, now)
    for note in notes:
        print(f"  {note}")
    for move in moves:
        print(f"  {move}")
    worse = sum(move.kind == "worse" for move in moves)
    if not moves:
        print(f"nothing {'that can be compared ' if notes else ''}moved since {name}")
    else:
        better = sum(move.kind == "better" for move in moves)
        print(f"since {name}: {worse} worse, {better} better, {len(moves) - worse - better} other")
    return worse > 0


def main(arguments: list[str]) -> int:
    """Measures, compares, and renews the file if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ref", help="a commit or tag to compare with")
    parser.add_argument("--quick", action="store_true", help="without callgrind")
    parser.add_argument("--keep", type=Path, help="leave callgrind's own files in this folder")
    parser.add_argument("--write", action="store_true", help=f"renew {FIGURES.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    kept: dict[str, Any] = read_figures()
    if options.write and not kept:
        write_figures(measure_now(is_quick=options.quick, keep=options.keep))
        print(f"written: {FIGURES.relative_to(ROOT)}; commit it")
        return 0
    name, then = choose_reference(options.ref)
    now = measure_now(is_quick=options.quick, keep=options.keep)
    is_worse = tell(name, then, now)
    if options.write:
        # What could not be measured here stays as it was.
        write_figures({**kept, **now})
        print(f"written: {FIGURES.relative_to(ROOT)}; commit it with the change that moved it")
        return 0
    return 1 if is_worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
