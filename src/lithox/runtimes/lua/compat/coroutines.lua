-- coroutine.isyieldable (Lua 5.3), coroutine.close and warn (5.4), rawlen (5.2) for older ones.

local internal = COMPAT_INTERNAL
local create, resume = coroutine.create, coroutine.resume
local running, status = coroutine.running, coroutine.status
local sethook = debug.sethook
local error, select, type, tostring = error, select, type, tostring

local added = {}

-- Lua 5.1 says nil for the main thread, 5.2 tells whether it is the main one.
function added.isyieldable()
  local thread, is_main = running()
  return thread ~= nil and not is_main
end

-- Errors of coroutines that died by one; closing tells such an error once.
local failures = setmetatable({}, {__mode = "k"})

local function keep_failure(thread, is_done, ...)
  if not is_done and status(thread) == "dead" then failures[thread] = {(...)} end
  return is_done, ...
end

-- A hook that raises at every instruction ends a suspended coroutine: a pcall in it catches the
-- error, and the next instruction raises again.
function added.close(thread)
  if type(thread) ~= "thread" then
    local got = thread == nil and "no value" or type(thread)
    error("bad argument #1 to 'close' (thread expected, got " .. got .. ")", 2)
  end
  local state = status(thread)
  if state == "dead" then
    local failure = failures[thread]
    if failure then
      failures[thread] = nil
      return false, failure[1]
    end
    return true
  elseif state ~= "suspended" then
    error("cannot close a " .. state .. " coroutine", 2)
  end
  local reason = {}
  sethook(thread, function() error(reason, 0) end, "", 1)
  resume(thread)
  sethook(thread)
  failures[thread] = nil
  return true
end

if coroutine.close == nil then
  coroutine.resume = function(thread, ...)
    if type(thread) ~= "thread" then return resume(thread, ...) end
    return keep_failure(thread, resume(thread, ...))
  end
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

if warn == nil then
  local is_on = false
  function warn(...)
    local count = select("#", ...)
    local parts = {...}
    for i = 1, count == 0 and 1 or count do
      local part = parts[i]
      if type(part) ~= "string" and type(part) ~= "number" then
        local got = i > count and "no value" or type(part)
        error(("bad argument #%d to 'warn' (string expected, got %s)"):format(i, got), 2)
      end
      parts[i] = tostring(part)
    end
    local text = table.concat(parts, "", 1, count)
    if count == 1 and text:sub(1, 1) == "@" then
      if text == "@on" then is_on = true elseif text == "@off" then is_on = false end
    elseif is_on then
      io.stderr:write("Lua warning: ", text, "\n")
    end
  end
end
