-- A handler that never ends by itself: only a limit or the operator stops it.
local endless = {}

function endless.loop(self)
  local turns = 0
  while true do
    turns = turns + 1
  end
end

return endless
