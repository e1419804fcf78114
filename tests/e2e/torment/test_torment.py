"""Five rounds of torment on each kind of node; `make torment` runs a hundred."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.e2e.torment.nodes import NODES, PostgresNode, UnsyncedNode
from tests.e2e.torment.rounds import MakeNode, Plan, deploy, run_epoch
from tests.servers import require_postgres

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

PLAN = Plan(seed=1, rounds=5, acknowledgements=(15, 80))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives a data directory with everything deployed."""
    return deploy(tmp_path_factory.mktemp("torment"))


def torment(make_node: MakeNode, deployed: Path, folder: Path) -> None:
    """Runs one epoch over a copy of `deployed`."""
    data = Path(shutil.copytree(deployed, folder / "data"))
    counts = asyncio.run(run_epoch(make_node, data, PLAN))
    assert counts.rounds == PLAN.rounds
    assert counts.interrupted > 0, "nothing was in flight"
    assert counts.acknowledged >= PLAN.rounds * PLAN.acknowledgements[0]


@pytest.mark.parametrize("key", NODES)
def test_nothing_acknowledged_is_lost_and_nothing_happens_twice(
    key: str, deployed: Path, tmp_path: Path
) -> None:
    """Killed in the middle of load again and again, the node's state is what its answers said."""
    if key == PostgresNode.key:
        require_postgres()
    torment(NODES[key], deployed, tmp_path)


def test_a_node_that_does_not_wait_for_the_disk_is_found_out(
    deployed: Path, tmp_path: Path
) -> None:
    """Without syncs the same torment fails: it can tell."""
    with pytest.raises(AssertionError):
        torment(UnsyncedNode, deployed, tmp_path)
