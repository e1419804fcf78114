-- LuaJIT 2.1 over Lua 5.2: its language is 5.1 with goto, escapes and resumable pcall, which 5.2's
-- parser and core have; what 5.2 changed in the libraries is changed back here.

local internal = COMPAT_INTERNAL
local check_number, check_table = internal.check_number, internal.check_table
local error, next, pcall, rawget, select = error, next, pcall, rawget, select
local tonumber, tostring, type = tonumber, tostring, type
local floor, format, frexp, gsub = math.floor, string.format, math.frexp, string.gsub
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
  local value = rawget(list, i)
  if value ~= nil then return i, value end
end

function _G.ipairs(list)
  check_table(list, 1, "ipairs")
  return next_index, list, 0
end

-- The message may be any value.
function _G.assert(...)
  local value, message = ...
  if value then return ... end
  local count = select("#", ...)
  if count == 0 then error("bad argument #1 to 'assert' (value expected)", 2) end
  if count == 1 then message = "assertion failed!" end
  error(message, 0)
end

-- LuaJIT reads infinities, what is no number, and binary digits too, and takes 10 for no base.
local to_number = tonumber
local SPECIAL = {inf = 1 / 0, infinity = 1 / 0, nan = 0 / 0}

function _G.tonumber(...)
  local value, base = ...
  if base == 10 then base = nil end
  if base ~= nil then
    if type(base) == "number" and (base < 2 or base > 36) then
      error("bad argument #2 to 'tonumber' (base out of range)", 2)
    end
    return to_number(value, base)
  end
  if select("#", ...) == 0 then error("bad argument #1 to 'tonumber' (value expected)", 2) end
  local number = to_number(value)
  if number ~= nil or type(value) ~= "string" then return number end
  local sign, word = value:lower():match("^%s*([+-]?)(%w+)%s*$")
  number = SPECIAL[word]
  if not number and word and word:match("^0b[01]+$") then number = to_number(word:sub(3), 2) end
  if number and sign == "-" then number = -number end
  return number
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

local set_metatable = debug.setmetatable

function debug.setmetatable(value, metatable)
  set_metatable(value, metatable)
  return true
end

-- ---- string.format: numbers as C would take them, no complaint about what is not whole ----

local INTEGER = {d = true, i = true, u = true, c = true, x = true, X = true, o = true}

local function truncate(value)
  return value < 0 and -floor(-value) or floor(value)
end

-- Sixteen digits of a negative number's two's complement, in two halves a double can hold.
local function complement(flags, conversion, value)
  local digits = "%08" .. conversion
  digits = format(digits .. digits, floor(value / 2 ^ 32) % 2 ^ 32, value % 2 ^ 32)
  local marks, width = flags:match("^([-+ #0]*)(%d*)")
  return format("%" .. (marks:find("-", 1, true) and "-" or "") .. width .. "s", digits)
end

-- C99's hexadecimal form, which 5.2 leaves out.
local function hexadecimal(value, conversion)
  local text
  if value ~= value or value - value ~= 0 then
    text = format("%f", value)
  else
    local sign = (value < 0 or 1 / value < 0) and "-" or ""
    local part, power = frexp(value < 0 and -value or value)
    if part ~= 0 then part, power = part * 2, power - 1 end
    local lead = floor(part)
    local rest = (part - lead) * 2 ^ 52
    local digits = format("%05x%08x", floor(rest / 2 ^ 32), rest % 2 ^ 32):gsub("0+$", "")
    text = sign .. "0x" .. lead .. (digits ~= "" and "." .. digits or "") .. format("p%+d", power)
  end
  return conversion == "A" and text:upper() or text
end

-- Returns the pattern with "%s" where `values` now holds text.
local function adapt(pattern, values, count)
  local used = 0
  return (gsub(pattern, "%%([-+ #0-9.]*)(.)", function(flags, conversion)
    if conversion == "%" then return nil end
    used = used + 1
    local number = used <= count and tonumber(values[used])
    if not number then return nil end
    if conversion == "a" or conversion == "A" then
      values[used] = hexadecimal(number, conversion)
      return "%" .. flags:gsub("%.%d*", "") .. "s"
    end
    if not INTEGER[conversion] then return nil end
    number = truncate(number)
    values[used] = number
    if number >= 0 or (conversion ~= "x" and conversion ~= "X") then return nil end
    values[used] = complement(flags, conversion, number)
    return "%s"
  end))
end

local finish = internal.finish

-- What 5.2 refuses is tried once more with the numbers made fit.
function string.format(...)
  local pattern = ...
  local is_done, text = pcall(format, ...)
  if is_done then return text end
  if type(pattern) ~= "string" then error(text, 2) end
  local count = select("#", ...) - 1
  local values = {select(2, ...)}
  return finish(pcall(format, adapt(pattern, values, count), unpack(values, 1, count)))
end

-- ---- jit, table.new, table.clear ----

jit = {
  version = "LuaJIT 2.1 (lithox, interpreted)",
  version_num = 20199,
  os = "Other",
  arch = "wasm32",
  on = function() end,
  off = function() end,
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
