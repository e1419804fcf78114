"""Handlers that mean harm: each ends in an error or at a limit, whatever they catch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.conformance.javascript.driver import LIMITS, Javascript

RECURSIONS = {
    "function": "function f() { return f() } f()",
    "arguments": "function f(a, b, c, d, e, f1, g, h) { return f(a, b, c, d, e, f1, g, h, 1) } f()",
    "apply": "function f() { return f.apply(null, [1, 2, 3]) } f()",
    "spread": "function f(...a) { return f(...a) } f(1, 2, 3)",
    "getter": "const o = { get x() { return o.x } }; o.x",
    "proxy trap": "const p = new Proxy({}, { get() { return p.x } }); p.x",
    "proxies": "let p = {}; for (let i = 0; i < 40000; i++) p = new Proxy(p, {}); p.x",
    "keys of proxies": "let p = {}; for (let i = 0; i < 40000; i++) p = new Proxy(p, {}); "
    "Object.keys(p)",
    "constructor": "class A {} class B extends A { constructor() { super(); new B() } } new B()",
    "generator": "function* g() { yield* g() } [...g()]",
    "async": "async function f() { return f() } await f()",
    "sort": "function f() { [2, 1].sort(f); return 0 } f()",
    "replace": "function f() { return 'a'.replace(/a/g, f) } f()",
    "toString": "const o = { toString() { return `${o}` } }; `${o}`",
    "iterator": "const o = { [Symbol.iterator]() { return [...o] } }; [...o]",
    "eval": "function f() { return eval('f()') } f()",
    "Function": "globalThis.F = () => new Function('return F()')(); F()",
    "JSON brackets": "JSON.parse('['.repeat(100000))",
    "JSON objects": "JSON.parse('{\"a\":'.repeat(100000))",
    "JSON reviver": "const f = () => JSON.parse('1', f); f()",
    "stringify": "let a = []; for (let i = 0; i < 20000; i++) a = [a]; JSON.stringify(a)",
    "join": "let a = []; for (let i = 0; i < 40000; i++) a = [a]; String(a)",
    "flat": "let a = []; for (let i = 0; i < 40000; i++) a = [a]; a.flat(Infinity)",
    "parentheses": "eval('('.repeat(100000))",
    "brackets": "eval('['.repeat(100000))",
    "braces": "eval('{'.repeat(100000))",
    "unary": "eval('!'.repeat(100000) + '1')",
    "minus": "eval('- '.repeat(100000) + '1')",
    "ternary": "eval('1?'.repeat(50000) + '1')",
    "power": "eval('2**'.repeat(50000) + '1')",
    "templates": "eval('`${'.repeat(50000))",
    "arrows": "eval('x=>'.repeat(50000) + '1')",
    "regular expression": "new RegExp('(?:'.repeat(50000) + 'a' + ')*'.repeat(50000))",
    "lookahead": "new RegExp('(?='.repeat(50000) + ')'.repeat(50000))",
    "character class": "new RegExp('['.repeat(50000) + 'a' + ']'.repeat(50000), 'v')",
}


@pytest.mark.parametrize("kind", RECURSIONS)
def test_recursion_is_an_error_that_can_be_caught(js: Javascript, kind: str) -> None:
    """QuickJS' own limit of the stack bites before the memory of the stack or the host's ends."""
    text = (
        f"export async function go() {{ try {{ {RECURSIONS[kind]} }}"
        " catch (error) { return [error.name, error.message] } return 'passed' }"
    )
    name, message = js.value(
        text, limits=replace(LIMITS, fuel=20_000_000_000, memory_bytes=64 << 20)
    )
    # A parser that is stopped where the stack ends says so in words of its own.
    if kind != "Function":
        assert message in {"Maximum call stack size exceeded", "stack overflow"}
    assert name in {"RangeError", "SyntaxError"}


def test_useful_recursion_is_deep_enough(js: Javascript) -> None:
    """Four hundred levels of a plain function, as docs/limitations/javascript.md promises."""
    text = "function sum(n) { return n ? n + sum(n - 1) : 0 } export const go = () => sum(400)"
    assert js.value(text) == 80200


CATCHING = (
    "export async function go(self) {{ for (;;) {{ try {{ try {{ {body} }} finally {{ {body} }} }}"
    " catch {{ continue }} finally {{ continue }} }} }}"
)


@pytest.mark.parametrize(
    ("body", "ended"),
    [
        ("for (;;);", "guest.out_of_fuel"),
        ("await null;", "guest.out_of_fuel"),
        ("/(a*)*b/.test('a'.repeat(5000))", "guest.out_of_fuel"),
        ("/^(\\w+\\s?)*$/.test('word '.repeat(50) + '!')", "guest.out_of_fuel"),
        ("2n ** 1000000n", "guest.out_of_fuel"),
        ("JSON.parse('[' + '1,'.repeat(1e4) + '1]').sort()", "guest.out_of_fuel"),
        ("const k = []; for (;;) k.push(new Uint8Array(1e5))", "guest.out_of_memory"),
        ("let s = 'x'; for (;;) s += s", "guest.out_of_fuel"),
        ("let s = 'x'; for (;;) s = (s + s).toUpperCase()", "guest.out_of_memory"),
        ("const k = []; for (;;) k.push(Promise.resolve().then(() => k))", "guest.out_of_memory"),
        ("const m = new Map(); for (let i = 0; ; i++) m.set(i, i)", "guest.out_of_memory"),
        ("new Array(1e9).fill(0)", "guest.out_of_memory"),
        ("'x'.repeat(2 ** 29)", "guest.out_of_memory"),
        ("self.usage()", "guest.out_of_calls"),
        ("await 1; self.state.a; self.log('info', 'x')", "guest.out_of_calls"),
    ],
)
def test_no_end_can_be_caught(js: Javascript, body: str, ended: str) -> None:
    """Catch-alls, finally blocks and promises around it: it ends all the same."""
    limits = replace(LIMITS, fuel=1_500_000_000)
    run = js.run(CATCHING.format(body=body), limits=limits, answers={"usage": b"\x92\x00\x80"})
    assert run.ended in {ended, "guest.out_of_fuel"}
    assert run.ended == ended or "1e9" in body or "new Map" in body


@pytest.mark.parametrize(
    "body",
    [
        "Error.prepareStackTrace = () => { self.usage(); throw 1 }; self.call('a', 'b', () => 1)",
        "Error.stackTraceLimit = { valueOf() { self.usage() } }; self.call('a', 'b', () => 1)",
        "Object.defineProperty(Array.prototype, 0, { set() { self.usage() } }); self.timers()",
        "self.log('info', { toString() { self.log('info', 'inner'); return 'outer' } })",
        "self.call('a', 'b', { get x() { return self.usage() } })",
        "self.call('a', 'b', { toJSON() { return self.usage() } })",
        "self.after({ valueOf() { return self.usage() } }, 'go')",
        "self.schedule({ handler: 'go', get after() { return self.usage() } })",
        "self.schedule(new Proxy({}, { get() { return self.usage() } }))",
    ],
)
def test_no_code_runs_while_a_message_is_made(js: Javascript, body: str) -> None:
    """Whatever a value could call back is not called, or is called before the message begins."""
    text = f"export function go(self) {{ try {{ {body} }} catch {{ }} return 'whole' }}"
    timers = b"\x93\x00\x91\x81\xa2id\xa1t\xc2"
    assert js.value(text, answers={"timers": timers, "usage": b"\x92\x00\x80"}) == "whole"


def test_runs_share_nothing(js: Javascript) -> None:
    """Every run begins with the module as it was loaded, however the run before has changed it."""
    text = """let n = 0;
    export function go(self) {
      n += 1; globalThis.m = (globalThis.m ?? 0) + 1; Math.k = (Math.k ?? 0) + 1;
      Object.prototype.p = (Object.prototype.p ?? 0) + 1; go.q = (go.q ?? 0) + 1;
      return [n, m, Math.k, ({}).p, go.q, Math.random()];
    }"""
    first = js.value(text)
    assert first[:5] == [1, 1, 1, 1, 1]
    assert js.value(text) == first


def test_same_run_burns_the_same_fuel(js: Javascript) -> None:
    """Fuel is a function of the run."""
    text = "export async function go() { await null; return new Map([[{}, Math.random()]]).size }"
    assert js.run(text).fuel == js.run(text).fuel


def test_what_would_reach_out_is_absent(js: Javascript) -> None:
    """No sharing, no blocking, no weak references, no clocks beside the run's own, no locales."""
    names = (
        "SharedArrayBuffer Atomics WeakRef FinalizationRegistry performance Intl setTimeout "
        "require process fetch std os bjson print gc navigator WebAssembly Worker scriptArgs"
    )
    text = "export function go(self, names) { return names.filter((name) => name in globalThis) }"
    assert js.value(text, names.split()) == []
    clock = "export function go() { return [Date.now(), new Date(0).getTimezoneOffset()] }"
    assert js.value(clock) == [1_764_000_000_123, 0]


def test_eval_is_bounded_like_everything(js: Javascript) -> None:
    """Eval and Function exist; what they compile is metered, and sees no more than its caller."""
    text = (
        "export function go(self) {"
        " return [eval('self.id + 1'), new Function('return typeof self')()] }"
    )
    assert js.value(text) == ["a/b1", "undefined"]
    assert js.run("export function go() { eval('for (;;);') }").ended == "guest.out_of_fuel"


def test_guest_is_small(js: Javascript) -> None:
    """An idle guest has at most 600 kB, all of it its memory."""
    run = js.run("export function go(self) { return self.id }")
    assert run.memory_bytes <= 600_000
