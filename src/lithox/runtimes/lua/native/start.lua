--[[
start.lua - what happens when a process starts: its facts become `os.pid` and `os.contexts`, the
runtimes' starters run, then main.
]]
local sys, native = ...

-- Each starter gets what it starts and the arguments. The first runtime is the outermost.
local function nest(main, starters)
  for i = #starters, 1, -1 do
    local inner, starter = main, starters[i]
    main = function(...) return starter(inner, ...) end
  end
  return main
end

--- This process's number, and the contexts it was given besides context 0, by name.
-- @field os.pid number: set when the process starts
-- @field os.contexts table: name -> ctx
sys.on_start(function(main, starters, info, ...)
  native.info = info
  os.pid = info.pid
  os.contexts = info.contexts
  if starters ~= nil and starters[1] ~= nil then return nest(main, starters)(...) end
  return main(...)
end)
