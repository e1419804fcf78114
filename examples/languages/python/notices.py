"""What a customer has been told, `notices/NAME`: the newest hundred.

A message takes effect once, and those of one order come in their order, so nothing here looks for
doubles.
"""

NOTICES_MAX = 100


def _key_of(number: int) -> str:
    return f"notice/{number:08}"


def notify(self, order: str, status: str) -> None:
    number = self.state.get("newest", 0) + 1
    self.state["newest"] = number
    self.state[_key_of(number)] = {"order": order, "status": status, "at_ms": self.now()}
    self.state.pop(_key_of(number - NOTICES_MAX), None)


async def read(self) -> list:
    lines = await self.scan("notice/")
    return [{"order": line["order"], "status": line["status"]} for _, line in lines]
