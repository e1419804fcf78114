"""What callgrind writes is read as what it says: own cost by whose code it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench.guard import instructions
from bench.guard.instructions import part_of, read_dump

DUMP = """# callgrind format
version: 1
creator: callgrind-3.19.0
desc: Trigger: Client Request: write.instructions/128
events: Ir

ob=(1) /usr/lib/libpython3.11.so.1.0
fl=(1) ceval.c
fn=(1) eval
0 100
+3 20
cob=(2) ???
cfi=(2) ???
cfn=(2) 0x5000
calls=4 0
* 5000
-2 3

ob=(2)
fn=(2)
0 5000
ob=(3) /x/site-packages/msgspec/_core.cpython-311-x86_64-linux-gnu.so
fn=(3) encode
0 40

totals: 5163
"""


def test_a_dump_is_split_by_whose_code_ran() -> None:
    """Own cost counts, the cost of what was called counts where it was spent."""
    found = read_dump(DUMP)
    assert found == (
        "write.instructions/128",
        Counter({"guest": 5000, "interpreter": 123, "msgspec": 40}),
    )
    assert found[1].total() == 5163


def test_what_no_mark_made_is_left_out() -> None:
    """The dump at the end of the process holds what nobody asked for."""
    assert read_dump(DUMP.replace("Client Request: write", "Program termination")) is None


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("???", "guest"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", "libc"),
        ("/x/lib/libpython3.11.so.1.0", "interpreter"),
        ("/x/bin/python3.11", "interpreter"),
        ("/x/lib/python3.11/lib-dynload/_ctypes.cpython-311-x86_64-linux-gnu.so", "interpreter"),
        ("/x/lib/python3.11/site-packages/apsw/__init__.cpython-311.so", "apsw"),
        ("/usr/lib/x86_64-linux-gnu/libffi.so.8", "libffi.so.8"),
    ],
)
def test_code_belongs_to_a_package_or_to_a_guest(file: str, part: str) -> None:
    """Code of no file was made from a guest's, all else is told by its file."""
    assert part_of(file) == part


def test_what_is_missing_for_counting_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without valgrind or its headers nothing is counted, and it is said why."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert instructions.why_not() == "valgrind is not installed (apt-get install valgrind)"
    program = tmp_path / "valgrind"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(instructions, "HEADERS", tmp_path)
    assert instructions.why_not() == f"valgrind's headers are not in {tmp_path}"
