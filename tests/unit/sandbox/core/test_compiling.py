"""A stranger's module is compiled in a child that is bounded, and told clearly when it is not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import wasmtime

from lithox.errors import CompileFailed, LithoxError, NotAvailable, Overloaded
from lithox.sandbox.cache import ModuleCache
from lithox.sandbox.core import compile_child, compiling
from lithox.sandbox.core.compiling import Compilation, CompileBounds, compile_wasm
from tests.conformance.python.running import wait_until_gone
from tests.unit.sandbox.core.modules import leb, section

WAIT_S = 30.0
"""How long a test waits for what must come; more is a failure, less proves nothing."""
SMALL = bytes(wasmtime.wat2wasm("(module (func (nop)))"))

on_linux = pytest.mark.skipif(
    sys.platform != "linux",
    reason="PR_SET_PDEATHSIG is Linux's; elsewhere a compiler ends by its processor time alone",
)


def compile_small(tmp_path: Path, wasm: bytes = SMALL) -> bytes:
    """Returns the machine code of a module, with a cache below `tmp_path`."""
    return compile_wasm(wasm, kind="module", file="m.wasm", cache=ModuleCache(tmp_path / "cache"))


def heavy() -> bytes:
    """Returns a module that takes seconds to compile: functions of two thousand branches each."""
    branch = b"\x20\0\x04\x40\x20\0\x41\7\x6c\x21\0\x0b"  # if (x) x = x * 7
    body = b"\0" + branch * 2000 + b"\x0b"
    count = 40
    return (
        b"\0asm\1\0\0\0"
        + section(1, b"\1\x60\1\x7f\0")
        + section(3, leb(count) + bytes(count))
        + section(10, leb(count) + (leb(len(body)) + body) * count)
    )


def test_second_compilation_is_the_cache(tmp_path: Path) -> None:
    """A module that is kept as machine code is not compiled again."""
    first = compile_small(tmp_path)
    cache = ModuleCache(tmp_path / "cache")
    again = compile_wasm(SMALL, kind="module", file="m.wasm", cache=cache)
    assert (again == first, cache.hits) == (True, 1)


def test_compiled_otherwise_is_another_entry() -> None:
    """Kind, configuration and the scan are part of the key: code made otherwise does not fit."""
    keys = {
        Compilation(kind="module").key_of(SMALL),
        Compilation(kind="component").key_of(SMALL),
        Compilation(kind="module", is_scanned=True).key_of(SMALL),
        Compilation(kind="module", configuration={"consume_fuel": True}).key_of(SMALL),
    }
    assert len(keys) == 4


def test_invalid_module_is_told_with_its_offset(tmp_path: Path) -> None:
    """What wasmtime refuses names file, reason, offset and what was expected."""
    broken = SMALL.replace(b"\1\x0b", b"\x1a\x0b")  # drop, with nothing to drop
    with pytest.raises(CompileFailed) as caught:
        compile_small(tmp_path, broken)
    offset = caught.value.fields["offset"]
    assert caught.value.fields["file"] == "m.wasm"
    assert "docs/abi.md" in caught.value.fields["expected"]
    assert broken[offset] == 0x1A
    assert re.fullmatch(
        rf"m\.wasm is refused: .*at offset {offset:#x}: .*expected a type but nothing on stack",
        caught.value.message,
    ), caught.value.message


def test_offset_is_told_as_of_the_file(tmp_path: Path) -> None:
    """Where the binary was written anew, the offset is that of the file it came from."""
    broken = SMALL.replace(b"\1\x0b", b"\x1a\x0b")
    with pytest.raises(CompileFailed) as caught:
        Compilation(kind="module").compile(
            broken,
            file="m.wasm",
            cache=ModuleCache(tmp_path),
            original_offset=lambda offset: offset + 1000,
        )
    assert caught.value.fields["offset"] > 1000
    assert f"{caught.value.fields['offset']:#x}" in caught.value.message


@pytest.mark.parametrize(
    ("bounds", "is_heavy"),
    [
        (CompileBounds(cpu_s=1, wall_s=100), True),
        (CompileBounds(wall_s=0), False),
        (CompileBounds(address_space_bytes=40 << 20), False),
        (CompileBounds(output_bytes=4096), False),
    ],
    ids=["processor", "wall", "memory", "output"],
)
def test_each_bound_ends_the_child(
    tmp_path: Path, bounds: CompileBounds, *, is_heavy: bool
) -> None:
    """Time, memory and machine code are bounded; what meets a bound is a clear error."""
    with pytest.raises(CompileFailed) as caught:
        Compilation(kind="module", bounds=bounds).compile(
            heavy() if is_heavy else SMALL, file="big.wasm", cache=ModuleCache(tmp_path)
        )
    assert caught.value.message.startswith("big.wasm cannot be compiled within "), caught.value
    assert caught.value.fields == {
        "file": "big.wasm",
        "expected": "smaller functions, or fewer",
    }


def test_too_large_a_module_starts_no_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size is looked at first."""
    monkeypatch.setattr(compiling, "WASM_BYTES_MAX", 10)
    with pytest.raises(CompileFailed, match=r"m\.wasm has 25 bytes; at most 10 are compiled"):
        compile_small(tmp_path)


