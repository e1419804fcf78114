"""What wrk, strace and redis-benchmark print is read right, or refused."""

from __future__ import annotations

import pytest

from bench.peers import wrk
from bench.peers.checks import command_of, rate_in
from bench.peers.peer import EACH, ONE, Road
from bench.peers.processes import count_syncs
from bench.peers.wires import Wire


def test_the_line_of_our_script_is_read() -> None:
    """Answers that were no success are failures and no answers."""
    text = "Running\nPEERS requests=1000 us=2000000 status=10 socket=2 p50=500.0 p99=9000.5\n"
    load = wrk.parse(text, client_cpu_s=0.1)
    assert (load.answered, load.failed, load.rate) == (990, 12, 495.0)
    assert (load.p50_us, load.p99_us) == (500.0, 9000.5)


def test_a_run_without_answers_has_no_latency() -> None:
    """Zero is a rate, and no time."""
    text = "PEERS requests=0 us=2000000 status=0 socket=0 p50=0.0 p99=0.0\n"
    load = wrk.parse(text, client_cpu_s=0.1)
    assert (load.rate, load.p50_us, load.p99_us) == (0.0, None, None)


def test_other_words_are_refused() -> None:
    """Wrk that could not connect prints no line of ours."""
    with pytest.raises(ValueError, match="unexpected words from wrk: unable to connect"):
        wrk.parse("unable to connect", client_cpu_s=0)


def test_the_script_has_every_request_once() -> None:
    """Requests are made beforehand and chosen by number."""
    script = wrk.script_of([("/a", "{}"), ("/b", "")])
    assert "asked[1] = wrk.format('POST', '/a', head, '{}')" in script
    assert "asked[2] = wrk.format('POST', '/b', head, '')" in script
    assert "math.random(2)" in script


def test_syncs_are_counted_and_other_writes_are_not() -> None:
    """Writes count on files that sync each write; an interrupted call counts once."""
    text = (
        "101 fdatasync(7) = 0\n"
        "102 fsync(8 <unfinished ...>\n"
        "102 <... fsync resumed>) = 0\n"
        '101 writev(9, ""..., 3) = 10\n'
        '101 write(4, ""..., 3) = 3\n'
        "103 +++ exited with 0 +++\n"
    )
    found = count_syncs(text, {9})
    assert found.calls == {"fdatasync": 1, "fsync": 1, "writev": 1}
    assert found.total == 3


def test_redis_benchmark_is_asked_in_the_shape_of_the_road() -> None:
    """Pipelined is one connection with all callers, else each caller has one."""
    wire = Wire(kind="resp", host="h", port=1, words=lambda one: ["CALL", one.entity])
    one = command_of("b", Road(label="", wire=wire, shape=ONE))
    each = command_of("b", Road(label="", wire=wire, shape=EACH))
    assert one[5:9] == ["-c", "1", "-P", "64"]
    assert each[5:7] == ["-c", "64"]
    assert one[-2:] == each[-2:] == ["CALL", "e__rand_int__"]


def test_the_rate_of_redis_benchmark_is_read() -> None:
    """Its CSV has a head and one row."""
    assert rate_in('"test","rps"\n"CALL x","24937.66"\n') == 24937.66
    with pytest.raises(ValueError, match="unexpected words from redis-benchmark: ERR no"):
        rate_in("ERR no")
