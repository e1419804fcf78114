--[[
core.lua - what every part of the native prelude uses: argument checks and answers of the node.

The parts run in the order of PARTS in runtimes/registry.py, inside one chunk, each as a function of
(sys, native): `sys` holds the guest's primitives, `native` what the parts share. Programs see
neither. Everything runs unchanged on Lua 5.1 to 5.5. Functions of the libraries are kept in locals,
so a program that changes its globals changes what it sees, not what these do.
]]
local sys, native = ...

local error, type, pairs, tostring, select = error, type, pairs, tostring, select
local format, ceil, huge = string.format, math.ceil, math.huge

native.unpack = table.unpack or unpack
native.is_5_1 = sys.version == "5.1"
native.pcall = pcall

--- table.pack, which Lua 5.1 does not have.
function native.pack(...)
  return { n = select("#", ...), ... }
end

-- Positions are the program's: 1 is this function, 2 ours that checks, 3 the program's line.
function native.refuse(position, name, expected, value)
  error(format("bad argument #%d to '%s' (%s expected, got %s)", position, name, expected,
    type(value)), 3)
end

local function refuse_deeper(position, name, expected, got)
  error(format("bad argument #%d to '%s' (%s expected, got %s)", position, name, expected, got), 4)
end

--- Returns `ms` as whole milliseconds, nil for "no bound"; raises for anything else.
function native.milliseconds(position, name, ms)
  if ms == nil or ms == huge then return nil end
  if type(ms) ~= "number" then refuse_deeper(position, name, "number", type(ms)) end
  if not (ms >= 0) then refuse_deeper(position, name, "milliseconds from 0 up", tostring(ms)) end
  return ceil(ms)
end

--- Raises unless `value` is nil or of type `expected`.
function native.check_optional(position, name, expected, value)
  if value ~= nil and type(value) ~= expected then
    refuse_deeper(position, name, expected .. " or nil", type(value))
  end
end

--- Raises unless every field of `options` is one of `types` (name -> type), so that a misspelt
-- one is not silently without effect.
function native.check_options(position, name, options, types)
  for field, value in pairs(options) do
    local expected = types[field]
    if expected == nil then
      error(format("bad argument #%d to '%s' (unknown option '%s')", position, name,
        tostring(field)), 3)
    end
    if type(value) ~= expected then
      error(format("bad argument #%d to '%s' (option '%s': %s expected, got %s)", position, name,
        field, expected, type(value)), 3)
    end
  end
end

--- Turns (0, ...) into ..., and (status, code, message) into nil, status, message.
function native.checked(status, ...)
  if status == 0 then return ... end
  local _, message = ...
  return nil, status, message
end

--- Turns (0) into true, and (status, code, message) into nil, status, message.
function native.succeeded(status, _, message)
  if status == 0 then return true end
  return nil, status, message
end

--- The node's clock: milliseconds since 1970.
function native.now_ms()
  local _, now = sys.call("time")
  return now
end

--- Status numbers by name.
-- @field os.status table: `os.status.OK` is 0, `os.status.CONTEXT_CLOSED` the number of
--   `context.closed`, and so on for every code of the [error table](errors.md)
os.status = { OK = 0 }
native.names = { [0] = "ok" }
for code, status in pairs(native.codes) do
  local name = code:upper():gsub("%.", "_")
  os.status[name] = status
  native.names[status] = code
end

--- Says which code a status number stands for.
-- @function os.status_name(status) -> code
-- @arg status number: what a call was answered with
-- @return code: `"context.closed"` and so on, `"ok"` for 0, `"app.N"` for a program's own number
--   N (1000 to 65535), nil for any other
-- @waits no
function os.status_name(status)
  if type(status) ~= "number" then native.refuse(1, "os.status_name", "number", status) end
  local name = native.names[status]
  if name == nil and status >= 1000 and status <= 65535 and status % 1 == 0 then
    return format("app.%d", status)
  end
  return name
end
