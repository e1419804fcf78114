-- What a customer has been told, `notices/NAME`: the newest hundred. A message takes effect once,
-- and those of one order come in their order, so nothing here looks for doubles.
local notices = {}

local NOTICES_MAX <const> = 100

local function key_of(number)
  return string.format("notice/%08d", number)
end

function notices.notify(self, order, status)
  local number = (self.state.newest or 0) + 1
  self.state.newest = number
  self.state[key_of(number)] = { order = order, status = status, at_ms = self:now() }
  if number > NOTICES_MAX then self.state[key_of(number - NOTICES_MAX)] = nil end
end

function notices.read(self)
  local lines = lithox.list {}
  for _, notice in self:scan("notice/") do
    lines[#lines + 1] = { order = notice.order, status = notice.status }
  end
  return lines
end

return notices
