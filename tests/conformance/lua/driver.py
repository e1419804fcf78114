"""Runs the Lua guest on its own: no sandbox, no fibres, a host that is a few dictionaries.

It speaks the ABI of `guests/lua/README.md` through the wasmtime package, so the guest is tested
apart from the sandbox that holds it in earnest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import wasmtime

from guests import build
from lithox.sandbox import messages

FUEL: Final = 20_000_000_000
MEMORY_BYTES: Final = 64 << 20
NOW_MS: Final = 1_764_000_000_123
_decode: Final = msgspec.msgpack.decode
_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode


class LoadError(Exception):
    """The module did not load: `message`, `line`, `traceback`."""

    def __init__(self, message: str, line: int | None, traceback: str) -> None:
        super().__init__(message)
        self.message, self.line, self.traceback = message, line, traceback


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a run came to; `error` is None when the handler returned."""

    value: Any = None
    error: messages.ErrorMessage | None = None
    reads: list[str]
    scans: list[messages.Used]
    writes: dict[str, Any]
    writes_raw: dict[str, bytes]


@dataclass(slots=True, kw_only=True)
class Host:
    """The other end of the system call: answers from `state` and keeps what it was asked."""

    state: dict[str, Any] = field(default_factory=dict)
    calls: list[list[Any]] = field(default_factory=list)
    log: list[tuple[str, str, Any]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    """Answers to other calls by name: bytes of a message, or a function of the arguments."""
    page_rows: int = 3

    def answer(self, message: bytes) -> bytes:
        """Returns the answer to one system call."""
        context, name, *arguments = _decode(message)
        assert context == messages.CONTEXT_SELF
        self.calls.append([name, *arguments])
        if name in self.answers:
            answer = self.answers[name]
            return answer(*arguments) if callable(answer) else answer
        if name == "get":
            return _encode([0, self.state.get(arguments[0])])
        if name == "scan":
            prefix, *rest = arguments
            return self._page(lambda key: key.startswith(prefix), *rest)
        if name == "range":
            start, end, *rest = arguments
            return self._page(
                lambda key: start.encode() <= key.encode() and (not end or key < end), *rest
            )
        if name == "log":
            self.log.append((arguments[0], arguments[1], arguments[2]))
            return _encode([0])
        if name == "usage":
            return _encode([0, {"used": {"fuel": 4_000_000_000}, "allowed": {"fuel": 1 << 40}}])
        return messages.encode_refusal(21, "request.not_available", f"no {name} here", {})

    def _page(
        self,
        is_inside: Callable[[str], bool],
        after: str | None,
        limit: int,
        writes: dict[str, Any],
    ) -> bytes:
        merged = {**self.state, **writes}
        keys = sorted((k for k, v in merged.items() if v is not None), key=str.encode)
        keys = [k for k in keys if is_inside(k)]
        keys = [k for k in keys if after is None or k.encode() > after.encode()]
        page = keys[: min(limit, self.page_rows)]
        return _encode([0, [[k, merged[k]] for k in page], len(page) < len(keys)])


class _Engine:
    """One compiled module for all tests of a process."""

    made: _Engine | None = None

    def __init__(self) -> None:
        config = wasmtime.Config()
        config.wasm_exceptions = True
        config.consume_fuel = True
        config.max_wasm_stack = 512 << 10
        config.cache = True
        self.engine = wasmtime.Engine(config)
        self.module = wasmtime.Module.from_file(
            self.engine, str(build.build_guest(build.HANDLERS, lambda _: None))
        )

    @classmethod
    def get(cls) -> _Engine:
        """Returns the engine, made on first use."""
        if cls.made is None:
            cls.made = cls()
        return cls.made


class LuaGuest:
    """One guest: boot, load once, then any number of runs from the same memory image."""

    def __init__(self, host: Host | None = None, *, memory_bytes: int = MEMORY_BYTES) -> None:
        made = _Engine.get()
        self.host = host or Host()
        self.store = wasmtime.Store(made.engine)
        self.store.set_limits(memory_size=memory_bytes)
        self.store.set_fuel(FUEL)
        i32 = wasmtime.ValType.i32()
        kind = wasmtime.FuncType([i32] * 4, [i32])
        call = wasmtime.Func(self.store, kind, self._syscall)
        self.exports = wasmtime.Instance(self.store, made.module, [call]).exports(self.store)
        self.memory: Any = self.exports["memory"]
        self._kept = b""
        self.image = b""
        self.fuel_used = 0
        self._call("_initialize")
        assert self._call("lx_boot") == 0

    def _call(self, name: str, *arguments: int) -> Any:
        function: Any = self.exports[name]
        return function(self.store, *arguments)

    def _syscall(self, at: int, length: int, out: int, cap: int) -> int:
        out &= 0xFFFFFFFF
        if length == 0:
            answer, self._kept = self._kept, b""
        else:
            at &= 0xFFFFFFFF
            answer = self.host.answer(bytes(self.memory.read(self.store, at, at + length)))
        if len(answer) > cap:
            self._kept = answer
            return -len(answer)
        self.memory.write(self.store, answer, out)
        return len(answer)

    def _exchange(self, name: str, message: bytes) -> bytes:
        at = self._call("lx_reserve", len(message)) & 0xFFFFFFFF
        assert at
        self.memory.write(self.store, message, at)
        result = self._call(name, len(message)) & 0xFFFFFFFFFFFFFFFF
        start, length = result >> 32, result & 0xFFFFFFFF
        return bytes(self.memory.read(self.store, start, start + length))

    def load(self, source: str | bytes, name: str = "test.lua") -> list[str]:
        """Loads a module and takes the image; returns its handlers' names, or raises LoadError."""
        text = source.encode() if isinstance(source, str) else source
        status, *rest = _decode(self._exchange("lx_load", _encode([name, text])))
        if status != 0:
            raise LoadError(*rest)
        self.image = bytes(self.memory.read(self.store, 0, self.memory.data_len(self.store)))
        return rest[0]

    def run(  # noqa: PLR0913 - one argument per field of the message that tests vary
        self,
        handler: str,
        *args: Any,
        state: dict[str, Any] | None = None,
        complete: bool = False,
        request_id: str | None = None,
        seed: int = 1,
        fuel: int = FUEL,
    ) -> Outcome:
        """Restores the image and runs a handler; `state` is what is sent along of it."""
        self.memory.write(self.store, self.image, 0)
        self.store.set_fuel(fuel)
        message = _encode(
            [handler, args, "test/a", "user/b", request_id, 1, NOW_MS, seed, state or {}, complete]
        )
        data = self._exchange("lx_run", message)
        self.fuel_used = fuel - self.store.get_fuel()
        outcome = messages.decode_outcome(data)
        raw = {key: bytes(value) for key, value in outcome.writes.items()}
        writes = {key: _decode(value) for key, value in raw.items()}
        result = Outcome(reads=outcome.reads, scans=outcome.scans, writes=writes, writes_raw=raw)
        if outcome.kind == messages.OUTCOME_RAISED:
            result.error = messages.decode_error(outcome.body)
        else:
            result.value = _decode(outcome.body)
        return result


def run_source(body: str, *args: Any, host: Host | None = None, **settings: Any) -> Outcome:
    """Runs `body` as the only handler of a module: `return {f = function(self, ...) BODY end}`."""
    guest = LuaGuest(host)
    guest.load(f"local M = {{}}\nfunction M.f(self, ...)\n{body}\nend\nreturn M")
    return guest.run("f", *args, **settings)
