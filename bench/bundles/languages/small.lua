local small = {}

function small.echo(self, value) return value end

function small.increment(self, by)
  self.state.count = (self.state.count or 0) + by
  return self.state.count
end

function small.ask(self, count)
  for _ = 1, count do self:usage() end
end

function small.spin(self, count)
  local t = 0
  for i = 1, count do t = (t * 31 + i) % 1000003 end
  return t
end

function small.loop(self)
  while true do end
end

return small
