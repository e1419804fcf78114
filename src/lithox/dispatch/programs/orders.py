"""What a program may say when it starts another: the options of the system call `run`, checked.

Trust: every option is a guest's word. Numbers of contexts are checked by the kernel when they are
handed over; limits can only be lowered.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final, cast

from lithox.dispatch.programs.process import (
    MODE_COOPERATIVE,
    MODES,
    ProgramOrder,
    ProgramProcess,
)
from lithox.errors import BadArguments, NotPermitted
from lithox.model.ids import AccountName
from lithox.model.limits import (
    PRIORITY_DEFAULT,
    PRIORITY_HIGHEST,
    PRIORITY_LOWEST,
    UNBOUNDED,
    Limits,
)
from lithox.model.request import Caller
from lithox.runtimes.registry import runtime_of

TEXT_BYTES_MAX: Final = 1 << 20
NAME_CHARACTERS_MAX: Final = 160
CONTEXTS_MAX: Final = 64
_KNOWN: Final = {
    "runtime",
    "contexts",
    "context",
    "limits",
    "priority",
    "mode",
    "output",
    "account",
}
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_.~@:-]{1,128}\Z")
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
    if len(text) > TEXT_BYTES_MAX:
        raise BadArguments(f"run: a program has at most {TEXT_BYTES_MAX} bytes; found {len(text)}")
    check_process_name(name)
    runtime = runtime_of(options.get("runtime"))
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
        caller=_caller(parent, options.get("account")),
        limits=limits_of(options.get("limits") or {}),
        args=args,
        priority=_priority(parent, options.get("priority")),
        mode=_mode(parent, options.get("mode")),
        parent=parent,
        context=whole_number(options.get("context", 0), "context"),
        contexts={str(key): whole_number(number, "a context") for key, number in named.items()},
    )


def check_process_name(name: str) -> str:
    """Returns `name`, which people will read in logs and tables.

    Raises:
        BadArguments: not 1 to 160 characters that can be printed.
    """
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
        raise BadArguments(
            f"a process's name has 1 to {NAME_CHARACTERS_MAX} printable characters; "
            f"found {name!r:.80}"
        )
    return name


def _caller(parent: ProgramProcess, account: Any) -> Caller:
    """Returns as whom, and on whose account, a child runs.

    Only the first process names accounts: it starts each service, and what people run, on one of
    its own, so that none uses up what another needs. Nobody it starts is an administrator; what a
    program may do is what its contexts answer.
    """
    if account is None:
        return replace(parent.caller, is_admin=False) if parent.caller.is_admin else parent.caller
    if parent.parent is not None:
        raise NotPermitted("run: only the first process names accounts")
    if not isinstance(account, str) or _ACCOUNT.match(account) is None:
        raise BadArguments(f"run: an account is 1-128 of [A-Za-z0-9_.~@:-]; found {account!r:.80}")
    return replace(parent.caller, account=AccountName(account), is_admin=False)


def _priority(parent: ProgramProcess, said: Any) -> int:
    if said is None:
        return min(PRIORITY_DEFAULT, parent.priority)
    value = whole_number(said, "priority")
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


def whole_number(value: Any, what: str) -> int:
    """Returns a whole number; raises BadArguments for anything else."""
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
        number = whole_number(value, f"limit {key}")
        if number < 0:
            raise BadArguments(f"run: limit {key} is at least 0")
        fields[_LIMITS[key]] = number * 1_000_000 if key == "wall_ms" else number
    return Limits(**fields)
