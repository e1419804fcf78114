"""One answer made of the answers of all processes of a server. Pure: plain data in and out.

A page of a listing is complete up to where the process that said least has come: what others said
beyond that waits for the next page. So nothing is left out, and nothing comes twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, cast

from prometheus_client import Metric
from prometheus_client.openmetrics import exposition, parser
from prometheus_client.registry import Collector

from lithox.errors import PeerProtocolError

Body = dict[str, Any]
PROCESS_LABEL: Final = "process"
_parse = cast("Callable[[str], Iterable[Metric]]", parser.text_string_to_metric_families)  # pyright: ignore[reportUnknownMemberType]
_generate = cast("Callable[[Collector], bytes]", exposition.generate_latest)  # pyright: ignore[reportUnknownMemberType]
_SUMMED: Final = frozenset({"counter", "histogram"})


def merge_entities(bodies: Sequence[Body], limit: int) -> Body:
    """Returns one page of entities, in order, out of each process's page."""
    horizon = min((one["after"] for one in bodies if one["more"]), default=None)
    names = sorted({name for one in bodies for name in one["entities"]})
    if horizon is not None:
        names = [name for name in names if name <= horizon]
    if len(names) > limit:
        return {"entities": names[:limit], "more": True, "after": names[limit - 1]}
    after = horizon if horizon is not None else max(one["after"] for one in bodies)
    return {"entities": names, "more": horizon is not None, "after": after}


def merge_rows(bodies: Sequence[Body], limit: int, field: str, key: Callable[[Body], str]) -> Body:
    """Returns one page of rows in the order of `key`; each process's own page is in that order."""
    ends = [key(one[field][-1]) for one in bodies if one["more"] and one[field]]
    horizon = min(ends, default=None)
    rows = sorted((row for one in bodies for row in one[field]), key=key)
    if horizon is not None:
        rows = [row for row in rows if key(row) <= horizon]
    is_more = horizon is not None or len(rows) > limit
    return {field: rows[:limit], "more": is_more}


def merge_processes(bodies: Sequence[Body]) -> Body:
    """Returns all processes by PID."""
    rows = [row for one in bodies for row in one["processes"]]
    return {"processes": sorted(rows, key=lambda row: row["pid"])}


def merge_audit(bodies: Sequence[Body], limit: int) -> Body:
    """Returns the newest audit records of all, newest first; of one process in its own order."""
    rows = [row for one in bodies for row in one["records"]]
    rows.sort(key=lambda row: row["at_ms"], reverse=True)
    return {"records": rows[:limit]}


def merge_counts(bodies: Sequence[Body]) -> Body:
    """Returns how many there were in all."""
    return {"count": sum(one["count"] for one in bodies)}


def merge_metrics(texts: Sequence[str]) -> bytes:
    """Returns one OpenMetrics text of those of all processes, in the order of their numbers.

    Counters and histograms are summed. Gauges stay apart under a label `process`: the sum of two
    versions or of two sizes of one cache would be a figure of nothing.

    Raises:
        PeerProtocolError: one of them is no such text.
    """
    merged: dict[str, Metric] = {}
    sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    try:
        for number, text in enumerate(texts):
            for family in _parse(text):
                merged.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type, family.unit)
                )
                counts = sums.setdefault(family.name, {})
                for sample in family.samples:
                    labels = dict(sample.labels)
                    if family.type not in _SUMMED:
                        labels[PROCESS_LABEL] = str(number)
                    place = (sample.name, tuple(labels.items()))
                    counts[place] = counts.get(place, 0) + sample.value
    except (ValueError, KeyError, TypeError) as error:
        raise PeerProtocolError(f"the figures of a process cannot be read: {error}") from None
    for name, counts in sums.items():
        # In the order they came: a histogram's buckets stand in the order of their bounds.
        for (sample_name, labels), value in counts.items():
            merged[name].add_sample(sample_name, dict(labels), value)
    return _generate(_Found(merged.values()))


class _Found(Collector):
    """What `generate_latest` takes: something that can be collected."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families
