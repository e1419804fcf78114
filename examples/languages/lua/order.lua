-- An order, `order/NUMBER`: a state machine whose steps touch the stock and tell the customer.
local order = {}

local PAY_WITHIN_MS <const> = 15 * 60 * 1000
local COUNT_MAX <const> = 1000

-- MOVES[event][status]: where the event leads from there, and whether the goods go back to stock.
local MOVES <const> = {
  create = { new = { to = "created" } },
  pay = { created = { to = "paid" } },
  ship = { paid = { to = "shipped" } },
  deliver = { shipped = { to = "delivered" } },
  cancel = { created = { to = "cancelled", gives_back = true } },
  expire = { created = { to = "cancelled", gives_back = true } },
  refund = { paid = { to = "refunded", gives_back = true }, delivered = { to = "refunded" } },
}

local function refuse(code, message)
  error({ code = code, message = message })
end

local function current(self)
  return self.state.order or { status = "new", steps = lithox.list {} }
end

-- The node answers a request it has seen from its record, as long as it keeps that. The order
-- remembers for good: the same event under the same id is the step that was made then.
local function find_step(self, found, event)
  for _, step in ipairs(found.steps) do
    if self.request_id and step.request == self.request_id and step.event == event then
      return step
    end
  end
end

-- Makes one step, or raises and leaves nothing. The order, the stock, the timer and the message
-- change in one transaction.
local function move(self, event)
  local found = current(self)
  local made = find_step(self, found, event)
  if made then return made.status end
  local step = MOVES[event][found.status]
  if not step then
    refuse("not_allowed", self.id .. " is " .. found.status .. ": no " .. event)
  end
  if found.status == "created" then self:cancel(found.payment_timer) end
  if step.gives_back then self:call("stock/" .. found.item, "release", found.count) end
  found.status = step.to
  table.insert(found.steps, {
    event = event, status = step.to, at_ms = self:now(), request = self.request_id,
  })
  self:send("notices/" .. found.customer, "notify", self.id, step.to)
  return step.to
end

function order.create(self, customer, item, count)
  if type(customer) ~= "string" or type(item) ~= "string" then
    refuse("bad_argument", "customer and item are names")
  end
  if math.type(count) ~= "integer" or count < 1 or count > COUNT_MAX then
    refuse("bad_argument", "count is a whole number from 1 to " .. COUNT_MAX)
  end
  if not self.state.order then
    self:call("stock/" .. item, "reserve", count)
    self.state.order = {
      status = "new",
      customer = customer,
      item = item,
      count = count,
      steps = lithox.list {},
      payment_timer = self:after(PAY_WITHIN_MS, "expire"),
    }
  end
  return move(self, "create")
end

function order.pay(self) return move(self, "pay") end

function order.ship(self) return move(self, "ship") end

function order.deliver(self) return move(self, "deliver") end

function order.cancel(self) return move(self, "cancel") end

function order.refund(self) return move(self, "refund") end

-- Called by the timer, that is by the entity itself, and by nobody else.
function order.expire(self)
  if self.caller ~= "entity:" .. self.id then
    refuse("not_allowed", "only time can expire an order")
  end
  return move(self, "expire")
end

function order.show(self)
  local found = current(self)
  local steps = lithox.list {}
  for _, step in ipairs(found.steps) do steps[#steps + 1] = step.event end
  return {
    status = found.status, customer = found.customer, item = found.item, count = found.count,
    steps = steps,
  }
end

return order
