"""What a node shows of itself: processes and figures, as plain data."""

from __future__ import annotations

from typing import Any

from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.driven import Driven
from lithox.dispatch.programs.process import MODE_COOPERATIVE, MODE_PREEMPTIVE, ProgramProcess
from lithox.kernel.kernel import Kernel
from lithox.kernel.parties import Counts
from lithox.kernel.process import ProcessView
from lithox.model.request import Caller
from lithox.sandbox.contract import CooperativeGuest, Engine
from lithox.store.contract import Store


def list_processes(
    dispatcher: Dispatcher, kernel: Kernel, caller: Caller, now_ns: int
) -> list[dict[str, Any]]:
    """Returns one row a process; of its own account only, unless the caller is an admin."""
    rows: list[dict[str, Any]] = []
    for view in dispatcher.processes():
        if not caller.is_admin and view.account != caller.account:
            continue
        frame = dispatcher.runs.table.by_pid.get(view.pid)
        guest = None if frame is None else frame.guest
        rows.append(
            {
                "pid": view.pid,
                **_names_of(view, frame),
                "account": view.account,
                "state": view.state.name.lower(),
                "lane": view.lane.name.lower(),
                "level": view.level,
                "priority": view.priority,
                "fuel": view.fuel,
                "cpu_us": view.cpu_ns // 1000,
                "memory": 0 if guest is None else guest.memory_bytes,
                "age_ms": (now_ns - view.started_ns) // 1_000_000,
                "parent": view.parent,
                **_mail_of(kernel.interactions.counts(view.pid)),
            }
        )
    return rows


def _names_of(view: ProcessView, frame: Driven | None) -> dict[str, Any]:
    """Returns what a process runs, and how it gives the processor up."""
    if isinstance(frame, ProgramProcess):
        return {
            "kind": "program",
            "program": frame.name,
            "runtime": frame.runtime,
            "mode": frame.mode,
        }
    entity, _, handler = view.name.rpartition(":")
    guest = None if frame is None else frame.guest
    mode = MODE_COOPERATIVE if isinstance(guest, CooperativeGuest) else MODE_PREEMPTIVE
    return {"kind": "handler", "entity": entity, "handler": handler, "mode": mode}


def _mail_of(counts: Counts | None) -> dict[str, int]:
    """Returns what stands in a process's mailbox; a handler's run has none."""
    if counts is None:
        return {"contexts": 0, "queue": 0, "calls_in": 0, "calls_out": 0}
    return {
        "contexts": counts.contexts,
        "queue": counts.events,
        "calls_in": counts.calls_in,
        "calls_out": counts.calls_out,
    }


def collect_statistics(
    *, dispatcher: Dispatcher, kernel: Kernel, store: Store, engines: dict[str, Engine]
) -> dict[str, float]:
    """Returns flat counters and gauges for metrics, by name."""
    counters = dispatcher.counters
    figures: dict[str, float] = {
        "requests_total": counters.requests,
        "requests_succeeded_total": counters.succeeded,
        "requests_failed_total": counters.failed,
        "requests_refused_total": counters.refused,
        "conflicts_total": counters.conflicts,
        "internal_errors_total": counters.internal_errors,
        "requests_open": dispatcher.open_count,
    }
    groups: list[tuple[str, dict[str, Any]]] = [
        ("kernel", kernel.statistics()),
        ("store", store.statistics()),
        ("messages", dispatcher.mail.statistics()),
        ("accepted", dispatcher.accepted.statistics()),
        ("timers", dispatcher.timers.statistics()),
    ]
    groups.extend((f"sandbox_{name}", one.statistics()) for name, one in engines.items())
    for group, values in groups:
        for name, value in values.items():
            if isinstance(value, (int, float)):
                figures[f"{group}_{name}"] = value
    return figures
