"""Rows 50 to 55: what a handler costs in each language: start, call, system call, memory.

Each language has the same five small handlers (bench/bundles/languages): `increment` with its key
sent along, `echo`, so many `usage` calls, a loop of arithmetic, a loop without end. CPython's
component is that of the conformance suite, which has them too. Below the node a run is stepped by
hand and answered at once; time is that of the clock, since Python handlers run in other processes.
Lua's figure of the same round is the yardstick. Through a node one caller asks for `echo`, which
commits nothing, so that no disk is in it. A component made of a few lines of WebAssembly shows what
the call itself costs.

Usage: python -m bench.languages [--rounds 5] [--language NAME]...
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

import lithox
from bench.counter import ROOT, data_directory
from bench.figures import ROUNDS_DEFAULT, Series, ratio_of, report, say
from lithox.errors import LithoxError
from lithox.model.limits import Limits
from lithox.modules.bundle import Bundle
from lithox.sandbox.contract import Engine, Guest, Program, Source, StepKind
from lithox.sandbox.engines import open_engines
from lithox.sandbox.messages import RunMessage, encode_answer, encode_run
from lithox.sandbox.python.engine import PythonProgram
from lithox.sandbox.python.wire import RESET, encode_feed, encode_load
from lithox.sandbox.python.worker import Worker, find_binary
from sdk.c.build import read_module
from tests.conformance.languages.modules.component.build import build as build_cpython
from tests.wat_components import MEMORY, NAMES, RUN, make_component

LIMITS: Final = Limits(fuel=10**12, memory_bytes=256 << 20, calls=10**9, wall_ns=10**12)
QUANTUM_FUEL: Final = 1_000_000
CACHE: Final = ROOT / ".cache" / "bench-compiled"
YARDSTICK: Final = "lua"
RUNS: Final = 300
ASKS: Final = 500
SPINS: Final = 20_000
CALLS: Final = 200
ROUND_S_MAX: Final = 0.5
"""A round of a language that is slow ends after so long, with fewer runs."""
BUNDLES: Final = ROOT / "bench" / "bundles" / "languages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language, and its module.

    Attributes:
        name: what `--language` calls it.
        title: as the rows name it.
        language: as `lithox.toml` names it.
        file_name: of the module.
        read: gives the module; may build it.
        live: guests held at once to see what one takes; few where each takes much.
        rest_s: seconds between two runs of a round, in which a worker gets ready for the next one;
            what runs cost one after the other stands beside.
        ask: the handler that makes system calls; None: the module has but one handler, `run`.
    """

    name: str
    title: str
    language: str
    file_name: str
    read: Callable[[], bytes]
    live: int = 200
    rest_s: float = 0.0
    ask: str | None = "ask"


def _read(name: str) -> Callable[[], bytes]:
    return (BUNDLES / name).read_bytes


LANGUAGES: Final = {
    one.name: one
    for one in (
        Language(
            name="lua", title="Lua", language="lua", file_name="small.lua", read=_read("small.lua")
        ),
        Language(
            name="javascript",
            title="JavaScript",
            language="javascript",
            file_name="small.js",
            read=_read("small.js"),
        ),
        Language(
            name="python",
            title="Python",
            language="python",
            file_name="small.py",
            read=_read("small.py"),
            live=3,
            rest_s=0.01,
        ),
        Language(
            name="c",
            title="core module (C)",
            language="wasm",
            file_name="small.wasm",
            read=lambda: read_module(BUNDLES / "small.c"),
        ),
        Language(
            name="component",
            title="component (a few lines)",
            language="wasm",
            file_name="lines.wasm",
            read=lambda: make_component(f"{MEMORY}{NAMES}{RUN} (call $null))"),
            ask=None,
        ),
        Language(
            name="cpython",
            title="component (CPython)",
            language="wasm",
            file_name="cpython.wasm",
            read=build_cpython,
            live=3,
            ask="ask_often",
        ),
    )
}
MANIFEST: Final = (
    '[[template]]\nmatch = "b/**"\nlanguage = "{}"\nsource = "{}"\n'
    'limits = {{ memory = "64MiB", fuel = 2_000_000_000 }}\n'
)


def make_run(handler: str, *args: Any, state: dict[str, Any] | None = None) -> bytes:
    """Returns the message of a run whose whole state is sent along."""
    encode = msgspec.msgpack.encode
    message = RunMessage(
        handler=handler,
        args=msgspec.Raw(encode(list(args))),
        entity="b/one",
        caller="bench",
        request_id=None,
        attempt=1,
        now_ms=1_790_000_000_000,
        seed=1,
        state={key: msgspec.Raw(encode(value)) for key, value in (state or {}).items()},
        complete=True,
    )
    return encode_run(message)


COUNTER: Final = make_run("increment", 1, state={"count": 41})
ANSWER: Final = encode_answer({})


