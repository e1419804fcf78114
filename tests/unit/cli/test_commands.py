"""Every command: what it prints, where, and its exit status."""

from __future__ import annotations

import errno
import json

import pytest

from lithox.cli import commands_run, main
from lithox.errors import InternalError
from tests.unit.cli.conftest import FakeClient


def test_call_prints_the_value_as_json(run, node):
    """Arguments are JSON, a bare word is a text."""
    ended = run("call", "a/b", "echo", "5", "word", '{"k": [true]}', "null", "a/b", "1.2.3", "-7")
    assert ended == (0, '[5,"word",{"k":[true]},null,"a/b","1.2.3",-7]\n', "")


@pytest.mark.parametrize("text", ["-5", "-0.5", "-1e3", "-.5x", "-", "--x"])
def test_an_argument_may_begin_with_a_minus(run, node, text):
    """Negative numbers are no options; what else begins with minus goes behind `--`."""
    guarded = ("--",) if text.startswith("--") else ()
    ended = run("call", "a", "echo", *guarded, text)
    assert ended.status == 0
    assert node.requests[0].args == [commands_run.read_argument(text)]


def test_call_passes_id_deadline_and_limits(run, node):
    """Durations and sizes have units."""
    ended = run(
        *("call", "a", "echo", "--id", "r-1", "--deadline", "5s", "--fuel", "1_000_000"),
        *("--memory", "8MiB", "--wall", "500ms"),
    )
    assert ended.status == 0
    request = node.requests[0]
    assert (request.request_id, request.deadline_ns) == ("r-1", 5_000_000_000)
    assert request.limits is not None
    assert (request.limits.fuel, request.limits.memory_bytes) == (1_000_000, 8 << 20)
    assert request.limits.wall_ns == 500_000_000


def test_call_without_limits_says_none(run, node):
    """Nothing said is nothing sent."""
    run("call", "a", "echo")
    assert node.requests[0].limits is None


def test_call_json_holds_the_whole_answer(run, node):
    """With --json the answer is the HTTP contract's, also for an error."""
    ended = run("call", "a", "echo", "1", "--json", "--id", "r")
    assert json.loads(ended.out) == {
        "request": "r",
        "status": "ok",
        "value": [1],
        "usage": {"fuel": 7, "cpu_us": 0, "ms": 0.0, "memory": 0, "attempts": 1},
    }
    failed = run("call", "a", "raise", "--json")
    assert failed.status == 1
    assert json.loads(failed.out)["error"] == {"message": "no more apples", "left": 0}


@pytest.mark.parametrize(
    ("handler", "status", "line"),
    [
        ("raise", 1, "lithox: no more apples [app.sold_out]\n"),
        ("fuel", 1, "lithox: out of fuel [guest.out_of_fuel]\n"),
        ("nope", 2, "lithox: no handler 'nope' [request.not_found]\n"),
        (
            "busy",
            4,
            "lithox: too many runs (a retry may succeed in 1.5s) [request.overloaded]\n",
        ),
        (
            "compile",
            1,
            (
                "lithox: counter.lua:3: 'end' expected near 'x' [guest.compile_failed]\n"
                "  3 |   retrun x\n"
            ),
        ),
    ],
)
def test_an_error_is_one_line_and_the_exit_status_of_the_table(run, node, handler, status, line):
    """Stdout stays empty, stderr says it in one line with the code."""
    assert run("call", "a", handler) == (status, "", line)


def test_a_bug_is_one_line_and_how_to_report_it(run, node):
    """No stack trace, exit 5."""
    ended = run("call", "a", "bug")
    assert ended.status == 5
    assert ended.err == (
        "lithox: internal error: InternalError: secret inside; please report it, with the output "
        "of LITHOX_TRACE=1, as an issue of the project [internal]\n"
    )


