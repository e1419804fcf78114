"""The document with revisions promises the same in every language."""

from __future__ import annotations

import asyncio

import pytest

import lithox
from lithox.security.identities import LOCAL_OPERATOR
from tests.e2e.examples_languages.application import START_MS, Shop, Tell

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PLAN = "document/plan"
CHARACTERS_MAX = 10_000
REVISIONS_MAX = 50
PAGE_MAX = 20


def test_each_put_is_a_revision_that_can_be_read(tell: Tell) -> None:
    """The newest without a number, each by its number, with author and time; none that is not."""

    async def story(shop: Shop) -> None:
        assert await shop.call(PLAN, "put", "one", 0) == 1
        shop.pass_ms(5)
        assert await shop.call(PLAN, "put", "two äöü ☃", 1) == 2
        saved = {"author": "operator", "saved_ms": START_MS}
        first = {"revision": 1, "text": "one", **saved}
        second = {"revision": 2, "text": "two äöü ☃", **saved, "saved_ms": START_MS + 5}
        assert await shop.call(PLAN, "get") == second
        assert await shop.call(PLAN, "get", 2) == second
        assert await shop.call(PLAN, "get", 1) == first
        error = await shop.fail(PLAN, "get", 3)
        assert error.code == "app.no_such_revision"
        assert str(error) == "document/plan has no revision 3"
        assert await shop.code("document/none", "get") == "app.no_such_revision"

    tell(story)


def test_a_stale_base_is_a_conflict_that_names_the_newest(tell: Tell) -> None:
    """Who has not seen the newest revision overwrites nothing, and learns its number."""

    async def story(shop: Shop) -> None:
        await shop.call(PLAN, "put", "one", 0)
        await shop.call(PLAN, "put", "two", 1)
        for base in (0, 1, 3):
            for error in (
                await shop.fail(PLAN, "put", "late", base),
                await shop.fail(PLAN, "restore", 1, base),
            ):
                assert error.code == "app.conflict"
                assert str(error) == f"document/plan is at revision 2, not {base}"
                assert error.fields["data"] == {"newest": 2}
        assert (await shop.call(PLAN, "get"))["text"] == "two"

    tell(story)


def test_of_puts_at_one_moment_one_wins(tell: Tell) -> None:
    """Twelve who save on the same base: one revision is made, the others are told."""

    async def story(shop: Shop) -> None:
        puts = [shop.call(PLAN, "put", f"text {i}", 0) for i in range(12)]
        ends = await asyncio.gather(*puts, return_exceptions=True)
        assert [end for end in ends if end == 1] == [1]
        errors = [end for end in ends if isinstance(end, lithox.LithoxError)]
        assert [error.code for error in errors] == ["app.conflict"] * 11

    tell(story)


def test_an_old_revision_becomes_the_newest_again(tell: Tell) -> None:
    """Restoring is a revision of its own that says where its text is from; nothing is lost."""

    async def story(shop: Shop) -> None:
        await shop.call(PLAN, "put", "one", 0)
        await shop.call(PLAN, "put", "two", 1)
        assert await shop.call(PLAN, "restore", 1, 2) == 3
        assert (await shop.call(PLAN, "get"))["text"] == "one"
        assert (await shop.call(PLAN, "get", 2))["text"] == "two"
        told = {"author": "operator", "saved_ms": START_MS}
        assert await shop.call(PLAN, "history") == {
            "revisions": [
                {"revision": 1, **told},
                {"revision": 2, **told},
                {"revision": 3, **told, "restored_from": 1},
            ],
            "more": False,
        }
        assert await shop.code(PLAN, "restore", 9, 3) == "app.no_such_revision"

    tell(story)


def test_history_comes_in_pages(tell: Tell) -> None:
    """Each page begins behind a number and says whether there are more; the last says no."""

    async def story(shop: Shop) -> None:
        assert await shop.call(PLAN, "history") == {"revisions": [], "more": False}
        for base in range(2 * PAGE_MAX):
            await shop.call(PLAN, "put", "text", base)
        numbers, more, after = [], True, None
        while more:
            page = await shop.call(PLAN, "history", after)
            numbers.append([one["revision"] for one in page["revisions"]])
            more, after = page["more"], numbers[-1][-1]
        first, second = range(1, PAGE_MAX + 1), range(PAGE_MAX + 1, 2 * PAGE_MAX + 1)
        assert numbers == [list(first), list(second)]
        nothing = {"revisions": [], "more": False}
        assert await shop.call(PLAN, "history", after) == nothing

    tell(story)


def test_the_oldest_revisions_make_room(tell: Tell) -> None:
    """A bounded number is kept; what has left cannot be read or restored, numbers go on."""

    async def story(shop: Shop) -> None:
        for base in range(REVISIONS_MAX + 2):
            assert await shop.call(PLAN, "put", f"text {base + 1}", base) == base + 1
        page = await shop.call(PLAN, "history")
        assert [one["revision"] for one in page["revisions"]][:2] == [3, 4]
        for gone in (1, 2):
            assert await shop.code(PLAN, "get", gone) == "app.no_such_revision"
        assert (await shop.call(PLAN, "get", 3))["text"] == "text 3"
        kept = shop.node.admin_list_state(PLAN, "revision/", "", 100, LOCAL_OPERATOR)
        assert len(kept["items"]) == REVISIONS_MAX

    tell(story)


def test_what_is_out_of_bounds_is_refused_and_saves_nothing(tell: Tell) -> None:
    """Text is text of so many characters, however many bytes they take; numbers are whole."""

    async def story(shop: Shop) -> None:
        assert await shop.call(PLAN, "put", "☃" * CHARACTERS_MAX, 0) == 1
        assert await shop.call(PLAN, "put", "😀" * CHARACTERS_MAX, 1) == 2
        assert await shop.call(PLAN, "put", "", 2) == 3
        error = await shop.fail(PLAN, "put", "x" * (CHARACTERS_MAX + 1), 3)
        assert error.code == "app.too_long"
        assert str(error) == f"text has at most {CHARACTERS_MAX} characters"
        for bad in (None, 5, True, b"\xff", [], {}):
            assert await shop.code(PLAN, "put", bad, 3) == "app.bad_argument", bad
        for bad in (None, -1, 0.5, "3", True, []):
            error = await shop.fail(PLAN, "put", "text", bad)
            assert error.code == "app.bad_argument", bad
            assert str(error) == "base_revision is a whole number from 0"
        for handler in ("get", "history"):
            for bad in (-1, 0.5, "3", True, []):
                assert await shop.code(PLAN, handler, bad) == "app.bad_argument", bad
        assert (await shop.call(PLAN, "get"))["revision"] == 3

    tell(story)
