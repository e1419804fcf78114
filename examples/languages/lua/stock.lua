-- What there is of one item, `stock/ITEM`; orders reserve and release it in their transactions.
local stock = {}

local COUNT_MAX <const> = 1000000

local function refuse(code, message)
  error({ code = code, message = message })
end

local function check_count(count)
  if math.type(count) ~= "integer" or count < 1 or count > COUNT_MAX then
    refuse("bad_argument", "count is a whole number from 1 to " .. COUNT_MAX)
  end
end

function stock.available(self)
  return self.state.available or 0
end

function stock.receive(self, count)
  check_count(count)
  self.state.available = stock.available(self) + count
  return self.state.available
end

function stock.reserve(self, count)
  check_count(count)
  local available = stock.available(self)
  if count > available then refuse("sold_out", "of " .. self.id .. " there are " .. available) end
  self.state.available = available - count
  return self.state.available
end

stock.release = stock.receive

return stock
