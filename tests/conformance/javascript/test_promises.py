"""Promises: all jobs are run to the end, and one that cannot end is an error."""

from __future__ import annotations

import pytest

from tests.conformance.javascript.driver import Javascript


def test_jobs_run_to_the_end(js: Javascript) -> None:
    """What a handler started and did not wait for is done before the run ends."""
    text = """async function later(self) {
      for (let i = 0; i < 10; i++) await null;
      self.state.done = true;
    }
    export function go(self) {
      later(self);
      queueMicrotask(() => { self.state.micro = 1 });
      return 1;
    }
    """
    run = js.run(text)
    assert (run.value, run.writes) == (1, {"done": True, "micro": 1})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "await new Promise(() => {})",
            "TypeError: the handler waits for a promise that can never",
        ),
        ("Promise.reject(new Error('unseen'))", "unseen"),
        ("(async () => { await null; throw new Error('deep') })()", "deep"),
        ("queueMicrotask(() => { throw new Error('micro') })", "micro"),
        ("await Promise.all([1, Promise.reject(new Error('one of all'))])", "one of all"),
        ("for await (const x of (async function* () { throw new Error('gen') })()) x", "gen"),
    ],
)
def test_what_nobody_would_see_is_an_error(js: Javascript, body: str, message: str) -> None:
    """A rejection nobody handles, and a promise that cannot settle, fail the run."""
    run = js.run(f"export async function go(self) {{ self.state.a = 1; {body} }}")
    assert run.error is not None
    assert run.error.message.startswith(message)
    assert run.writes == {}


def test_rejection_that_is_handled_late_is_none(js: Javascript) -> None:
    """Handled before the run ends is handled."""
    text = """export async function go(self) {
      const p = Promise.reject(new Error("x"));
      await null; await null;
      try { await p } catch { return "caught" }
    }"""
    assert js.value(text) == "caught"


def test_methods_may_be_awaited(js: Javascript) -> None:
    """They return when the answer is there; to await that does no harm."""
    text = "export async function go(self) { return [await self.now(), await self.state.a] }"
    assert js.value(text, state={"a": 1}) == [1_764_000_000_123, 1]
