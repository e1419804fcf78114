-- math.type, tointeger and ult for a Lua whose numbers are all doubles.
--
-- math.maxinteger and math.mininteger are not given: no double is 2^63-1, and a program that finds
-- them may rely on 64-bit integers.

local internal = COMPAT_INTERNAL
local check_integer = internal.check_integer
local type, floor, huge = type, math.floor, math.huge

local added = {}

-- A whole double is called "integer", since programs ask in order to print or to index.
function added.type(...)
  local value = ...
  if type(value) == "number" then
    if floor(value) == value and value ~= huge and value ~= -huge then return "integer" end
    return "float"
  end
  if select("#", ...) == 0 then
    error("bad argument #1 to 'type' (value expected)", 2)
  end
  return nil
end

function added.tointeger(value)
  local number = value
  if type(value) == "string" then number = tonumber(value) end
  if type(number) == "number" and floor(number) == number and number ~= huge
    and number ~= -huge then
    return number
  end
  return nil
end

function added.ult(a, b)
  a = check_integer(a, 1, "ult")
  b = check_integer(b, 2, "ult")
  if (a < 0) == (b < 0) then return a < b end
  return b < 0
end

internal.add(math, added)
