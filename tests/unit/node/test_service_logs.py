"""Logs of services: lines with times, rotation, reading by offset, names that stay in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from lithox.dispatch.programs.process import Exit, ProgramProcess
from lithox.errors import BadArguments
from lithox.modules.services import LogSpec
from lithox.node.service_logs import ServiceLog, ServiceLogs
from lithox.testing.clock import FakeClock

FRAME = cast("ProgramProcess", type("Frame", (), {"pid": 7, "name": "web"})())
STAMP = b"1970-01-01T00:00:01.500Z"


Make = Callable[..., ServiceLog]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes logs in a folder, and closes them."""
    made: list[ServiceLog] = []

    def one(folder: Path, bytes_max: int = 4096, files: int = 3) -> ServiceLog:
        spec = LogSpec(bytes_max=bytes_max, files=files)
        made.append(ServiceLog(folder / "logs" / "web.log", spec, lambda: 1_500_000_000))
        return made[-1]

    yield one
    for log in made:
        log.close()


def read_all(log: ServiceLog) -> bytes:
    parts: list[bytes] = []
    at = 0
    while True:
        text, at, _ = log.read_after(at)
        if not text:
            return b"".join(parts)
        parts.append(text)


def test_every_line_has_its_time_and_stream(make: Make, tmp_path: Path) -> None:
    """Pieces of a line are put together; a change of the stream begins a new line."""
    log = make(tmp_path)
    for stream, data in [
        ("out", b"one\ntwo "),
        ("out", b"parts\n"),
        ("out", b"cut"),
        ("err", b"oh\n\n"),
    ]:
        assert log.write(FRAME, stream, data)
    log.on_exit(FRAME, Exit(status=3, code="process.exited", message="exit status 3\nmore"))
    lines = [
        b"out one",
        b"out two parts",
        b"out cut",
        b"err oh",
        b"err ",
        b"end process 7 ended with status 3: exit status 3",
    ]
    assert read_all(log) == b"".join(STAMP + b" " + line + b"\n" for line in lines)


def test_files_rotate_by_size_and_the_oldest_go(make: Make, tmp_path: Path) -> None:
    """No file is longer than its bound, as many as the bound says are kept, offsets go on."""
    log = make(tmp_path, bytes_max=1000, files=3)
    for number in range(200):
        log.write(FRAME, "out", b"line %03d\n" % number)
    files = sorted((tmp_path / "logs").iterdir())
    assert len(files) == 3
    assert all(file.stat().st_size <= 1000 for file in files)
    text, at, missed = log.read_after(0)
    assert text.endswith(b"line 199\n")
    assert (at, missed + len(text)) == (log.end_offset, log.end_offset)
    assert log.end_offset == 200 * (len(STAMP) + len(b" out line 000\n"))


def test_offsets_mean_the_same_after_a_restart(make: Make, tmp_path: Path) -> None:
    """A log opened again goes on where it was, also in the middle of a rotation."""
    log = make(tmp_path, bytes_max=1000)
    for number in range(100):
        log.write(FRAME, "out", b"line %03d\n" % number)
    end = log.end_offset
    tail, _ = log.read_tail(5)
    log.close()
    again = make(tmp_path, bytes_max=1000)
    assert again.end_offset == end
    assert again.read_tail(5)[0] == tail
    again.write(FRAME, "out", b"next\n")
    assert again.read_after(end)[0] == STAMP + b" out next\n"


