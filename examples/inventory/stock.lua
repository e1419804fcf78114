-- What there is of one item, `stock/ITEM`. A part of it is held for orders that are not yet paid,
-- each hold for a while only: a timer, which is state like the rest, gives it back.
local stock = {}

function stock.receive(self, count)
  self.state.on_hand = (self.state.on_hand or 0) + count
  self.state.received = (self.state.received or 0) + count
  return self.state.on_hand
end

function stock.available(self)
  return (self.state.on_hand or 0) - (self.state.held or 0)
end

-- The transaction that makes the hold sets the timer: there is never one without the other.
function stock.reserve(self, order, count, hold_ms)
  local left = stock.available(self) - count
  if left < 0 then
    error({ code = "sold_out", message = "of " .. self.id .. " there are " .. left + count })
  end
  self.state.held = (self.state.held or 0) + count
  self.state["hold/" .. order] =
    { count = count, timer = self:after(hold_ms, "expire", order) }
  return left
end

local function end_hold(self, order)
  local hold = self.state["hold/" .. order]
  if hold == nil then error({ code = "expired", message = "the reservation is over" }) end
  self.state["hold/" .. order] = nil
  self.state.held = self.state.held - hold.count
  return hold
end

function stock.take(self, order)
  local hold = end_hold(self, order)
  self:cancel(hold.timer)
  self.state.on_hand = self.state.on_hand - hold.count
  self.state.sold = (self.state.sold or 0) + hold.count
end

function stock.release(self, order)
  self:cancel(end_hold(self, order).timer)
end

-- Called by the timer; that it is called at all says that nobody has taken or released the hold.
function stock.expire(self, order)
  end_hold(self, order)
  self.state.expired = (self.state.expired or 0) + 1
end

function stock.check(self)
  local found = { on_hand = self.state.on_hand or 0, held = self.state.held or 0,
    received = self.state.received or 0, sold = self.state.sold or 0,
    expired = self.state.expired or 0, holds = 0 }
  for _, hold in self:scan("hold/") do found.holds = found.holds + hold.count end
  return found
end

return stock
