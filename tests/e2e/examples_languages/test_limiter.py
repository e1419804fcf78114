"""The rate limiter promises the same in every language."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.examples_languages.application import Shop, Tell

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LIMIT = "limit/api"
CAPACITY_MAX = PER_SECOND_MAX = 1_000_000
HOUR_MS = 3_600_000


def test_a_full_bucket_empties_and_fills_with_time(tell: Tell) -> None:
    """As much as the capacity at once, then as much as time brings, never above the capacity."""

    async def story(shop: Shop) -> None:
        await shop.call(LIMIT, "configure", 10, 4)
        yes = {"allowed": True, "remaining": 1, "retry_after_ms": 0}
        assert await shop.call(LIMIT, "take", 9) == yes
        no = {"allowed": False, "remaining": 1, "retry_after_ms": 500}
        assert await shop.call(LIMIT, "take", 3) == no
        shop.pass_ms(499)
        assert await shop.call(LIMIT, "take", 3) == {**no, "remaining": 2, "retry_after_ms": 1}
        shop.pass_ms(1)
        assert await shop.call(LIMIT, "take", 3) == {**yes, "remaining": 0}
        shop.pass_ms(HOUR_MS)
        status = {"capacity": 10, "per_second": 4, "remaining": 10}
        assert await shop.call(LIMIT, "status") == status

    tell(story)


def test_one_token_is_taken_when_nothing_is_said(tell: Tell) -> None:
    """The cost is 1 when it is left out or nil."""

    async def story(shop: Shop) -> None:
        await shop.call(LIMIT, "configure", 3, 1)
        assert (await shop.call(LIMIT, "take"))["remaining"] == 2
        assert (await shop.call(LIMIT, "take", None))["remaining"] == 1

    tell(story)


def test_nothing_is_lost_by_rounding(tell: Tell) -> None:
    """Asked each 10 ms, a bucket of 3 tokens a second gives exactly 3 of them in a second."""

    async def story(shop: Shop) -> None:
        await shop.call(LIMIT, "configure", 5, 3)
        await shop.call(LIMIT, "take", 5)
        allowed = 0
        for _ in range(100):
            shop.pass_ms(10)
            allowed += (await shop.call(LIMIT, "take"))["allowed"]
        assert allowed == 3
        waits = await shop.call(LIMIT, "take")
        assert waits == {"allowed": False, "remaining": 0, "retry_after_ms": 334}

    tell(story)


def test_a_clock_set_back_takes_nothing_away(tell: Tell) -> None:
    """Time that runs back neither fills nor empties, and what it takes back is not given twice."""

    async def story(shop: Shop) -> None:
        await shop.call(LIMIT, "configure", 10, 1)
        await shop.call(LIMIT, "take", 6)
        shop.pass_ms(-HOUR_MS)
        assert (await shop.call(LIMIT, "take", 1))["remaining"] == 3
        shop.pass_ms(HOUR_MS)
        assert (await shop.call(LIMIT, "status"))["remaining"] == 3
        shop.pass_ms(2_000)
        assert (await shop.call(LIMIT, "status"))["remaining"] == 5

    tell(story)


def test_each_bucket_has_its_own_configuration(tell: Tell) -> None:
    """Two entities know nothing of each other; one that nobody has configured says so."""

    async def story(shop: Shop) -> None:
        await shop.call("limit/slow", "configure", 1, 1)
        await shop.call("limit/fast", "configure", 100, 1000)
        assert (await shop.call("limit/slow", "take"))["remaining"] == 0
        assert (await shop.call("limit/fast", "take"))["remaining"] == 99
        for handler in ("take", "status"):
            error = await shop.fail("limit/new", handler)
            assert (error.code, str(error)) == (
                "app.not_configured", "limit/new is not configured",
            )  # fmt: skip

    tell(story)


def test_a_new_configuration_keeps_what_is_in_the_bucket(tell: Tell) -> None:
    """Configuring again neither fills a bucket nor leaves more in it than it can hold."""

    async def story(shop: Shop) -> None:
        await shop.call(LIMIT, "configure", 10, 1)
        await shop.call(LIMIT, "take", 4)
        await shop.call(LIMIT, "configure", 20, 2)
        status = {"capacity": 20, "per_second": 2, "remaining": 6}
        assert await shop.call(LIMIT, "status") == status
        await shop.call(LIMIT, "configure", 5, 2)
        assert (await shop.call(LIMIT, "status"))["remaining"] == 5

    tell(story)


def test_what_is_out_of_bounds_is_refused_and_changes_nothing(tell: Tell) -> None:
    """Capacity, rate and cost are whole numbers within their bounds; the message names them."""

    async def story(shop: Shop) -> None:
        await shop.call(LIMIT, "configure", 10, 4)
        for bad in (0, -1, 0.5, "ten", None, True, [], CAPACITY_MAX + 1, -(2**63), 2**63 - 1):
            error = await shop.fail(LIMIT, "configure", bad, 1)
            assert error.code == "app.bad_argument", bad
            assert str(error) == f"capacity is a whole number from 1 to {CAPACITY_MAX}"
            error = await shop.fail(LIMIT, "configure", 1, bad)
            assert error.code == "app.bad_argument", bad
            assert str(error) == f"per_second is a whole number from 1 to {PER_SECOND_MAX}"
        for bad in (0, -1, 0.5, "one", True, [], 11, -(2**63), 2**63 - 1):
            error = await shop.fail(LIMIT, "take", bad)
            assert (error.code, str(error)) == (
                "app.bad_argument", "cost is a whole number from 1 to 10",
            )  # fmt: skip
        status = {"capacity": 10, "per_second": 4, "remaining": 10}
        assert await shop.call(LIMIT, "status") == status

    tell(story)


def test_the_largest_bucket_works_for_years(tell: Tell) -> None:
    """At its bounds, and after a long rest, a bucket counts exactly."""

    async def story(shop: Shop) -> None:
        await shop.call(LIMIT, "configure", CAPACITY_MAX, PER_SECOND_MAX)
        assert (await shop.call(LIMIT, "take", CAPACITY_MAX))["remaining"] == 0
        shop.pass_ms(1)
        assert (await shop.call(LIMIT, "status"))["remaining"] == 1000
        shop.pass_ms(200 * 365 * 24 * HOUR_MS)
        assert (await shop.call(LIMIT, "take", CAPACITY_MAX - 1))["remaining"] == 1

    tell(story)


def test_of_many_who_take_at_once_as_many_as_fit_are_allowed(tell: Tell) -> None:
    """Forty at one moment share a bucket of 25."""

    async def story(shop: Shop) -> None:
        await shop.call(LIMIT, "configure", 25, 1)
        answers = await asyncio.gather(*(shop.call(LIMIT, "take") for _ in range(40)))
        assert sum(answer["allowed"] for answer in answers) == 25

    tell(story)
