"""What a scraper reads."""

from __future__ import annotations

import asyncio

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from lithox.gateway.app import Gateway
from lithox.gateway.metrics import CONTENT_TYPE, Metrics
from lithox.gateway.settings import GatewaySettings
from tests.unit.gateway.asgi_client import AsgiClient, Got
from tests.unit.gateway.fake_node import FakeNode


def test_a_scrape_is_openmetrics_with_requests_latency_and_the_nodes_figures():
    """A strict parser reads it, and finds each family with its kind."""
    ticks = iter(range(0, 10**9, 1_000_000))
    gateway = Gateway(FakeNode(), GatewaySettings(), now_ns=lambda: next(ticks))
    client = AsgiClient(gateway)

    async def scrape() -> Got:
        await client.send("POST", "/v1/entities/a:echo")
        await client.send("POST", "/v1/entities/a:nope")
        await client.send("GET", "/nope")
        return await client.send("GET", "/metrics")

    got = asyncio.run(scrape())
    assert got.headers["content-type"] == CONTENT_TYPE
    families = {one.name: one for one in text_string_to_metric_families(got.body.decode())}
    counted = {
        (sample.labels["route"], sample.labels["status"]): sample.value
        for sample in families["lithox_http_requests"].samples
    }
    assert counted == {("call", "200"): 1, ("call", "404"): 1, ("unknown", "404"): 1}
    latency = {
        sample.name: sample.value for sample in families["lithox_http_request_seconds"].samples
    }
    assert latency["lithox_http_request_seconds_count"] == 3
    assert latency["lithox_http_request_seconds_sum"] == 0.003
    assert families["lithox_runs"].type == "counter"
    assert families["lithox_processes"].type == "gauge"


def test_series_are_bounded():
    """However many statuses are seen, the number of series is bounded."""
    metrics = Metrics(dict)
    for status in range(5000):
        metrics.note("x", status, 1)
    assert metrics.encode().count(b"lithox_http_requests_total{") == 1024
