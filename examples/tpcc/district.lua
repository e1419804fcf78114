-- A district, `tpcc/W/district/D`: takes orders and payments. The rows of the benchmark's tables
-- ORDER, NEW-ORDER, ORDER-LINE and HISTORY are keys of its state.
local district = {}

local function warehouse_of(self)
  return string.match(self.id, "^(.*)/district/")
end

function district.open(self, tax)
  self.state.tax, self.state.next_order, self.state.paid, self.state.payments = tax, 1, 0, 0
end

function district.enroll(self, customer, last, discount)
  self.state["name/" .. last .. "/" .. customer] = true
  self:call(self.id .. "/customer/" .. customer, "open", last, discount)
end

-- An order of `lines`, each { item =, quantity =, from = warehouse }. One transaction: district,
-- warehouse, customer, catalogue, and the stock of every warehouse in the lines.
function district.new_order(self, customer, lines)
  local number = self.state.next_order
  self.state.next_order = number + 1
  local items, by_warehouse = lithox.list {}, {}
  for n, line in ipairs(lines) do
    items[n] = line.item
    by_warehouse[line.from] = by_warehouse[line.from] or lithox.list {}
    table.insert(by_warehouse[line.from], line)
  end
  local prices = self:call("tpcc/catalogue", "prices", items)
  local home, total = warehouse_of(self), 0
  for warehouse, taken in pairs(by_warehouse) do
    self:call(warehouse .. "/stock", "take", taken, warehouse ~= home)
  end
  for n, line in ipairs(lines) do
    line.amount = line.quantity * prices[n]
    total = total + line.amount
    self.state[string.format("line/%08d/%02d", number, n)] = line
  end
  self.state[string.format("order/%08d", number)] =
    { customer = customer, lines = #lines, at = self:now(), request = self.request_id }
  self.state[string.format("new/%08d", number)] = true
  local discount = self:call(self.id .. "/customer/" .. customer, "discount")
  local tax = self.state.tax + self:call(home, "tax")
  return { order = number, total = total * (10000 - discount) * (10000 + tax) // 100000000 }
end

-- A payment by `customer`, an entity of any district, to this district and its warehouse.
function district.pay(self, customer, amount)
  local number = self.state.payments + 1
  self.state.payments, self.state.paid = number, self.state.paid + amount
  self:call(warehouse_of(self), "pay", amount)
  self.state[string.format("history/%08d", number)] =
    { customer = customer, amount = amount, request = self.request_id }
  return self:call(customer, "pay", amount)
end

-- The same by a customer of whom only the last name is known: the one in the middle of those.
function district.pay_by_name(self, where, last, amount)
  return district.pay(self, self:call(where, "find", last), amount)
end

function district.find(self, last)
  local found = {}
  for key in self:scan("name/" .. last .. "/") do
    found[#found + 1] = self.id .. "/customer/" .. string.match(key, "[^/]*$")
  end
  return found[(#found + 1) // 2]
    or error({ code = "no_such_name", message = "nobody here is called " .. last })
end

function district.paid(self)
  return self.state.paid
end

-- What the benchmark's consistency conditions 1 to 4 compare.
function district.check(self)
  local found = {
    paid = self.state.paid, next_order = self.state.next_order,
    orders = 0, newest = 0, new_orders = 0, oldest_new = 0, newest_new = 0,
    lines = 0, lines_of_orders = 0, history = 0,
  }
  for key, order in self:scan("order/") do
    found.orders, found.newest = found.orders + 1, math.tointeger(tonumber(string.sub(key, 7)))
    found.lines_of_orders = found.lines_of_orders + order.lines
  end
  for key in self:scan("new/") do
    found.new_orders = found.new_orders + 1
    found.newest_new = math.tointeger(tonumber(string.sub(key, 5)))
    if found.new_orders == 1 then found.oldest_new = found.newest_new end
  end
  for _ in self:scan("line/") do found.lines = found.lines + 1 end
  for _, payment in self:scan("history/") do found.history = found.history + payment.amount end
  return found
end

return district
