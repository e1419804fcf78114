"""What does holding a guest cost: to start, to ask, to slice, and to keep 10,000 of them?

Each figure stands beside a yardstick measured in the same process and minute, because both move
with the machine. Nothing here waits, so times are processor time of the thread: other processes
then cost caches, not turns. Prints one JSON object a line: name, figure, unit, reach (the goal, or
null), and a yardstick with its own figure. Medians of five rounds.

Usage: python bench/sandbox.py [costs|live|all] [--rounds 5] [--guests 10000] [--cache DIR]
Needs the built guest (guests/build.py); the call into native Lua needs the `lupa` package.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from lithox.model.limits import Limits
from lithox.sandbox.contract import Source, StepKind
from lithox.sandbox.engine import EngineOptions, WasmEngine, WasmProgram
from lithox.sandbox.engines import LUA, LUA_WASM_PATH
from lithox.sandbox.mappings import count_mappings, read_limit
from lithox.sandbox.messages import RunMessage, encode_answer, encode_run

LIMITS: Final = Limits(fuel=10**12, memory_bytes=8 << 20, calls=10**9)
QUANTUM_FUEL: Final = 1_000_000
CODE: Final = b"""
local handlers = {}
function handlers.nothing() return 1 end
function handlers.count(self, by)
  self.state.count = (self.state.count or 0) + (by or 1)
  return self.state.count
end
function handlers.ask(self, times)
  for i = 1, times do local _ = self.state["key" .. i] end
end
function handlers.build(self, times)
  for i = 1, times do local _ = "key" .. i end
