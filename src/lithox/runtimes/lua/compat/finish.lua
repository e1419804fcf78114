-- The last chunk of a compatibility runtime: takes the shared table away, and gives the program
-- `arg` as the standalone interpreter does, with the program's name at 0.

COMPAT_INTERNAL = nil

-- Asking for the name is a system call, so it is made when somebody looks.
local by_name = {
  __index = function(list, index)
    if index ~= 0 then return nil end
    local info = os.info()
    local name = info and info.name
    rawset(list, 0, name)
    return name
  end,
}

return function(main, ...)
  -- Not an assignment: Lua 5.1 has a hidden local `arg` here.
  rawset(_G, "arg", setmetatable({...}, by_name))
  return main(...)
end
