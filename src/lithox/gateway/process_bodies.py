"""The shapes of bodies about programs that run; see `gateway.bodies` for the rest."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from lithox.errors import BadArguments
from lithox.gateway.bodies import DEADLINE_MS_MAX, MILLISECOND_NS, Amount
from lithox.model.limits import PRIORITY_HIGHEST, PRIORITY_LOWEST, Limits
from lithox.model.values import from_json


class ProgramLimitsBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """What the caller lowers for this process; nothing here raises a limit."""

    fuel: Amount | None = None
    memory: Amount | None = None
    wall_ms: Annotated[int, Meta(ge=1, le=DEADLINE_MS_MAX)] | None = None
    output: Amount | None = None
    calls: Amount | None = None

    def to_limits(self) -> Limits:
        """Returns the same as the model's record."""
        return Limits(
            fuel=self.fuel,
            memory_bytes=self.memory,
            wall_ns=None if self.wall_ms is None else self.wall_ms * MILLISECOND_NS,
            output_bytes=self.output,
            calls=self.calls,
        )


class ProcessBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """A program to run: by its name in the store, or as code, text or {"$bytes": base64}."""

    program: str | None = None
    code: str | dict[str, str] | None = None
    name: str | None = None
    runtime: str | None = None
    args: list[Any] = []
    limits: ProgramLimitsBody | None = None
    priority: Annotated[int, Meta(ge=PRIORITY_LOWEST, le=PRIORITY_HIGHEST)] | None = None
    mode: Literal["preemptive", "cooperative"] | None = None


class StartedAnswer(Struct, kw_only=True):
    """The process a program has become."""

    pid: int


class InputBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Input for a program, text or {"$bytes": base64}; `end`: no more will come."""

    data: str | dict[str, str] = ""
    end: bool = False


class ChunkAnswer(Struct, kw_only=True):
    """Output in one piece: text, or {"$bytes": base64} where it is not UTF-8."""

    offset: int
    stream: str
    data: Any


class ExitAnswer(Struct, kw_only=True):
    """How a program ended."""

    status: int
    code: str
    message: str
    values: list[Any]


class OutputAnswer(Struct, kw_only=True):
    """A page of output; `exit` is there once all of it has been read and the program is over."""

    chunks: list[ChunkAnswer]
    next: int
    missed: int
    reading: bool
    exit: ExitAnswer | None


class ProcessAnswer(Struct, kw_only=True):
    """One row of the process table."""

    process: dict[str, Any]


def read_bytes(said: str | dict[str, str], what: str) -> bytes:
    """Returns the bytes that a text or {"$bytes": base64} stands for; raises BadArguments."""
    value = from_json(said)
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    raise BadArguments(f'{what} is a text or {{"$bytes": base64}}; found another form')
