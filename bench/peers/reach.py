"""Whether what was to be reached is reached, worked out from one run's figures and nothing else.

Each row has a figure of ours, a yardstick of the same run, their ratio and the goal. Ours is the
best of lithox's own roads that answer the row's kind of client; it is named. A ratio is the median
of the ratios of single rounds, since a slow minute meets both. What was not measured has no
verdict.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

OURS: Final = ("lithox-1", "lithox-2")
OURS_ON_POSTGRES: Final = ("lithox-postgres",)
P99_CALLERS: Final = 16
LOOP_KEPT: Final = 0.9
RAW_LOG_SHARE: Final = 0.1
IDLE_MB: Final = 500.0
DURABLE_SYNCS_MIN: Final = 1 / 512
"""Fewer syncs an answer than this, with at most 256 callers, and answers did not wait for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; None where nothing was measured."""

    against: str
    work: str
    ours: str
    figure: float | None
    yardstick: float | None
    ratio: float | None
    reach: str
    is_reached: bool | None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain data."""
        return asdict(self)


def find_loads(result: dict[str, Any], workload: str, **wanted: Any) -> list[dict[str, Any]]:
    """Returns the rows of a workload that have every wanted value and a round that worked."""
    return [
        row
        for row in result["loads"]
        if row["workload"] == workload
        and all(row[key] == value for key, value in wanted.items())
        and values(row)
    ]


def values(row: dict[str, Any], key: str = "rate") -> list[float]:
    """Returns the rounds' values that there are."""
    return [one[key] for one in row["rounds"] if one.get(key) is not None]


def median(row: dict[str, Any], key: str = "rate") -> float:
    """Returns the middle of the rounds."""
    return statistics.median(values(row, key))


def ratio_of(mine: dict[str, Any], theirs: dict[str, Any], key: str = "rate") -> float | None:
    """Returns the median over rounds of mine / theirs of the same round."""
    pairs = zip(mine["rounds"], theirs["rounds"], strict=False)
    found = [a[key] / b[key] for a, b in pairs if a.get(key) and b.get(key)]
    return statistics.median(found) if found else None


