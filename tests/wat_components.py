"""Small components for tests and benchmarks, made of text or of a core module by `wasmtime`'s own
`wat2wasm`: no tool of another language is needed.

    libc    a memory and `realloc`, which takes what it gives from the end of the memory
    main    the core module under test; imports `libc` and what it uses of `host`, exports
            `handlers` and `run` in the canonical ABI
    world   lifts and lowers, made here from the shapes of `sandbox.component.host`

A core module that is given as bytes takes the place of an empty one in the encoded component.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wasmtime import wat2wasm

from lithox.sandbox.component.host import ERROR, FUNCTIONS
from lithox.sandbox.component.shapes import Shape, parse_shape

HOST = "lithox:handler/host@1.0.0"
LIBC = """
  (core module $libc
    (memory (export "memory") {pages})
    (global $next (mut i32) (i32.const 0))
    (global $end (mut i32) (i32.const 0))
    (func (export "realloc") (param $old i32) (param $had i32) (param $align i32) (param $size i32)
      (result i32) (local $at i32) (local $pages i32)
      (if (i32.gt_u (i32.add (global.get $next) (i32.add (local.get $size) (i32.const 8)))
                    (global.get $end))
        (then
          (local.set $pages
            (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 2)))
          (local.set $at (memory.grow (local.get $pages)))
          (if (i32.eq (local.get $at) (i32.const -1)) (then unreachable))
          (global.set $next (i32.shl (local.get $at) (i32.const 16)))
          (global.set $end
            (i32.add (global.get $next) (i32.shl (local.get $pages) (i32.const 16))))))
      (local.set $at
        (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (memory.copy (local.get $at) (local.get $old) (local.get $had))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
"""
EXPORTS = """
  (core instance $main (instantiate $main
    (with "libc" (instance $libc)) (with "env" (instance $libc))
    (with "host" (instance {lowered}))
    {more_with}))
  (func (export "handlers") (result (list string))
    (canon lift (core func $main "handlers") (memory $memory) (realloc $realloc)))
  (func (export "run") (param "handler" string) (param "arguments" string)
    (result (result string (error $error)))
    (canon lift (core func $main "run") (memory $memory) (realloc $realloc){post_return}))
"""
CORE_HEADER = b"\0asm\x01\0\0\0"
SECTION_CORE_MODULE = 1

NAMES = """
  (data (i32.const 16) "\\20\\00\\00\\00\\04\\00\\00\\00")
  (data (i32.const 32) "\\80\\00\\00\\00\\03\\00\\00\\00")
  (data (i32.const 128) "run")
  (data (i32.const 140) "null")
  (func (export "handlers") (result i32)
    (i32.store (i32.const 20) (i32.const 1))
    (i32.const 16))
  (func $null (result i32)
    (i32.store8 (i32.const 200) (i32.const 0))
    (i32.store (i32.const 204) (i32.const 140))
    (i32.store (i32.const 208) (i32.const 4))
    (i32.const 200))
"""
"""For `main`: the one handler `run`, and `$null`, which returns the value null."""
MEMORY = '(import "libc" "memory" (memory 1))'
RUN = '(func (export "run") (param i32 i32 i32 i32) (result i32)'


class _Types:
    """Names the records of an interface, as the component model wants them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._known: dict[str, str] = {}

    def write(self, shape: Shape | None) -> str:
        """Returns `shape` as text, records and enums by a name that is exported."""
        assert shape is not None
        parts = [item and self.write(item) for item in shape.items]
        if shape.kind == "result":
            ok, error = parts
            return f"(result {ok or ''} {f'(error {error})' if error else ''})"
        if shape.kind in ("list", "option", "tuple"):
            return f"({shape.kind} {' '.join(filter(None, parts))})"
        if shape.kind == "record":
            fields = zip(shape.names, parts, strict=True)
            text = " ".join(f'(field "{name}" {part})' for name, part in fields)
            return self._name(f"(record {text})", is_error="code" in shape.names)
        if shape.kind == "enum":
            return self._name('(enum "debug" "info" "warning" "error")', is_error=False)
        return shape.kind

    def _name(self, text: str, *, is_error: bool) -> str:
        if text not in self._known:
            name = "error" if is_error else f"t{len(self._known)}"
            self._known[text] = f"${name}"
            self.lines.append(f"(type ${name}-body {text})")
            self.lines.append(f'(export "{name}" (type ${name} (eq ${name}-body)))')
        return self._known[text]


def _write_host(functions: Iterable[str]) -> str:
    """Returns the import of `host` with some of its functions, and how they are lowered."""
    types = _Types()
    types.write(parse_shape(ERROR))
    funcs, lowered = [], []
    for name in functions:
        parameters, result, _ = FUNCTIONS[name]
        given = " ".join(
            f'(param "p{index}" {types.write(parse_shape(text))})'
            for index, text in enumerate(parameters)
        )
        gives = "" if result == "_" else f"(result {types.write(parse_shape(result))})"
        funcs.append(f'(export "{name}" (func {given} {gives}))')
        lowered.append(
            f'(alias export $host "{name}" (func ${name}))\n  (core func ${name} '
            f"(canon lower (func ${name}) (memory $memory) (realloc $realloc)))"
        )
    inside = "\n    ".join([*types.lines, *funcs])
    return (
        f'  (import "{HOST}" (instance $host\n    {inside}))\n'
        '  (alias export $host "error" (type $error))\n' + LIBC + "  " + "\n  ".join(lowered)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a component has beside its core module.

    Attributes:
        imports: functions of the host that main uses, imported from `host`.
        before: more items of the component, behind the host's import.
        more_with: more arguments of main's instance.
        pages: of the memory at first.
        post_return: name of an export of main that is called after `run`.
    """

    imports: tuple[str, ...] = ()
    before: str = ""
    more_with: str = ""
    pages: int = 1
    post_return: str = ""


def write_component(main: str, plan: Plan) -> str:
    """Returns the text of a component; `main` has the fields of its core module."""
    lowered = " ".join(f'(export "{name}" (func ${name}))' for name in plan.imports)
    after = f' (post-return (core func $main "{plan.post_return}"))' if plan.post_return else ""
    return "\n".join(
        (
            "(component",
            _write_host(plan.imports).replace("{pages}", str(plan.pages)),
            plan.before,
            f"  (core module $main {main})",
            EXPORTS.format(lowered=lowered, more_with=plan.more_with, post_return=after),
            ")",
        )
    )


def make_component(main: str | bytes, **fields: Any) -> bytes:
    """Returns a component of fields of a core module, or of its bytes; `fields` as in `Plan`."""
    plan = Plan(**fields)
    if isinstance(main, str):
        return bytes(wat2wasm(write_component(main, plan)))
    made = bytes(wat2wasm(write_component("", plan)))
    start = made.rindex(CORE_HEADER) - 2
    assert made[start] == SECTION_CORE_MODULE, "the empty module is not where it was"
    end = start + 2 + made[start + 1]
    size, length = len(main), bytearray()
    while True:
        length.append((size & 0x7F) | (0x80 if size > 0x7F else 0))
        size >>= 7
        if not size:
            break
    return made[: start + 1] + bytes(length) + main + made[end:]
