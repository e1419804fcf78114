"""self.state: what is read, what is written, and that it works as an object does."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lithox.sandbox.messages import encode_answer, encode_refusal
from tests.conformance.javascript.driver import Javascript

CART = {"cart": {"items": [{"n": 1}, {"n": 2}], "by": {"a": 1.0, "b": -0.0}}, "other": [1]}


@pytest.mark.parametrize(
    ("change", "cart"),
    [
        ("cart.items.push({ n: 3 })", {"items": [{"n": 1}, {"n": 2}, {"n": 3}]}),
        ("cart.items.splice(0, 1)", {"items": [{"n": 2}]}),
        ("cart.items.sort((a, b) => b.n - a.n)", {"items": [{"n": 2}, {"n": 1}]}),
        ("cart.items[1].n++", {"items": [{"n": 1}, {"n": 3}]}),
        ("cart.items.length = 0", {"items": []}),
        ("delete cart.by.a", {"by": {"b": -0.0}}),
        ("cart.by = { ...cart.by, c: 3 }", {"by": {"a": 1, "b": -0.0, "c": 3}}),
        ("Object.assign(cart.by, { a: 2 })", {"by": {"a": 2, "b": -0.0}}),
        ("const [first] = cart.items; first.n = 9", {"items": [{"n": 9}, {"n": 2}]}),
        ("cart.items.unshift(...cart.items.splice(1))", {"items": [{"n": 2}, {"n": 1}]}),
    ],
)  # fmt: skip
def test_changes_deep_inside_are_written_and_nothing_else(
    js: Javascript, change: str, cart: dict[str, Any]
) -> None:
    """Whatever changes a value, its key is written; keys that were looked at are not."""
    text = f"export function go(self) {{ const {{ cart, other }} = self.state; {change} }}"
    run = js.run(text, state=CART)
    assert run.error is None
    assert run.writes == {"cart": {**CART["cart"], **cart}}
    assert run.reads == ["cart", "other"]


@pytest.mark.parametrize(
    "look",
    [
        "JSON.stringify(self.state.cart)",
        "self.state.cart.items.map((item) => item.n)",
        "self.state.cart.items.push(self.state.cart.items.pop())",
        "self.state.cart = structured(self.state.cart)",
        "for (const key in self.state) self.state[key]",
        "({ ...self.state })",
        "self.state.cart = self.state.cart",
        "self.state.cart.by.c = 1; delete self.state.cart.by.c",
        "Object.freeze(self.state.cart.items)",
    ],
)
def test_what_is_as_before_is_not_written(js: Javascript, look: str) -> None:
    """Reading, copying, putting back: floats that look like integers here stay, too."""
    text = (
        "const structured = (v) => Array.isArray(v) ? v.map(structured)"
        " : v && typeof v === 'object'"
        " ? Object.fromEntries(Object.entries(v).map(([k, x]) => [k, structured(x)])) : v;\n"
        f"export function go(self) {{ {look} }}"
    )
    run = js.run(text, state=CART)
    assert run.error is None
    assert run.writes == {}


def test_state_is_read_lazily(js: Javascript) -> None:
    """Of an entity whose state was not sent along, the keys used are asked for, once each."""
    text = (
        "export function go(self) {"
        " self.state.blind = 1;"
        " return [self.state.a, self.state.a, 'b' in self.state, self.state.c] }"
    )
    run = js.run(
        text.replace("self.state.c", "self.state.c ?? null"), state={"a": 1, "b": 2}, complete=False
    )
    assert run.value == [1, 1, True, None]
    assert run.calls == [["get", "a"], ["get", "b"], ["get", "c"]]
    assert run.reads == ["a", "b", "c"]
    assert run.writes == {"blind": 1}


@pytest.mark.parametrize("complete", [True, False])
def test_state_works_as_an_object_does(js: Javascript, complete: bool) -> None:
    """in, delete, keys, entries, for..in, spread, JSON, Object.hasOwn, Object.assign."""
    text = """export function go(self) {
      const { state } = self;
      delete state.b;
      state["9"] = 9;
      Object.assign(state, { z: 26 });
      const walked = [];
      for (const key in state) walked.push(key);
      return [
        "a" in state, "b" in state, Object.keys(state), Object.entries(state).length, walked,
        { ...state }, JSON.parse(JSON.stringify(state)), Object.hasOwn(state, "c"),
        Object.hasOwn(state, "toString"), state.toString === undefined, Reflect.ownKeys(state),
        Object.getOwnPropertyDescriptor(state, "a"),
      ];
    }"""
    whole = {"10": 10, "9": 9, "a": 1, "c": {"d": [1]}, "e": 5, "z": 26}
    run = js.run(text, state={"10": 10, "a": 1, "b": 2, "c": {"d": [1]}, "e": 5}, complete=complete)
    assert run.error is None, run.error
    described = {"value": 1, "writable": True, "enumerable": True, "configurable": True}
    assert run.value == [
        True, False, list(whole), 6, list(whole), whole, whole, True, False, True, list(whole),
        described,
    ]  # fmt: skip
    assert run.writes == {"9": 9, "b": None, "z": 26}


@pytest.mark.parametrize(
    ("action", "problem"),
    [
        ("self.state[Symbol('s')] = 1", "keys of self.state are text; found a symbol"),
        ("self.state['\\ud800'] = 1", "keys of self.state are valid Unicode"),
        ("self.state['\\ud800']", "keys of self.state are valid Unicode"),
        ("Object.defineProperty(self.state, 'a', { get() { return 1 } })", "self.state has values"),
        ("Object.freeze(self.state)", "self.state has values alone"),
        ("self.state = {}", "'state' is read-only"),
        ("self.count = 1", "self.count cannot be set; what must last goes into self.state"),
        ("self.id = 'other'", "no setter"),
        ("delete self.call", "could not delete property"),
        ("self.state.big", 'self.state["big"] is a big value; read it with self.reader'),
    ],
)
def test_misuse_is_an_error(js: Javascript, action: str, problem: str) -> None:
    """What self and self.state cannot do is told."""
    big = msgspec.Raw(b"\xc7\x01\x02\x90")
    error = js.error(f"export function go(self) {{ {action} }}", state={"a": 1, "big": big})
    assert problem in error.message


def test_prototype_games_change_no_key(js: Javascript) -> None:
    """Names of Object.prototype are keys like others; what is put on prototypes is no data."""
    text = """export function go(self) {
      Object.prototype.evil = 1;
      Array.prototype[0] = "evil";
      Object.defineProperty(Object.prototype, "n", { set() { throw new Error("reached") } });
      self.state.__proto__ = { polluted: true };
      self.state.constructor = 1;
      const map = self.state.map;
      Object.setPrototypeOf(self.state, { inherited: 1 });
      return [map, Object.keys(map.__proto__), self.state.evil ?? null, ({}).polluted ?? null,
              self.state.inherited ?? null, [...self.scan("map")]];
    }"""
    state = {"map": {"__proto__": {"x": 1}, "n": 2, "list": []}}
    run = js.run(text, state=state)
    assert run.error is None, run.error
    assert run.value == [state["map"], ["x"], None, None, None, [["map", state["map"]]]]
    assert run.writes == {"__proto__": {"polluted": True}, "constructor": 1}


def test_call_tells_what_has_changed_and_a_cycle_forgets(js: Javascript) -> None:
    """A call brings reads and writes; when it has changed our own state, all is read anew."""
    text = """export function go(self) {
      const list = self.state.list;
      list.push(2);
      const first = self.call("x", "y");
      list.push(99);
      return [first, self.state.list, [...self.scan("l")]];
    }"""
    run = js.run(
        text,
        state={"list": [1, 2, 3]},
        complete=False,
        answers={"call": encode_answer("done", True)},
    )
    assert run.value == ["done", [1, 2, 3], [["list", [1, 2, 3]]]]
    assert run.calls[1] == ["call", "x", "y", [], ["list"], [], {"list": [1, 2, 3, 2]}]
    assert run.writes == {}


def test_write_whose_call_was_refused_is_told_again(js: Javascript) -> None:
    """After a refusal nobody knows what the host has, so it is told until it has answered."""
    text = """export function go(self) {
      self.state.a.push(1);
      try { self.call("x", "y") } catch (error) { self.state.code = error.code }
      self.state.a.pop();
    }"""
    refusal = encode_refusal(21, "app.no", "no", {"left": 3})
    run = js.run(text, state={"a": [0]}, answers={"call": refusal})
    assert run.writes == {"a": [0], "code": "app.no"}


def test_scans_go_in_order_with_own_changes_in_their_places(js: Javascript) -> None:
    """Pages of the host and what the run has put, deleted and changed meanwhile."""
    text = """export function go(self, prefix, after) {
      self.state.k1b = "own"; delete self.state.k3;
      const rows = [];
      for (const [key, value] of self.scan(prefix, after)) {
        if (key === "k2") { self.state.k4 = "late"; value.seen = true; }
        rows.push([key, value]);
      }
      return [rows, [...self.range("k2", "k5").map(([key]) => key)], self.scan("none").next().done];
    }"""
    state = {f"k{n}": {"n": n} for n in range(1, 7)} | {"x": 1}
    expected = [["k1b", "own"], ["k2", {"n": 2, "seen": True}], ["k4", "late"]]
    expected += [["k5", {"n": 5}], ["k6", {"n": 6}]]
    for complete in (True, False):
        run = js.run(text, "go", "k", "k1", state=state, complete=complete)
        assert run.error is None, run.error
        assert run.value == [expected, ["k2", "k4"], True]
        assert run.writes == {
            "k1b": "own", "k2": {"n": 2, "seen": True}, "k3": None, "k4": "late",
        }  # fmt: skip


def test_scan_that_ends_early_asks_for_no_more(js: Javascript) -> None:
    """Pages are asked for when they are reached."""
    text = "export function go(self) { return self.scan('k').take(2).toArray().length }"
    run = js.run(text, state={f"k{n}": n for n in range(9)}, complete=False)
    assert run.value == 2
    assert [call[0] for call in run.calls] == ["scan"]


def test_big_values_are_read_and_written_in_pieces(js: Javascript) -> None:
    """Readers and writers; a big value is no value of self.state, but its key is there."""
    told = msgspec.msgpack.encode([b"id", 5, 1, bytes(32)])
    big = msgspec.Raw(b"\xc7" + bytes((len(told), 2)) + told)
    text = """export function go(self) {
      const r = self.reader("big"), w = self.writer("new");
      const read = [r.size, r.digest.slice(0, 3), r.read(2), r.seek(4), r.read(), r.read()];
      w.write("z\u00e9", new Uint8Array([0, 255])).write("x".repeat(70000));
      const digest = w.close();
      let refused;
      try { self.state.big } catch (error) { refused = error.message }
      return [read, digest, Object.keys(self.state), "big" in self.state, refused,
              [...self.scan("big")][0][1].size, self.reader("none")];
    }"""
    written: list[bytes] = []

    def write(key: str, token: int, piece: bytes) -> bytes:
        written.append(piece)
        return encode_answer()

    whole = b"hello"
    run = js.run(
        text,
        state={"big": big},
        answers={
            "blob_open": lambda key, writes: encode_answer(big if key == "big" else None),
            "blob_read": lambda key, digest, at, size: encode_answer(whole[at : at + size]),
            "blob_write": write,
            "blob_close": lambda key, token: encode_answer("abc", big),
        },
    )
    assert run.error is None, run.error
    read = [5, "000", b"he", 4, b"o", None]
    refused = 'self.state["big"] is a big value; read it with self.reader'
    assert run.value == [read, "abc", ["big", "new"], True, refused, 5, None]
    assert b"".join(written) == "zé".encode() + b"\0\xff" + b"x" * 70000
    assert run.writes == {}
