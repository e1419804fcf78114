"""`make torment`: nodes ended badly under load, 100 rounds of each kind; `make test` runs five.

    make torment                        # 100 rounds of every kind of node
    make torment SEED=7 ROUNDS=20 NODE=power

The rounds are cut in epochs of five. Each epoch has a fresh data directory, the next seed, and the
kinds of node take turns; it ends with the whole reckoning. The seed decides what is asked and
after how many answers the end comes; what is in flight then is up to the machine, so a failure is
looked for again with its seed and may take several tries. Its data and its history are kept.
Exit status: 0 all is well; 1 something was lost, happened twice or cannot be explained; 130
interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
import traceback
from itertools import product
from pathlib import Path
from random import SystemRandom

from places import ROOT

sys.path.insert(0, str(ROOT))

from tests.e2e.torment.nodes import NODES, EmbeddedNode
from tests.e2e.torment.rounds import Counts, Plan, deploy, run_epoch

ROUNDS_DEFAULT = 100
ROUNDS_PER_EPOCH = 5
ACKNOWLEDGEMENTS = (50, 800)
"""Of a round: with eight clients on two quiet cores the end comes within two seconds."""


def run_one(kind: type[EmbeddedNode], deployed: Path, folder: Path, plan: Plan) -> Counts:
    """Runs one epoch below `folder`; prints a line for each round."""
    begun_s = time.monotonic()

    def on_round(number: int, counts: Counts) -> None:
        seconds = time.monotonic() - begun_s
        print(f"  round {number:3} {seconds:6.1f} s  {counts}", flush=True)

    print(f"seed {plan.seed}: {plan.rounds} rounds, {kind.name}", flush=True)
    data = Path(shutil.copytree(deployed, folder / f"data-{plan.seed}"))
    counts = asyncio.run(run_epoch(kind, data, plan, on_round=on_round))
    print(f"  reckoned {time.monotonic() - begun_s:5.1f} s  {counts}", flush=True)
    shutil.rmtree(data)
    return counts


def run(kinds: list[type[EmbeddedNode]], *, seed: int, rounds: int) -> int:
    """Runs all epochs; returns the exit status."""
    folder = Path(tempfile.mkdtemp(prefix="lithox-torment-"))
    total = 0
    deployed = deploy(folder)
    epochs = product(range(0, rounds, ROUNDS_PER_EPOCH), kinds)
    for number, (first, kind) in enumerate(epochs):
        plan = Plan(
            seed=seed + number,
            rounds=min(ROUNDS_PER_EPOCH, rounds - first),
            acknowledgements=ACKNOWLEDGEMENTS,
        )
        try:
            total += run_one(kind, deployed, folder, plan).acknowledged
        except Exception:  # noqa: BLE001 - whatever it is, its seed and data must be told
            traceback.print_exc()
            again = f"make torment SEED={plan.seed} ROUNDS={plan.rounds} NODE={kind.key}"
            print(f"kept in {folder}; once more: {again}", file=sys.stderr)
            return 1
    shutil.rmtree(folder)
    names = ", ".join(kind.name for kind in kinds)
    print(f"{rounds} rounds of each of {names}: {total} acknowledged, nothing lost, nothing twice")
    return 0


def main(arguments: list[str]) -> int:
    """Reads the arguments, checks what they need, torments."""
    parser = argparse.ArgumentParser(prog="make torment", description="Ends nodes badly.")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the first epoch; drawn if left out"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    parser.add_argument("--node", choices=["all", *NODES], default="all")
    asked = parser.parse_args(arguments)
    kinds = [kind for key, kind in NODES.items() if asked.node in {"all", key}]
    for kind in kinds:
        lack = kind.find_lack()
        if lack is not None:
            print(f"  left out: {kind.name}: {lack}")
    able = [kind for kind in kinds if kind.find_lack() is None]
    if not able:
        return 1
    seed = SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    return run(able, seed=seed, rounds=asked.rounds)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
