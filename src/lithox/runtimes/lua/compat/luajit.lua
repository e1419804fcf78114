-- LuaJIT 2.1 over Lua 5.2: its language is 5.1 with goto, escapes and resumable pcall, which 5.2's
-- parser and core have; what 5.2 changed in the libraries is changed back here.

local internal = COMPAT_INTERNAL
local check_number, check_table = internal.check_number, internal.check_table
local error, next, pairs, rawequal, rawget, select = error, next, pairs, rawequal, rawget, select
local setmetatable, tonumber, tostring, type = setmetatable, tonumber, tostring, type
local floor, format, fmod, gsub = math.floor, string.format, math.fmod, string.gsub
local load, running, unpack = load, coroutine.running, table.unpack

internal.is_luajit = true

_VERSION = "Lua 5.1"

-- ---- globals ----

function _G.pairs(list)
  check_table(list, 1, "for iterator")
  return next, list, nil
end

local function next_index(list, i)
  i = i + 1
  local value = list[i]
  if value ~= nil then return i, value end
end

function _G.ipairs(list)
  check_table(list, 1, "ipairs")
  return next_index, list, 0
end

function coroutine.running()
  local thread, is_main = running()
  if is_main then return nil end
  return thread
end

function _G.loadstring(text, name, ...)
  if type(text) ~= "string" and type(text) ~= "number" then
    local got = text == nil and "no value" or type(text)
    error("bad argument #1 to 'loadstring' (string expected, got " .. got .. ")", 2)
  end
  text = tostring(text)
  return load(text, name or text, ...)
end

-- ---- string.format: numbers as C would take them, no complaint about fractions ----

local INTEGER = {d = true, i = true, u = true, c = true, x = true, X = true, o = true}

local function truncate(value)
  return value < 0 and -floor(-value) or floor(value)
end

local function as_integer(directive, value)
  value = truncate(value)
  local conversion = directive:sub(-1)
  if conversion == "d" or conversion == "i" then
    return format(directive, value)
  end
  if value < 0 and (conversion == "x" or conversion == "X") and value >= -2 ^ 63 then
    -- Sixteen digits of the two's complement, in two halves a double can hold.
    local low = value % 2 ^ 32
    local high = floor(value / 2 ^ 32) % 2 ^ 32
    local digits = format("%08" .. conversion .. "%08" .. conversion, high, low)
    return format(directive:gsub("%.%d*", ""):gsub("0", ""):sub(1, -2) .. "s", digits)
  end
  return format(directive, value)
end

-- Returns the values to print and the pattern with "%s" where a value is already text.
local function adapt(pattern, values, count)
  local used = 0
  local adapted = gsub(pattern, "%%([-+ #0-9.]*)(.)", function(flags, conversion)
    if conversion == "%" then return nil end
    used = used + 1
    if not INTEGER[conversion] or used > count then return nil end
    local value = values[used]
    local number = type(value) == "number" and value or tonumber(value)
    if not number or (number >= 0 and floor(number) == number) then return nil end
    values[used] = as_integer("%" .. flags .. conversion, number)
    return "%s"
  end)
  return adapted
end

function string.format(pattern, ...)
  if type(pattern) ~= "string" then return format(pattern, ...) end
  local count = select("#", ...)
  local values = {...}
  return format(adapt(pattern, values, count), unpack(values, 1, count))
end

-- ---- jit, table.new, table.clear ----

local is_on = true

jit = {
  version = "LuaJIT 2.1 (lithox, interpreted)",
  version_num = 20199,
  os = "Other",
  arch = "wasm32",
  on = function() is_on = true end,
  off = function() is_on = false end,
  flush = function() end,
  attach = function() end,
  status = function() return false end,
  security = function() return 0 end,
  opt = {start = function() end},
}
package.loaded.jit = jit
package.loaded["jit.opt"] = jit.opt

local function new_table(sequence, records)
  check_number(sequence, 1, "new")
  check_number(records, 2, "new")
  return {}
end

local function clear_table(list)
  check_table(list, 1, "clear")
  for key in next, list do list[key] = nil end
end

package.preload["table.new"] = function()
  return new_table
end
package.preload["table.clear"] = function()
  return clear_table
end
