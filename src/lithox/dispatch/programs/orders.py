"""What a program may say when it starts another: the options of the system call `run`, checked.

Trust: every option is a guest's word. Numbers of contexts are checked by the kernel when they are
handed over; limits can only be lowered.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, cast

from lithox.dispatch.programs.process import (
    MODE_COOPERATIVE,
    MODES,
    ProgramOrder,
    ProgramProcess,
)
from lithox.errors import BadArguments, NotPermitted
from lithox.model.limits import (
    PRIORITY_DEFAULT,
    PRIORITY_HIGHEST,
    PRIORITY_LOWEST,
    UNBOUNDED,
    Limits,
)
from lithox.runtimes.registry import RuntimeSpec, runtime_of

TEXT_BYTES_MAX: Final = 1 << 20
NAME_CHARACTERS_MAX: Final = 160
CONTEXTS_MAX: Final = 64
_KNOWN: Final = {"runtime", "contexts", "context", "limits", "priority", "mode", "output"}
_LIMITS: Final = {
    "fuel": "fuel",
    "memory": "memory_bytes",
    "wall_ms": "wall_ns",
    "output": "output_bytes",
    "calls": "calls",
}


def child_order(
    parent: ProgramProcess, text: bytes, name: str, options: dict[str, Any], args: bytes
) -> ProgramOrder:
    """Returns the order `parent` gives.

    Args:
        text: source of the main code; at most 1 MiB.
        options: as docs/reference/native.md says of `os.run`.

    Raises:
        BadArguments: an unknown option, or a wrong value.
        NotFound: no such runtime.
        NotPermitted: a priority above the parent's own.
    """
    for key in options:
        if key not in _KNOWN:
            raise BadArguments(
                f"run: unknown option {key[:40]!r}; known: {', '.join(sorted(_KNOWN))}"
            )
    if len(text) > TEXT_BYTES_MAX or len(name) > NAME_CHARACTERS_MAX:
        raise BadArguments(f"run: text up to {TEXT_BYTES_MAX} bytes, a name of 160 characters")
    runtime = _runtime(options.get("runtime"))
    contexts: Any = options.get("contexts") or {}
    if not isinstance(contexts, dict) or len(cast("dict[str, Any]", contexts)) > CONTEXTS_MAX:
        raise BadArguments(f"run: contexts is a table of at most {CONTEXTS_MAX} names")
    named = cast("dict[str, Any]", contexts)
    return ProgramOrder(
        name=name,
        text=text,
        engine=runtime.engine,
        preludes=runtime.preludes,
        runtime=runtime.name,
        caller=parent.caller,
        limits=limits_of(options.get("limits") or {}),
        args=args,
        priority=_priority(parent, options.get("priority")),
        mode=_mode(parent, options.get("mode")),
        parent=parent,
        context=_whole(options.get("context", 0), "context"),
        contexts={str(key): _whole(number, "a context") for key, number in named.items()},
    )


def _runtime(said: Any) -> RuntimeSpec:
    if isinstance(said, list) and len(said) == 2:  # pyright: ignore[reportUnknownArgumentType]
        name, text = cast("list[Any]", said)
        if isinstance(name, str) and isinstance(text, str | bytes):
            return _stored_runtime(name, text)
    return runtime_of(said)


@lru_cache(maxsize=256)
def _stored_runtime(name: str, text: str | bytes) -> RuntimeSpec:
    # Kept, so that the chunks of one runtime are one object, by which its memory is found.
    return runtime_of([name, text])


def _priority(parent: ProgramProcess, said: Any) -> int:
    if said is None:
        return min(PRIORITY_DEFAULT, parent.priority)
    value = _whole(said, "priority")
    if not PRIORITY_LOWEST <= value <= PRIORITY_HIGHEST:
        raise BadArguments(f"run: priority is {PRIORITY_LOWEST} to {PRIORITY_HIGHEST}")
    if value > parent.priority:
        raise NotPermitted(f"run: priority {value} is above this process's own bound")
    return value


def _mode(parent: ProgramProcess, said: Any) -> str:
    if said is None:
        return parent.mode
    if said not in MODES:
        raise BadArguments(f"run: mode is one of {', '.join(MODES)}")
    if said == MODE_COOPERATIVE and parent.mode != MODE_COOPERATIVE and not parent.caller.is_admin:
        raise NotPermitted("run: only an operator's programs may ask for cooperative mode")
    return str(said)


def _whole(value: Any, what: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise BadArguments(f"run: {what} is a whole number; found {value!r:.40}")
    return value


def limits_of(table: Any) -> Limits:
    """Returns limits in the units of guests (ms, bytes); raises BadArguments."""
    if not isinstance(table, dict):
        raise BadArguments("run: limits is a table")
    if not table:
        return UNBOUNDED
    fields: dict[str, int] = {}
    said: dict[str, Any] = table  # pyright: ignore[reportUnknownVariableType]
    for key, value in said.items():
        if key not in _LIMITS:
            raise BadArguments(f"run: unknown limit {key[:40]!r}; known: {', '.join(_LIMITS)}")
        number = _whole(value, f"limit {key}")
        if number < 0:
            raise BadArguments(f"run: limit {key} is at least 0")
        fields[_LIMITS[key]] = number * 1_000_000 if key == "wall_ms" else number
    return Limits(**fields)
