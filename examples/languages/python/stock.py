"""What there is of one item, `stock/ITEM`; orders reserve and release it in their transactions."""

COUNT_MAX = 1_000_000


def _check_count(self, count: int) -> None:
    if type(count) is not int or not 1 <= count <= COUNT_MAX:
        raise self.error("bad_argument", f"count is a whole number from 1 to {COUNT_MAX}")


def available(self) -> int:
    return self.state.get("available", 0)


def receive(self, count: int) -> int:
    _check_count(self, count)
    self.state["available"] = available(self) + count
    return self.state["available"]


def release(self, count: int) -> int:
    return receive(self, count)


def reserve(self, count: int) -> int:
    _check_count(self, count)
    there = available(self)
    if count > there:
        raise self.error("sold_out", f"of {self.id} there are {there}")
    self.state["available"] = there - count
    return self.state["available"]
