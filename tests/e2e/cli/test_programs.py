"""`lithox run` against real nodes in both modes: output, input, ends, kills, statuses."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.e2e.node.serving import COMMAND, SECONDS_MAX, Served, serving, surroundings, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PROGRAMS = {
    "flood": """
        local line = ("x"):rep(1023) .. "\\n"
        for i = 1, tonumber((...)) do io.write(line) end
        io.stderr:write("written\\n")
    """,
    "parrot": """
        local count = 0
        for line in io.lines() do
          count = count + 1
          print(line .. "!")
        end
        os.exit(count)
    """,
    "status": "os.exit(tonumber((...)))",
    "raise": "error('it broke')",
    "wrong": "local = 5",
    "loop": "print('looping') while true do pcall(string.rep, 'x', 100) end",
    "sleeper": "print('sleeping') os.sleep(3600000)",
    "family": """
        os.run_code("os.sleep(3600000)", { name = "child" })
        print("begun")
        os.sleep(3600000)
    """,
    "letters": "for i = 1, 20000 do io.write('a') end",
    "hungry": "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end",
    "args": "print(select('#', ...), ...)",
    "colour": "io.write('\\27[1mbold\\27[2J')",
}


@pytest.fixture(scope="module", params=["preemptive", "cooperative"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """Gives a served node in one of the modes."""
    folder = tmp_path_factory.mktemp(request.param)
    options = ("--cooperative",) if request.param == "cooperative" else ()
    with serving(folder / "data", *options) as served:
        yield served


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gives a folder with the programs as files."""
    path = tmp_path_factory.mktemp("programs")
    for name, text in PROGRAMS.items():
        (path / f"{name}.lua").write_text(text)
    return path


def command(*arguments: str | Path) -> list[str]:
    """Returns the command line of `lithox`."""
    return [*COMMAND, *map(str, arguments)]


