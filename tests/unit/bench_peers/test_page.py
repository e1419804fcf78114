"""Tables and plots are made of the figures: what failed, is missing or cannot be is said."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from bench.peers.page import CAVEATS, page_part
from bench.peers.plots import Bar, bars, draw, lines
from tests.unit.bench_peers.canned import make_about, make_load, make_result

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


def test_what_failed_whole_is_said_and_leaves_the_rest() -> None:
    """A first touch or a mixed load that broke has its words; the tables stay tables."""
    failed = {"failed_with": "the load generator did not end"}
    text = page_part(make_result(touch={"workerd, HTTP": failed}, mixed={"lithox-1": failed}), {})
    assert "| workerd, HTTP | - | - | - | the load generator did not end |" in text
    assert "| lithox-1 | - | - | - | - | the load generator did not end | - |" in text


def test_slow_peers_longer_rounds_and_what_was_under_way_are_said() -> None:
    """How many times longer, and at most what part of the counted calls was not counted."""
    result = make_result()
    result["peers"]["dbos"] = make_about(round_times=4.0)
    result["loads"] += [make_load("dbos", [80.0])]
    result["loads"][-1]["rounds"][0]["answered"] = 640
    result["loads"][0]["rounds"][0]["answered"] = 8000
    text = page_part(result, {})
    assert "2 s (half of that where no goal stands; as long for dbos 4 times), median" in text
    assert "  dbos 10.0%; of all others less than 1%." in text


def test_unlike_measurements_are_said_to_be_unlike() -> None:
    """Rounds beside the loop, time for idle entities, iproto's latency, and calls without ids."""
    assert "is the median of 3 fresh nodes for lithox-1 and" in CAVEATS
    assert "for at most 120 s at lithox" in CAVEATS
    assert "for 10 s at others" in CAVEATS
    assert "from the oldest request under way" in CAVEATS
    assert "lithox's figures are of calls without request ids" in CAVEATS


def test_a_mixed_load_of_another_run_says_which() -> None:
    """Its time and commit stand in its row; without, it is of the page's run."""
    third = {"rate": 1000.0, "p99_us": 1000.0, "pss_mb": 90.0}
    one = {"road": "RESP", "interval_s": 10.0, "rows": [third], "is_flat": True}
    one |= {"first_third": third, "last_third": third}
    mixed = {"lithox-1": one, "lithox-2": one | {"at": "2026-11-23 10:00", "commit": "def"}}
    text = page_part(make_result(mixed=mixed), {})
    assert "| yes | with the rest |" in text
    assert "| yes | 2026-11-23 10:00 UTC, def |" in text


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
