"""A rate limiter, `limit/NAME`: a bucket of at most `capacity` tokens, filled by `per_second`."""

CAPACITY_MAX = 1_000_000
PER_SECOND_MAX = 1_000_000

# Tokens are counted in thousandths. A rate per second is then one per millisecond, and everything
# is a whole number: nothing is lost by rounding, however often somebody asks.
UNITS = 1000


def _check_integer(self, name: str, value: int, largest: int) -> None:
    # A bool is an int to `isinstance`, but nobody means five times True.
    if type(value) is not int or not 1 <= value <= largest:
        raise self.error("bad_argument", f"{name} is a whole number from 1 to {largest}")


def _bucket_of(self) -> dict:
    bucket = self.state.get("bucket")
    if bucket is None:
        raise self.error("not_configured", f"{self.id} is not configured")
    return bucket


# What is in the bucket now. A clock that was set back takes nothing away.
def _level_of(self, bucket: dict) -> int:
    passed_ms = max(self.now() - bucket["filled_ms"], 0)
    return min(bucket["level"] + passed_ms * bucket["per_second"], bucket["capacity"] * UNITS)


# A new bucket is full; one that is there keeps what is in it, as far as that has room.
def configure(self, capacity: int, per_second: int) -> None:
    _check_integer(self, "capacity", capacity, CAPACITY_MAX)
    _check_integer(self, "per_second", per_second, PER_SECOND_MAX)
    full = capacity * UNITS
    old = self.state.get("bucket")
    self.state["bucket"] = {
        "capacity": capacity,
        "per_second": per_second,
        "level": min(_level_of(self, old), full) if old else full,
        "filled_ms": self.now(),
    }


# Takes `cost` tokens if they are there. "No" is an answer: it says when to come back.
def take(self, cost: int | None = None) -> dict:
    bucket = _bucket_of(self)
    if cost is None:
        cost = 1
    _check_integer(self, "cost", cost, bucket["capacity"])
    level = _level_of(self, bucket)
    missing = max(cost * UNITS - level, 0)
    if missing == 0:
        level -= cost * UNITS
        bucket["level"] = level
        bucket["filled_ms"] = max(self.now(), bucket["filled_ms"])
    return {
        "allowed": missing == 0,
        "remaining": level // UNITS,
        "retry_after_ms": -(-missing // bucket["per_second"]),
    }


def status(self) -> dict:
    bucket = _bucket_of(self)
    return {
        "capacity": bucket["capacity"],
        "per_second": bucket["per_second"],
        "remaining": _level_of(self, bucket) // UNITS,
    }
