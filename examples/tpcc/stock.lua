-- What a warehouse has of each item, `tpcc/W/stock`.
local stock = {}

function stock.fill(self, items)
  for item = 1, items do
    self.state["item/" .. item] = { quantity = 50, sold = 0, orders = 0, remote = 0 }
  end
end

-- Stock that runs low is filled up by 91, as the benchmark has it.
function stock.take(self, lines, is_remote)
  for _, line in ipairs(lines) do
    local item = self.state["item/" .. line.item]
    local left = item.quantity - line.quantity
    item.quantity = left >= 10 and left or left + 91
    item.sold, item.orders = item.sold + line.quantity, item.orders + 1
    if is_remote then item.remote = item.remote + 1 end
  end
end

function stock.check(self)
  local sold, least = 0, math.maxinteger
  for _, item in self:scan("item/") do
    sold, least = sold + item.sold, math.min(least, item.quantity)
  end
  return { sold = sold, least = least }
end

return stock
