"""What does a component see of WASI 0.2?

A world of its own, of which nothing is real: the environment is empty, standard input is at its
end, what is printed goes to the log, randomness comes from the run's seed, the clock begins at the
run's start and moves only when the run sleeps (no time passes then), no directory is open, and
every socket is refused. What is not answered here traps when it is called, with its name; compilers
link far more of WASI than programs use.

Every answer is ours; wasmtime's own WASI is never linked. Versions 0.2.x all have these shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from lithox.sandbox.component.ended import Ended
from lithox.sandbox.component.host import Ask, make_log
from lithox.sandbox.component.run import HANDLES_MAX, LINE_BYTES_MAX, Run
from lithox.sandbox.component.values import LIST_BYTES_MAX, Resource
from lithox.sandbox.meters import CODE_PROTOCOL, CODE_TRAPPED

WRITE_BYTES_MAX: Final = 4096
"""How much one write may bring; WASI's own bound for `blocking-write-and-flush`."""
DUE_NS_MAX: Final = (1 << 62) - 1
"""The end of time: about the year 2116."""
STDIN, STDOUT, STDERR = 0, 1, 2
RESOURCES: Final = {
    name: number
    for number, name in enumerate(
        (
            *("pollable", "error", "input-stream", "output-stream", "descriptor"),
            *("directory-entry-stream", "terminal-input", "terminal-output", "network"),
            *("tcp-socket", "udp-socket", "incoming-datagram-stream", "outgoing-datagram-stream"),
            "resolve-address-stream",
        ),
        start=1,
    )
}
"""Resource -> number of its type; a name stands for one type in all of WASI."""
RESOURCE_OTHER: Final = 99
"""All other resources: none of them is ever made."""

Answer = Callable[[Run, list[Any]], Any]


def _handle(run: Run, kind: str, rep: int) -> Callable[[], int]:
    """Returns what makes a handle for the guest to own."""
    run.handles += 1
    if run.handles > HANDLES_MAX:
        raise Ended(CODE_PROTOCOL, f"it holds more than {HANDLES_MAX} handles at a time")
    assert run.open_handle is not None
    return partial(run.open_handle, rep, RESOURCES[kind])


def _rep(value: Any, kind: str) -> int:
    if not isinstance(value, Resource) or value.type_id != RESOURCES[kind]:
        raise Ended(CODE_PROTOCOL, f"a {kind} was expected; found another thing")
    return value.rep


def _fixed(value: Any) -> Answer:
    """Returns an answer that is always the same."""
    return lambda _run, _arguments: value


def _stream(kind: str, rep: int) -> Answer:
    return lambda run, _arguments: _handle(run, kind, rep)


def _subscribe(run: Run, _arguments: list[Any]) -> Any:
    return _handle(run, "pollable", run.add_pollable(0))


def _subscribe_instant(run: Run, arguments: list[Any]) -> Any:
    return _handle(run, "pollable", run.add_pollable(min(arguments[0], DUE_NS_MAX)))


def _subscribe_duration(run: Run, arguments: list[Any]) -> Any:
    due_ns = min(run.now_ns + arguments[0], DUE_NS_MAX)
    return _handle(run, "pollable", run.add_pollable(due_ns))


def _due_ns(run: Run, value: Any) -> int:
    return run.pollables.get(_rep(value, "pollable"), 0)


def _ready(run: Run, arguments: list[Any]) -> bool:
    return _due_ns(run, arguments[0]) <= run.now_ns


def _block(run: Run, arguments: list[Any]) -> None:
    run.sleep_until(_due_ns(run, arguments[0]))


def _poll(run: Run, arguments: list[Any]) -> list[int]:
    dues = [_due_ns(run, value) for value in arguments[0]]
    if not dues:
        raise Ended(CODE_TRAPPED, "it waits for nothing, which would never end")
    run.sleep_until(min(dues))
    return [index for index, due_ns in enumerate(dues) if due_ns <= run.now_ns]


def _write(run: Run, arguments: list[Any]) -> Any:
    rep, data = _rep(arguments[0], "output-stream"), bytes(arguments[1])
    if len(data) > WRITE_BYTES_MAX:
        raise Ended(CODE_TRAPPED, f"a write of {len(data)} bytes; {WRITE_BYTES_MAX} are allowed")
    text = run.lines.pop(rep, b"") + data
    end = text.rfind(b"\n") + 1
    if not end and len(text) > LINE_BYTES_MAX:
        end = len(text)
    if end < len(text):
        run.lines[rep] = text[end:]
    if not end or run.is_loading:
        return True, None
    return _print(rep, text[:end])


def take_rest(run: Run) -> Ask | None:
    """Returns the system call that logs a line without an end, None when none is left."""
    for rep in (STDOUT, STDERR):
        text = run.lines.pop(rep, b"")
        if text and not run.is_loading:
            return _print(rep, text)
    return None


def _print(rep: int, text: bytes) -> Ask:
    """Returns the system call that logs what was printed; its reply is a good result."""
    level = "warning" if rep == STDERR else "info"
    return make_log(level, text.rstrip(b"\n").decode("utf-8", "replace"), None)


def _random_bytes(run: Run, arguments: list[Any]) -> bytes:
    if arguments[0] > LIST_BYTES_MAX:
        raise Ended(
            CODE_PROTOCOL, f"{arguments[0]} random bytes; at most {LIST_BYTES_MAX} are given"
        )
    return run.random.randbytes(arguments[0])


def _random_u64(run: Run, _arguments: list[Any]) -> int:
    return run.random.getrandbits(64)


