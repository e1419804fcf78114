"""How do values cross between us and wasmtime's component calls?

A `wasmtime_component_val_t` is 32 bytes: its kind in byte 0, the value from byte 8 on:

    number     the value itself                     string, enum   size, address
    list, tuple, record, flags   size, address      option         address of a value, or 0
    result     is ok (byte), address or 0           variant        size, address of the name; value
    resource   address of a `wasmtime_component_resource_any_t`

What is inside belongs to wasmtime's allocator and is made by its functions; `compile_writer` turns
a shape into a function that does so. What a guest sends is copied by `read_values` while the guest
waits in its call, within bounds, and nothing of it is believed: each kind is looked at.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from lithox.sandbox.capi import Library
from lithox.sandbox.component.shapes import Shape
from lithox.sandbox.meters import REQUEST_BYTES_MAX

VAL_BYTES: Final = 32
ENTRY_BYTES: Final = 48
"""A record's entry: a name (size, address), then a value."""
LIST_BYTES_MAX: Final = 64 << 10
"""Bytes of one `list<u8>` that is read or written: each is a value of its own to wasmtime, 32 bytes
long, and costs 60 ns on its way."""
LIST_ITEMS_MAX: Final = 1024
"""Items of any other list that is read."""
DEPTH_MAX: Final = 8

