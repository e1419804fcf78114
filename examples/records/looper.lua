-- A tenant that does not end. It even catches errors, which does not help it: a limit is no error.
local looper = {}

function looper.spin(self)
  self.state.spins = (self.state.spins or 0) + 1
  while true do
    pcall(function()
      while true do end
    end)
  end
end

return looper
