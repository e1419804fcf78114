"""`lithox store`: what each command prints, where, and its exit status."""

from __future__ import annotations

import io
import json

import pytest

from lithox.cli import commands_store
from lithox.modules import boot


@pytest.fixture(autouse=True)
def no_boot_copy(monkeypatch):
    """The package's own programs are not these tests' business."""
    monkeypatch.setattr(boot, "_read_all", lambda kind: {})


@pytest.fixture
def hello(tmp_path):
    """A file to set."""
    path = tmp_path / "hello.lua"
    path.write_bytes(b"print('hi')\n")
    return path


def test_a_file_is_set_and_got_back(run, node, hello):
    """Set tells the version, get prints the very bytes."""
    ended = run("store", "set", "program", "hello", str(hello), "--note", "first")
    assert ended == (0, "program hello: version 1\n", "")
    assert run("store", "get", "program", "hello") == (0, "print('hi')\n", "")
    shown = json.loads(run("store", "get", "program", "hello", "--json").out)
    assert (shown["text"], shown["info"]["note"]) == ("print('hi')\n", "first")


def test_bytes_that_are_no_text_come_back_as_they_are(run, node, tmp_path, monkeypatch):
    """Nothing is decoded on the way to a file or a pipe."""
    path = tmp_path / "x"
    path.write_bytes(b"\xff\x00\r\n")
    run("store", "set", "library", "x", str(path))
    pipe = io.BytesIO()
    stdout = io.TextIOWrapper(pipe, encoding="ascii")
    with monkeypatch.context() as patch:
        patch.setattr(commands_store.sys, "stdout", stdout)
        assert run("store", "get", "library", "x").status == 0
    assert pipe.getvalue() == b"\xff\x00\r\n"
    shown = json.loads(run("store", "get", "library", "x", "--json").out)
    assert shown["text"] == {"$bytes": "/wANCg=="}


def test_on_a_terminal_control_characters_are_shown(run, node, tmp_path, monkeypatch):
    """What somebody stored cannot command the terminal of who looks at it."""
    path = tmp_path / "x"
    path.write_bytes(b"a\x1b]0;title\x07\nb\n")
    run("store", "set", "program", "x", str(path))
    monkeypatch.setattr(commands_store.sys.stdout, "isatty", lambda: True, raising=False)
    assert run("store", "get", "program", "x").out == "a\\x1b]0;title\\x07\nb\n"


def test_versions_are_listed_rolled_back_and_removed(run, node, hello):
    """History is newest first; rollback and rm tell the version they made."""
    for note in ("one", "two"):
        run("store", "set", "program", "hello", str(hello), "--note", note, "--runtime", "cc")
    assert run("store", "rollback", "program", "hello", "1", "--note", "oops").out == (
        "program hello: version 3\n"
    )
    assert run("store", "rm", "program", "hello").out == "program hello: version 4\n"
    lines = run("store", "history", "program", "hello").out.splitlines()
    assert lines[0].split("\t") == ["VERSION", "SIZE", "TIME", "BY", "RUNTIME", "NOTE"]
    assert [line.split("\t") for line in lines[1:]] == [
        ["4", "removed", "2023-11-14 22:13:20Z", "operator", "", ""],
        ["3", "12B", "2023-11-14 22:13:20Z", "operator", "cc", "oops"],
        ["2", "12B", "2023-11-14 22:13:20Z", "operator", "cc", "two"],
        ["1", "12B", "2023-11-14 22:13:20Z", "operator", "cc", "one"],
    ]
    assert run("store", "get", "program", "hello").status == 2
    assert run("store", "get", "program", "hello", "--version", "2").status == 0
    assert run("store", "rm", "program", "hello", "--history").status == 0
    rows = json.loads(run("store", "history", "program", "hello", "--json").out)["versions"]
    assert [row["version"] for row in rows] == [4]


def test_history_is_read_in_pages(run, node, hello, monkeypatch):
    """However small a page is, each version comes once."""
    monkeypatch.setattr(commands_store, "PAGE_SIZE", 2)
    for _ in range(5):
        run("store", "set", "program", "hello", str(hello))
    for limit, versions in (("100", [5, 4, 3, 2, 1]), ("3", [5, 4, 3])):
        out = run("store", "history", "program", "hello", "--json", "--limit", limit).out
        assert [row["version"] for row in json.loads(out)["versions"]] == versions


def test_stores_are_listed(run, node, hello, monkeypatch):
    """All three, or one, by prefix, in pages, and a word when there are more."""
    monkeypatch.setattr(commands_store, "PAGE_SIZE", 2)
    for kind, name in (
        ("program", "a1"),
        ("program", "a2"),
        ("program", "a3"),
        ("program", "b"),
        ("library", "a1"),
    ):
        run("store", "set", kind, name, str(hello))

    def names(*arguments: str) -> list[tuple[str, str]]:
        rows = json.loads(run("store", "ls", *arguments, "--json").out)["items"]
        return [(row["kind"], row["name"]) for row in rows]

    assert names() == [
        ("program", "a1"),
        ("program", "a2"),
        ("program", "a3"),
        ("program", "b"),
        ("library", "a1"),
    ]
    assert names("program", "a") == [("program", "a1"), ("program", "a2"), ("program", "a3")]
    cut = run("store", "ls", "program", "--limit", "2")
    assert cut.out.splitlines()[0].split("\t")[:3] == ["KIND", "NAME", "VERSION"]
    assert len(cut.out.splitlines()) == 3
    assert cut.err == "lithox: there are more; use --limit above 2\n"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("ls", "prog"), 2, "'prog' is not one of"),
        (("get", "program", "nope"), 2, "no program 'nope' [request.not_found]"),
        (("get", "program", ".x"), 2, "does not begin with a dot"),
        (("get", "program", "x", "--version", "-1"), 2, "a version is a whole number"),
        (("set", "program", "x", "/no/such/file"), 2, "No such file"),
        (("history", "library", "nope"), 2, "no library 'nope'"),
        (("rollback", "program", "nope", "1"), 2, "no program 'nope'"),
        (("rollback", "program", "nope", "x"), 2, "not a valid integer"),
        (("rm", "program", "nope"), 2, "no program 'nope'"),
    ],
)
def test_mistakes_are_one_line(run, node, arguments, status, words):
    """On stderr, with the exit status of the table."""
    ended = run("store", *arguments)
    assert (ended.status, ended.out) == (status, "")
    assert words in ended.err
    assert ended.err.count("\n") == 1


def test_a_file_that_is_too_large_is_not_sent(run, node, tmp_path):
    """It is told before anything is asked of the node."""
    path = tmp_path / "x"
    path.write_bytes(b"x" * (commands_store.TEXT_BYTES_MAX + 1))
    ended = run("store", "set", "program", "x", str(path))
    assert (ended.status, node.acts) == (2, [])
    assert "more than 1048576 bytes" in ended.err


def test_a_text_that_does_not_load_is_shown_with_its_line(run, node, tmp_path, monkeypatch):
    """With --check the line of the file at fault is printed, and nothing is set."""
    from lithox.errors import CompileFailed

    def refuse(kind, name, text, runtime):
        raise CompileFailed("hello:2: 'end' expected", file="hello", line=2)

    monkeypatch.setattr(node._stores, "check", refuse)
    path = tmp_path / "hello.lua"
    path.write_text("if x then\nprint(1\n")
    ended = run("store", "set", "program", "hello", str(path), "--check", "native")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == (
        f"lithox: {path}:2: 'end' expected [guest.compile_failed]\n  2 | print(1\n"
    )
    assert run("store", "get", "program", "hello").status == 2
