-- What there is of one item, `stock/ITEM`; orders reserve and release it in their own transactions.
local stock = {}

local function check_count(count)
  if math.type(count) ~= "integer" or count < 1 then
    error({ code = "bad_argument", message = "count is a whole number from 1" })
  end
end

local function add(self, count)
  self.state.available = (self.state.available or 0) + count
  return self.state.available
end

function stock.receive(self, count)
  check_count(count)
  return add(self, count)
end

function stock.reserve(self, count)
  check_count(count)
  local available = self.state.available or 0
  if count > available then
    error({ code = "sold_out", message = "of " .. self.id .. " there are " .. available })
  end
  return add(self, -count)
end

function stock.release(self, count)
  check_count(count)
  return add(self, count)
end

function stock.available(self)
  return self.state.available or 0
end

return stock