def _best(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    return max(rows, key=median, default=None)


def _ours(
    result: dict[str, Any], peers: Sequence[str], *, wire: str, callers: int, **more: Any
) -> list[dict[str, Any]]:
    rows = find_loads(result, "counter", wire=wire, callers=callers, **more)
    return [row for row in rows if row["peer"] in peers]


def _against(  # noqa: PLR0913 - one row of the issue's table, all by keyword
    result: dict[str, Any],
    *,
    peer: str,
    callers: int,
    times: float,
    ours: Sequence[str],
    wires: tuple[str, str],
    **more: Any,
) -> Row:
    """Returns the row of the durable counter against one peer."""
    mine = _best(_ours(result, ours, wire=wires[0], callers=callers, **more))
    theirs = _best(find_loads(result, "counter", peer=peer, wire=wires[1], callers=callers, **more))
    ratio = ratio_of(mine, theirs) if mine and theirs else None
    return Row(
        against=peer,
        work=f"durable counter, {callers} callers",
        ours=mine["road"] if mine else "not measured",
        figure=median(mine) if mine else None,
        yardstick=median(theirs) if theirs else None,
        ratio=ratio,
        reach=f"ratio {times:g}",
        is_reached=None if ratio is None else ratio >= times,
        note="" if theirs else _missing(result, peer),
    )


def _missing(result: dict[str, Any], peer: str) -> str:
    about = result["peers"].get(peer)
    return "not asked for" if about is None else str(about.get("missing", "not measured"))


def is_durable(result: dict[str, Any], peer: str) -> bool:
    """Returns whether the run saw syncs before answers, and no answer lost by SIGKILL.

    A test that failed, or in which nothing was acknowledged, has shown nothing.
    """
    syncs = [one for one in result.get("syncs", {}).values() if one.get("peer") == peer]
    has_synced = any((one.get("syncs_per_answer") or 0) >= DURABLE_SYNCS_MIN for one in syncs)
    kill = result.get("alone", {}).get("kill", {}).get(peer, {})
    return has_synced and kill.get("acknowledged", 0) > 0 and kill["lost"] == 0


def _latencies(result: dict[str, Any]) -> list[Row]:
    """Returns a row for each road of each peer: p99 at 16 callers beside ours on the same wire."""
    rows: list[Row] = []
    for theirs in find_loads(result, "counter", callers=P99_CALLERS):
        peer = theirs["peer"]
        if peer.startswith("lithox") or not values(theirs, "p99_us"):
            continue
        names = OURS_ON_POSTGRES if peer == "dbos" else OURS
        wire = "http" if theirs["wire"] == "http" else "resp"
        found = _ours(result, names, wire=wire, callers=P99_CALLERS, shape=theirs["shape"])
        found = [row for row in found if values(row, "p99_us")]
        mine = min(found, key=lambda row: median(row, "p99_us"), default=None)
        ratio = ratio_of(mine, theirs, "p99_us") if mine else None
        is_durable_too = is_durable(result, peer)
        rows.append(
            Row(
                against=theirs["road"],
                work=f"p99 at {P99_CALLERS} callers, ms",
                ours=mine["road"] if mine else "not measured",
                figure=median(mine, "p99_us") / 1e3 if mine else None,
                yardstick=median(theirs, "p99_us") / 1e3,
                ratio=ratio,
                reach="below 1",
                is_reached=None if ratio is None or not is_durable_too else ratio < 1,
                note="" if is_durable_too else "its durability was not shown in this run",
            )
        )
    return rows


def _loop(result: dict[str, Any]) -> list[Row]:
    """Returns what a loop beside leaves of the rate: ours as the goal, theirs as measured."""
    rows: list[Row] = []
    for peer, found in result.get("alone", {}).get("loop", {}).items():
        if "failed_with" in found:
            continue
        is_ours = peer.startswith("lithox")
        kept = found["kept"]
        rows.append(
            Row(
                against="alone, the same minute",
                work="rate beside an endless loop, calls/s",
                ours=peer,
                figure=found["beside"],
                yardstick=found["alone"],
                ratio=kept,
                reach=f"{LOOP_KEPT:g}" if is_ours else "as measured",
                is_reached=kept >= LOOP_KEPT if is_ours else None,
            )
        )
    return rows


def _raw_log(result: dict[str, Any]) -> list[Row]:
    limit = result.get("limits", {}).get("raw_log")
    if not limit:
        return []
    yardstick = statistics.median(limit)
    rows: list[Row] = []
    for peer in OURS:
        mine = _best(find_loads(result, "flight", peer=peer))
        if mine is None:
            continue
        processes = int(peer.rpartition("-")[2])
        each = median(mine) / processes
        rows.append(
            Row(
                against="raw log, 128 in flight",
                work="durable runs/s of each process",
                ours=mine["road"],
                figure=each,
                yardstick=yardstick,
                ratio=each / yardstick,
                reach=f"{RAW_LOG_SHARE:g}",
                is_reached=each / yardstick >= RAW_LOG_SHARE,
            )
        )
    return rows


def _idle(result: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for peer, found in result.get("alone", {}).get("idle", {}).items():
        if not peer.startswith("lithox") or "failed_with" in found:
            continue
        rows.append(
            Row(
                against="memory",
                work=f"{found['entities']:,} idle entities, MB",
                ours=peer,
                figure=found["pss_mb"],
                yardstick=IDLE_MB,
                ratio=found["pss_mb"] / IDLE_MB,
                reach=f"{IDLE_MB:.0f} MB",
                is_reached=found["pss_mb"] <= IDLE_MB if found["is_whole"] else None,
                note="" if found["is_whole"] else "not all entities were made",
            )
        )
    return rows


def evaluate(result: dict[str, Any]) -> list[Row]:
    """Returns every row of the issue's table, in its order."""
    http = ("http", "http")
    one = "one connection"
    rows = [
        *(
            _against(result, peer="workerd", callers=n, times=4, ours=OURS, wires=http)
            for n in (16, 64)
        ),
        *(
            _against(result, peer="restate", callers=n, times=20, ours=OURS, wires=http)
            for n in (16, 64)
        ),
        *(
            _against(result, peer="dbos", callers=n, times=20, ours=OURS_ON_POSTGRES, wires=http)
            for n in (16, 64)
        ),
        _against(
            result, peer="redis", callers=64, times=1, ours=OURS, wires=("resp", "resp"), shape=one
        ),
        _against(
            result,
            peer="tarantool",
            callers=64,
            times=1.5,
            ours=OURS,
            wires=("resp", "iproto"),
            shape=one,
        ),
    ]
    tail: list[Callable[[dict[str, Any]], list[Row]]] = [_latencies, _loop, _raw_log, _idle]
    return rows + [row for part in tail for row in part(result)]
