"""A small result as the run writes it: two roads of ours, three peers, one of them missing."""

from __future__ import annotations

from typing import Any


def make_round(rate: float, **changes: Any) -> dict[str, Any]:
    return {
        "rate": rate,
        "failed": 0,
        "p50_us": 500.0,
        "p99_us": 2000.0,
        "server_cpu_us": 100.0,
        "client_cpu_us": 10.0,
        "pss_mb": 50.0,
    } | changes


def make_load(peer: str, rates: list[float], **changes: Any) -> dict[str, Any]:
    """Returns a row of the counter at 64 callers over HTTP; `p99_us` is that of every round."""
    p99_us = changes.pop("p99_us", 2000.0)
    return {
        "workload": "counter",
        "title": "durable counter",
        "peer": peer,
        "road": f"{peer}, HTTP",
        "shape": "a connection a caller",
        "wire": "http",
        "callers": 64,
        "rounds": [make_round(rate, p99_us=p99_us) for rate in rates],
    } | changes


def make_about(**changes: Any) -> dict[str, Any]:
    about: dict[str, Any] = {"version": "1", "durability": "log", "settings": ["on"], "cannot": {}}
    return about | changes


def make_beside(kept: float, **changes: Any) -> dict[str, Any]:
    return {
        "alone": 1000.0,
        "beside": 1000.0 * kept,
        "kept": kept,
        "failed": 0,
        "first_failure": "",
        "words": "runs on",
        "highest_mb": 80.0,
        "was_ended": False,
        "is_alive": True,
        "seconds": 4.0,
    } | changes


def make_result(**changes: Any) -> dict[str, Any]:
    one = {"shape": "one connection", "wire": "resp"}
    result: dict[str, Any] = {
        "at": "2026-11-22 14:00",
        "commit": "abc",
        "rounds": 3,
        "seconds": 2.0,
        "machine": {"processors": 2},
        "peers": {
            "lithox-1": make_about(),
            "redis": make_about(),
            "workerd": make_about(cannot={"transfer": "no transaction in common"}),
            "restate": make_about(missing="npm failed"),
        },
        "loads": [
            make_load("lithox-1", [4000.0, 400.0, 4400.0]),
            make_load("workerd", [1000.0, 50.0, 1000.0]),
            make_load("lithox-1", [3000.0], callers=16, p99_us=5000.0),
            make_load("workerd", [900.0], callers=16, p99_us=10_000.0),
            make_load("lithox-1", [20_000.0], road="lithox-1, RESP, pipelined", **one),
            make_load("redis", [25_000.0], road="Redis FCALL, pipelined", **one),
            make_load("workerd", [700.0], workload="transfer", title="transfer"),
        ],
        "limits": {"raw_log": [100_000.0, 90_000.0]},
        "syncs": {
            "workerd, HTTP": {
                "peer": "workerd",
                "calls": {"fsync": 12},
                "syncs": 12,
                "answered": 10,
                "syncs_per_answer": 1.2,
                "answers_per_sync": 10 / 12,
            }
        },
        "alone": {
            "loop": {"lithox-1": make_beside(0.95), "redis": make_beside(0.0)},
            "idle": {
                "lithox-1": {
                    "entities": 100_000,
                    "is_whole": True,
                    "rate": 3000.0,
                    "pss_mb": 400.0,
                    "rss_mb": 420.0,
                    "empty_pss_mb": 90.0,
                    "failed": 0,
                    "first_failure": "",
                }
            },
            "spoil": {"redis": {"is_clean": False, "left": 999, "words": ""}},
            "kill": {
                "workerd": {"acknowledged": 10, "entities": 2, "lost": 0, "first_answer_s": 0.5},
                "redis": {"failed_with": "it did not come back"},
            },
        },
    }
    return result | changes
