-- What joined calls are measured with: one write on its own, or the same on two entities at once.
local purse = {}

function purse.add(self, by)
  self.state.coins = (self.state.coins or 0) + by
  return self.state.coins
end

function purse.look(self)
  return self.state.coins
end

function purse.give(self, to, amount)
  self.state.coins = (self.state.coins or 0) - amount
  return self:call(to, "add", amount)
end

return purse
