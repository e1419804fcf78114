-- What bench/messages.py measures: the log line is the moment that is timed.
local post = {}

function post.send(self, receiver, number)
  self:log("info", "sent", { number = number })
  self:send(receiver, "land", number)
end

function post.land(self, number)
  self:log("info", "landed", { number = number })
  self.state.landed = (self.state.landed or 0) + 1
end

function post.arm(self, count, first_ms, spread_ms)
  for index = 1, count do
    self:at(first_ms + (index * spread_ms) // count, "land", index)
  end
end

return post
