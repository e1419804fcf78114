"""What a program that was run to its end came to, and how its pages of output become that.

`Node.run` and `Client.run` read a program's output page by page (`read_output`) and end with the
same record; what is decided about it is decided here, once, without any waiting.

Invariants: output keeps its order within each stream; what is kept of each stream is bounded, the
beginning wins, and a result says when something is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from lithox.errors import ProgramExited, meaning_of, rebuild

OUTPUT_KEPT_BYTES_DEFAULT: Final = 1 << 20
"""Of each stream, in one result."""
EXIT_STATUS_MAX: Final = 125
"""The highest status of its own that a program has on the command line; shells use those above."""
EXITED: Final = "process.exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramResult:
    """How a program ended, and what it wrote.

    Attributes:
        pid: its process.
        status: 0, the program's own status (`os.exit`), or the guest status of `code`.
        code: "" when it ended well; `process.exited` when with a status of its own; else why it
            was ended: a code of the table of errors, or `app.<code>` of what it raised.
        message: what happened, for people; "" when all was well.
        values: what its main code returned, or what it gave to `os.exit` behind the status.
        output, errors: what it wrote to standard output and to standard error.
        missed_bytes: output nobody read in time, which the node has dropped.
        is_cut: True when more was written than is kept here.
    """

    pid: int
    status: int
    code: str
    message: str
    values: list[Any]
    output: bytes
    errors: bytes
    missed_bytes: int = 0
    is_cut: bool = False

    def check(self) -> Self:
        """Returns itself when the program ended well.

        Raises:
            LithoxError: why it did not; `ProgramExited`, with the field `status`, when it ended
                itself with a status other than 0.
        """
        if self.code == "":
            return self
        if self.code == EXITED:
            raise ProgramExited(self.message, status=self.status)
        raise rebuild(self.code, {"message": self.message})

    @property
    def exit_status(self) -> int:
        """The exit status of a command that runs the program."""
        return exit_status_of(self.status, self.code)


def exit_status_of(status: int, code: str) -> int:
    """Returns what a program's end is on the command line.

    A program's own status of 1 to 125 is told as it is; anything else that is not well has the
    exit status its code has in the table of errors.
    """
    if code == "":
        return 0
    if code == EXITED and 1 <= status <= EXIT_STATUS_MAX:
        return status
    try:
        return meaning_of(code).exit_status
    except KeyError:
        # A code of a newer node.
        return 1


class OutputCollector:
    """Gathers pages of `read_output` until the program's end.

    Args:
        pid: the process whose pages these are.
        kept_bytes_max: of each stream.

    Attributes:
        after: offset from which the next page is to be read.
        result: set by the page that tells the end.
    """

    def __init__(self, pid: int, *, kept_bytes_max: int = OUTPUT_KEPT_BYTES_DEFAULT) -> None:
        self.after = 0
        self.result: ProgramResult | None = None
        self._pid = pid
        self._kept_bytes_max = kept_bytes_max
        self._kept = {"out": bytearray(), "err": bytearray()}
        self._missed_bytes = 0
        self._is_cut = False

    def take(self, page: dict[str, Any]) -> None:
        """Takes one page, as `read_output` gives it."""
        self._missed_bytes += page["missed"]
        for chunk in page["chunks"]:
            kept = self._kept[chunk["stream"]]
            room = self._kept_bytes_max - len(kept)
            data: bytes = chunk["data"]
            kept += data[:room]
            self._is_cut = self._is_cut or len(data) > room
        self.after = page["next"]
        ended = page["exit"]
        if ended is not None:
            self.result = ProgramResult(
                pid=self._pid,
                status=ended["status"],
                code=ended["code"],
                message=ended["message"],
                values=ended["values"],
                output=bytes(self._kept["out"]),
                errors=bytes(self._kept["err"]),
                missed_bytes=self._missed_bytes,
                is_cut=self._is_cut,
            )
