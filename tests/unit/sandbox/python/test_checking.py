"""The check knows what `self` is, and tells places of the text as it was written."""

from __future__ import annotations

import json

import pytest

from lithox.errors import CompileFailed
from lithox.sandbox.python.checking import bind_self, judge_types, refuse_without_self

TEXT = "x = 1\ndef a(self, by=1): return by\nasync def b(\n    self\n): pass\ndef c(me): pass\n"


def test_self_is_bound_and_columns_stay() -> None:
    """Only parameters called self, and what stands behind them is told where it was written."""
    checked = bind_self(TEXT)
    assert checked.text == TEXT.replace("a(self,", "a(self: LithoxSelf,").replace(
        "    self\n", "    self: LithoxSelf\n"
    )
    assert checked.places == {2: 10, 4: 8}
    for told, column in ((5, 5), (10, 10), (24, 12)):
        line = {"code": "c", "location": {"row": 2, "column": told}, "message": "m"}
        with pytest.raises(CompileFailed) as caught:
            judge_types(json.dumps(line), "a.py", checked)
        assert caught.value.fields["column"] == column


def test_handler_without_self_is_refused() -> None:
    """Unless another takes its name, a decorator makes something else of it, or it is used."""
    text = (
        "def a(self): pass\ndef b(\n): pass\n@cache\ndef c(): pass\ndef d(): pass\ndef d(x): pass\n"
        "def e(): pass\nx = e()\n"
    )
    refuse_without_self(text, "a.py", ["a", "c", "d", "e"])
    with pytest.raises(CompileFailed) as caught:
        refuse_without_self(text, "a.py", ["a", "b"])
    assert caught.value.fields == {"file": "a.py", "line": 2, "column": 7, "expected": "self"}