def test_an_unexpected_exception_is_one_line_too(run, node, monkeypatch):
    """Whatever breaks inside a command, a user sees one line."""
    monkeypatch.setattr(node, "processes", lambda caller: 1 // 0)
    ended = run("ps")
    assert (ended.status, ended.err.count("\n")) == (5, 1)
    assert ended.err.startswith("lithox: internal error: ZeroDivisionError: ")


def test_the_trace_of_a_bug_is_there_when_asked_for(run, node, monkeypatch):
    """LITHOX_TRACE=1 lets the exception through."""
    monkeypatch.setattr(node, "processes", lambda caller: 1 // 0)
    monkeypatch.setenv("LITHOX_TRACE", "1")
    with pytest.raises(ZeroDivisionError):
        run("ps")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nosuch",), "No such command 'nosuch'"),
        (("call", "a"), "Missing argument 'HANDLER'"),
        (("call", "a", "echo", "--fule", "5"), "No such option"),
        (("call", "a", "echo", "--deadline", "5"), "a duration is a number and a unit"),
        (("call", "a", "echo", "--memory", "8 apples"), "a size is a number and a unit"),
        (("call", "a", "echo", "--memory", "0MiB"), "is more than 0; found '0MiB'"),
        (("call", "a", "echo", "--fuel", "many"), "is a whole number"),
        (("call", "a", "echo", '{"x"'), "malformed JSON"),
        (
            ("call", "a", "echo", "[a,b]"),
            "'[a,b]': malformed JSON: invalid character (byte 1); a list",
        ),
        (("call", "a", "echo", "[a,b]"), """quoted for the shell: '["a", 1]'"""),
        (("deploy", __file__), "is a folder with a lithox.toml, which names the sources"),
        (("call", "a", "echo", "99999999999999999999"), "integers are 64-bit signed"),
        (("call", "a", "echo", '["' + "\\" + 'ud800"]'), "malformed JSON"),
        (("call", "a", "echo", "[" * 200 + "]" * 200), "values nest at most 64 levels deep"),
        (("call", "../a", "echo"), "an entity path is 1-16 segments"),
        (("call", "a", "Echo"), "a handler name is [a-z_]"),
        (("call", "a", "echo", "--id", "no spaces"), "a request id is 1-128"),
        (("kill", "x"), "'x' is not a valid integer"),
        (("kill", "8"), "no process 8"),
        (("deploy", "/no/such/folder"), "no such file or folder: /no/such/folder"),
        (("entity", "get", "a", "k"), "no entity 'a'"),
        (("audit", "--limit", "0"), "0 is not in the range"),
        (("run", "none"), "no program 'none'"),
        (("run", "/no/such.lua"), "no file /no/such.lua"),
        (("run", "#x"), "a program is NAME, FILE.lua or RUNTIME#either"),
        (("run", "--priority", "10", "hello"), "10 is not in the range"),
        (("run", "--mode", "lazy", "hello"), "'lazy' is not one of"),
        (("run", "--json-args", "hello", "{x"), "malformed JSON"),
        (("shell", "--json"), "what a shell prints is for people"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(run, node, arguments, words):
    """The line says what is wrong; nothing is printed on stdout."""
    ended = run(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert words in ended.err
    assert ended.err.startswith("lithox: ")
    assert ended.err.count("\n") == 1


def test_deploy_prints_digests_and_handlers(run, node, tmp_path):
    """One line a module, one line a template."""
    (tmp_path / "lithox.toml").write_text(
        '[[template]]\nmatch = "a/*"\nlanguage = "lua"\nsource = "counter.lua"\n'
    )
    (tmp_path / "counter.lua").write_text("return {}")
    ended = run("deploy", str(tmp_path))
    digest = ended.out.split()[0]
    assert len(digest) == 64
    assert ended == (0, f"{digest}  counter.lua\na/*: increment\n", "")
    assert json.loads(run("deploy", str(tmp_path), "--json").out)["templates"] == ["a/*"]


def test_a_compile_error_shows_its_line(run, node, tmp_path):
    """file:line, what was expected, and the line of code itself."""
    (tmp_path / "lithox.toml").write_text(
        '[[template]]\nmatch = "a/*"\nlanguage = "lua"\nsource = "counter.lua"\n'
    )
    (tmp_path / "counter.lua").write_text("-- a\nsyntax error\n")
    ended = run("deploy", str(tmp_path))
    assert ended == (
        1,
        "",
        "lithox: counter.lua:2: '=' expected [guest.compile_failed]\n  2 | syntax error\n",
    )


def test_a_malformed_manifest_is_the_users_fault(run, node, tmp_path):
    """Exit 2 and the place."""
    (tmp_path / "lithox.toml").write_text("[[template]\n")
    ended = run("deploy", str(tmp_path))
    assert ended.status == 2
    assert "malformed TOML" in ended.err


def test_ps_prints_columns_and_json(run, node):
    """Tabs where nobody looks, so that `cut` works."""
    lines = run("ps").out.splitlines()
    assert lines[0].split("\t") == [
        *("PID", "RUNS", "STATE", "MODE", "LEVEL", "FUEL", "CPU", "MEMORY", "CTX", "QUEUES", "AGE")
    ]
    assert lines[1].split("\t") == [
        *("7", "counter/alice:increment", "running", "preempt", "fast/1", "1.2k", "5us"),
        *("64KiB", "0", "0/0/0", "12ms"),
    ]
    assert json.loads(run("ps", "--json").out)[0]["pid"] == 7


def test_top_without_a_terminal_prints_once(run, node):
    """There is nothing to refresh where nobody looks."""
    assert run("top").out.count("PID") == 1


def test_top_refreshes_as_often_as_asked(run, node):
    """--count ends it."""
    ended = run("top", "--count", "3", "--interval", "1ms", "--json")
    assert len(ended.out.splitlines()) == 3


def test_control_characters_of_guests_never_reach_the_terminal(run, node, monkeypatch):
    """A name with an escape sequence is shown, not obeyed."""
    row = {"identity": "x\x1b[2Jy\nz", "at_ms": 0}
    monkeypatch.setattr(node, "read_audit", lambda limit, caller: [row])
    ended = run("audit")
    assert "\x1b" not in ended.out
    assert len(ended.out.splitlines()) == 2


def test_audit_prints_time_who_what_and_outcome(run, node):
    """One line a record, time in UTC."""
    line = run("audit").out.splitlines()[1].split("\t")
    assert line[:5] == [
        *("2023-11-14 22:13:20.000Z", "mallory", "call", "counter/alice"),
        "request.not_permitted",
    ]


def test_kill_ends_a_process(run, node):
    """It says what it ended."""
    assert run("kill", "7") == (0, "ended 7\n", "")
    assert node.killed == [7]
    assert json.loads(run("kill", "7", "--json").out) == {"killed": 7}


def test_entity_commands_read_and_write_state(run, node):
    """put, get, ls, show, rm."""
    assert run("entity", "put", "a/b", "k", "-7").status == 0
    assert run("entity", "put", "a/b", "word", "hello").status == 0
    assert run("entity", "get", "a/b", "k").out == "-7\n"
    assert run("entity", "get", "a/b", "word").out == '"hello"\n'
    assert json.loads(run("entity", "get", "a/b", "k", "--json").out) == {"value": -7}
    assert run("entity", "ls").out == "a/b\n"
    assert run("entity", "ls", "a/b:").out == "k\nword\n"
    assert json.loads(run("entity", "show", "a/b").out)["keys"] == 2
    assert run("entity", "rm", "a/b", "k").status == 0
    assert "k" not in node.state["a/b"]
    assert run("entity", "rm", "a/b").status == 0
    assert node.state == {}


def test_entity_ls_walks_every_page_up_to_its_limit(run, node):
    """More than a page is fetched page by page; a cut list says so on stderr."""
    node.state = {f"e{number:04}": {} for number in range(1200)}
    assert len(run("entity", "ls", "--limit", "5000").out.splitlines()) == 1200
    ended = run("entity", "ls", "--limit", "700")
    assert len(ended.out.splitlines()) == 700
    assert ended.err == "lithox: there are more; use --limit above 700\n"
    assert json.loads(run("entity", "ls", "--limit", "2", "--json").out)["more"] is True


def test_node_info_is_told_in_words_and_json(run, node):
    """Names and values."""
    assert "store    memory" in run("node", "info").out
    assert json.loads(run("node", "info", "--json").out)["id"] == "node-1"


def test_an_error_with_json_is_json_on_stdout(run, node):
    """Scripts read the code from stdout; people the line from stderr."""
    ended = run("kill", "8", "--json")
    assert json.loads(ended.out) == {
        "status": "request.not_found",
        "error": {"message": "no process 8"},
    }
    assert ended.err == "lithox: no process 8 [request.not_found]\n"


def test_node_and_token_come_from_options_or_the_environment(run, node, monkeypatch):
    """The option wins."""
    run("ps")
    monkeypatch.setenv("LITHOX_TOKEN", "t")
    run("ps", "--node", "http://127.0.0.1:2")
    assert FakeClient.opened == [("http://127.0.0.1:1", None), ("http://127.0.0.1:2", "t")]


def test_reading_without_node_or_data_makes_no_directory(run, node, monkeypatch, tmp_path):
    """A typing mistake leaves no empty node behind."""
    monkeypatch.delenv("LITHOX_NODE")
    ended = run("ps", "--data", str(tmp_path / "none"))
    assert ended.status == 2
    assert ended.err.startswith(f"lithox: no data directory {tmp_path / 'none'}; name a running")
    assert not (tmp_path / "none").exists()


def test_help_and_version_succeed(run, node):
    """Exit 0 and words on stdout."""
    assert run("--help").status == 0
    assert "Commands:" in run("--help").out
    assert run("--version").out.startswith("lithox ")
    for name in main.cli.commands:
        assert run(name, "--help").status == 0


@pytest.mark.parametrize("number", [(), (errno.EPIPE, "Broken pipe")])
def test_a_closed_pipe_ends_quietly(run, node, monkeypatch, number):
    """`lithox ps | head` is no failure, however the system tells it."""

    def broken(caller):
        raise BrokenPipeError(*number)

    monkeypatch.setattr(node, "processes", broken)
    monkeypatch.setattr(main.os, "dup2", lambda *_: None)
    assert run("ps") == (0, "", "")


def test_ctrl_c_has_the_status_shells_give(run, node, monkeypatch):
    """130, without a trace."""

    def interrupted(caller):
        raise KeyboardInterrupt

    monkeypatch.setattr(node, "processes", interrupted)
    assert run("ps").status == 130


def test_an_internal_error_of_the_node_is_ours(run, node, monkeypatch):
    """Exit 5 also when the bug was on the other side."""

    def bug(caller):
        raise InternalError("broken")

    monkeypatch.setattr(node, "processes", bug)
    ended = run("ps")
    assert ended.status == 5
    assert "internal error: InternalError: broken" in ended.err


def test_serve_on_other_addresses_wants_identities(run, node, tmp_path):
    """Nobody can open a node to the network without tokens by accident."""
    ended = run("serve", "--listen", "0.0.0.0:0", "--data", str(tmp_path / "d"))
    assert ended.status == 2
    assert ended.err.startswith("lithox: listening on 0.0.0.0, others can connect: configure")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("listen", ["7070", "localhost", "a:99999"])
def test_serve_refuses_what_is_no_address(run, node, listen):
    """Exit 2 and the form of an address."""
    ended = run("serve", "--listen", listen)
    assert ended.status == 2
    assert "an address to listen on is HOST:PORT" in ended.err


def test_serve_names_file_and_key_of_a_wrong_configuration(run, node, tmp_path):
    """Unknown keys are refused by name."""
    path = tmp_path / "lithox-node.toml"
    path.write_text("colour = 1\n")
    ended = run("serve", "--config", str(path))
    assert ended.status == 2
    assert ended.err.startswith(f"lithox: {path}: unknown key 'colour'")
