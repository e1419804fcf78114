"""What the run found, as the generated part of docs/benchmarks.md: tables, plots' places, caveats.

Every sentence with a figure in it is made here from the JSON; sentences without figures that are
true of the harness, whatever it measures, stand in CAVEATS, whose numbers are the harness's own.
"""

from __future__ import annotations

from typing import Any, Final

from bench.peers.alone import IDLE_S_MAX, IDLE_S_MAX_OURS, OUR_ROUNDS
from bench.peers.reach import Row, evaluate, find_loads, median, values
from bench.peers.workloads import IDLE, SIDE_CALLERS, TOUCHED

CAVEATS: Final = f"""\
- All servers, and the load generator, share the processors of one machine. What the generator takes
  a server does not get; the columns of processor time say how much that is.
- While one peer is loaded the others are started and idle, with what idle servers do.
- HTTP is loaded by wrk with one thread and a kept connection a caller; RESP and iproto by one
  generator in Python, the same for all. *Pipelined* is one connection that carries all callers,
  each of them waiting for its answer. A server that reads many requests at once can sync once for
  all of them, and many callers of a pipelined connection send theirs together.
- Debian's Tarantool is old (the table has its version); a newer one may be faster.
- Restate's SDK wants a newer Node than many systems have; where it is older, one missing function
  is put in. Restate runs as its server does by default, with one replica.
- workerd is Cloudflare's runtime on one machine, without their storage and network around it.
- A DBOS call is a workflow with one transaction behind a minimal HTTP server in the same Python
  process. Its other ways to work (queues, steps without a database) are not measured.
- Redis, Tarantool and workerd as they run here do not limit processor time and memory of one
  handler; lithox does that work in its figures. Nobody's callers say who they are, ours neither.
- lithox's figures are of calls without request ids: no result is kept of them, and a call that is
  sent twice runs twice. Restate and DBOS journal each call; that is more work than ours in these
  figures. With a request id lithox writes a row with the result, too, in the same commit.
- Handlers are the smallest there are. One that computes costs what it computes, in the language it
  is written in: LuaJIT and V8 compile, lithox's Lua is interpreted.
- lithox-2 has its entities spread over two processes, and its client takes what is left of the two
  processors.
- Tarantool and workerd have transactions that a handler can ask for. The failing handler asks for
  none, in no peer: what remains of it is what each does by itself.
- strace counts syncs and slows a server while it does; the count is a ratio to answers of the same
  seconds. A virtual disk may call a sync done before it is.
- The rate beside an endless loop is the median of {OUR_ROUNDS["loop"]} fresh nodes for lithox-1 and
  lithox-2, whose figures are goals, and one measurement for others.
- Idle entities are made for at most {IDLE_S_MAX_OURS:.0f} s at lithox, which has to have them all,
  and for {IDLE_S_MAX:.0f} s at others. Memory is to be read beside how many entities there are.
- lithox-postgres is not measured beside a loop and a memory eater nor with idle entities: what
  stands between handlers is lithox-1's, and its entities lie on the server.
- Tarantool may answer out of order, and its answers are not matched to requests: latency over
  iproto is counted from the oldest request under way.
- A SIGKILL does not cut the power: it shows that answers did not wait in the process's memory. That
  they were on the disk is what the syncs show.
- Of our own roads the best one for each goal is taken, and named.
"""
UNDER_WAY_SHOWN_MIN: Final = 0.01


def amount(value: float | None) -> str:
    """Returns a number as people read it: three digits that count."""
    if value is None:
        return "-"
    if abs(value) >= 99.5:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(row: dict[str, Any], key: str, scale: float = 1.0) -> str:
    """Returns the median with its lowest and highest round."""
    found = [value * scale for value in values(row, key)]
    if not found:
        return "-"
    text = amount(median(row, key) * scale)
    if len(found) > 1:
        text += f" [{amount(min(found))} .. {amount(max(found))}]"
    return text


