"""How a guest is held: what every language engine promises to dispatch.

A `Program` is a compiled module with the memory image every run starts from. A `Guest` is one
run of it: stepped a quantum at a time, it yields, asks (a system call), finishes or ends. A guest
is entered by one thread at a time; `step` is the only method that may run away from the node's
thread. Nothing inside a guest can catch its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from lithox.model.limits import Limits


class StepKind(IntEnum):
    """Why a step came back."""

    YIELDED = 0
    """The quantum is used up; step again when it is its turn."""
    ASKED = 1
    """A system call waits for `answer`; `data` is its message."""
    FINISHED = 2
    """The handler has ended, well or by an error of its own; `data` is the outcome message."""
    ENDED = 3
    """Stopped from outside: a limit or a trap; `code`, `detail` say which. It cannot go on."""


class Step(NamedTuple):
    """What one `step` came to."""

    kind: StepKind
    data: bytes = b""
    code: str = ""
    """For ENDED: `guest.trapped`, `guest.protocol`, `guest.out_of_` fuel, memory, calls, output."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Code as published.

    Attributes:
        language: which engine runs it.
        name: for messages (`counter.lua`).
        digest: identifies text and preludes together.
        preludes: (name, text) of chunks that run while the image is made, before the text is
            compiled; programs only (docs/explanation/processes.md). The first may speak the
            system calls; the others are runtimes.
    """

    language: str
    name: str
    text: bytes
    digest: str
    preludes: tuple[tuple[str, bytes], ...] = ()


class Guest(Protocol):
    """One run, from its first instruction to its end."""

    fuel_used: int
    """Fuel burned so far, up to date after each step."""
    memory_bytes: int
    """Size its memory has reached, up to date after each step."""
    calls: int
    """System calls it made, those of its callees included."""

    def step(self, quantum_fuel: int, *, frees_lock: bool) -> Step:
        """Runs until the guest yields, asks, finishes or ends.

        Args:
            quantum_fuel: fuel after which it yields.
            frees_lock: True lets other Python threads run meanwhile (long runs); False saves the
                cost of that for runs known to be short.

        Blocks: for at most the quantum.
        """
        ...

    def answer(self, message: bytes) -> None:
        """Gives the answer to the system call it asked; the next step goes on from there."""
        ...

    def charge(self, fuel: int, calls: int) -> None:
        """Burns fuel and system calls of its allowance for a callee, while it waits for it."""
        ...

    def credit(self, fuel: int, calls: int) -> None:
        """Gives back what `charge` took and nobody has used; while it waits, too."""
        ...

    def bound_memory(self, memory_bytes_max: int) -> None:
        """Lets its memory grow to that much from now on; what it has, it keeps. While it waits."""
        ...

    def close(self) -> None:
        """Ends the guest at whatever point it is, and frees or recycles its memory. Idempotent."""
        ...


class Program(Protocol):
    """A module ready to run."""

    handler_names: tuple[str, ...]
    """Names the module gives, sorted; `_hidden` ones are left out."""

    def start(self, message: bytes, limits: Limits) -> Guest:
        """Returns a guest that will run the `RunMessage` in `message` under `limits`.

        Raises:
            Overloaded: the node holds as many guests as it can.
        """
        ...


class CooperativeGuest:
    """Base of guests that cannot be metered and paused from within: `ps` shows them as such."""

    __slots__ = ()


class AccountedProgram:
    """Base of programs whose guests hold what is scarce in the whole system, such as processes.

    Of those no account may hold all, so they are told whose guest it is. What such a guest asks
    for one by one costs more than what is sent along.

    Attributes:
        preload_bytes_max: size of state that is sent along whole; of larger ones what the template
            names under `preload`, up to that size.
    """

    __slots__ = ()
    preload_bytes_max: int = 0

    def start_for(self, account: str, message: bytes, limits: Limits, *, is_nested: bool) -> Guest:
        """Returns a guest of `account`; else as `Program.start`.

        Args:
            account: whose share it takes.
            message: as for `Program.start`.
            limits: as for `Program.start`.
            is_nested: another guest waits for this one, so this one must not wait for a share.

        Raises:
            Overloaded: the node holds as many guests as it can.
        """
        raise AssertionError(
            f"{self} says itself how it starts: {account, message, limits, is_nested}"
        )


class Engine(Protocol):
    """One language."""

    language: str

    def find(self, digest: str) -> Program | None:
        """Returns a program that is loaded already, or None. Never blocks."""
        ...

    def prepare(self, source: Source) -> None:
        """Does the slow part of the next `load` of `source`, such as making machine code of it.

        What it makes stays on disk, so that a load, also after a restart, does not compile.
        Nothing here where a load is quick anyway. May be called from any thread, and from several.

        Raises:
            CompileFailed: as `load`; with fields file, line, expected where known.

        Blocks: for seconds.
        """
        ...

    def load(self, source: Source, limits: Limits) -> Program:
        """Compiles `source` under `limits` and takes its image; blocks meanwhile.

        Raises:
            CompileFailed: with fields file, line, expected where known.
        """
        ...

    def statistics(self) -> dict[str, Any]:
        """Returns live guests, recycled guests, mappings, cache hits."""
        ...

    def close(self) -> None:
        """Frees everything. Guests must be closed before."""
        ...