def test_machine_without_a_python_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no child can be started, the error says so and is no bug."""
    monkeypatch.setattr(compiling.sys, "executable", "/nowhere/python")
    with pytest.raises(NotAvailable, match="cannot be compiled here"):
        compile_small(tmp_path)
    monkeypatch.setattr(compiling.sys, "executable", "")
    with pytest.raises(NotAvailable, match="has no path"):
        compile_small(tmp_path)


def test_child_gets_nothing_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets of the node's environment are not handed on."""
    monkeypatch.setenv("LITHOX_SECRET", "secret")
    seen: list[dict[str, str]] = []
    popen = compiling.subprocess.Popen

    def start(*arguments: object, **named: object) -> object:
        seen.append(named["env"])  # pyright: ignore[reportArgumentType]
        return popen(*arguments, **named)  # pyright: ignore[reportCallIssue, reportArgumentType]

    monkeypatch.setattr(compiling.subprocess, "Popen", start)
    compile_small(tmp_path)
    assert seen == [{"MALLOC_ARENA_MAX": "2"}]


@pytest.mark.parametrize("is_safe", [True, False])
def test_large_files_lie_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_safe: bool
) -> None:
    """Module and machine code are on the disk of the cache, not where the system's may be memory.

    Where the cache is off they are where the system has temporary files; no name is left anywhere.
    """
    cache, system = tmp_path / "cache", tmp_path / "system"
    cache.mkdir(mode=0o700)
    system.mkdir()
    if not is_safe:
        cache.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(system))
    folders: list[Path] = []
    popen = compiling.subprocess.Popen

    def start(*arguments: object, **named: IO[bytes]) -> object:
        files = (named["stdin"], named["stdout"], named["stderr"])
        folders.extend(Path(f"/proc/self/fd/{file.fileno()}").readlink().parent for file in files)
        return popen(*arguments, **named)  # pyright: ignore[reportCallIssue, reportArgumentType]

    monkeypatch.setattr(compiling.subprocess, "Popen", start)
    compile_small(tmp_path)
    assert folders == [cache if is_safe else system] * 3
    assert list(system.iterdir()) == []
    assert [path.suffix for path in cache.iterdir()] == [".lxmod"] * is_safe


def test_too_many_that_wait_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue for the one child is bounded; whoever finds it full may try again."""
    monkeypatch.setattr(compiling, "_waiting", threading.BoundedSemaphore(1))
    with compiling._waiting, pytest.raises(Overloaded) as caught:  # pyright: ignore[reportPrivateUsage]
        compile_small(tmp_path)
    assert caught.value.retry_after_ms


def test_callers_of_one_module_share_one_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has waited finds what the other one has compiled."""
    started = 0
    popen = compiling.subprocess.Popen

    def start(*arguments: object, **named: object) -> object:
        nonlocal started
        started += 1
        return popen(*arguments, **named)  # pyright: ignore[reportCallIssue, reportArgumentType]

    monkeypatch.setattr(compiling.subprocess, "Popen", start)
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(compile_small(tmp_path))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(set(found)), started) == (4, 1, 1)


def test_child_whose_node_is_gone_compiles_nothing(tmp_path: Path) -> None:
    """It ends before it reads the module: a parent that is another says that the node has ended."""
    started: list[list[str]] = []

    def refuse(command: list[str], *rest: object) -> int:
        started.append(command)
        return 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "_wait", refuse)
        with pytest.raises(LithoxError):
            compile_small(tmp_path)
    command = started[0]
    assert command[-1] == str(os.getpid())
    for node_pid, status, has_code in ((command[-1], 0, True), ("-1", 70, False)):
        ended = subprocess.run(
            [*command[:-1], node_pid], input=SMALL, capture_output=True, check=False
        )
        assert (ended.returncode, bool(ended.stdout)) == (status, has_code)


PARENT = """
import os, subprocess, sys
from lithox.sandbox.core.compiling import _CHILD, find_library_path

command = [sys.executable, "-I", "-S", str(_CHILD), str(find_library_path()), "module", "",
           "60", str(8 << 30), str(1 << 20), "0", sys.argv[1] or str(os.getpid())]
child = subprocess.Popen(command, stdin=int(sys.argv[2]), stderr=subprocess.DEVNULL)
print(child.pid, flush=True)
print(child.wait(), flush=True)
"""
"""A node whose child compiles what comes through a pipe of the test's, which is never closed."""


@pytest.fixture
def module_pipe() -> Iterator[int]:
    """The end of a pipe from which nothing ever comes."""
    source, held = os.pipe()
    yield source
    os.close(source)
    os.close(held)


def start_parent(node_pid: str, module_pipe: int) -> tuple[subprocess.Popen[str], int]:
    """Starts a node of that number, "" for its own; returns it and its child's pid."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, node_pid, str(module_pipe)],
        stdout=subprocess.PIPE,
        pass_fds=(module_pipe,),
        text=True,
    )
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


@on_linux
def test_no_compilation_outlives_its_node(module_pipe: int) -> None:
    """A child that is at work when its node is killed is gone, though its input goes on."""
    parent, pid = start_parent("", module_pipe)
    # It is nice once it has bound its life and bounded itself.
    while os.getpriority(os.PRIO_PROCESS, pid) != compile_child.NICENESS:
        assert parent.poll() is None
        time.sleep(0)
    parent.kill()
    parent.wait()
    assert parent.stdout is not None
    parent.stdout.close()  # Not read to its end: a child that lives on would hold it.
    assert wait_until_gone(pid)


@on_linux
def test_compilation_whose_node_has_ended_already_ends_itself(module_pipe: int) -> None:
    """A child that belongs to nobody it was started for does not begin."""
    parent, _ = start_parent(str(os.getpid()), module_pipe)
    said, _ = parent.communicate(timeout=WAIT_S)
    assert int(said) == compile_child.EXIT_ORPHANED
