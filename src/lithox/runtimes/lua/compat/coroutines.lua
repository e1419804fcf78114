-- coroutine.isyieldable (Lua 5.3), coroutine.close (5.4) and rawlen (5.2) for older ones.

local internal = COMPAT_INTERNAL
local resume = coroutine.resume
local running, status = coroutine.running, coroutine.status
local sethook = debug.sethook
local error, type = error, type

local added = {}

-- Lua 5.1 says nil for the main thread, 5.2 tells whether it is the main one.
function added.isyieldable()
  local thread, is_main = running()
  return thread ~= nil and not is_main
end

-- A hook that raises at every instruction ends a suspended coroutine: a pcall in it catches the
-- error, and the next instruction raises again.
function added.close(thread)
  if type(thread) ~= "thread" then
    local got = thread == nil and "no value" or type(thread)
    error("bad argument #1 to 'close' (thread expected, got " .. got .. ")", 2)
  end
  local state = status(thread)
  if state == "dead" then return true end
  if state ~= "suspended" then
    error("cannot close a " .. state .. " coroutine", 2)
  end
  local reason = {}
  sethook(thread, function() error(reason, 0) end, "", 1)
  resume(thread)
  sethook(thread)
  return true
end

internal.add(coroutine, added)

if rawlen == nil then
  function rawlen(value)
    local kind = type(value)
    if kind ~= "table" and kind ~= "string" then
      error("table or string expected", 2)
    end
    return #value
  end
end
