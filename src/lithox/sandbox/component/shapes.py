"""How are the types of a component's functions written, compared and read from wasmtime?

A shape is a type in WIT's own spelling, without names of types and parameters and without spaces:
`result<option<string>,record{code:string}>`. The cases of variants, enums and flags are left out
(`variant`), since values of them come and go by their names; a resource is `own` or `borrow`.

Invariant: two functions with the same shapes exchange the same values with us, so a component whose
import has another shape than ours is refused when it is deployed, never when it runs.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final, NamedTuple

from lithox.sandbox.capi import CFunction, Library

DEPTH_MAX: Final = 12
"""Types inside types that are written out; ours and WASI's have 5."""
WIDTH_MAX: Final = 64
"""Fields of one record that are written out."""
TYPES_MAX: Final = 8192
"""Types that are written out for one component, each as often as it stands somewhere: small ones
can stand for 64 ** 12. The whole of WASI has 3,000."""
NAME_BYTES_MAX: Final = 64
"""Of the name of a field; a longer one is cut, and ours are shorter."""
TOO_DEEP: Final = "..."

_SIMPLE: Final = (
    *("bool", "s8", "s16", "s32", "s64", "u8", "u16", "u32", "u64"),
    *("f32", "f64", "char", "string"),
)
"""Kinds 0-12 of `wasmtime_component_valtype_t`."""
_LIST, _RECORD, _TUPLE, _OPTION, _RESULT = 13, 14, 15, 18, 19
_OTHER: Final = {
    16: "variant",
    17: "enum",
    20: "flags",
    21: "own",
    22: "borrow",
    23: "future",
    24: "stream",
    25: "error-context",
    26: "map",
}


class Shape(NamedTuple):
    """A type taken apart.

    Attributes:
        kind: such as `string`, `record`, `list`.
        names: of the fields of a record.
        items: what is inside; None stands for `_` in a result.
    """

    kind: str
    names: tuple[str, ...] = ()
    items: tuple[Shape | None, ...] = ()


def parse_shape(text: str) -> Shape | None:
    """Returns what `text`, which is ours, says; None for `_`."""
    shape, rest = _parse(text)
    assert not rest, text
    return shape


def _parse(text: str) -> tuple[Shape | None, str]:
    """Returns tuple of (shape, what stands behind it)."""
    end = next((at for at, letter in enumerate(text) if letter in "<>{},:"), len(text))
    kind, rest = text[:end], text[end:]
    if kind == "_":
        return None, rest
    names: list[str] = []
    items: list[Shape | None] = []
    if rest[:1] in ("<", "{"):
        closing = ">" if rest[0] == "<" else "}"
        rest = rest[1:]
        while not rest.startswith(closing):
            if closing == "}":
                name, _, rest = rest.partition(":")
                names.append(name)
            item, rest = _parse(rest)
            items.append(item)
            rest = rest.removeprefix(",")
        rest = rest[1:]
    return Shape(kind, tuple(names), tuple(items)), rest


class TooManyTypes(Exception):
    """A component's functions have more types than are written out."""


class TypeReader:
    """Reads the function types of one component out of wasmtime.

    Attributes:
        left: how many types it will still write out.
    """

    __slots__ = ("_library", "left")

    def __init__(self, library: Library) -> None:
        self._library = library
        self.left = TYPES_MAX

    def _call(self, name: str) -> CFunction:
        return self._library.by_name[f"wasmtime_component_{name}"]

    def describe_function(self, function: int) -> tuple[tuple[str, ...], str]:
        """Returns tuple of (shapes of the parameters, shape of the result or `_`).

        Args:
            function: `wasmtime_component_func_type_t*`.

        Raises:
            TooManyTypes: with all that was read before, there are more than `TYPES_MAX`.
        """
        count = self._call("func_type_param_count")(function)
        parameters: list[str] = []
        name, size = ctypes.c_uint64(0), ctypes.c_uint64(0)
        for index in range(min(count, WIDTH_MAX)):
            cell = (ctypes.c_uint64 * 2)()
            self._call("func_type_param_nth")(
                function,
                index,
                ctypes.addressof(name),
                ctypes.addressof(size),
                ctypes.addressof(cell),
            )
            parameters.append(self._take(cell, 0))
        if count > WIDTH_MAX:
            parameters.append(TOO_DEEP)
        cell = (ctypes.c_uint64 * 2)()
        has_result = self._call("func_type_result")(function, ctypes.addressof(cell))
        return tuple(parameters), self._take(cell, 0) if has_result else "_"

    def _take(self, cell: Any, depth: int) -> str:
        """Returns the shape of a `wasmtime_component_valtype_t` and frees it."""
        try:
            return self._describe(cell[0] & 0xFF, cell[1], depth)
        finally:
            self._call("valtype_delete")(ctypes.addressof(cell))

    def _describe(self, kind: int, pointer: int, depth: int) -> str:
        self.left -= 1
        if self.left < 0:
            raise TooManyTypes
        if kind < len(_SIMPLE):
            return _SIMPLE[kind]
        if kind in _OTHER:
            return _OTHER[kind]
        if depth >= DEPTH_MAX:
            return TOO_DEEP
        if kind == _LIST:
            return f"list<{self._inner('list_type_element', pointer, depth)}>"
        if kind == _OPTION:
            return f"option<{self._inner('option_type_ty', pointer, depth)}>"
        if kind == _RESULT:
            ok = self._inner("result_type_ok", pointer, depth, is_optional=True)
            err = self._inner("result_type_err", pointer, depth, is_optional=True)
            return f"result<{ok},{err}>"
        if kind == _TUPLE:
            return f"tuple<{','.join(self._items(pointer, depth))}>"
        if kind == _RECORD:
            return f"record{{{','.join(self._fields(pointer, depth))}}}"
        return TOO_DEEP

    def _inner(self, name: str, pointer: int, depth: int, *, is_optional: bool = False) -> str:
        cell = (ctypes.c_uint64 * 2)()
        there = self._call(name)(pointer, ctypes.addressof(cell))
        if is_optional and not there:
            return "_"
        return self._take(cell, depth + 1)

    def _items(self, pointer: int, depth: int) -> list[str]:
        count = self._call("tuple_type_types_count")(pointer)
        found: list[str] = []
        for index in range(min(count, WIDTH_MAX)):
            cell = (ctypes.c_uint64 * 2)()
            self._call("tuple_type_types_nth")(pointer, index, ctypes.addressof(cell))
            found.append(self._take(cell, depth + 1))
        return found if count <= WIDTH_MAX else [*found, TOO_DEEP]

    def _fields(self, pointer: int, depth: int) -> list[str]:
        count = self._call("record_type_field_count")(pointer)
        found: list[str] = []
        name, size = ctypes.c_uint64(0), ctypes.c_uint64(0)
        for index in range(min(count, WIDTH_MAX)):
            cell = (ctypes.c_uint64 * 2)()
            self._call("record_type_field_nth")(
                pointer,
                index,
                ctypes.addressof(name),
                ctypes.addressof(size),
                ctypes.addressof(cell),
            )
            length = min(size.value, NAME_BYTES_MAX)
            label = ctypes.string_at(name.value, length).decode("utf-8", "replace")
            found.append(f"{label}:{self._take(cell, depth + 1)}")
        return found if count <= WIDTH_MAX else [*found, TOO_DEEP]
