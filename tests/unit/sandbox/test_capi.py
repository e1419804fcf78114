"""Tests of `lithox.sandbox.capi`: the layouts and symbols we declare are the library's own."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
from typing import Any

import pytest
import wasmtime
from wasmtime import _bindings as bindings  # pyright: ignore[reportPrivateUsage]

from lithox.errors import ConfigError
from lithox.sandbox import capi


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wasmtime_val_t", capi.VAL_WORDS),
        ("wasmtime_func_t", capi.FUNC_WORDS),
        ("wasmtime_memory_t", capi.MEMORY_WORDS),
        ("wasmtime_instance_t", capi.INSTANCE_WORDS),
        ("wasmtime_extern_t", capi.EXTERN_WORDS),
    ],
)
def test_capi_sizes_are_those_of_the_headers(name: str, words: int) -> None:
    """Each struct has the number of 64-bit words we reserve for it."""
    assert ctypes.sizeof(getattr(bindings, name)) == 8 * words


@pytest.mark.parametrize("name", ["wasmtime_val_t", "wasmtime_extern_t"])
def test_capi_unions_begin_at_byte_eight(name: str) -> None:
    """A value's kind is at byte 0 and the value at byte 8."""
    kind = getattr(bindings, name)
    assert (kind.kind.offset, kind.of.offset) == (0, 8)


def test_capi_continuation_is_three_words() -> None:
    """Function, its argument, finalizer: in this order."""
    kind: Any = bindings.wasmtime_async_continuation_t
    assert [kind.callback.offset, kind.env.offset, kind.finalizer.offset] == [0, 8, 16]


def test_capi_trap_names_follow_the_codes() -> None:
    """The codes we act on are the library's."""
    codes = wasmtime.TrapCode
    assert codes.OUT_OF_FUEL.value == capi.TRAP_OUT_OF_FUEL
    assert codes.UNREACHABLE.value == capi.TRAP_UNREACHABLE
    assert codes.UNCAUGHT_EXCEPTION.value == capi.TRAP_UNCAUGHT_EXCEPTION
    names = {code.value: code.name.lower().split("_")[0] for code in codes}
    for code, name in enumerate(capi.TRAP_NAMES):
        assert name.startswith(names[code]), (code, name)


_ALL = capi.DECLARED | capi.COMPONENT_DECLARED


@pytest.mark.parametrize("name", sorted({*_ALL} - {"wasm_functype_new"}))
def test_capi_declares_as_many_arguments_as_the_headers(name: str) -> None:
    """Each function takes the number of arguments the generated bindings give it."""
    if not hasattr(bindings, f"_{name}"):
        pytest.fail(f"the bindings have no {name}")
    declared = _ALL[name][1]
    theirs = getattr(bindings, f"_{name}").argtypes
    assert [ctypes.sizeof(kind) for kind in declared] == [ctypes.sizeof(kind) for kind in theirs]


def test_capi_refuses_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another wasmtime is refused with the command that mends it."""
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "50.0.2")
    with pytest.raises(ConfigError) as caught:
        capi.open_library()
    assert caught.value.message == (
        "the sandbox needs wasmtime 50.0.1 exactly; found 50.0.2; install wasmtime==50.0.1"
    )


def test_capi_refuses_when_the_package_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wasmtime at all is the operator's to mend, too."""

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(ConfigError) as caught:
        capi.find_library_path()
    assert "found none" in caught.value.message


def test_capi_refuses_a_python_it_was_not_tried_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that checks its C stack is refused until that check is shown to pass on a fibre."""
    monkeypatch.setattr(capi.sys, "version_info", (3, 14, 0, "final", 0))
    with pytest.raises(ConfigError) as caught:
        capi.open_library()
    assert caught.value.message == "the sandbox runs on Python before 3.14; found 3.14"


def test_capi_refuses_a_library_without_a_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing function is found when the library is opened, by name."""
    monkeypatch.setitem(capi.DECLARED, "wasmtime_gone_in_51", (None, ()))
    with pytest.raises(ConfigError) as caught:
        capi.open_library()
    assert caught.value.fields == {"key": "wasmtime_gone_in_51"}


def test_capi_refuses_a_foreign_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine the wheel has no library for is named."""
    monkeypatch.setattr(capi.platform, "machine", lambda: "riscv64")
    with pytest.raises(ConfigError) as caught:
        capi.open_library()
    assert caught.value.message.endswith("on riscv64")
