-- An order, `order/NUMBER`: placed, then paid or cancelled; a paid one is shipped.
local order = {}

local function check_status(self, wanted)
  local status = self.state.status or "new"
  if status ~= wanted then
    error({ code = "is_" .. status, message = self.id .. " is " .. status })
  end
end

-- Holds everything or nothing: if one item is sold out, what was held of the others is not.
function order.place(self, items, hold_ms)
  check_status(self, "new")
  for item, count in pairs(items) do
    self:call("stock/" .. item, "reserve", self.id, count, hold_ms)
  end
  self.state.items, self.state.status = items, "placed"
end

-- The message leaves if this transaction commits, and then it takes effect once, whatever fails.
function order.pay(self)
  check_status(self, "placed")
  for item in pairs(self.state.items) do self:call("stock/" .. item, "take", self.id) end
  self.state.status = "paid"
  self:send("shipping/main", "ship", self.id, self.state.items)
end

function order.cancel(self)
  check_status(self, "placed")
  for item in pairs(self.state.items) do self:call("stock/" .. item, "release", self.id) end
  self.state.status = "cancelled"
end

-- A message from shipping.
function order.shipped(self, parcel)
  check_status(self, "paid")
  self.state.status, self.state.parcel = "shipped", parcel
end

function order.show(self)
  return { status = self.state.status or "new", parcel = self.state.parcel }
end

return order
