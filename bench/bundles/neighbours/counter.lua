-- The smallest handler with state: each entity `counter/NAME` counts for itself.
local counter = {}

function counter.increment(self, by)
  self.state.count = (self.state.count or 0) + (by or 1)
  return self.state.count
end

return counter
