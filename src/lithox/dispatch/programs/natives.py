"""What a context of the node itself answers: grants, and the table of native calls.

A native context carries a `Grant`: which names may be called through it, as whom, and with which
terminal. `context.derive` makes a smaller one; nothing makes a larger one. The table says of each
call what it takes and gives, and docs/reference/native.md is made from it. Calls about the store
and the node are registered by the node room; those here need nothing but dispatch.

Trust: name, arguments and numbers come from a guest; the grant does not.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from lithox.dispatch.programs.process import ProgramProcess, Terminal
from lithox.errors import BadArguments, NoSuchName, NotPermitted
from lithox.model.request import Caller
from lithox.model.values import decode_value
from lithox.sandbox.messages import EXT_CONTEXT

NAMES_MAX: Final = 256
NAME_BYTES_MAX: Final = 128
WRITE_BYTES_MAX: Final = 64 << 10
"""Of one write to a terminal; the runtime cuts longer ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a native context may.

    Attributes:
        names: exact names, and patterns that end in `*`.
        caller: as whom calls act that need somebody (entities, stores, audit).
        terminal: where `write` through it goes, for contexts given as `output`; else None.
        is_boot_only: libraries that the package has come from there, whatever the store has.
    """

    names: tuple[str, ...]
    caller: Caller
    terminal: Terminal | None = None
    is_boot_only: bool = False

    def allows(self, name: str) -> bool:
        """Returns whether `name` may be called."""
        return is_named(self.names, name)


def is_named(names: Iterable[str], name: str) -> bool:
    """Returns whether `name` is one of `names`, or begins as one that ends in `*` does."""
    return any(one == name or (one[-1:] == "*" and name.startswith(one[:-1])) for one in names)


@dataclass(slots=True, kw_only=True)
class NativeCall:
    """One call through a native context."""

    frame: ProgramProcess
    grant: Grant
    name: str
    args: list[Any]

    def text(self, index: int, what: str) -> str:
        """Returns argument `index` (from 0), which must be text."""
        value = self.args[index] if index < len(self.args) else None
        if not isinstance(value, str):
            raise BadArguments(f"{self.name}: {what} is text; found {value!r:.80}")
        return value

    def option(self, index: int, default: Any = None) -> Any:
        """Returns argument `index` or `default` when it is nil or missing."""
        value = self.args[index] if index < len(self.args) else None
        return default if value is None else value

    def number(self, index: int, what: str, default: int | None = None) -> int:
        """Returns argument `index`, which must be a whole number."""
        value = self.option(index, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int:
            raise BadArguments(f"{self.name}: {what} is a whole number; found {value!r:.80}")
        return value


@dataclass(frozen=True, slots=True)
class Given:
    """Stands among the values of an answer for a new native context with `grant`."""

    grant: Grant


Values = list[Any]
Perform = Callable[[NativeCall], "Values | Future[Values]"]
"""Performs a call at once, or promises to. Raises LithoxError to refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeEntry:
    """One row of the table.

    Attributes:
        name: what is called, such as `program.get`.
        arguments: as documented, such as `name[, version]`.
        values: what is answered, such as `text, info`.
        waits: whether the answer may take its time (a commit, another run).
        doc: one or two sentences.
    """

    name: str
    arguments: str
    values: str
    waits: bool
    doc: str
    perform: Perform


class Natives:
    """The table of native calls of one node."""

    def __init__(self) -> None:
        self.entries: dict[str, NativeEntry] = {}
        self.add(
            NativeEntry(
                name="context.derive",
                arguments="names[, options]",
                values="context",
                waits=False,
                doc="Makes a context that answers only those of `names` (patterns may end in `*`) "
                "which this one answers. `options.identity` renames who acts, for operators.",
                perform=_derive,
            )
        )

    def add(self, entry: NativeEntry) -> None:
        """Registers a call."""
        self.entries[entry.name] = entry

    def perform(self, call: NativeCall) -> Values | Future[Values]:
        """Performs a call.

        Raises:
            NoSuchName: there is no such call, or the grant does not reach it: a guest is not told
                which of the two.
        """
        if call.grant.terminal is not None and call.name == "write":
            return _write(call)
        entry = self.entries.get(call.name)
        if entry is None or not call.grant.allows(call.name):
            raise NoSuchName(f"this context answers no call {call.name[:80]!r}")
        return entry.perform(call)


def _write(call: NativeCall) -> Values:
    terminal = call.grant.terminal
    assert terminal is not None
    value = call.option(0, "")
    if not isinstance(value, str | bytes):
        raise BadArguments(f"write: a string is wanted; found {value!r:.40}")
    data = value.encode() if isinstance(value, str) else value
    if len(data) > WRITE_BYTES_MAX:
        raise BadArguments(f"write takes at most {WRITE_BYTES_MAX} bytes; found {len(data)}")
    return [terminal.write(call.frame, "out", data)]


def _derive(call: NativeCall) -> Values:
    names = call.option(0)
    if not isinstance(names, list) or len(names) > NAMES_MAX:  # pyright: ignore[reportUnknownArgumentType]
        raise BadArguments(f"context.derive: names is a list of at most {NAMES_MAX} names")
    kept: dict[str, None] = {}
    for name in names:  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(name, str) or not 1 <= len(name) <= NAME_BYTES_MAX:
            raise BadArguments(f"context.derive: a name is 1-{NAME_BYTES_MAX} characters of text")
        kept.update(dict.fromkeys(_narrowed(call.grant.names, name)))
    if len(kept) > NAMES_MAX:
        raise BadArguments(f"context.derive: what is left are more than {NAMES_MAX} names")
    options: dict[str, Any] = call.option(1, {})
    caller = call.grant.caller
    if not isinstance(options, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise BadArguments("context.derive: options is a table")
    identity = options.get("identity")
    if identity is not None:
        if not caller.is_admin:
            raise NotPermitted("only an operator's context may act as somebody else")
        caller = replace(caller, identity=str(identity)[:64], is_admin=False)
    return [Given(Grant(names=tuple(kept), caller=caller))]


def _narrowed(allowed: tuple[str, ...], wanted: str) -> list[str]:
    """Returns what of `wanted` lies inside `allowed`: never more than either."""
    if not wanted.endswith("*"):
        return [wanted] if is_named(allowed, wanted) else []
    prefix = wanted[:-1]
    found: list[str] = []
    for one in allowed:
        if one.endswith("*") and prefix.startswith(one[:-1]):
            return [wanted]
        if one.rstrip("*").startswith(prefix):
            found.append(one)
    return found


_decode_args: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])


def decode_args(data: bytes) -> list[Any]:
    """Returns the plain arguments in an encoded array; raises BadArguments for others."""
    return [decode_value(bytes(raw)) for raw in _decode_args.decode(data)]


def encode_values(values: Values) -> tuple[bytes, list[Grant]]:
    """Returns tuple of (encoded array, grants of the contexts that travel with it)."""
    grants: list[Grant] = []
    plain: list[Any] = []
    for value in values:
        if isinstance(value, Given):
            plain.append(msgspec.msgpack.Ext(EXT_CONTEXT, len(grants).to_bytes(4)))
            grants.append(value.grant)
        else:
            plain.append(value)
    return msgspec.msgpack.encode(plain), grants
