"""The C SDK beyond what all languages have: errors that stay, places, memory, long messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import lithox
from sdk.c.build import BuildError, build_module, read_module
from tests.repo.checkout import ROOT

HANDLERS = r"""
#include <lithox.h>
static lx_value refuse(void) {
  return lx_fail("mine", "line four");
}
LX_HANDLER(place) { return refuse(); }
LX_HANDLER(careless) { /* nobody looks at the error: nothing of this may stay */
  lx_put(LX("before"), lx_int(1));
  lx_call(LX("no such/entity"), LX("go"), lx_list_of());
  lx_put(LX("after"), lx_int(2));
  lx_send(LX("test/other"), LX("get"), lx_list_of());
  return lx_text(LX("done"));
}
LX_HANDLER(first_error) {
  lx_fail("first", "the cause");
  lx_fail("second", "what came of it");
  return lx_null();
}
LX_HANDLER(careful) {
  lx_error error;
  lx_put(LX("before"), lx_int(1));
  lx_call(LX("no such/entity"), LX("go"), lx_list_of());
  if (!lx_catch(&error)) return lx_fail("", "nothing to catch");
  lx_put(LX("after"), lx_text(error.code));
  return lx_get(LX("after"));
}
LX_HANDLER(wrong_argument) { return lx_int(lx_arg_int(0, 5)); }
LX_HANDLER(length) { return lx_int(lx_arg_text(0, LX("")).length); }
LX_HANDLER(numbers) {
  lx_value list = lx_list();
  int64_t all[] = {0, -1, 9, 10, INT64_MAX, INT64_MIN};
  for (uint32_t i = 0; i < 6; i++) lx_push(&list, lx_text(lx_str_of_int(all[i])));
  return list;
}
LX_HANDLER(maps) {
  lx_value map = lx_map();
  lx_set(&map, LX("b"), lx_int(1));
  lx_set(&map, LX("a"), lx_int(2));
  lx_set(&map, LX("ab"), lx_int(3));
  lx_set(&map, LX("b"), lx_int(4));
  lx_value first = lx_bool(lx_remove(&map, LX("a"))), second = lx_bool(lx_remove(&map, LX("a")));
  lx_value removed = lx_list_of(first, second);
  return lx_list_of(map, removed, lx_field(map, LX("none")), lx_item(removed, 7));
}
LX_HANDLER(log_much) {
  uint64_t pages = __builtin_wasm_memory_size(0);
  for (int i = 0; i < 2000; i++) lx_log(LX("debug"), LX("a line that takes no memory"), lx_null());
  return lx_int((int64_t)(__builtin_wasm_memory_size(0) - pages));
}
LX_HANDLER(codec) {
  lx_value back = lx_decode(lx_encode(lx_arg(0)));
  lx_decode(LX("\xc1"));
  return lx_list_of(back, lx_bool(lx_catch(NULL)));
}
LX_HANDLER(no_text) {
  static const char *const wrong[] = {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                      "\xf5", "\xe2\x82", "\x80"};
  lx_value refused = lx_list();
  for (uint32_t i = 0; i < 6; i++) {
    lx_encode(lx_text(lx_str_of(wrong[i])));
    bool is_refused = lx_catch(NULL);
    lx_push(&refused, lx_bool(is_refused));
  }
  return refused;
}
"""
MANIFEST = '[[template]]\nmatch = "test/*"\nlanguage = "wasm"\nsource = "sdk.wasm"\n'
Call = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that can be deployed, with the module of HANDLERS."""
    folder = tmp_path_factory.mktemp("sdk")
    source = folder / "sdk.c"
    source.write_text(HANDLERS)
    (folder / "sdk.wasm").write_bytes(read_module(source))
    (folder / "lithox.toml").write_text(MANIFEST)
    return folder


def with_node(
    bundle: Path, tmp_path: Path, story: Callable[[lithox.Node], Awaitable[None]]
) -> None:
    """Runs `story` with a node that serves `bundle`."""

    async def body() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            await node.deploy(bundle)
            await story(node)

    asyncio.run(body())


def test_error_tells_its_place_in_c(bundle: Path, tmp_path: Path) -> None:
    """`lx_fail` notes the C file, the line and the function."""

    async def story(node: lithox.Node) -> None:
        with pytest.raises(lithox.GuestRaised) as caught:
            await node.call("test/a", "place")
        assert (caught.value.code, caught.value.message) == ("app.mine", "line four")
        assert caught.value.fields["traceback"] == "sdk.c:4: in refuse"

    with_node(bundle, tmp_path, story)