def test_a_line_longer_than_a_file_is_cut(make: Make, tmp_path: Path) -> None:
    """A service that never ends its line fills no more than its files."""
    log = make(tmp_path, bytes_max=4096, files=2)
    for _ in range(20):
        log.write(FRAME, "out", b"x" * 5000)
    sizes = [file.stat().st_size for file in (tmp_path / "logs").iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= 4096


def test_one_file_is_one_file(make: Make, tmp_path: Path) -> None:
    """With `files = 1` nothing is kept beside the newest."""
    log = make(tmp_path, bytes_max=4096, files=1)
    for number in range(1000):
        log.write(FRAME, "out", b"line %03d\n" % number)
    assert [file.name for file in (tmp_path / "logs").iterdir()] == ["web.log"]


@pytest.mark.parametrize(("lines", "count"), [(0, 0), (1, 1), (3, 3), (500, 4)])
def test_the_tail_has_the_last_lines(make: Make, tmp_path: Path, lines: int, count: int) -> None:
    """The last N lines, all if there are fewer; a line without its end counts."""
    log = make(tmp_path)
    log.write(FRAME, "out", b"a\nb\nc\nd")
    text, at = log.read_tail(lines)
    assert len(text.splitlines()) == count
    assert at == log.end_offset
    assert not count or text.endswith(b"d")


def test_whoever_watches_hears_once(make: Make, tmp_path: Path) -> None:
    """A watcher is called at the next output, and not again."""
    log, heard = make(tmp_path), []
    log.watch(lambda: heard.append(1))
    log.write(FRAME, "out", b"a\n")
    log.write(FRAME, "out", b"b\n")
    assert heard == [1]


def test_a_watcher_that_gives_up_leaves_nothing(make: Make, tmp_path: Path) -> None:
    """Who waited in vain is forgotten; who waits beside it hears, and may give up afterwards."""
    log, heard = make(tmp_path), []
    give_up = log.watch(lambda: heard.append("first"))
    second = log.watch(lambda: heard.append("second"))
    give_up()
    give_up()
    log.write(FRAME, "out", b"a\n")
    second()
    assert heard == ["second"]
    assert not log._watchers


class Disk:
    """A file that takes at most `most` bytes a time, and keeps what objects it was given."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.sources: list[Any] = []
        self.pieces: list[bytes] = []

    def write(self, piece: memoryview) -> int:
        self.sources.append(piece.obj)
        self.pieces.append(bytes(piece[: self.most]))
        return len(self.pieces[-1])


def test_long_output_is_not_copied_file_by_file(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many files it fills, what is written are views of one text: the cost is linear."""
    log, disk = make(tmp_path), Disk(1 << 20)
    monkeypatch.setattr(log, "_open", lambda: disk)
    monkeypatch.setattr(log, "_rotate", lambda: setattr(log, "_size", 0))
    log.write(FRAME, "out", b"line\n" * 20_000)
    assert len(disk.pieces) > 100
    assert len({id(source) for source in disk.sources}) == 1
    assert all(len(piece) <= 4096 and piece.endswith(b"\n") for piece in disk.pieces)
    assert b"".join(disk.pieces) == (STAMP + b" out line\n") * 20_000


def test_a_disk_that_takes_a_part_is_asked_again(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that was cut short goes on where it was; offsets count what is there."""
    log, disk = make(tmp_path), Disk(7)
    monkeypatch.setattr(log, "_open", lambda: disk)
    log.write(FRAME, "out", b"a line\n")
    assert b"".join(disk.pieces) == STAMP + b" out a line\n"
    assert log.end_offset == len(STAMP + b" out a line\n")


def test_a_disk_that_takes_nothing_stops_nobody(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be written is counted, and the log says so when it can be."""
    log = make(tmp_path)
    log.write(FRAME, "out", b"before\n")
    original = ServiceLog._open

    def refuse(_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ServiceLog, "_open", refuse)
    assert log.write(FRAME, "out", b"lost\n")
    assert log.write(FRAME, "out", b"lost too\n")
    monkeypatch.setattr(ServiceLog, "_open", original)
    log.write(FRAME, "out", b"after\n")
    lines = [line.partition(b" out ")[2] for line in read_all(log).splitlines()]
    assert lines == [b"before", b"[14 bytes could not be written]", b"after"]


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "x" * 129, "a\x00b"])
def test_names_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    """What is no service's name opens no file."""
    logs = ServiceLogs(tmp_path, FakeClock(), lambda _: None)
    with pytest.raises(BadArguments):
        logs.open(name)
    assert not (tmp_path / "logs").exists()


def test_the_bounds_are_the_definitions(tmp_path: Path) -> None:
    """A definition's bounds count, also when they change; nonsense falls back to the defaults."""
    said: dict[str, Any] = {"log": {"bytes_max": 8192, "files": 2}}
    logs = ServiceLogs(tmp_path, FakeClock(), lambda name: said if name == "web" else None)
    assert logs.open("web").spec == LogSpec(bytes_max=8192, files=2)
    said["log"] = {"bytes_max": "much", "files": -1}
    assert logs.open("web").spec == LogSpec()
    assert logs.open("web") is logs.open("web")
    assert logs.open("other").spec == LogSpec()
