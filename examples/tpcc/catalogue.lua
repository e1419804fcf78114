-- What can be ordered, `tpcc/catalogue`: the price of each item, in cents.
local catalogue = {}

function catalogue.fill(self, items)
  for item = 1, items do self.state["item/" .. item] = 100 + item * 7919 % 9901 end
end

-- One in a hundred orders asks for an item that is not there; the error ends the whole order.
function catalogue.prices(self, items)
  local prices = lithox.list {}
  for n, item in ipairs(items) do
    prices[n] = self.state["item/" .. item]
      or error({ code = "unused_item", message = "there is no item " .. item })
  end
  return prices
end

return catalogue
