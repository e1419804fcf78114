"""Hostile handlers end in a clear error for their caller and are felt by nobody else.

Each runs beside neighbours in the same language and in Lua, which are counted: they complete so
many runs meanwhile, whatever the hostile one does.
"""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path

import pytest

from lithox.errors import CompileFailed, LithoxError
from lithox.model.limits import Limits
from lithox.model.request import Answer
from lithox.modules.bundle import Bundle
from tests.conformance.languages.faults import OK, Fault, read
from tests.conformance.languages.world import MANIFEST, World

RUNS_MIN = 3
"""So many runs each neighbour completes while a fault lasts; waiting for its end it gets one."""
RUNS_MAX = 500
FUEL = 300_000_000
FUEL_LONG = 1_000_000_000
TEXT_MAX = 20_000
"""Letters of an error: who is told of a fault is not sent its whole text."""
_numbers = itertools.count(1)

pytestmark = pytest.mark.slow


def deploy(world: World, fault: Fault) -> tuple[str, LithoxError | None]:
    """Publishes a fault; returns its entity, and why it was refused where it was."""
    number = next(_numbers)
    file_name = f"fault{number}{Path(world.language.file_name).suffix}"
    entity = f"f/{number}/bad"
    try:
        world.deploy(fault.text, match=f"f/{number}/**", file_name=file_name)
    except LithoxError as error:
        refusal = error
    else:
        return entity, None
    if isinstance(refusal, CompileFailed):
        assert refusal.fields["file"] == file_name
        assert world.language.is_built or refusal.fields["line"] >= 1
    assert len(str(refusal)) < TEXT_MAX
    return entity, refusal


def serve_neighbour(world: World) -> str:
    """Has the plain Lua counter of the examples served beside the language; its entity."""
    text = (
        b"return {add = function(self) self.state.n = (self.state.n or 0) + 1 "
        b"return self.state.n end}"
    )
    manifest = MANIFEST.format(language="lua", file_name="good.lua").replace("t/**", "good/**", 1)
    world.run(world.node.deploy(Bundle(manifest=manifest, files={"good.lua": text})))
    return f"good/n{next(_numbers)}"


async def run_beside(
    world: World, fault: Fault, bad: str, good: str, same: str
) -> tuple[Answer, int]:
    """Runs the fault; returns its answer and how many runs both neighbours completed meanwhile."""
    limits = Limits(
        fuel=FUEL_LONG if fault.lasts else FUEL,
        memory_bytes=16 << 20,
        wall_ns=20_000_000_000,
        calls=20_000,
    )
    future = world.begin(bad, fault.handler, limits=limits)
    runs = 0
    while not future.done() and runs < RUNS_MAX:
        runs += 1
        assert await world.node.call(good, "add") == runs
        assert await world.node.call(same, "increment") == runs
    return await future, runs


def test_fault_ends_and_is_felt_by_nobody(world: World, fault: Fault) -> None:
    """It ends with a code of its own, nothing of it remains, and neighbours were served."""
    good, same = serve_neighbour(world), world.fresh()
    # A machine that is busy with other tests may get to the wall before the fuel is used up.
    ends = (*fault.ends, "guest.out_of_wall") if fault.lasts else fault.ends
    bad, refusal = deploy(world, fault)
    if refusal is not None:
        # What may be refused at deploy has that among its ends; everything else has to run.
        assert refusal.code in ends, refusal
        assert world.call(good, "add") == world.call(same, "increment") == 1
        return
    answer, runs = world.run(run_beside(world, fault, bad, good, same))
    code = OK if answer.error is None else getattr(answer.error, "code", "internal")
    assert code in ends, (code, answer)
    if fault.lasts:
        assert runs >= RUNS_MIN
    assert len(str(answer.error)) < TEXT_MAX
    # Whoever comes next finds everything as it was, in the same language too.
    assert world.call(good, "add") == runs + 1
    assert world.call(same, "increment") == runs + 1
    first = world.call(world.fresh(), "bump")
    assert first == [1] * len(first)
    assert world.node.statistics()["internal_errors_total"] == 0


def test_pages_say_what_is_refused_at_deploy(world: World) -> None:
    """Where the table says that some hostile code is refused at deploy, the page says which."""
    found = read(world.language.name).values()
    refused = [fault for fault in found if CompileFailed.default_code in fault.ends]
    if world.language.expected("bombs_refused_at_deploy"):
        assert 0 < len(refused) < len(found) // 10
    elif not world.language.is_built:
        assert refused == []


def children_of() -> set[int]:
    """Returns the processes this one has started that are alive."""
    found = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
    return {int(pid) for pids in found for pid in pids}


def is_dead(pid: int) -> bool:
    """Returns whether a process has ended, its parent knowing or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"
    except OSError:
        return True


@pytest.mark.needs("has_workers")
def test_killed_worker_aborts_its_run_alone(world: World) -> None:
    """Of a worker that the kernel ends its run fails; others go on, and the next one is served."""
    entity, same = world.fresh(), world.fresh()
    good = serve_neighbour(world)

    async def body() -> Answer:
        future = world.begin(entity, "loop")
        await world.until_running(entity, "loop")
        killed = children_of()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        await world.until(lambda: all(map(is_dead, killed)), "the end of the workers")
        assert await world.node.call(good, "add") == 1
        return await future

    answer = world.run(body())
    assert getattr(answer.error, "code", None) == "guest.trapped", answer
    assert world.call(entity, "increment") == 1
    assert world.call(same, "increment") == 1