def lithox(
    node: Served, *arguments: str | Path, input_: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Runs one command against a node to its end."""
    return subprocess.run(
        command(*arguments),
        input=input_,
        capture_output=True,
        check=False,
        timeout=SECONDS_MAX,
        env=surroundings(LITHOX_NODE=node.url),
    )


@contextlib.contextmanager
def started(node: Served, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """Gives a command that runs, and leaves none behind."""
    child = subprocess.Popen(
        command(*arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=surroundings(LITHOX_NODE=node.url),
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            # Not with SIGKILL: what it runs would go on in the node.
            child.terminate()
        child.communicate(timeout=SECONDS_MAX)


def pipe(stream: IO[bytes] | None) -> IO[bytes]:
    """Returns a stream that is there."""
    assert stream is not None
    return stream


def rows(node: Served) -> list[dict]:
    """Returns the process table."""
    return node.get("/v1/processes")["processes"]


def programs(node: Served) -> set[str]:
    """Returns the names of the programs that run."""
    return {row["program"] for row in rows(node) if row["kind"] == "program"}


@pytest.mark.parametrize(
    ("said", "status"), [("0", 0), ("1", 1), ("77", 77), ("125", 125), ("126", 1), ("1000", 1)]
)
def test_the_programs_status_is_the_commands(node, folder, said, status):
    """1 to 125 as they are, and nothing is added to what it printed."""
    ended = lithox(node, "run", folder / "status.lua", said)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, b"", b"")


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("raise", (), b"[guest.raised]"),
        ("wrong", (), b"[guest.compile_failed]"),
        ("loop", ("--fuel", "10_000_000"), b"[guest.out_of_fuel]"),
        ("sleeper", ("--wall", "200ms"), b"[guest.out_of_wall]"),
        ("hungry", ("--memory", "4MiB"), b"[guest.out_of_memory]"),
    ],
)
def test_any_other_end_has_the_status_of_its_code(node, folder, name, options, code):
    """One line on stderr, its code in brackets at its end."""
    ended = lithox(node, "run", *options, folder / f"{name}.lua")
    assert ended.returncode == 1, ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(b"lithox: ")
    assert last.endswith(code)


def test_arguments_arrive_as_text_or_as_json(node, folder):
    """Everything behind the program is the program's."""
    ended = lithox(node, "run", folder / "args.lua", "--json", "-x", "5", "")
    assert ended.stdout == b"4\t--json\t-x\t5\t\n"
    ended = lithox(node, "run", "--json-args", folder / "args.lua", "5", "true", '{"a":1}')
    assert ended.stdout.startswith(b"3\t5\ttrue\ttable: ")


def test_a_slow_reader_gets_everything(node, folder):
    """The program waits while its reader does: more than every buffer arrives whole."""
    count = 6 * 1024
    with started(node, "run", folder / "flood.lua", str(count)) as child:
        out = pipe(child.stdout)
        first = out.read(1024)

        def look() -> tuple[str, int]:
            (row,) = [one for one in rows(node) if one.get("program") == "flood.lua"]
            return row["state"], row["fuel"]

        # It has run into the full buffer: it waits and does nothing, however often one looks.
        wait_until(lambda: look()[0] == "waiting" and look() == look(), "the buffer is full")
        digest = hashlib.sha256(first)
        for piece in iter(lambda: out.read(1 << 16), b""):
            digest.update(piece)
        assert child.wait(SECONDS_MAX) == 0
        assert pipe(child.stderr).read() == b"written\n"
    assert digest.hexdigest() == hashlib.sha256((b"x" * 1023 + b"\n") * count).hexdigest()


def test_letters_one_by_one_arrive(node, folder):
    """Many small writes cost no more than their bytes."""
    assert lithox(node, "run", folder / "letters.lua").stdout == b"a" * 20000


def test_input_comes_from_a_pipe(node, folder):
    """Every line, the end, and the status the program makes of it."""
    lines = b"".join(b"line %d\n" % number for number in range(120))
    ended = lithox(node, "run", folder / "parrot.lua", input_=lines)
    assert ended.stdout == lines.replace(b"\n", b"!\n")
    assert ended.returncode == 120


def test_input_is_answered_while_it_comes(node, folder):
    """A conversation: each answer before the next line is written."""
    with started(node, "run", folder / "parrot.lua") as child:
        for word in (b"one\n", b"two\n"):
            pipe(child.stdin).write(word)
            pipe(child.stdin).flush()
            assert pipe(child.stdout).readline() == word.replace(b"\n", b"!\n")
        pipe(child.stdin).close()
        assert child.wait(SECONDS_MAX) == 2
        child.stdin = None


def test_input_that_nobody_asks_for_stays_where_it_is(node, folder):
    """What a program does not read is left for the next command of a script."""
    reading, writing = os.pipe()
    os.write(writing, b"for the next\n")
    os.close(writing)
    done = subprocess.run(
        command("run", folder / "status.lua", "0"),
        stdin=reading,
        check=False,
        timeout=SECONDS_MAX,
        env=surroundings(LITHOX_NODE=node.url),
    )
    assert done.returncode == 0
    assert os.read(reading, 100) == b"for the next\n"
    os.close(reading)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_process_too(node, folder, number, status):
    """Also one that waits; the command says so as shells do."""
    with started(node, "run", folder / "sleeper.lua") as child:
        assert pipe(child.stdout).readline() == b"sleeping\n"
        child.send_signal(number)
        assert child.wait(SECONDS_MAX) == status
        assert pipe(child.stderr).read() == b""
    wait_until(lambda: "sleeper.lua" not in programs(node), "its process ends")


def test_a_killed_program_takes_its_children_along(node, folder):
    """`lithox kill` ends the family; who watched it hears why, with status 4."""
    with started(node, "run", folder / "family.lua") as child:
        assert pipe(child.stdout).readline() == b"begun\n"
        assert {"family.lua", "child"} <= programs(node)
        (pid,) = [row["pid"] for row in rows(node) if row.get("program") == "family.lua"]
        (of_child,) = [row for row in rows(node) if row.get("program") == "child"]
        assert of_child["parent"] == pid
        assert lithox(node, "kill", str(pid)).returncode == 0
        assert child.wait(SECONDS_MAX) == 4
        assert b"[request.cancelled]" in pipe(child.stderr).read()
    wait_until(lambda: not {"family.lua", "child"} & programs(node), "the family ends")


def test_a_reader_that_has_gone_ends_the_program(node, folder):
    """`lithox run flood | head -1`: nothing runs on for nobody."""
    with started(node, "run", folder / "flood.lua", "100000") as child:
        pipe(child.stdout).read(1024)
        pipe(child.stdout).close()
        assert child.wait(SECONDS_MAX) == 0
        child.stdout = None
    wait_until(lambda: "flood.lua" not in programs(node), "its process ends")


def test_json_tells_streams_and_end_apart(node, folder):
    """One object a line."""
    ended = lithox(node, "run", "--json", folder / "flood.lua", "1")
    told = [json.loads(line) for line in ended.stdout.splitlines()]
    assert set(told[0]) == {"pid"}
    assert {"stream": "err", "data": "written\n"} in told
    assert told[-1] == {"exit": {"status": 0, "code": "", "message": "", "values": []}}


def test_a_program_runs_by_its_name(node, folder):
    """Set in the store, run by name and in another runtime; a name that is not there is said."""
    assert lithox(node, "store", "set", "program", "args", folder / "args.lua").returncode == 0
    assert lithox(node, "run", "args", "x").stdout == b"1\tx\n"
    assert lithox(node, "run", "compat-5.1#args", "x").stdout == b"1\tx\n"
    missing = lithox(node, "run", "nothing-here")
    assert (missing.returncode, missing.stdout) == (2, b"")
    assert missing.stderr.endswith(b"[request.not_found]\n")


def test_ps_and_top_show_programs(node, folder):
    """The mode a program has been given, what it has used, and who started it."""
    with started(node, "run", folder / "sleeper.lua") as child:
        assert pipe(child.stdout).readline() == b"sleeping\n"
        (row,) = [one for one in rows(node) if one.get("program") == "sleeper.lua"]
        table = lithox(node, "ps").stdout.decode().splitlines()
        (line,) = [one for one in table if "sleeper.lua" in one]
        assert line.split("\t")[2] == "waiting"
        assert line.split("\t")[3] == {"preemptive": "preempt", "cooperative": "coop"}[row["mode"]]
        tree = lithox(node, "top", "--sort", "pid").stdout.decode()
        assert "└ sleeper.lua" in tree
        assert row["fuel"] > 0
        assert row["memory"] > 0


def test_a_node_that_stops_tells_who_watches(folder, tmp_path):
    """At once and in one line, however long the program would have run; the node ends well."""
    with serving(tmp_path / "data") as node, started(node, "run", folder / "sleeper.lua") as child:
        assert pipe(child.stdout).readline() == b"sleeping\n"
        assert node.stop(signal.SIGTERM) == 0
        assert child.wait(SECONDS_MAX) == 4
        assert pipe(child.stderr).read() == b"lithox: the node stops [store.unavailable]\n"


def test_a_data_directory_is_enough(folder, tmp_path):
    """Without a node the command opens one for itself, and makes the directory."""
    done = subprocess.run(
        command("run", "--data", tmp_path / "own", folder / "parrot.lua"),
        input=b"hello\n",
        capture_output=True,
        check=False,
        timeout=SECONDS_MAX,
        env=surroundings(),
    )
    assert (done.returncode, done.stdout) == (1, b"hello!\n")
