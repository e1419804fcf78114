-- The work of the side-by-side run as handlers of lithox.
local counter = {}

function counter.increment(self, by)
  self.state.count = (self.state.count or 0) + (by or 1)
  return self.state.count
end

function counter.look(self)
  return self.state.count or 0
end

function counter.give(self, to)
  self.state.count = (self.state.count or 0) - 1
  return self:call(to, "increment", 1)
end

function counter.fill(self)
  for field = 1, 100 do
    self.state["field" .. field] = string.rep("x", 92)
  end
  return counter.increment(self)
end

function counter.spoil(self)
  self.state.count = 999
  error("spoiled on purpose")
end

function counter.loop()
  while true do end
end

function counter.eat()
  local eaten = {}
  while true do
    eaten[#eaten + 1] = string.rep("x", 100000) .. #eaten
  end
end

return counter
