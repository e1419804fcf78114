-- A tenant that keeps whatever it can get.
local hoarder = {}

function hoarder.fill(self)
  local kept = {}
  self.state.started = true
  while true do
    kept[#kept + 1] = string.rep("x", 1024 * 1024)
  end
end

return hoarder