@dataclass(slots=True, kw_only=True)
class Measured:
    """One language: its program and the series of every quantity."""

    language: Language
    program: Program
    start: Series = field(default_factory=lambda: Series(name="start", unit="us"))
    empty: Series = field(default_factory=lambda: Series(name="empty handler", unit="us"))
    counter: Series = field(default_factory=lambda: Series(name="counter", unit="us"))
    ask: Series = field(default_factory=lambda: Series(name="system call", unit="us"))
    spin: Series = field(
        default_factory=lambda: Series(name=f"{SPINS:,} rounds of arithmetic", unit="us")
    )
    memory: Series = field(default_factory=lambda: Series(name="memory of a guest", unit="kB"))
    in_a_row: Series = field(default_factory=lambda: Series(name="without a rest", unit="us"))
    session: Series = field(
        default_factory=lambda: Series(name="session: a worker loads the module", unit="us")
    )
    feed: Series = field(default_factory=lambda: Series(name="feed: an empty one", unit="us"))
    node: Series = field(default_factory=lambda: Series(name="through a node", unit="us"))

    @property
    def empty_handler(self) -> str:
        """The handler that does nothing."""
        return "run" if self.language.ask is None else "echo"


def finish(guest: Guest) -> None:
    """Steps a guest to its end, answering every system call, and closes it."""
    has_yielded = False
    try:
        while True:
            # What takes long to read is left to the second lane, as in a node.
            step = guest.step(QUANTUM_FUEL, frees_lock=has_yielded)
            has_yielded = step.kind is StepKind.YIELDED or has_yielded
            if step.kind is StepKind.ASKED:
                guest.answer(ANSWER)
            elif step.kind is not StepKind.YIELDED:
                break
    finally:
        guest.close()
    if step.kind is not StepKind.FINISHED or step.data[1] != 0:
        raise SystemExit(f"the benchmark's handler failed: {step}")


def each_us(work: Callable[[], object], count: int, rest_s: float = 0.0) -> float:
    """Returns the median of the microseconds of one `work`, of at most `count` in a row."""
    found: list[float] = []
    end_ns = time.perf_counter_ns() + int(ROUND_S_MAX * 1e9)
    while len(found) < count and (not found or time.perf_counter_ns() < end_ns):
        begin_ns = time.perf_counter_ns()
        work()
        found.append((time.perf_counter_ns() - begin_ns) / 1000)
        if rest_s:
            time.sleep(rest_s)
    return statistics.median(found)


def start_us(program: Program, message: bytes, count: int) -> float:
    """Returns the median from `start` to a guest's first instruction, others having run before."""
    found: list[float] = []
    end_ns = time.perf_counter_ns() + int(ROUND_S_MAX * 1e9)
    while len(found) < count and (not found or time.perf_counter_ns() < end_ns):
        begin_ns = time.perf_counter_ns()
        guest = program.start(message, LIMITS)
        step = guest.step(1, frees_lock=False)
        found.append((time.perf_counter_ns() - begin_ns) / 1000)
        if step.kind is StepKind.FINISHED:
            guest.close()
        else:
            finish(guest)  # Dropped in the middle it would not be used again.
    return statistics.median(found)


def measure_round(one: Measured) -> None:
    """Adds one value to every series but memory and node."""
    program = one.program

    def run(message: bytes) -> None:
        finish(program.start(message, LIMITS))

    empty = make_run(one.empty_handler, 1)
    run(empty)
    one.start.add(start_us(program, empty, RUNS))
    rest_s = one.language.rest_s
    one.empty.add(each_us(lambda: run(empty), RUNS, rest_s))
    if one.language.ask is None:
        return
    one.counter.add(each_us(lambda: run(COUNTER), RUNS, rest_s))
    if rest_s:
        one.in_a_row.add(each_us(lambda: run(COUNTER), RUNS))
    if isinstance(program, PythonProgram):
        measure_worker(one, program)
    none, many = make_run(one.language.ask, 0), make_run(one.language.ask, ASKS)
    asking = each_us(lambda: run(many), 10) - each_us(lambda: run(none), 10)
    one.ask.add(max(asking, 0.0) / ASKS)
    spin, still = make_run("spin", SPINS), make_run("spin", 0)
    one.spin.add(max(each_us(lambda: run(spin), 10) - each_us(lambda: run(still), 10), 0.0))


def measure_worker(one: Measured, program: PythonProgram) -> None:
    """Adds what a worker's session and an empty feed take, asked of a worker of its own."""
    assert LIMITS.memory_bytes is not None
    image = program.find_image(LIMITS.memory_bytes)
    assert image is not None
    worker = Worker(find_binary())

    def exchange(*requests: bytes) -> None:
        for request in requests:
            worker.send(request)
        for _ in requests:
            while worker.take_event() is None:
                worker.exchange(1000)

    try:
        exchange(encode_load(image.state))
        one.session.add(each_us(lambda: exchange(RESET, encode_load(image.state)), RUNS))
        one.feed.add(each_us(lambda: exchange(encode_feed("None")), RUNS))
    finally:
        worker.kill()
        worker.reap()