def _random_pair(run: Run, _arguments: list[Any]) -> tuple[int, int]:
    return run.random.getrandbits(64), run.random.getrandbits(64)


def _monotonic(run: Run, _arguments: list[Any]) -> int:
    return run.now_ns


def _wall(run: Run, _arguments: list[Any]) -> tuple[int, int]:
    return divmod(run.now_ns, 1_000_000_000)


def _exit(_run: Run, _arguments: list[Any]) -> Any:
    raise Ended(CODE_TRAPPED, "the component has ended itself: exit")


def refuse(name: str) -> Answer:
    """Returns the answer of a function that is not there."""

    def refuse_call(_run: Run, _arguments: list[Any]) -> Any:
        raise Ended(CODE_TRAPPED, f"{name} is not available to handlers")

    return refuse_call


_CLOSED: Final = (False, b"closed")
_OK: Final = (True, None)
_DATETIME: Final = "record{seconds:u64,nanoseconds:u32}"
_DENIED: Final = (False, b"access-denied")
_READ: Final = (("borrow", "u64"), "result<list<u8>,variant>", _fixed(_CLOSED))
_SKIP: Final = (("borrow", "u64"), "result<u64,variant>", _fixed(_CLOSED))
_FLUSH: Final = (("borrow",), "result<_,variant>", _fixed(_OK))
_WRITE: Final = (("borrow", "list<u8>"), "result<_,variant>", _write)
_BYTES: Final = (("u64",), "list<u8>", _random_bytes)
_U64: Final = ((), "u64", _random_u64)
_NO_TERMINAL: Final = ((), "option<own>", _fixed(None))

FUNCTIONS: Final[dict[str, tuple[tuple[str, ...], str, Answer]]] = {
    "cli/environment#get-environment": ((), "list<tuple<string,string>>", _fixed(())),
    "cli/environment#get-arguments": ((), "list<string>", _fixed(())),
    "cli/environment#initial-cwd": ((), "option<string>", _fixed(None)),
    "cli/exit#exit": (("result<_,_>",), "_", _exit),
    "cli/exit#exit-with-code": (("u8",), "_", _exit),
    "cli/stdin#get-stdin": ((), "own", _stream("input-stream", STDIN)),
    "cli/stdout#get-stdout": ((), "own", _stream("output-stream", STDOUT)),
    "cli/stderr#get-stderr": ((), "own", _stream("output-stream", STDERR)),
    "cli/terminal-stdin#get-terminal-stdin": _NO_TERMINAL,
    "cli/terminal-stdout#get-terminal-stdout": _NO_TERMINAL,
    "cli/terminal-stderr#get-terminal-stderr": _NO_TERMINAL,
    "io/error#[method]error.to-debug-string": (("borrow",), "string", _fixed(b"error")),
    "io/poll#[method]pollable.ready": (("borrow",), "bool", _ready),
    "io/poll#[method]pollable.block": (("borrow",), "_", _block),
    "io/poll#poll": (("list<borrow>",), "list<u32>", _poll),
    "io/streams#[method]input-stream.read": _READ,
    "io/streams#[method]input-stream.blocking-read": _READ,
    "io/streams#[method]input-stream.skip": _SKIP,
    "io/streams#[method]input-stream.blocking-skip": _SKIP,
    "io/streams#[method]input-stream.subscribe": (("borrow",), "own", _subscribe),
    "io/streams#[method]output-stream.check-write": (
        ("borrow",),
        "result<u64,variant>",
        _fixed((True, WRITE_BYTES_MAX)),
    ),
    "io/streams#[method]output-stream.write": _WRITE,
    "io/streams#[method]output-stream.blocking-write-and-flush": _WRITE,
    "io/streams#[method]output-stream.flush": _FLUSH,
    "io/streams#[method]output-stream.blocking-flush": _FLUSH,
    "io/streams#[method]output-stream.subscribe": (("borrow",), "own", _subscribe),
    "clocks/monotonic-clock#now": ((), "u64", _monotonic),
    "clocks/monotonic-clock#resolution": ((), "u64", _fixed(1)),
    "clocks/monotonic-clock#subscribe-instant": (("u64",), "own", _subscribe_instant),
    "clocks/monotonic-clock#subscribe-duration": (("u64",), "own", _subscribe_duration),
    "clocks/wall-clock#now": ((), _DATETIME, _wall),
    "clocks/wall-clock#resolution": ((), _DATETIME, _fixed((0, 1))),
    "random/random#get-random-bytes": _BYTES,
    "random/random#get-random-u64": _U64,
    "random/insecure#get-insecure-random-bytes": _BYTES,
    "random/insecure#get-insecure-random-u64": _U64,
    "random/insecure-seed#insecure-seed": ((), "tuple<u64,u64>", _random_pair),
    "filesystem/preopens#get-directories": ((), "list<tuple<own,string>>", _fixed(())),
    "filesystem/types#filesystem-error-code": (("borrow",), "option<enum>", _fixed(None)),
    "sockets/instance-network#instance-network": ((), "own", _stream("network", 0)),
    "sockets/tcp-create-socket#create-tcp-socket": (
        ("enum",),
        "result<own,enum>",
        _fixed(_DENIED),
    ),
    "sockets/udp-create-socket#create-udp-socket": (
        ("enum",),
        "result<own,enum>",
        _fixed(_DENIED),
    ),
    "sockets/ip-name-lookup#resolve-addresses": (
        ("borrow", "string"),
        "result<own,enum>",
        _fixed(_DENIED),
    ),
}
"""`package/interface#function` -> (shapes of its parameters, of its result, what answers it)."""