_KINDS: Final = {
    "bool": 0,
    "s8": 1,
    "u8": 2,
    "s16": 3,
    "u16": 4,
    "s32": 5,
    "u32": 6,
    "s64": 7,
    "u64": 8,
    "string": 12,
    "list": 13,
    "record": 14,
    "tuple": 15,
    "variant": 16,
    "enum": 17,
    "option": 18,
    "result": 19,
    "resource": 21,
}
_U8: Final = _KINDS["u8"]
_NUMBERS: Final = {0: "?", 1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "q", 8: "Q"}
_UNPACK: Final = {kind: struct.Struct(f"<8x{code}") for kind, code in _NUMBERS.items()}
_PAIR: Final = struct.Struct("<B7xQQQ")
_WORDS: Final = struct.Struct("<QQ")
KIND_STRING: Final = _KINDS["string"]
_STRING, _ENUM, _LIST, _RECORD, _TUPLE = KIND_STRING, 17, 13, 14, 15
_VARIANT, _OPTION, _RESULT, _RESOURCE = 16, 18, 19, 21
_STRING_HEAD: Final = _STRING.to_bytes(8, "little")
_Room: Final = ctypes.c_uint64 * (VAL_BYTES // 8)

Writer = Callable[[int, Any], None]
"""Writes (value) as a `wasmtime_component_val_t` to (address); what was there is not freed."""


class TooLarge(Exception):
    """A guest sent more than is read in one call."""


class Resource(NamedTuple):
    """A handle to something of ours, as a guest sent it.

    Attributes:
        rep: the number we gave it.
        type_id: the number of its type.
    """

    rep: int
    type_id: int


class Values:
    """Reads and writes values with the functions of one library."""

    __slots__ = ("_by_name", "_library", "_memmove", "_new_bytes", "_new_value", "_rooms")

    def __init__(self, library: Library) -> None:
        self._library = library
        self._memmove = library.memmove
        self._by_name = library.by_name
        self._new_bytes = library.by_name["wasm_byte_vec_new"]
        self._rooms: list[ctypes.Array[ctypes.c_uint64]] = []
        self._new_value = library.by_name["wasmtime_component_val_new"]

    # Reading.

    def read_all(
        self, context: int, address: int, count: int, *, bytes_max: int = REQUEST_BYTES_MAX
    ) -> list[Any]:
        """Returns the values of an array that a guest sent.

        Text comes as bytes (valid UTF-8, as wasmtime has checked), a `list<u8>` as bytes, a record
        as dict, a variant as (name, value), an option as the value or None, a result as (is ok,
        value), a handle as `Resource`.

        Raises:
            TooLarge: more than `bytes_max` bytes, or another bound of this module.
        """
        raw = ctypes.string_at(address, VAL_BYTES * count)
        budget = [bytes_max]
        found: list[Any] = []
        for at in range(0, VAL_BYTES * count, VAL_BYTES):
            if raw[at] == _STRING:
                # Most arguments are text; this way each costs a third.
                size, text = _WORDS.unpack_from(raw, at + 8)
                budget[0] -= size
                if budget[0] < 0:
                    raise TooLarge
                found.append(ctypes.string_at(text, size) if size else b"")
            else:
                found.append(self._read(context, address + at, budget, 0))
        return found

    def _read(self, context: int, address: int, budget: list[int], depth: int) -> Any:
        raw = ctypes.string_at(address, VAL_BYTES)
        kind = raw[0]
        if kind in (_STRING, _ENUM):
            return self._read_text(raw, budget)
        if kind in _UNPACK:
            return _UNPACK[kind].unpack_from(raw)[0]
        if depth >= DEPTH_MAX:
            raise TooLarge
        _, first, second, third = _PAIR.unpack(raw)
        if kind == _OPTION:
            return self._read_inner(context, first, budget, depth)
        if kind == _RESULT:
            return bool(first & 1), self._read_inner(context, second, budget, depth)
        if kind == _VARIANT:
            return (
                self._read_text(raw, budget).decode(),
                self._read_inner(context, third, budget, depth),
            )
        if kind in (_LIST, _TUPLE):
            return self._read_list(context, (first, second), budget, depth)
        if kind == _RECORD:
            return self._read_record(context, (first, second), budget, depth)
        if kind == _RESOURCE:
            return self._read_resource(context, first)
        raise TooLarge

    def _read_inner(self, context: int, address: int, budget: list[int], depth: int) -> Any:
        return self._read(context, address, budget, depth + 1) if address else None

    @staticmethod
    def _read_text(raw: bytes, budget: list[int]) -> bytes:
        _, size, address, _ = _PAIR.unpack(raw)
        budget[0] -= size
        if budget[0] < 0:
            raise TooLarge
        return ctypes.string_at(address, size) if size else b""

    def _read_list(
        self, context: int, where: tuple[int, int], budget: list[int], depth: int
    ) -> list[Any] | bytes:
        count, address = where
        budget[0] -= count
        if budget[0] < 0:
            raise TooLarge
        if count and ctypes.string_at(address, 1)[0] == _U8:
            if count > LIST_BYTES_MAX:
                raise TooLarge
            # Items of one list are all of one kind.
            return ctypes.string_at(address, count * VAL_BYTES)[8::VAL_BYTES]
        if count > LIST_ITEMS_MAX:
            raise TooLarge
        return [
            self._read(context, address + VAL_BYTES * index, budget, depth + 1)
            for index in range(count)
        ]

    def _read_record(
        self, context: int, where: tuple[int, int], budget: list[int], depth: int
    ) -> dict[str, Any]:
        count, address = where
        if count > LIST_ITEMS_MAX:
            raise TooLarge
        found: dict[str, Any] = {}
        for entry in range(address, address + ENTRY_BYTES * count, ENTRY_BYTES):
            size, name = _WORDS.unpack(ctypes.string_at(entry, 16))
            label = ctypes.string_at(name, size).decode()
            found[label] = self._read(context, entry + 16, budget, depth + 1)
        return found

    def _read_resource(self, context: int, handle: int) -> Resource:
        out = ctypes.c_uint64(0)
        error = self._by_name["wasmtime_component_resource_any_to_host"](
            context, handle, ctypes.addressof(out)
        )
        if error:
            # A handle of a type the component made itself: never one of ours.
            self._library.take_error(error)
            return Resource(0, 0)
        try:
            return Resource(
                self._by_name["wasmtime_component_resource_host_rep"](out.value),
                self._by_name["wasmtime_component_resource_host_type"](out.value),
            )
        finally:
            self._by_name["wasmtime_component_resource_host_delete"](out.value)

    # Writing.

    def write_head(self, address: int, kind: int, first: int = 0, second: int = 0) -> None:
        """Writes a whole value: its kind and two words."""
        self._memmove(address, _PAIR.pack(kind, first, second, 0), VAL_BYTES)

    def write_text(self, address: int, text: bytes) -> None:
        """Writes a string, which is UTF-8."""
        self._memmove(address, _STRING_HEAD, 8)
        self._new_bytes(address + 8, len(text), text)

    def box(self, writer: Writer, value: Any) -> int:
        """Returns the address of a value of wasmtime's own, written by `writer`."""
        # Rooms are used again: making one takes longer than all else here. Two threads never get
        # the same one, since taking from a list and putting back are one step each.
        try:
            room = self._rooms.pop()
        except IndexError:
            room = _Room()
        address = ctypes.addressof(room)
        writer(address, value)
        boxed = self._new_value(address)
        self._rooms.append(room)
        return boxed

    def compile_writer(self, shape: Shape | None) -> Writer:
        """Returns what writes values of `shape`; see `read_all` for how values look."""
        if shape is None:
            return lambda _address, _value: None
        kind = shape.kind
        if kind == "string":
            return self.write_text
        if kind == "enum":
            return self._write_enum
        if kind in ("option", "result"):
            return self._compile_boxed(shape)
        if kind in ("list", "tuple", "record"):
            return self._compile_items(shape)
        if kind == "own":
            return self._write_own
        if kind == "variant":
            return self._write_case
        number, pack = _KINDS[kind], struct.Struct(f"<B7x{_NUMBERS[_KINDS[kind]]}")
        memmove = self._memmove

        def write_number(address: int, value: Any) -> None:
            memmove(address, pack.pack(number, value).ljust(VAL_BYTES, b"\0"), VAL_BYTES)

        return write_number

    def _write_enum(self, address: int, name: bytes) -> None:
        self._memmove(address, _PAIR.pack(_ENUM, 0, 0, 0), VAL_BYTES)
        self._new_bytes(address + 8, len(name), name)

    def _write_case(self, address: int, name: bytes) -> None:
        """Writes a case of a variant that carries nothing."""
        self._memmove(address, _PAIR.pack(_VARIANT, 0, 0, 0), VAL_BYTES)
        self._new_bytes(address + 8, len(name), name)

    def _compile_boxed(self, shape: Shape) -> Writer:
        box, head = self.box, self.write_head
        writers = [None if item is None else self.compile_writer(item) for item in shape.items]
        if shape.kind == "option":
            inner = writers[0]
            assert inner is not None

            def write_option(address: int, value: Any) -> None:
                head(address, _OPTION, 0 if value is None else box(inner, value))

            return write_option

        def write_result(address: int, value: tuple[bool, Any]) -> None:
            is_ok, body = value
            writer = writers[0 if is_ok else 1]
            head(address, _RESULT, int(is_ok), 0 if writer is None else box(writer, body))

        return write_result

    def _compile_items(self, shape: Shape) -> Writer:
        kind = _KINDS[shape.kind]
        if shape.kind == "list" and shape.items == (Shape("u8"),):
            return self._write_bytes
        writers = [self.compile_writer(item) for item in shape.items]
        names = [name.encode() for name in shape.names]
        new = self._by_name[f"wasmtime_component_val{shape.kind}_new_uninit"]
        start, step = (16, ENTRY_BYTES) if names else (0, VAL_BYTES)
        memmove, new_bytes = self._memmove, self._new_bytes

        def write_items(address: int, values: Any) -> None:
            memmove(address, _PAIR.pack(kind, 0, 0, 0), VAL_BYTES)
            new(address + 8, len(values))
            at = ctypes.c_uint64.from_address(address + 16).value
            for index, value in enumerate(values):
                if names:
                    new_bytes(at, len(names[index]), names[index])
                writers[index if len(writers) > 1 else 0](at + start, value)
                at += step

        return write_items

    def _write_bytes(self, address: int, data: bytes) -> None:
        """Writes a `list<u8>`."""
        items = bytearray(VAL_BYTES * len(data))
        items[0::VAL_BYTES] = bytes((_U8,)) * len(data)
        items[8::VAL_BYTES] = data
        self.write_head(address, _LIST)
        self._by_name["wasmtime_component_vallist_new_uninit"](address + 8, len(data))
        self._memmove(ctypes.c_uint64.from_address(address + 16).value, bytes(items), len(items))

    def _write_own(self, address: int, handle: Any) -> None:
        """Writes a handle that the guest shall own: a function from nothing to its address."""
        self.write_head(address, _RESOURCE, handle())

    def new_handle(self, context: int, rep: int, type_id: int) -> int:
        """Returns a `wasmtime_component_resource_any_t*` that a guest shall own."""
        host = self._by_name["wasmtime_component_resource_host_new"](True, rep, type_id)
        out = ctypes.c_uint64(0)
        error = self._by_name["wasmtime_component_resource_host_to_any"](
            context, host, ctypes.addressof(out)
        )
        self._by_name["wasmtime_component_resource_host_delete"](host)
        text = self._library.take_error(error)
        assert text is None, text
        return out.value
