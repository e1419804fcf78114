-- The library bit32 (Lua 5.2), and what bit is made of, for a Lua whose numbers are doubles.
--
-- On Lua 5.2 only `bit` is made, out of its bit32. On 5.1 everything stands on one table of
-- sixteen by sixteen: "and" of two half bytes, from which "or" and "xor" follow by arithmetic.

local internal = COMPAT_INTERNAL
local check_number, check_integer = internal.check_number, internal.check_integer
local floor, select = math.floor, select

local TWO_31, TWO_32 = 2 ^ 31, 2 ^ 32
-- Adding this rounds to a whole number, half to even, as the processor does.
local ROUNDER = 2 ^ 52 + 2 ^ 51

local band
if bit32 then
  band = bit32.band
else
  local AND = {}
  for a = 0, 15 do
    for b = 0, 15 do
      local result, unit = 0, 1
      for _ = 0, 3 do
        if a % (unit * 2) >= unit and b % (unit * 2) >= unit then result = result + unit end
        unit = unit * 2
      end
      AND[a * 16 + b] = result
    end
  end
  function band(a, b)
    local result, unit = 0, 1
    while a > 0 and b > 0 do
      local low_a, low_b = a % 16, b % 16
      result = result + AND[low_a * 16 + low_b] * unit
      a, b, unit = (a - low_a) / 16, (b - low_b) / 16, unit * 16
    end
    return result
  end
end

local function bor(a, b) return a + b - band(a, b) end
local function bxor(a, b) return a + b - 2 * band(a, b) end

local function shift_left(value, by)
  if by >= 32 then return 0 end
  return value % 2 ^ (32 - by) * 2 ^ by
end

local function shift_right(value, by)
  if by >= 32 then return 0 end
  return floor(value / 2 ^ by)
end

local function shift_arithmetic(value, by)
  if value < TWO_31 then return shift_right(value, by) end
  if by >= 32 then return TWO_32 - 1 end
  return floor((value - TWO_32) / 2 ^ by) % TWO_32
end

local function rotate_left(value, by)
  by = by % 32
  return shift_left(value, by) + shift_right(value, 32 - by)
end

local function whole(value)
  if value < 2 ^ 51 and value > -2 ^ 51 then return value + ROUNDER - ROUNDER end
  return floor(value)
end

local function make_bit32()
  local function fold(name, start, join)
    return function(...)
      local result = start
      local count = select("#", ...)
      local operands = {...}
      for i = 1, count do
        local value = whole(check_number(operands[i], i, name)) % TWO_32
        result = join(result, value)
      end
      return result
    end
  end

  local function shift(name, up, down)
    return function(value, by)
      value = whole(check_number(value, 1, name)) % TWO_32
      by = check_integer(by, 2, name)
      if by >= 0 then return up(value, by) end
      return down(value, -by)
    end
  end

  local all_of = fold("band", TWO_32 - 1, band)
  local test = fold("btest", TWO_32 - 1, band)
  local lib = {
    band = all_of,
    bor = fold("bor", 0, bor),
    bxor = fold("bxor", 0, bxor),
    btest = function(...)
      local result = test(...)
      return result ~= 0
    end,
    lshift = shift("lshift", shift_left, shift_right),
    rshift = shift("rshift", shift_right, shift_left),
    arshift = shift("arshift", shift_arithmetic, shift_left),
  }

  function lib.bnot(value)
    value = whole(check_number(value, 1, "bnot")) % TWO_32
    return TWO_32 - 1 - value
  end

  function lib.lrotate(value, by)
    value = whole(check_number(value, 1, "lrotate")) % TWO_32
    by = check_integer(by, 2, "lrotate")
    return rotate_left(value, by)
  end

  function lib.rrotate(value, by)
    value = whole(check_number(value, 1, "rrotate")) % TWO_32
    by = check_integer(by, 2, "rrotate")
    return rotate_left(value, -by)
  end

  -- Called directly by extract and replace, so level 3 is their caller.
  local function check_field(field, width, position)
    if field < 0 then return position, "field cannot be negative" end
    if width < 1 then return position + 1, "width must be positive" end
    if field + width > 32 then error("trying to access non-existent bits", 3) end
    return nil
  end

  function lib.extract(value, field, width)
    value = whole(check_number(value, 1, "extract")) % TWO_32
    field = check_integer(field, 2, "extract")
    width = width == nil and 1 or check_integer(width, 3, "extract")
    local position, message = check_field(field, width, 2)
    if position then
      error(("bad argument #%d to 'extract' (%s)"):format(position, message), 2)
    end
    return shift_right(value, field) % 2 ^ width
  end

  function lib.replace(value, by, field, width)
    value = whole(check_number(value, 1, "replace")) % TWO_32
    by = whole(check_number(by, 2, "replace")) % TWO_32
    field = check_integer(field, 3, "replace")
    width = width == nil and 1 or check_integer(width, 4, "replace")
    local position, message = check_field(field, width, 3)
    if position then
      error(("bad argument #%d to 'replace' (%s)"):format(position, message), 2)
    end
    local old = shift_right(value, field) % 2 ^ width
    return value + (by % 2 ^ width - old) * 2 ^ field
  end

  return lib
end

local function bswap(value)
  local result = 0
  for _ = 1, 4 do
    result, value = result * 256 + value % 256, floor(value / 256)
  end
  return result
end

internal.add_library("bit32", bit32 or make_bit32(), true)
internal.add_library("bit", internal.make_bit({
  to_word = function(number)
    if number - number ~= 0 then return 0 end
    return whole(number) % TWO_32
  end,
  band = band,
  bor = bor,
  bxor = bxor,
  bnot = function(value) return TWO_32 - 1 - value end,
  bswap = bswap,
  shift_left = shift_left,
  shift_right = shift_right,
  shift_arithmetic = shift_arithmetic,
  rotate_left = rotate_left,
}), internal.has_obsolete)
