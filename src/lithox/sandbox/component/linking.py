"""Does a component fit the world, and what is each of its imports answered by?

A `World` is made once for each program: every import of the component is looked at, refused with
its name when the world has no such thing or another type for it, and linked to one callback with
its number in `imports`. Exports are checked likewise. So whatever a component can call at all, it
calls with the types the answers were written for.

The callback runs on the guest's fibre: it copies what the guest sent, notes it in the cell of the
thread and returns; `sandbox.component.guest` answers after the poll.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lithox.errors import CompileFailed, InternalError
from lithox.sandbox.capi import ComponentCallback, Library, ResourceDestructor
from lithox.sandbox.component import host, wasi
from lithox.sandbox.component.configuration import FUNCTIONS_MAX, IMPORTS_MAX, PARTS_MAX
from lithox.sandbox.component.run import Run
from lithox.sandbox.component.shapes import TYPES_MAX, TooManyTypes, TypeReader, parse_shape
from lithox.sandbox.component.values import Values, Writer

if TYPE_CHECKING:
    from lithox.sandbox.component.cell import ComponentCell

EXPORTS: Final = {
    b"handlers": ((), "list<string>"),
    b"run": (("string", "string"), f"result<string,{host.ERROR}>"),
}
"""What the world asks a component for."""
WORLD: Final = "the world lithox:handler/handler@1.0.0 (docs/reference/wit.md)"
_WASI: Final = re.compile(r"wasi:([a-z-]+/[a-z-]+)@0\.2\.\d+\Z")
_HOST: Final = re.compile(rf"{host.INTERFACE}@1\.0\.\d+\Z")
_ITEM_INSTANCE, _ITEM_FUNCTION, _ITEM_RESOURCE, _ITEM_TYPE = 1, 3, 4, 6
_CONTINUATION_BYTES: Final = 24

current: Final[dict[int, ComponentCell]] = {}
"""Thread id -> the cell it steps, or stepped last."""


class Import(NamedTuple):
    """A function that a component imports.

    Attributes:
        name: interface and function, for messages.
        answer: answers a call of (run, arguments) by a value or an `Ask`; may raise `Ended`.
        write: writes the value as result; None when there is none.
        is_host: it is of `lithox:handler/host`, whose errors are records.
    """

    name: str
    answer: Callable[[Run, list[Any]], Any]
    write: Writer | None
    is_host: bool


class Wall:
    """What all components of an engine share: readers, writers and the callbacks.

    Attributes:
        library: the C functions.
        engine: `wasm_engine_t*`.
        values: reads and writes values.
    """

    __slots__ = ("_on_call", "_on_drop", "engine", "library", "values")

    def __init__(self, library: Library, engine: int) -> None:
        self.library = library
        self.engine = engine
        self.values = Values(library)
        self._on_call = ComponentCallback(self._make_call())
        self._on_drop = ResourceDestructor(_drop_handle)

    def _make_call(self):  # noqa: ANN202 - a ctypes callback has no nameable type
        read_all, memmove = self.values.read_all, self.library.memmove

        def on_call(  # noqa: PLR0913, PLR0917 - the C interface has so many
            env: int | None,
            context: int,
            _type: int,
            arguments: int,
            count: int,
            results: int,
            _results_count: int,
            _error: int,
            continuation: int,
        ) -> None:
            cell = current[get_ident()]
            cell.set_ready(is_ready=False)
            memmove(continuation, cell.continuation_address, _CONTINUATION_BYTES)
            cell.result_address = results
            try:
                cell.asked = (env or 0, read_all(context, arguments, count))
            except Exception:  # noqa: BLE001 - nothing may leave through C; the guest ends for it
                cell.asked = (env or 0, None)

        return on_call

    def link(self, component: int, *, file: str) -> World:
        """Returns the world of a component.

        Raises:
            CompileFailed: it imports, or lacks, what the world says otherwise, or has types
                without end.
        """
        world = World(self.library, self.engine)
        try:
            kind = self._by_name("type")(component)
            try:
                self._check_exports(world.reader, kind, file)
                self._link_imports(world, kind, file)
            finally:
                self._by_name("type_delete")(kind)
            for name in EXPORTS:
                index = self._by_name("get_export_index")(component, None, name, len(name))
                assert index, name
                world.exports[name] = index
        except TooManyTypes:
            world.close()
            raise CompileFailed(
                f"{file} has functions with more than {TYPES_MAX} types in all",
                file=file,
                expected=f"at most {TYPES_MAX} types, counted wherever they stand",
            ) from None
        except BaseException:
            world.close()
            raise
        return world

    def _by_name(self, name: str) -> Callable[..., Any]:
        return self.library.by_name[f"wasmtime_component_{name}"]

    @contextmanager
    def _item_of(self, extern: int) -> Generator[tuple[int, int]]:
        """Gives (kind, pointer) of a `wasmtime_component_extern_t`, and frees both at the end."""
        item = (ctypes.c_uint64 * 4)()
        self._by_name("extern_type")(extern, ctypes.addressof(item))
        try:
            yield item[0] & 0xFF, item[1]
        finally:
            self._by_name("item_delete")(ctypes.addressof(item))
            self._by_name("extern_delete")(extern)

    def _check_exports(self, reader: TypeReader, kind: int, file: str) -> None:
        for name, expected in EXPORTS.items():
            out = ctypes.c_uint64(0)
            there = self._by_name("type_export_get")(
                kind, self.engine, name, len(name), ctypes.addressof(out)
            )
            found: Any = None
            if there:
                with self._item_of(out.value) as (item, pointer):
                    if item == _ITEM_FUNCTION and not self._by_name("func_type_async")(pointer):
                        found = reader.describe_function(pointer)
            if found != expected:
                text = name.decode()
                what = "has no such function" if found is None else f"has {_spell(text, found)}"
                raise CompileFailed(
                    f"{file} does not fit {WORLD}: it exports no "
                    f"{_spell(text, expected)}; it {what}",
                    file=file,
                    expected=_spell(text, expected),
                )

    def _nth(self, name: str, owner: int, index: int) -> tuple[str, int]:
        """Returns (name, `wasmtime_component_extern_t*`) of an import or export."""
        words = (ctypes.c_uint64 * 3)()
        at = ctypes.addressof(words)
        self._by_name(name)(owner, self.engine, index, at, at + 8, at + 16)
        return ctypes.string_at(words[0], words[1]).decode("utf-8", "replace"), words[2]

    def _link_imports(self, world: World, kind: int, file: str) -> None:
        count = self._by_name("type_import_count")(kind, self.engine)
        if count > IMPORTS_MAX:
            raise CompileFailed(
                f"{file} imports {count} interfaces; at most {IMPORTS_MAX} are linked", file=file
            )
        root = self._by_name("linker_root")(world.linker)
        try:
            for index in range(count):
                name, extern = self._nth("type_import_nth", kind, index)
                with self._item_of(extern) as (item, pointer):
                    self._link_interface(world, root, (name, item, pointer), file)
        finally:
            self._by_name("linker_instance_delete")(root)

    def _link_interface(
        self, world: World, root: int, found: tuple[str, int, int], file: str
    ) -> None:
        name, item, pointer = found
        is_host, wasi_name = _HOST.match(name) is not None, _WASI.match(name)
        if item == _ITEM_TYPE:
            return
        if item != _ITEM_INSTANCE or not (is_host or wasi_name):
            raise CompileFailed(
                f"{file} imports {name[:120]}, which {WORLD} does not have",
                file=file,
                expected=f"imports of {host.INTERFACE}@{host.VERSION} and wasi:*@0.2.x",
            )
        out, text = ctypes.c_uint64(0), name.encode()
        self._check(
            self._by_name("linker_instance_add_instance")(
                root, text, len(text), ctypes.addressof(out)
            )
        )
        short = "" if wasi_name is None else wasi_name[1]
        try:
            count = self._by_name("instance_type_export_count")(pointer, self.engine)
            if count > PARTS_MAX:
                raise CompileFailed(
                    f"{file} imports {count} parts of {name[:120]}; at most {PARTS_MAX} are linked",
                    file=file,
                )
            for index in range(count):
                export, extern = self._nth("instance_type_export_nth", pointer, index)
                with self._item_of(extern) as (part, part_pointer):
                    if part == _ITEM_FUNCTION:
                        self._link_function(
                            world, out.value, (name, short, export, part_pointer), file
                        )
                    elif part == _ITEM_RESOURCE and not is_host:
                        self._link_resource(world, out.value, export)
        finally:
            self._by_name("linker_instance_delete")(out.value)

    def _link_function(
        self, world: World, instance: int, where: tuple[str, str, str, int], file: str
    ) -> None:
        interface, short, name, pointer = where
        full = f"{interface}#{name}"
        row = wasi.FUNCTIONS.get(f"{short}#{name}") if short else host.FUNCTIONS.get(name)
        if row is None and not short:
            raise CompileFailed(
                f"{file} imports {full[:160]}, which {WORLD} does not have", file=file
            )
        # What is never answered needs no look at its types.
        found = None if row is None else world.reader.describe_function(pointer)
        if row is not None and found is not None and (row[0], row[1]) != found:
            raise CompileFailed(
                f"{file} imports {full} as {_spell(name, found)}; it is "
                f"{_spell(name, (row[0], row[1]))}",
                file=file,
                expected=_spell(name, (row[0], row[1])),
            )
        if len(world.imports) >= FUNCTIONS_MAX:
            raise CompileFailed(f"{file} imports more than {FUNCTIONS_MAX} functions", file=file)
        world.imports.append(self._make_import(full, name, row, is_host=not short))
        text = name.encode()
        self._check(
            self._by_name("linker_instance_add_func_async")(
                instance, text, len(text), self._on_call, len(world.imports) - 1, None
            )
        )

    def _make_import(
        self, full: str, name: str, row: tuple[Any, str, Any] | None, *, is_host: bool
    ) -> Import:
        if row is None:
            return Import(full, wasi.refuse(full[:160]), None, is_host=False)
        shape = parse_shape(row[1])
        write = None if shape is None else self.values.compile_writer(shape)
        if not is_host:
            return Import(full, row[2], write, is_host=False)

        def answer(run: Run, arguments: list[Any]) -> Any:
            return host.answer(name, run, arguments)

        return Import(full, answer, write, is_host=True)

    def _link_resource(self, world: World, instance: int, name: str) -> None:
        number = wasi.RESOURCES.get(name, wasi.RESOURCE_OTHER)
        kind = self._by_name("resource_type_new_host")(number)
        world.resource_types.append(kind)
        text = name.encode()
        self._check(
            self._by_name("linker_instance_add_resource")(
                instance, text, len(text), kind, self._on_drop, number, None
            )
        )

    def _check(self, error: int | None) -> None:
        text = self.library.take_error(error)
        if text is not None:
            raise InternalError(f"wasmtime does not link a component: {text}")


def _drop_handle(env: int | None, _context: int, rep: int) -> None:
    """Runs on the fibre when a guest drops a handle of ours."""
    run = current[get_ident()].run
    run.handles -= 1
    if env == wasi.RESOURCES["pollable"]:
        run.pollables.pop(rep, None)


def _spell(name: str, found: tuple[tuple[str, ...], str]) -> str:
    """Returns a function in WIT's spelling, at most 300 letters."""
    parameters, result = found
    return f"{name}: func({', '.join(parameters)}) -> {result}"[:300]


class World:
    """One component's imports and exports, linked.

    Attributes:
        linker: `wasmtime_component_linker_t*`.
        imports: by the number the callback is given.
        reader: reads the component's types while it is linked.
        exports: name -> `wasmtime_component_export_index_t*`.
        resource_types: `wasmtime_component_resource_type_t*` of what it imports.
    """

    __slots__ = ("_library", "exports", "imports", "linker", "reader", "resource_types")

    def __init__(self, library: Library, engine: int) -> None:
        self._library = library
        self.linker: int = library.by_name["wasmtime_component_linker_new"](engine)
        self.imports: list[Import] = []
        self.reader = TypeReader(library)
        self.exports: dict[bytes, int] = {}
        self.resource_types: list[int] = []

    def close(self) -> None:
        """Frees everything; idempotent."""
        by_name = self._library.by_name
        for index in self.exports.values():
            by_name["wasmtime_component_export_index_delete"](index)
        for kind in self.resource_types:
            by_name["wasmtime_component_resource_type_delete"](kind)
        self.exports.clear()
        self.resource_types.clear()
        if self.linker:
            by_name["wasmtime_component_linker_delete"](self.linker)
            self.linker = 0
