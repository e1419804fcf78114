"""Tables and plots are made of the figures: what failed, is missing or cannot be is said."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from bench.peers.page import CAVEATS, page_part
from bench.peers.plots import Bar, bars, draw, lines
from tests.unit.bench_peers.canned import make_load, make_result

SVG = "{http://www.w3.org/2000/svg}"


def test_the_page_has_reach_peers_rounds_and_caveats() -> None:
    """Each figure with its spread; the verdict; the peer that is missing; what one cannot do."""
    plots = {"A plot": "benchmarks/peers-counter.svg"}
    text = page_part(make_result(), plots, figures="benchmarks/peers.json")
    assert "[peers.json](benchmarks/peers.json)" in text
    assert "| 4,000 (lithox-1, HTTP) | 1,000 | 4.4 | ratio 4 | yes |" in text
    assert "| ratio 1 | **no** |" in text
    assert "| restate | **missing**: npm failed |" in text
    assert "4,000 [400 .. 4,400]" in text
    assert "cannot: no transaction in common" in text
    assert "| workerd, HTTP | 10 | 1.2 | 0.833 | fsync 12 |" in text
    assert "| redis | 999 | **no** |" in text
    assert "it did not come back" in text
    assert "![A plot](benchmarks/peers-counter.svg)" in text
    assert text.endswith(CAVEATS.rstrip())


def test_every_table_has_as_many_cells_in_each_row() -> None:
    """A row that failed is as wide as the others."""
    width = 0
    for line in page_part(make_result(), {}).splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        width = width or line.count("|")
        assert line.count("|") == width, line


def test_rounds_that_failed_are_said_beside_those_that_worked() -> None:
    """A peer that broke in one round has its words in the table."""
    result = make_result()
    load = make_load("workerd", [10.0])
    load["rounds"] += [{"failed_with": "unable to connect"}]
    load["rounds"][0]["failed"] = 3
    result["loads"] = [load]
    assert "unable to connect; 3 answers were errors" in page_part(result, {})


def test_plots_are_well_formed_and_have_every_road() -> None:
    """Bars for each road at 64 callers and at 16, lines for all."""
    found = draw(make_result())
    assert set(found) == {"counter.svg", "p99.svg", "callers.svg"}
    for _, text in found.values():
        ET.fromstring(text)
    words = [one.text for one in ET.fromstring(found["counter.svg"][1]).iter(f"{SVG}text")]
    assert {"Redis FCALL, pipelined", "lithox-1, HTTP", "25,000"} <= set(words)


def test_a_longer_bar_is_a_larger_figure() -> None:
    """Lengths follow the figures on the logarithmic scale, from its lowest power of ten."""
    found = [
        Bar(label=f"<{value}>", value=value, low=value, high=value, is_ours=value == 100)
        for value in (100.0, 1000.0, 10_000.0)
    ]
    drawn = ET.fromstring(bars("a & b", "calls/s", found))
    lengths = [float(one.attrib["width"]) for one in drawn.iter(f"{SVG}rect")]
    assert lengths == sorted(lengths)
    assert abs(lengths[2] - lengths[1] - (lengths[1] - lengths[0])) < 0.2


def test_a_plot_of_nothing_but_zero_is_a_plot() -> None:
    """A peer that answered nothing has no logarithm and breaks nothing."""
    zero = Bar(label="none", value=0.0, low=0.0, high=0.0, is_ours=False)
    ET.fromstring(bars("none", "calls/s", [zero]))
    ET.fromstring(lines("none", "calls/s", {"none": {1: 0.0}}))


def test_nothing_measured_draws_nothing() -> None:
    """No figures, no plots."""
    assert draw({"loads": []}) == {}
