"""An order, `order/NUMBER`: a state machine whose steps touch the stock and tell the customer."""

PAY_WITHIN_MS = 15 * 60 * 1000
COUNT_MAX = 1000

# (event, status): where the event leads from there, and whether the goods go back to stock.
MOVES = {
    ("create", "new"): ("created", False),
    ("pay", "created"): ("paid", False),
    ("ship", "paid"): ("shipped", False),
    ("deliver", "shipped"): ("delivered", False),
    ("cancel", "created"): ("cancelled", True),
    ("expire", "created"): ("cancelled", True),
    ("refund", "paid"): ("refunded", True),
    ("refund", "delivered"): ("refunded", False),
}


def _current(self) -> dict:
    return self.state.get("order", {"status": "new", "steps": []})


# The node answers a request it has seen from its record, as long as it keeps that. The order
# remembers for good: the same event under the same id is the step that was made then.
def _find_step(self, order: dict, event: str) -> dict | None:
    for step in order["steps"]:
        if self.request_id and step.get("request") == self.request_id and step["event"] == event:
            return step
    return None


# Makes one step, or raises and leaves nothing. The order, the stock, the timer and the message
# change in one transaction.
async def _move(self, event: str) -> str:
    order = _current(self)
    made = _find_step(self, order, event)
    if made:
        return made["status"]
    move = MOVES.get((event, order["status"]))
    if move is None:
        raise self.error("not_allowed", f"{self.id} is {order['status']}: no {event}")
    status, gives_back = move
    if order["status"] == "created":
        await self.cancel(order["payment_timer"])
    if gives_back:
        await self.call(f"stock/{order['item']}", "release", order["count"])
    order["status"] = status
    step = {"event": event, "status": status, "at_ms": self.now()}
    if self.request_id:
        step["request"] = self.request_id
    order["steps"].append(step)
    await self.send(f"notices/{order['customer']}", "notify", self.id, status)
    return status


async def create(self, customer: str, item: str, count: int) -> str:
    if type(customer) is not str or type(item) is not str:
        raise self.error("bad_argument", "customer and item are names")
    if type(count) is not int or not 1 <= count <= COUNT_MAX:
        raise self.error("bad_argument", f"count is a whole number from 1 to {COUNT_MAX}")
    if "order" not in self.state:
        await self.call(f"stock/{item}", "reserve", count)
        self.state["order"] = {
            "status": "new",
            "customer": customer,
            "item": item,
            "count": count,
            "payment_timer": await self.after(PAY_WITHIN_MS, "expire"),
            "steps": [],
        }
    return await _move(self, "create")


async def pay(self) -> str:
    return await _move(self, "pay")


async def ship(self) -> str:
    return await _move(self, "ship")


async def deliver(self) -> str:
    return await _move(self, "deliver")


async def cancel(self) -> str:
    return await _move(self, "cancel")


async def refund(self) -> str:
    return await _move(self, "refund")


# Called by the timer, that is by the entity itself, and by nobody else.
async def expire(self) -> str:
    if self.caller != f"entity:{self.id}":
        raise self.error("not_allowed", "only time can expire an order")
    return await _move(self, "expire")


def show(self) -> dict:
    order = _current(self)
    shown = {name: order[name] for name in ("status", "customer", "item", "count") if name in order}
    shown["steps"] = [step["event"] for step in order["steps"]]
    return shown
