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

--- What a process knows from its start.
-- @field os.pid number: this process's own
-- @field os.contexts table: the contexts it was given besides context 0: name -> ctx
sys.on_start(function(main, starters, info, ...)
  native.info = info
  os.pid = info.pid
  os.contexts = info.contexts
  if starters ~= nil and starters[1] ~= nil then return nest(main, starters)(...) end
  return main(...)
end)