def table(heads: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    """Returns a Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows]
    return [*lines, ""]


def verdict(row: Row) -> str:
    """Returns yes, no, or why there is none."""
    if row.is_reached is None:
        return row.note or "-"
    return "yes" if row.is_reached else "**no**"


def _reached(result: dict[str, Any]) -> list[str]:
    rows = [
        [
            row.against,
            row.work,
            f"{amount(row.figure)} ({row.ours})",
            amount(row.yardstick),
            amount(row.ratio),
            row.reach,
            verdict(row),
        ]
        for row in evaluate(result)
    ]
    heads = ("against", "work", "ours", "theirs or the limit", "ratio", "reach", "reached")
    return ["### What was to be reached", "", *table(heads, rows)]


def _peers(result: dict[str, Any]) -> list[str]:
    rows: list[list[str]] = []
    for name, about in result["peers"].items():
        what = f"**missing**: {about['missing']}" if "missing" in about else about["version"]
        cannot = "; ".join(f"{work}: {why}" for work, why in about["cannot"].items())
        rows.append(
            [name, what, about["durability"], "; ".join(about["settings"]) or "-", cannot or "-"]
        )
    heads = ("peer", "version", "durable by", "settings", "cannot")
    return ["### Peers", "", *table(heads, rows)]


def _loads(result: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    titles = dict.fromkeys((row["workload"], row["title"]) for row in result["loads"])
    for workload, title in titles:
        rows: list[list[str]] = []
        for row in result["loads"]:
            if row["workload"] != workload:
                continue
            failures = [one["failed_with"] for one in row["rounds"] if "failed_with" in one]
            failed = sum(one.get("failed", 0) for one in row["rounds"])
            if failed:
                failures.append(f"{failed} answers were errors")
            rows.append(
                [
                    row["road"],
                    str(row["callers"]),
                    spread(row, "rate"),
                    spread(row, "p50_us", 1e-3),
                    spread(row, "p99_us", 1e-3),
                    spread(row, "server_cpu_us"),
                    spread(row, "client_cpu_us"),
                    spread(row, "pss_mb"),
                    "; ".join(failures)[:120] or "-",
                ]
            )
        for name, about in result["peers"].items():
            if workload in about["cannot"] and "missing" not in about:
                rows.append([name, *["-"] * 7, f"cannot: {about['cannot'][workload]}"])
        heads = (
            *("road", "callers", "calls/s", "p50 ms", "p99 ms"),
            *("server us/call", "client us/call", "memory MB", "failures"),
        )
        lines += [f"### {title[0].upper()}{title[1:]}", "", *table(heads, rows)]
    return lines


def _syncs(result: dict[str, Any]) -> list[str]:
    rows: list[list[str]] = []
    for road, found in result.get("syncs", {}).items():
        if "failed_with" in found:
            rows.append([road, "-", "-", "-", found["failed_with"]])
            continue
        calls = ", ".join(f"{name} {count}" for name, count in found["calls"].items()) or "none"
        rows.append(
            [
                road,
                str(found["answered"]),
                amount(found["syncs_per_answer"]),
                amount(found["answers_per_sync"]),
                calls,
            ]
        )
    heads = ("road", "answers", "syncs an answer", "answers a sync", "calls that sync")
    title = "### Syncs, counted from outside at 64 callers"
    return [title, "", *table(heads, rows)] if rows else []


def _touches(result: dict[str, Any]) -> list[str]:
    rows = [
        [
            road,
            amount(found["rate"]),
            amount((found["p99_us"] or 0) / 1e3),
            str(found["answered"]),
            found["first_failure"][:100] or ("-" if found["is_whole"] else "the time was over"),
        ]
        if "failed_with" not in found
        else [road, "-", "-", "-", found["failed_with"][:100]]
        for road, found in result.get("touch", {}).items()
    ]
    heads = ("road", "entities/s", "p99 ms", "made", "remark")
    return [f"### First touch of {TOUCHED:,} entities", "", *table(heads, rows)] if rows else []


def _idle(found: dict[str, Any]) -> list[str]:
    remark = "-" if found["is_whole"] else f"the time was over before {IDLE:,}"
    return [
        f"{found['entities']:,}",
        amount(found["pss_mb"]),
        amount(found["empty_pss_mb"]),
        amount(found["rate"]),
        found["first_failure"][:100] or remark,
    ]


def _spoil(found: dict[str, Any]) -> list[str]:
    left = "unknown" if found["left"] is None else str(found["left"])
    return [left, "yes" if found["is_clean"] else "**no**", found["words"][:120] or "-"]


def _kill(found: dict[str, Any]) -> list[str]:
    acknowledged = f"{found['acknowledged']:,}"
    return [acknowledged, f"{found['lost']:,}", f"{found['first_answer_s']:.2f}"]


def _beside(found: dict[str, Any]) -> list[str]:
    words = found["words"]
    if found["was_ended"]:
        words = f"grew beyond {found['highest_mb']:,.0f} MB and was ended by the harness"
    return [
        amount(found["alone"]),
        amount(found["beside"]),
        f"{found['kept']:.0%}",
        amount(found["highest_mb"]),
        words[:160],
        "yes" if found["is_alive"] else "**no**",
    ]


_BESIDE: Final = ("alone, calls/s", "beside", "kept", "highest MB", "the harmful call", "alive")
_ALONE: Final = {
    "idle": (
        f"{IDLE:,} idle entities in memory",
        ("entities", "memory MB", "before", "made/s", "remark"),
        _idle,
    ),
    "spoil": (
        "`state = 999; error()` on a count of 1",
        ("left", "nothing remains", "words"),
        _spoil,
    ),
    "kill": (
        "SIGKILL under 64 callers, and restart",
        ("acknowledged", "lost", "first answer after s"),
        _kill,
    ),
    "loop": ("An endless loop beside 16 callers", _BESIDE, _beside),
    "eat": ("A memory eater beside 16 callers", _BESIDE, _beside),
}


def _alone(result: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for workload, (title, heads, cells) in _ALONE.items():
        found = result.get("alone", {}).get(workload)
        if not found:
            continue
        rows = [
            [peer, *(cells(one) if "failed_with" not in one else ["-"] * (len(heads) - 1))]
            + ([one["failed_with"][:160]] if "failed_with" in one else [])
            for peer, one in found.items()
        ]
        lines += [f"### {title}", "", *table(("peer", *heads), rows)]
    return lines


def _mixed(result: dict[str, Any]) -> list[str]:
    rows: list[list[str]] = []
    for name, found in result.get("mixed", {}).items():
        if "failed_with" in found:
            rows.append([name, *["-"] * 4, found["failed_with"][:100], "-"])
            continue
        first, last = found["first_third"], found["last_third"]
        rows.append(
            [
                f"{name} ({found['road']})",
                f"{len(found['rows']) * found['interval_s'] / 60:.1f}",
                *(
                    f"{amount(first[key] * scale)} .. {amount(last[key] * scale)}"
                    for key, scale in (("rate", 1.0), ("p99_us", 1e-3), ("pss_mb", 1.0))
                ),
                "yes" if found["is_flat"] else "**no**",
                f"{found['at']} UTC, {found['commit']}" if "at" in found else "with the rest",
            ]
        )
    heads = ("peer", "minutes", "calls/s", "p99 ms", "memory MB", "flat", "measured")
    title = "### Mixed load: first third .. last third"
    return [title, "", *table(heads, rows)] if rows else []


def _checks(result: dict[str, Any]) -> list[str]:
    rows = [
        [road, found["client"], amount(found.get("rate")), found.get("failed_with", "-")]
        for road, found in result.get("checks", {}).items()
    ]
    title = "### The counter with clients that anybody knows, 64 callers"
    return [title, "", *table(("road", "client", "calls/s", "remark"), rows)] if rows else []


def rounds_line(result: dict[str, Any]) -> str:
    """Returns how many rounds there were, how long, and whose were longer."""
    slow = [
        f"{name} {about['round_times']:g} times"
        for name, about in result["peers"].items()
        if about.get("round_times", 1) != 1 and "missing" not in about
    ]
    return (
        f"{result['rounds']} rounds of {result['seconds']:g} s (half of that where no goal stands"
        f"{'; as long for ' + ', '.join(slow) if slow else ''}), median [lowest .. highest]."
    )


def _under_way(result: dict[str, Any]) -> list[str]:
    """Returns the caveat about calls under way at the ends of rounds: the largest part by peer."""
    parts: dict[str, float] = {}
    for callers in SIDE_CALLERS:
        for row in find_loads(result, "counter", callers=callers):
            if answered := values(row, "answered"):
                part = callers / max(1.0, min(answered))
                parts[row["peer"]] = max(parts.get(row["peer"], 0.0), part)
    large = [f"{peer} {part:.1%}" for peer, part in parts.items() if part >= UNDER_WAY_SHOWN_MIN]
    if not large:
        return []
    return [
        "- Calls under way at a round's end are not counted. Beside those counted in the counter's",
        "  rounds at 16 and 64 callers they are, when every caller waits, at most:",
        f"  {', '.join(large)}; of all others less than {UNDER_WAY_SHOWN_MIN:.0%}.",
    ]


def page_part(result: dict[str, Any], plots: dict[str, str], *, figures: str = "") -> str:
    """Returns the generated part: plots (title to path), tables and caveats.

    Args:
        figures: path of the file with every round, seen from the page; empty: there is none.
    """
    facts = ", ".join(f"{key} {value}" for key, value in result.get("machine", {}).items())
    lines = [
        f"Measured {result['at']} UTC at commit {result.get('commit', 'unknown')}:",
        rounds_line(result),
        f"Machine: {facts}.",
        *([f"Every round is in [peers.json]({figures})."] if figures else []),
        "",
        *_reached(result),
        *(line for title, path in plots.items() for line in (f"![{title}]({path})", "")),
        *_peers(result),
        *_loads(result),
        *_checks(result),
        *_syncs(result),
        *_touches(result),
        *_alone(result),
        *_mixed(result),
        "### What to keep in mind",
        "",
        *_under_way(result),
        CAVEATS.rstrip(),
    ]
    return "\n".join(lines)
