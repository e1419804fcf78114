-- A warehouse, `tpcc/W`: its tax, in hundredths of a per cent, and what it was paid, in cents.
local warehouse = {}

function warehouse.open(self, tax, districts)
  self.state.tax, self.state.districts, self.state.paid = tax, districts, 0
end

function warehouse.tax(self)
  return self.state.tax
end

function warehouse.pay(self, amount)
  self.state.paid = self.state.paid + amount
end

-- What the warehouse was paid, and the sum of its districts: the same, at any moment.
function warehouse.check(self)
  local sum = 0
  for district = 1, self.state.districts do
    sum = sum + self:call(self.id .. "/district/" .. district, "paid")
  end
  return { paid = self.state.paid, districts = sum }
end

return warehouse