def tree_kb() -> int:
    """Returns the memory of this process and its children, shared pages by share (Pss)."""
    pids = ["self", *Path("/proc/self/task").glob("*/children")]
    children = [
        child for path in pids[1:] if isinstance(path, Path) for child in path.read_text().split()
    ]
    total = 0
    for pid in ["self", *children]:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def measure_memory(one: Measured) -> None:
    """Adds what one guest takes that is stopped in the middle of a loop."""
    if one.language.ask is None:
        return
    count = one.language.live
    message = make_run("loop")
    held: list[Guest] = []
    gc.collect()
    before_kb = tree_kb()
    try:
        for _ in range(count):
            guest = one.program.start(message, LIMITS)
            held.append(guest)
            guest.step(QUANTUM_FUEL // 10, frees_lock=False)
        one.memory.add(max(tree_kb() - before_kb, 0) / count)
    finally:
        for guest in held:
            guest.close()


async def measure_node(one: Measured, rounds: int) -> None:
    """Adds the time of one call that reads, by one caller, for each round."""
    with data_directory() as data:
        async with lithox.Node(data) as node:
            language = one.language
            manifest = MANIFEST.format(language.language, language.file_name)
            await node.deploy(
                Bundle(manifest=manifest, files={language.file_name: language.read()})
            )
            for _ in range(10):
                await node.call("b/one", one.empty_handler, 1)
            for _ in range(rounds):
                begin_ns = time.perf_counter_ns()
                for _ in range(CALLS):
                    await node.call("b/one", one.empty_handler, 1)
                one.node.add((time.perf_counter_ns() - begin_ns) / 1000 / CALLS)


@contextmanager
def opened(names: list[str]) -> Iterator[list[Measured]]:
    """Gives every language that can be opened, its module loaded."""
    engines: dict[str, Engine] = open_engines(CACHE)
    with ExitStack() as stack:
        for engine in engines.values():
            stack.callback(engine.close)
        found: list[Measured] = []
        for name in names:
            language = LANGUAGES[name]
            try:
                found.append(Measured(language=language, program=load(engines, language)))
            except (KeyError, LithoxError, OSError, ImportError) as problem:
                say(f"{language.name} is left out: {problem}")
        yield found


def load(engines: dict[str, Engine], language: Language) -> Program:
    """Returns the language's module, loaded."""
    engine = engines[language.language]
    say(f"loading {language.name}")
    source = Source(
        language=language.language,
        name=language.file_name,
        text=language.read(),
        digest=f"bench-{language.name}",
    )
    engine.prepare(source)
    return engine.load(source, LIMITS)


def tell(found: list[Measured]) -> None:
    """Prints the rows: each quantity, each language beside Lua."""
    lua = next((one for one in found if one.language.name == YARDSTICK), None)
    for one in found:
        for row, kind in enumerate(QUANTITIES, 50):
            figure: Series = getattr(one, kind)
            if not figure.values:
                continue
            yardstick: Series | None = None
            if lua is not None and lua is not one:
                theirs: Series = getattr(lua, kind)
                yardstick = Series(name="Lua", unit=theirs.unit, values=theirs.values)
            ratio = None if yardstick is None else ratio_of(figure, yardstick)
            reach, is_reached = judge(one.language.name, kind, figure.median, ratio)
            report(
                row=row,
                what=f"{one.language.title}: {QUANTITIES[kind]}",
                figure=figure,
                yardstick=yardstick,
                ratio=ratio,
                reach=reach,
                is_reached=is_reached,
                beside=[
                    series
                    for series in (one.spin, one.in_a_row, one.session, one.feed)
                    if kind == "counter" and series.values
                ],
            )


QUANTITIES: Final = {
    "start": "start of a guest, to its first instruction",
    "empty": "handler that does nothing, warm",
    "counter": "counter, warm, its key sent along",
    "ask": "system call and its answer",
    "memory": "memory of an idle guest",
    "node": "call through a node that commits nothing, one caller",
}


def judge(name: str, kind: str, median: float, ratio: float | None) -> tuple[str, bool | None]:
    """Returns the goal in words and whether it is reached; ("", None) where there is none."""
    if kind == "counter" and name in {"javascript", "c"} and ratio is not None:
        return "ratio at most 2", ratio <= 2
    if kind == "memory" and name == "javascript":
        return "at most 600 kB", median <= 600
    if kind == "counter" and name == "python":
        return "at most 1 ms", median <= 1000
    if kind == "empty" and name == "component":
        return "at most 100 us", median <= 100
    return "", None


def main() -> None:
    """Reads the command line, measures, prints the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    parser.add_argument("--language", action="append", choices=sorted(LANGUAGES))
    options = parser.parse_args()
    names = list(dict.fromkeys([YARDSTICK, *(options.language or LANGUAGES)]))
    with opened(names) as found:
        for number in range(options.rounds):
            for one in found:
                say(f"round {number + 1}: {one.language.name}")
                measure_round(one)
                measure_memory(one)
        for one in found:
            say(f"through a node: {one.language.name}")
            asyncio.run(measure_node(one, options.rounds))
    tell(found)


if __name__ == "__main__":
    main()
