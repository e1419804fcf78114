"""What the node tells a scraper, as OpenMetrics.

The gateway counts its own requests in plain integers (a locked counter of the library costs more
than a short request may) and shows them, and the node's statistics, when it is scraped.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics import exposition
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = exposition.CONTENT_TYPE_LATEST
_generate = cast("Callable[[CollectorRegistry], bytes]", exposition.generate_latest)  # pyright: ignore[reportUnknownMemberType]
_BOUNDS_MS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0, 5000.0)
_BOUNDS_NS: Final = tuple(int(bound * 1e6) for bound in _BOUNDS_MS)
_SERIES_MAX: Final = 1024


class Metrics(Collector):
    """Counts of one gateway.

    Args:
        statistics: gives the node's figures at the time of a scrape; names that end in `_total`
            are counters, the others gauges.
    """

    def __init__(self, statistics: Callable[[], dict[str, float]]) -> None:
        self._statistics = statistics
        self._counts: dict[tuple[str, int], int] = {}
        self._buckets = [0] * (len(_BOUNDS_NS) + 1)
        self._sum_ns = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def note(self, route: str, status: int, took_ns: int) -> None:
        """Counts one answered request. Blocks: no."""
        series = (route, status)
        counts = self._counts
        if series in counts or len(counts) < _SERIES_MAX:
            counts[series] = counts.get(series, 0) + 1
        self._buckets[bisect_left(_BOUNDS_NS, took_ns)] += 1
        self._sum_ns += took_ns

    def collect(self) -> Iterable[Any]:
        """Yields every metric family; called by the registry at a scrape."""
        requests = CounterMetricFamily(
            "lithox_http_requests", "HTTP requests answered", labels=("route", "status")
        )
        for (route, status), count in sorted(self._counts.items()):
            requests.add_metric((route, str(status)), count)
        yield requests
        yield self._latency()
        for name, value in sorted(self._statistics().items()):
            full = name if name.startswith("lithox_") else f"lithox_{name}"
            if full.endswith("_total"):
                yield CounterMetricFamily(full.removesuffix("_total"), full, value=value)
            else:
                yield GaugeMetricFamily(full, full, value=value)

    def _latency(self) -> HistogramMetricFamily:
        seen, buckets = 0, list[tuple[str, float]]()
        for bound_ms, count in zip(_BOUNDS_MS, self._buckets, strict=False):
            seen += count
            buckets.append((str(bound_ms / 1000), seen))
        buckets.append(("+Inf", seen + self._buckets[-1]))
        family = HistogramMetricFamily(
            "lithox_http_request_seconds", "Time from the headers to the answer", unit="seconds"
        )
        family.add_metric((), cast("Any", buckets), self._sum_ns / 1e9)
        return family

    def encode(self) -> bytes:
        """Returns the text of a scrape, in the OpenMetrics format."""
        return _generate(self._registry)