def test_error_nobody_takes_fails_the_run(bundle: Path, tmp_path: Path) -> None:
    """After a refused call nothing is asked any more, and nothing of the run stays."""

    async def story(node: lithox.Node) -> None:
        with pytest.raises(lithox.GuestRaised) as caught:
            await node.call("test/a", "careless")
        assert caught.value.code == "app.request.bad_arguments"
        with pytest.raises(lithox.GuestRaised) as caught:
            await node.call("test/a", "first_error")
        assert (caught.value.code, caught.value.message) == ("app.first", "the cause")
        assert await node.call("test/a", "careful") == "request.bad_arguments"

    with_node(bundle, tmp_path, story)


def test_argument_of_another_kind_is_told(bundle: Path, tmp_path: Path) -> None:
    """The first wrong argument is named by its number and what it should be."""

    async def story(node: lithox.Node) -> None:
        assert await node.call("test/a", "wrong_argument") == 5
        assert await node.call("test/a", "wrong_argument", 7) == 7
        with pytest.raises(lithox.GuestRaised) as caught:
            await node.call("test/a", "wrong_argument", "seven")
        assert caught.value.message == "argument 1: expected an integer"

    with_node(bundle, tmp_path, story)


def test_values_are_what_they_were_made(bundle: Path, tmp_path: Path) -> None:
    """Numbers, maps, missing fields, encoding and text that is none."""

    async def story(node: lithox.Node) -> None:
        assert await node.call("test/a", "numbers") == [
            str(number) for number in (0, -1, 9, 10, 2**63 - 1, -(2**63))
        ]
        assert await node.call("test/a", "maps") == [{"ab": 3, "b": 4}, [True, False], None, None]
        value = {"a": [1, 2.5, None, {"b": b"\xff"}], "c": "x" * 300}
        assert await node.call("test/a", "codec", value) == [value, True]
        assert await node.call("test/a", "no_text") == [True] * 6

    with_node(bundle, tmp_path, story)


@pytest.mark.parametrize("length", [16_000, 17_000, 1_000_000])
def test_long_messages_arrive_whole(bundle: Path, tmp_path: Path, length: int) -> None:
    """Arguments beyond the standing inbox go through `lx_reserve`."""

    async def story(node: lithox.Node) -> None:
        assert await node.call("test/a", "length", "x" * length) == length
        assert await node.call("test/a", "length", "x") == 1

    with_node(bundle, tmp_path, story)


def test_log_lines_take_no_memory(bundle: Path, tmp_path: Path) -> None:
    """What only goes out is given back to the arena."""

    async def story(node: lithox.Node) -> None:
        assert await node.call("test/a", "log_much") == 0

    with_node(bundle, tmp_path, story)


def test_example_counts(tmp_path: Path) -> None:
    """The counter of examples/wasm-counter is built, deployed and counts."""
    folder = ROOT / "examples" / "wasm-counter"
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "counter.wasm").write_bytes(read_module(folder / "counter.c"))
    (bundle / "lithox.toml").write_bytes((folder / "lithox.toml").read_bytes())

    async def story(node: lithox.Node) -> None:
        assert [await node.call("counter/a", "increment", by) for by in (1, 5, -2)] == [1, 6, 4]
        assert await node.call("counter/a", "get") == 4

    with_node(bundle, tmp_path, story)


def test_restart_does_not_compile(bundle: Path, tmp_path: Path) -> None:
    """The first call after a restart finds machine code on the disk."""

    async def story(node: lithox.Node) -> None:
        assert await node.call("test/a", "wrong_argument") == 5

    with_node(bundle, tmp_path, story)

    async def again() -> None:
        async with lithox.Node(tmp_path / "data") as node:
            assert await node.call("test/a", "wrong_argument") == 5
            statistics = node.statistics()
            assert statistics["sandbox_wasm_cache_misses"] == 0
            assert statistics["sandbox_wasm_cache_hits"] == 1

    asyncio.run(again())


def test_c_that_does_not_compile_is_told(tmp_path: Path) -> None:
    """The builder gives what the compiler said."""
    source = tmp_path / "wrong.c"
    source.write_text("#include <lithox.h>\nLX_HANDLER(go) { return 1 }\n")
    with pytest.raises(BuildError, match=r"wrong\.c:2:\d+: error"):
        build_module(source, tmp_path / "wrong.wasm")
