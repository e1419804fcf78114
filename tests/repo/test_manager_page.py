"""The reference of the process manager shows what there is, as its docstrings say it."""

from __future__ import annotations

import inspect

import tests.repo.checkout  # noqa: F401 - puts tools/ on the path
from lithox import kernel

import manager_page  # isort: skip  (tools/ is put on the path by checkout)


def test_the_page_shows_all_the_kernel_exports() -> None:
    """Every class and function of `lithox.kernel` has its part of the page."""
    shown = {one for part in manager_page.PARTS for one in part.shown}
    exported = [getattr(kernel, name) for name in kernel.__all__]
    things = [one for one in exported if inspect.isclass(one) or inspect.isfunction(one)]
    assert len(things) > 10
    assert [one.__name__ for one in things if one not in shown] == []


def test_a_docstring_is_taken_apart() -> None:
    """The first paragraph, and each section with its items; colons in an item's text are text."""
    words = manager_page.read_words(
        "Does\nthis.\n\nMore.\n\nArgs:\n    one: a thing,\n        Source: there.\n"
        "    two, three: b.\n\nReturns:\n    What: it is.\n\nRaises:\n    A, B: never.\n"
    )
    assert words == manager_page.Words(
        "Does this.",
        {
            "Args": [("one", "a thing, Source: there."), ("two, three", "b.")],
            "Returns": [("", "What: it is.")],
            "Raises": [("A, B", "never.")],
        },
    )
    assert manager_page.bullets(words, "Returns", "Raises") == [
        "- returns what: it is.",
        "- raises `A`, `B`: never.",
    ]


def test_inherited_methods_and_signatures_are_told() -> None:
    """`Interactions` shows the calls of the layers it is built of, as their source says."""
    text = manager_page.class_text(kernel.Interactions)
    assert "#### Interactions.listen\n" in text
    assert "`grant(pid: int, number: int, to_pid: int) -> int`" in text
    assert "#### Interactions._" not in text