end
function handlers.loop() while true do end end
return handlers
"""
RUNS: Final = 5000
ASKS: Final = 2000


def make_run(handler: str, *args: Any, complete: bool = True) -> bytes:
    """Returns the message of a run with an empty state."""
    return encode_run(
        RunMessage(
            handler=handler,
            args=msgspec.Raw(msgspec.msgpack.encode(list(args))),
            entity="bench/one",
            caller="bench",
            request_id=None,
            attempt=1,
            now_ms=1_790_000_000_000,
            seed=1,
            state={},
            complete=complete,
        )
    )


def median_us(work: Callable[[], object], *, count: int, rounds: int) -> float:
    """Returns the median over `rounds` of microseconds per unit; `work` does `count` units."""
    figures: list[float] = []
    for _ in range(rounds):
        begin_ns = time.thread_time_ns()
        work()
        figures.append((time.thread_time_ns() - begin_ns) / 1000 / count)
    return statistics.median(figures)


def report(
    name: str, figure: float, unit: str, *, reach: float | None, yardstick: dict[str, float]
) -> None:
    """Prints one figure."""
    line = {
        "name": name,
        "figure": round(figure, 3),
        "unit": unit,
        "yardstick": {key: round(value, 3) for key, value in yardstick.items()},
        "reach": reach,
    }
    print(json.dumps(line), flush=True)


def run_to_end(program: WasmProgram, message: bytes) -> None:
    """Runs one handler to its end, answering every system call with nil."""
    guest = program.start(message, LIMITS)
    answer = encode_answer(None)
    while True:
        step = guest.step(QUANTUM_FUEL, frees_lock=False)
        if step.kind is StepKind.ASKED:
            guest.answer(answer)
        elif step.kind is not StepKind.YIELDED:
            break
    guest.close()
    if step.kind is not StepKind.FINISHED or step.data[1] != 0:
        raise SystemExit(f"the benchmark's handler failed: {step}")


def measure_yardsticks(program: WasmProgram, rounds: int) -> dict[str, float]:
    """Returns microseconds of an empty C call, a copy of the image, a call into native Lua."""
    libc = ctypes.CDLL(None)
    absolute = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int)(("abs", libc))
    found = {
        "empty_c_call_us": median_us(
            lambda: [absolute(1) for _ in range(RUNS)], count=RUNS, rounds=rounds
        )
    }
    source = ctypes.create_string_buffer(program.image_bytes)
    target = ctypes.create_string_buffer(program.image_bytes)
    found["image_copy_us"] = median_us(
        lambda: [ctypes.memmove(target, source, program.image_bytes) for _ in range(RUNS)],
        count=RUNS,
        rounds=rounds,
    )
    try:
        lupa = importlib.import_module("lupa.lua54")
    except ImportError:
        return found
    call = lupa.LuaRuntime().eval("function(by) return 1 end")
    found["native_lua_call_us"] = median_us(
        lambda: [call(1) for _ in range(RUNS)], count=RUNS, rounds=rounds
    )
    return found


def start_many(program: WasmProgram, message: bytes, guests: int) -> Callable[[], float]:
    """Returns a round: microseconds from `start` to the first instruction of one guest."""

    def one_round() -> float:
        begin_ns = time.thread_time_ns()
        held = [program.start(message, LIMITS) for _ in range(guests)]
        for guest in held:
            guest.step(1, frees_lock=False)
        used_us = (time.thread_time_ns() - begin_ns) / 1000 / guests
        for guest in held:
            guest.step(QUANTUM_FUEL, frees_lock=False)
            guest.close()
        return used_us

    return one_round


def measure_costs(engine: WasmEngine, program: WasmProgram, rounds: int) -> None:
    """Prints what starting, running, asking and slicing cost."""
    yardstick = measure_yardsticks(program, rounds)
    nothing, count = make_run("nothing"), make_run("count", 1)
    run_to_end(program, nothing)

    idle = 200
    warm = start_many(program, nothing, idle)
    warm()
    figure = statistics.median(warm() for _ in range(rounds))
    report("start_recycled", figure, "us", reach=60, yardstick=yardstick)
    made = engine.statistics()["made_guests"]
    fresh = start_many(program, make_run("loop"), 500)
    figure = statistics.median(fresh() for _ in range(rounds))
    assert engine.statistics()["made_guests"] > made
    report("start_new", figure, "us", reach=60, yardstick=yardstick)

    for name, message in (("run_nothing", nothing), ("run_counter", count)):
        figure = median_us(
            lambda message=message: [run_to_end(program, message) for _ in range(RUNS)],
            count=RUNS,
            rounds=rounds,
        )
        report(name, figure, "us", reach=30, yardstick=yardstick)

    ask = make_run("ask", ASKS, complete=False)
    build = make_run("build", ASKS, complete=False)
    asking = median_us(lambda: run_to_end(program, ask), count=ASKS, rounds=rounds)
    building = median_us(lambda: run_to_end(program, build), count=ASKS, rounds=rounds)
    report("system_call", asking - building, "us", reach=15, yardstick=yardstick)

    guest = program.start(make_run("loop"), LIMITS)
    for quantum_fuel in (10_000, 100_000, 1_000_000):
        figure = median_us(
            lambda quantum_fuel=quantum_fuel: [
                guest.step(quantum_fuel, frees_lock=False) for _ in range(200)
            ],
            count=200,
            rounds=rounds,
        )
        report(f"slice_{quantum_fuel}_fuel", figure, "us", reach=None, yardstick=yardstick)
    guest.close()


def read_status_kb(name: str) -> int:
    """Returns a line of /proc/self/status in kB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def measure_live(engine: WasmEngine, program: WasmProgram, guests: int) -> None:
    """Prints what `guests` guests cost, each stopped in the middle of an endless loop."""
    memory_kb, mappings = read_status_kb("VmRSS"), count_mappings()
    message = make_run("loop")
    begin_ns = time.thread_time_ns()
    held = [program.start(message, LIMITS) for _ in range(guests)]
    for guest in held:
        step = guest.step(20_000, frees_lock=False)
        assert step.kind is StepKind.YIELDED
    start_us = (time.thread_time_ns() - begin_ns) / 1000 / guests
    used_kb, used = read_status_kb("VmRSS") - memory_kb, count_mappings() - mappings
    limits = {"max_map_count": float(read_limit()), "mappings_before": float(mappings)}
    report("live_guests", guests, "guests", reach=10_000, yardstick=limits)
    report("live_rss", read_status_kb("VmRSS") / 1024, "MB", reach=1500, yardstick=limits)
    report("live_memory_each", used_kb / guests, "kB", reach=None, yardstick=limits)
    report("live_mappings_each", used / guests, "mappings", reach=None, yardstick=limits)
    report("live_start_each", start_us, "us", reach=60, yardstick=limits)
    begin_ns = time.thread_time_ns()
    for guest in held:
        guest.step(100_000, frees_lock=False)
    slice_us = (time.thread_time_ns() - begin_ns) / 1000 / guests
    report("live_slice_100000_fuel", slice_us, "us", reach=None, yardstick=limits)
    for guest in held:
        guest.close()
    report(
        "live_mappings_left",
        count_mappings() - mappings,
        "mappings",
        reach=None,
        yardstick={"idle_guests": float(engine.statistics()["idle_guests"])},
    )


def main() -> None:
    """Reads the command line and prints the figures asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", nargs="?", choices=("costs", "live", "all"), default="all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--guests", type=int, default=10_000)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        begin_ns = time.perf_counter_ns()
        engine = WasmEngine(
            language=LUA,
            wasm_path=LUA_WASM_PATH,
            cache_dir=options.cache or Path(directory),
            options=EngineOptions(),
        )
        opened_ms = (time.perf_counter_ns() - begin_ns) / 1e6
        hits = float(engine.statistics()["cache_hits"])
        report("open_engine", opened_ms, "ms", reach=None, yardstick={"cache_hits": hits})
        source = Source(language=LUA, name="bench.lua", text=CODE, digest="bench")
        program = engine.load(source, LIMITS)
        report("image_bytes", program.image_bytes, "bytes", reach=None, yardstick={})
        if options.what in ("costs", "all"):
            measure_costs(engine, program, options.rounds)
        if options.what in ("live", "all"):
            measure_live(engine, program, options.guests)
        engine.close()


if __name__ == "__main__":
    main()
