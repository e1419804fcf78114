-- Packs parcels, `shipping/main`. It does not ask whether it has packed an order before: a message
-- takes effect exactly once, and those of one sender come in the order in which they were sent.
local shipping = {}

function shipping.ship(self, order, items)
  local number = (self.state.parcels or 0) + 1
  self.state.parcels = number
  self.state[string.format("parcel/%08d", number)] = { order = order, items = items }
  self:send(order, "shipped", number)
end

function shipping.count(self)
  return self.state.parcels or 0
end

return shipping
