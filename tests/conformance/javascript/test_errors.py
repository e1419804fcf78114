"""Errors both ways: what a handler throws, what the host refuses, what cannot be loaded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lithox.errors import CompileFailed, LimitExceeded
from lithox.sandbox.messages import encode_refusal
from tests.conformance.javascript.driver import Javascript


@pytest.mark.parametrize(
    ("thrown", "code", "message", "data"),
    [
        ("new Error('boo')", "", "boo", None),
        ("new TypeError('boo')", "", "TypeError: boo", None),
        ("Object.assign(new Error('out'), { code: 'sold_out', left: 0 })", "sold_out", "out",
         {"code": "sold_out", "left": 0}),
        ("new LithoxError('sold_out', 'out', { left: [1], f() {} })", "sold_out", "out",
         {"code": "sold_out", "left": [1]}),
        ("'text'", "", "text", "text"),
        ("42", "", "42", 42),
        ("({ code: 'x', message: 'm', n: 1 })", "x", "m", {"code": "x", "message": "m", "n": 1}),
        ("({ n: 1 })", "", "an object without a message was thrown", {"n": 1}),
        ("undefined", "", "undefined", None),
        ("Symbol('s')", "", "a symbol was thrown", None),
        ("() => 1", "", "an object without a message was thrown", None),
        ("new Error()", "", "an Error without a message was thrown", None),
        ("new (class extends Error { name = 'Mine' })('m')", "", "Mine: m", {"name": "Mine"}),
        ("new Proxy({}, { get() { throw 1 } })", "", "an object without a message was thrown",
         None),
        ("{ get message() { throw 1 }, code: 7 }", "", "an object without a message was thrown",
         None),
        ("Object.create(new Error('x'), { name: { get() { throw 1 } } })", "",
         "an object without a message was thrown", None),
        ("'\\ud800'", "", "\ufffd", None),
    ],
)  # fmt: skip
def test_what_is_thrown_is_told(
    js: Javascript, thrown: str, code: str, message: str, data: Any
) -> None:
    """Code, message and data of whatever was thrown; nothing it does can fail the telling."""
    for kind in ("", "async "):
        error = js.error(f"export {kind}function go(self) {{ throw ({thrown}) }}")
        assert (error.code, error.message) == (code, message)
        assert msgspec.msgpack.decode(error.data) == data


def test_stack_begins_in_the_module_that_throws(js: Javascript) -> None:
    """Where `LithoxError` itself is made is no line of the module, and is not shown."""
    for thrown in ("new LithoxError('gone', 'no')", "new Own('gone', 'no')"):
        text = f"""class Own extends LithoxError {{}}
export function go(self) {{ throw {thrown} }}
"""
        traceback = js.error(text).traceback
        assert "lithox:" not in traceback
        assert "at go (m.js:2:" in traceback


def test_stack_names_file_line_and_column(js: Javascript) -> None:
    """Also behind an await, and with texts of any length bounded."""
    text = """async function inner() {
  await null;
  throw new RangeError("x".repeat(9000) + "end");
}
export async function go(self) { await inner() }
"""
    error = js.error(text)
    assert "at inner (m.js:3:43)" in error.traceback
    assert error.message.startswith("RangeError: xxx")
    assert len(error.message.encode()) <= 4096 + 3


def test_refusals_are_errors_with_code_and_fields(js: Javascript) -> None:
    """They are LithoxError and Error; fields are properties; uncaught they go on."""
    refusal = encode_refusal(21, "app.no", "not that", {"left": 3, "message": "x", "stack": "y"})
    text = """export function go(self, uncaught) {
      try { self.call("a/b", "c") } catch (error) {
        if (uncaught) throw error;
        return [error instanceof LithoxError, error instanceof Error, error.code, error.message,
                error.left, error.name, String(error), error.stack.includes("m.js:2")];
      }
    }"""
    answers = {"call": refusal}
    value = js.value(text, False, answers=answers)
    assert value[:7] == [
        True,
        True,
        "app.no",
        "not that",
        3,
        "LithoxError",
        "LithoxError: not that",
    ]
    error = js.error(text, True, answers=answers)
    assert (error.code, error.message) == ("app.no", "not that")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            "let a = 1;\nlet b = = 2;",
            2,
            "m.js:2:9: SyntaxError: unexpected token in expression: '='",
        ),
        ("\nexport function f( {", 2, "SyntaxError"),
        ("throw new Error('at load');", 1, "m.js:1:11: at load"),
        ("null.x", 1, "m.js:1:1: TypeError: cannot read property 'x' of null"),
        ("let a;\nimport { x } from './other.js';", 2, "m.js:2: TypeError: './other.js' cannot be"),
        ("await new Promise(() => {})", None, "m.js: TypeError: the module waits for a promise"),
        ("Promise.reject(new Error('unseen'))", 1, "unseen"),
        ("with (a) {}", 1, "SyntaxError"),
        ("self.now()", 1, "ReferenceError: self is not defined"),
    ],
)
def test_what_cannot_be_loaded_names_file_and_line(
    js: Javascript, text: str, line: int | None, message: str
) -> None:
    """Syntax, imports, what the module's own code throws: refused with the place."""
    with pytest.raises(CompileFailed) as caught:
        js.load(text)
    assert message in str(caught.value)
    assert caught.value.fields.get("file") == "m.js"
    assert caught.value.fields.get("line") == line


def test_expected_token_and_column_are_fields(js: Javascript) -> None:
    """What the parser waited for stands in a field of its own."""
    with pytest.raises(CompileFailed) as caught:
        js.load("let a = 1 let b")
    assert caught.value.fields["expected"] == ";"
    assert caught.value.fields["column"] == 11


def test_dynamic_import_is_refused(js: Javascript) -> None:
    """import() rejects, and a handler may catch it."""
    text = (
        "export async function go() { try { await import('fs') } catch (e) { return e.message } }"
    )
    assert js.value(text).startswith("'fs' cannot be imported: a module is one file here")


def test_load_is_under_limits(js: Javascript) -> None:
    """A module that loops while it loads ends as one that runs."""
    with pytest.raises(LimitExceeded) as caught:
        js.load("for (;;);")
    assert caught.value.fields["limit"] == "fuel"


def test_handlers_are_exported_functions(js: Javascript) -> None:
    """Async ones, renamed ones and the default one, too; classes and values are none."""
    text = """export function b() {} export async function a() {} export const c = () => 1;
    export class D {} export const e = 1; function f() {} export { f as g };
    export default function () {} export function _hidden() {}"""
    assert js.load(text).handler_names == ("a", "b", "c", "default", "g")
    run = js.run(text, "D")
    assert run.error is not None
    assert "no handler of that name" in run.error.message
