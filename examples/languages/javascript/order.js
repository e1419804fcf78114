// An order, `order/NUMBER`: a state machine whose steps touch the stock and tell the customer.

const PAY_WITHIN_MS = 15 * 60 * 1000;
const COUNT_MAX = 1000;

// MOVES[event][status]: where the event leads from there, and whether the goods go back to stock.
const MOVES = {
  create: { new: { to: "created" } },
  pay: { created: { to: "paid" } },
  ship: { paid: { to: "shipped" } },
  deliver: { shipped: { to: "delivered" } },
  cancel: { created: { to: "cancelled", givesBack: true } },
  expire: { created: { to: "cancelled", givesBack: true } },
  refund: { paid: { to: "refunded", givesBack: true }, delivered: { to: "refunded" } },
};

function refuse(code, message) {
  throw new LithoxError(code, message);
}

function current(self) {
  return self.state.order ?? { status: "new", steps: [] };
}

// The node answers a request it has seen from its record, as long as it keeps that. The order
// remembers for good: the same event under the same id is the step that was made then.
function findStep(self, order, event) {
  const request = self.requestId;
  return request && order.steps.find((step) => step.request === request && step.event === event);
}

// Makes one step, or throws and leaves nothing. The order, the stock, the timer and the message
// change in one transaction.
function move(self, event) {
  const order = current(self);
  const made = findStep(self, order, event);
  if (made) return made.status;
  const step = MOVES[event][order.status];
  if (!step) refuse("not_allowed", `${self.id} is ${order.status}: no ${event}`);
  if (order.status === "created") self.cancel(order.payment_timer);
  if (step.givesBack) self.call(`stock/${order.item}`, "release", order.count);
  order.status = step.to;
  const request = self.requestId ? { request: self.requestId } : {};
  order.steps.push({ event, status: step.to, at_ms: self.now(), ...request });
  self.send(`notices/${order.customer}`, "notify", self.id, step.to);
  return step.to;
}

export function create(self, customer, item, count) {
  if (typeof customer !== "string" || typeof item !== "string") {
    refuse("bad_argument", "customer and item are names");
  }
  if (!Number.isInteger(count) || count < 1 || count > COUNT_MAX) {
    refuse("bad_argument", `count is a whole number from 1 to ${COUNT_MAX}`);
  }
  if (!self.state.order) {
    self.call(`stock/${item}`, "reserve", count);
    const payment_timer = self.after(PAY_WITHIN_MS, "expire");
    self.state.order = { status: "new", customer, item, count, payment_timer, steps: [] };
  }
  return move(self, "create");
}

export const pay = (self) => move(self, "pay");
export const ship = (self) => move(self, "ship");
export const deliver = (self) => move(self, "deliver");
export const cancel = (self) => move(self, "cancel");
export const refund = (self) => move(self, "refund");

// Called by the timer, that is by the entity itself, and by nobody else.
export function expire(self) {
  if (self.caller !== `entity:${self.id}`) refuse("not_allowed", "only time can expire an order");
  return move(self, "expire");
}

export function show(self) {
  const { status, customer, item, count, steps } = current(self);
  const shown = { status, steps: steps.map((step) => step.event) };
  return status === "new" ? shown : { ...shown, customer, item, count };
}
