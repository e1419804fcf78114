"""print, io and the clock."""

from __future__ import annotations

import pytest

from tests.unit.runtimes.fake_world import START_MS, FakeWorld

JOINED = """(function()
  local t = {{}}
  for piece in io.lines({}) do t[#t + 1] = piece end
  return table.concat(t, '|')
end)()"""


def test_print_is_one_write_a_line(world: FakeWorld) -> None:
    """Each print passes its whole line on at once, so a process that dies has printed it."""
    world.run("print() print('a') print('b', nil, true)")
    assert world.output == [("out", "\n"), ("out", "a\n"), ("out", "b\tnil\ttrue\n")]


def test_print_asks_tostring(world: FakeWorld) -> None:
    """Values are written through __tostring; a tostring that gives no text is an error."""
    world.run("print(setmetatable({}, {__tostring = function() return 'me' end}))")
    assert world.printed() == "me\n"


def test_writes_go_to_their_streams(world: FakeWorld) -> None:
    """io.write and io.stdout write to out, io.stderr to err; writes return the file."""
    assert world.run("return io.write('a', 1):write('b') == io.stdout") is True
    world.run("io.stderr:write('oh')")
    assert world.printed() == "a1b"
    assert world.printed("err") == "oh"


def test_long_write_is_cut(world: FakeWorld) -> None:
    """A text longer than one write may be goes in pieces and arrives whole."""
    world.run("io.write(('x'):rep(65536) .. ('y'):rep(10))")
    assert [len(text) for _, text in world.output] == [65536, 10]
    assert world.printed() == "x" * 65536 + "y" * 10


def test_empty_write_writes_nothing(world: FakeWorld) -> None:
    """An empty text makes no system call."""
    world.run("io.write('')")
    assert world.output == []


def test_write_takes_text_and_numbers_only(world: FakeWorld) -> None:
    """Anything else is an error at the program's line, and nothing of the call is written."""
    said = world.run("return select(2, pcall(function() io.write('a', {}) end))")
    assert said.endswith("bad argument #2 to 'write' (string expected, got table)")
    assert world.output == []


def test_refused_write_says_so(world: FakeWorld) -> None:
    """A write that the node refuses, or to what is not for writing, is nil, message, status."""
    world.answers["write"] = lambda *_: (19, "request.overloaded", "full")
    assert world.run("return io.write('x')") == [None, "full", 19]
    assert world.run("return io.stdin:write('x')") == [None, "stdin is not for writing", 11]


@pytest.mark.parametrize(
    ("pieces", "code", "returned"),
    [
        (["one\ntw", "o\n", "last"], "io.read(), io.read(), io.read(), io.read()",
         ["one", "two", "last", None]),
        (["a\nb\n"], "io.read('L', '*l')", ["a\n", "b"]),
        (["\n"], "io.read(), io.read()", ["", None]),
        (["ab", "cd"], "io.read(3), io.read(5), io.read(1)", ["abc", "d", None]),
        (["x\ny"], "io.read('a'), io.read('*a'), io.read('l')", ["x\ny", "", None]),
        (["12 -3.5e1", "\n0x10 z"], "io.read('n', 'n', 'n', 'n')", [12, -35.0, 16, None]),
        (["rest"], "io.read(0), io.read(4), io.read(0)", ["", "rest", None]),
        ([], "io.read()", None),
        (["p\nq\n"], JOINED.format(""), "p|q"),
        (["abcd"], JOINED.format("nil, 2"), "ab|cd"),
        (["k\n"], "io.stdin:read()", "k"),
    ],
)  # fmt: skip
def test_reading(world: FakeWorld, pieces: list[str], code: str, returned: object) -> None:
    """Lines, counts, numbers and everything come out alike however the input was cut."""
    world.input = list(pieces)
    assert world.run(f"return {code}") == returned


@pytest.mark.parametrize("piece_bytes", [1, 2, 3])
def test_reading_does_not_see_how_input_was_cut(piece_bytes: int) -> None:
    """Bytes one by one give the same lines and numbers as a whole block."""
    text = "first\n 42 0x1F\nlast"
    code = "return io.read('l', 'n', 'n', 'l', 'a')"
    whole, cut = FakeWorld(), FakeWorld()
    whole.input = [text]
    cut.input = [text[i : i + piece_bytes] for i in range(0, len(text), piece_bytes)]
    assert whole.run(code) == cut.run(code) == ["first", 42, 31, "", "last"]


def test_unknown_format_is_an_error(world: FakeWorld) -> None:
    """A format that does not exist is told with its place."""
    said = world.run("return select(2, pcall(function() io.read('x') end))")
    assert said.endswith("bad argument #1 to 'read' (invalid format)")


def test_files_are_what_they_are(world: FakeWorld) -> None:
    """Streams have a type and a name; there are no files to iterate over."""
    assert world.run("return tostring(io.stdout), io.type(io.stderr), io.type({})") == [
        "file (stdout)", "file", None,
    ]  # fmt: skip
    said = world.run("return select(2, pcall(function() io.lines('x') end))")
    assert said == "main:1: io.lines: there are no files here; only the input has lines"


def test_nothing_is_kept_back(world: FakeWorld) -> None:
    """flush, setvbuf and close do no harm, and seek says that it cannot."""
    assert world.run("return io.stdout:setvbuf('full', 9), io.stdout:flush() == io.stdout") == [
        True, True,
    ]  # fmt: skip
    assert world.run("return io.stdin:seek()") == [None, "stdin cannot be positioned", 21]


def test_time_is_now(world: FakeWorld) -> None:
    """os.time and os.time_ms follow the node's clock while the process runs."""
    assert world.run("local t = os.time_ms() os.sleep(5000) return t, os.time_ms(), os.time()") == [
        START_MS, START_MS + 5000, (START_MS + 5000) // 1000,
    ]  # fmt: skip


def test_date_is_of_now_unless_told(world: FakeWorld) -> None:
    """os.date formats the present second, or the one it is given."""
    assert world.run("return os.date('!%Y-%m-%d'), os.date('!%Y', 0)") == ["2025-11-24", "1970"]
