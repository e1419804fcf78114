"""A process's world made of lists: the native prelude runs in `lupa`, against these system calls.

Time is virtual: a pull or a sleep that would wait moves the clock to whatever comes next. A wait
that nothing can end raises `WouldWaitForEver`, so that no test hangs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final

from lithox.runtimes.registry import find_runtime

START_MS: Final = 1_764_000_000_123
_SET_UP: Final = """
return function(null)
  local list_mark, getmetatable = {}, getmetatable
  print, dofile, loadfile, io = nil, nil, nil, nil
  os = {time = os.time, date = os.date, clock = os.clock, difftime = os.difftime}
  if not table.pack then table.pack = function(...) return {n = select("#", ...), ...} end end
  lithox = {
    null = null,
    list = function(t) return setmetatable(t, list_mark) end,
  }
  return function(t) return getmetatable(t) == list_mark end
end
"""
_COMPILE: Final = """
return function(text, name) return assert((loadstring or load)(text, name)) end
"""

Answer = tuple[Any, ...]


class WouldWaitForEver(Exception):
    """The process waits and nothing will ever come."""


class Exited(Exception):
    """The process called `exit`: (status, values)."""


class FakeWorld:
    """One process.

    Attributes:
        now_ms: the clock.
        calls: every system call but write and time, as (name, arguments).
        output: what was written, as (stream, text).
        answers: system call name -> function of its arguments that gives (status, values...).
        names: name of a call in a context -> function of its arguments that gives
            (milliseconds until the answer, status, values...).
        input: pieces of input.
        info: what the process is told at its start.
        null: `lithox.null`.
    """

    def __init__(self, version: str = "5.4") -> None:
        module = importlib.import_module(f"lupa.lua{version.replace('.', '')}")
        self._lua: Any = module.LuaRuntime(encoding="latin-1", unpack_returned_tuples=True)
        self.version = version
        self.now_ms = START_MS
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.output: list[tuple[str, str]] = []
        self.answers: dict[str, Callable[..., Answer]] = {}
        self.names: dict[str, Callable[..., Answer]] = {}
        self.input: list[str] = []
        self.info: dict[str, Any] = {
            "pid": 7, "name": "main", "runtime": "native", "mode": "preemptive",
            "parent": 1, "contexts": {"store": 3}, "wall_ms": START_MS,
        }  # fmt: skip
        self._events: list[tuple[int, int, dict[str, Any]]] = []
        self._numbers = 0
        self._start: Any = None
        self._set_up()

    def _set_up(self) -> None:
        lua = self._lua
        self.null = lua.table_from({"is": "null"})
        self._is_list = lua.execute(_SET_UP)(self.null)
        self._compile = lua.execute(_COMPILE)
        sys = lua.table_from(
            {
                "call": self._call,
                "invoke": self._invoke,
                "pull": self._pull,
                "reply": self._reply,
                "share": lambda ctx: lua.table_from({"shared": ctx}),
                "on_start": self._on_start,
                "version": self.version,
            }
        )
        native = find_runtime("native")
        assert native is not None
        name, text = native.preludes[0]
        self._compile(text.decode("latin-1"), f"={name}")(sys)

    def run(self, text: str, *args: Any, starters: tuple[Any, ...] = ()) -> Any:
        """Runs main code; returns what it returns, tables as dict and list."""
        main = self._compile(text, "=main")
        results = self._start(
            main,
            self._lua.table_from(list(starters)),
            self._to_lua(self.info),
            *(self._to_lua(arg) for arg in args),
        )
        if isinstance(results, tuple):
            return [self.to_python(result) for result in results]
        return self.to_python(results)

    def compile(self, text: str) -> Any:
        """Returns the chunk's first value: a starter, for `run`."""
        return self._compile(text, "=chunk")()

    def printed(self, stream: str = "out") -> str:
        """Returns everything written to `stream`."""
        return "".join(text for to, text in self.output if to == stream)

    def add_event(self, type_: str, *, after_ms: int = 0, **fields: Any) -> None:
        """Lets an event come `after_ms` from now; `args` and `values` are lists."""
        self._numbers += 1
        event = {"type": type_, **fields}
        self._events.append((self.now_ms + after_ms, self._numbers, event))
        self._events.sort(key=lambda one: one[:2])

    def asked(self, name: str) -> list[tuple[Any, ...]]:
        """Returns the arguments of every system call `name`."""
        return [arguments for called, arguments in self.calls if called == name]

    # -- the system calls -------------------------------------------------------------------

    def _on_start(self, start: Any) -> None:
        self._start = start

    def _call(self, name: str, *args: Any) -> Any:
        plain = tuple(self.to_python(arg) for arg in args)
        if name == "time":
            return (0, self.now_ms)
        if name == "write" and name not in self.answers:
            self.output.append(plain)  # pyright: ignore[reportArgumentType]
            return 0
        self.calls.append((name, plain))
        if name in self.answers:
            return self._give(self.answers[name](*plain))
        if name == "exit":
            raise Exited(*plain)
        if name == "sleep":
            self.now_ms += plain[0]
        if name == "read":
            return (0, self.input.pop(0)) if self.input else (0, None)
        return 0

    def _invoke(self, name: str, *args: Any) -> Any:
        first, second, timeout, *values = (self.to_python(arg) for arg in args)
        self.calls.append((name, (first, second, timeout, values)))
        if name in self.answers:
            return self._give(self.answers[name](first, second, timeout, values))
        if name in {"call", "request"}:
            return self._make_call(name, second, timeout, values)
        return (0, True)

    def _make_call(self, kind: str, name: str, timeout: int | None, values: list[Any]) -> Any:
        perform = self.names.get(name)
        if perform is None:
            return (53, "context.no_such_name", f"no call {name}")
        delay_ms, status, *answer = perform(*values)
        if timeout is not None and delay_ms > timeout:
            delay_ms, status, answer = timeout, 18, ["request.deadline_passed", "too late"]
        if kind == "request":
            self.now_ms += delay_ms
            return self._give((status, *answer))
        self._numbers += 1
        cid = self._numbers
        self.add_event("answer", after_ms=delay_ms, cid=cid, status=status, args=answer)
        return (0, cid)

    def _pull(self, timeout: int | None = None) -> Any:
        self.calls.append(("pull", (timeout,)))
        end_ms = None if timeout is None else self.now_ms + timeout
        if self._events and (end_ms is None or self._events[0][0] <= end_ms):
            at_ms, _, event = self._events.pop(0)
            self.now_ms = max(self.now_ms, at_ms)
            return self._to_event(event)
        if end_ms is None:
            raise WouldWaitForEver
        self.now_ms = end_ms
        return None

    def _reply(self, cid: int, status: int, timeout: int | None, *values: Any) -> Any:
        answered = self._invoke("answer", cid, status, None, *values)
        if answered[0] != 0:
            return (None, *answered)
        return self._pull(timeout)

    # -- values -----------------------------------------------------------------------------

    def _give(self, values: Answer) -> Any:
        return tuple(self._to_lua(value) for value in values)

    def _to_event(self, event: dict[str, Any]) -> Any:
        table = {key: self._to_lua(value) for key, value in event.items()}
        for field in ("args", "values"):
            if field in event:
                items = {i: self._to_lua(v) for i, v in enumerate(event[field], 1)}
                table[field] = self._lua.table_from(
                    {"n": len(event[field]), **{i: v for i, v in items.items() if v is not None}}
                )
        return self._lua.table_from(table)

    def _to_lua(self, value: Any) -> Any:
        if isinstance(value, dict):
            plain: dict[Any, Any] = value
            return self._lua.table_from({key: self._to_lua(one) for key, one in plain.items()})
        if isinstance(value, list):
            items: list[Any] = value
            return self._lua.table_from([self._to_lua(one) for one in items])
        return value

    def to_python(self, value: Any) -> Any:
        """Returns `value`, tables as list (keys 1..n, or marked), else dict; null as "null"."""
        if not hasattr(value, "items") or isinstance(value, str):
            return value
        fields = dict(value.items())
        if fields.get("is") == "null":
            return "null"
        plain = {key: self.to_python(one) for key, one in fields.items()}
        if not plain:
            return [] if self._is_list(value) else {}
        if sorted(map(str, plain)) == sorted(str(i) for i in range(1, len(plain) + 1)):
            return [plain[i] for i in range(1, len(plain) + 1)]
        return plain
