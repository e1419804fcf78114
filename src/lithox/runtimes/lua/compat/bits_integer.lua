-- The library bit32 (Lua 5.2), and what bit is made of, for a Lua with 64-bit integers.
--
-- Results are integers; text of a number and whole doubles are taken as arguments, too.

local internal = COMPAT_INTERNAL
local check_number, check_integer = internal.check_number, internal.check_integer
local floor, select, tointeger = math.floor, select, math.tointeger

local MASK = 0xFFFFFFFF

-- Lua 5.2 takes any double modulo 2^32; integers beyond 2^53 do not occur there.
local function from_double(value)
  if value - value ~= 0 then return 0 end
  local near = floor(value)
  local part = value - near
  if part > 0.5 or (part == 0.5 and near % 2 == 1) then near = near + 1 end
  return tointeger(near % 0x100000000)
end

local function shift_left(value, by)
  if by >= 32 then return 0 end
  return value << by & MASK
end

local function shift_right(value, by)
  return value >> by
end

local function shift_arithmetic(value, by)
  if value <= 0x7FFFFFFF then return value >> by end
  if by >= 32 then return MASK end
  return (value >> by) | (MASK << (32 - by) & MASK)
end

local function rotate_left(value, by)
  by = by & 31
  return (value << by & MASK) | (value >> (32 - by))
end

local JOIN = {
  band = function(a, b) return a & b end,
  bor = function(a, b) return a | b end,
  bxor = function(a, b) return a ~ b end,
}

local function make_bit32()
  local function fold(name, start, join)
    return function(...)
      local result = start
      for i = 1, select("#", ...) do
        local value = (select(i, ...))
        value = check_number(value, i, name)
        result = join(result, tointeger(value) or from_double(value))
      end
      return result & MASK
    end
  end

  local function shift(name, up, down)
    return function(value, by)
      value = check_number(value, 1, name)
      value = (tointeger(value) or from_double(value)) & MASK
      by = check_integer(by, 2, name)
      by = tointeger(by)
      if by >= 0 then return up(value, by) end
      return down(value, -by)
    end
  end

  local lib = {
    band = fold("band", MASK, JOIN.band),
    bor = fold("bor", 0, JOIN.bor),
    bxor = fold("bxor", 0, JOIN.bxor),
    lshift = shift("lshift", shift_left, shift_right),
    rshift = shift("rshift", shift_right, shift_left),
    arshift = shift("arshift", shift_arithmetic, shift_left),
    lrotate = shift("lrotate", rotate_left, function(value, by) return rotate_left(value, -by) end),
    rrotate = shift("rrotate", function(value, by) return rotate_left(value, -by) end, rotate_left),
  }

  local test = fold("btest", MASK, JOIN.band)
  function lib.btest(...)
    local result = test(...)
    return result ~= 0
  end

  function lib.bnot(value)
    value = check_number(value, 1, "bnot")
    return ~(tointeger(value) or from_double(value)) & MASK
  end

  local function field_of(name, field, width, position)
    local at, message
    if field < 0 then
      at, message = position, "field cannot be negative"
    elseif width < 1 then
      at, message = position + 1, "width must be positive"
    elseif field + width > 32 then
      error("trying to access non-existent bits", 3)
    end
    if at then error(("bad argument #%d to '%s' (%s)"):format(at, name, message), 3) end
    return tointeger(field), (1 << tointeger(width)) - 1
  end

  function lib.extract(value, field, width)
    value = check_number(value, 1, "extract")
    field = check_integer(field, 2, "extract")
    width = width == nil and 1 or check_integer(width, 3, "extract")
    local at, mask = field_of("extract", field, width, 2)
    return ((tointeger(value) or from_double(value)) & MASK) >> at & mask
  end

  function lib.replace(value, by, field, width)
    value = check_number(value, 1, "replace")
    by = check_number(by, 2, "replace")
    field = check_integer(field, 3, "replace")
    width = width == nil and 1 or check_integer(width, 4, "replace")
    local at, mask = field_of("replace", field, width, 3)
    value = (tointeger(value) or from_double(value)) & MASK
    by = (tointeger(by) or from_double(by)) & mask
    return value & ~(mask << at) | by << at
  end

  return lib
end

internal.add_library("bit32", rawget(_G, "bit32") or make_bit32(),
  internal.version == 5.3 or internal.has_obsolete)
internal.add_library("bit", internal.make_bit({
  to_word = function(number) return (tointeger(number) or from_double(number)) & MASK end,
  band = JOIN.band,
  bor = JOIN.bor,
  bxor = JOIN.bxor,
  bnot = function(value) return ~value & MASK end,
  bswap = function(value)
    return value << 24 & MASK | value << 8 & 0xFF0000 | value >> 8 & 0xFF00 | value >> 24
  end,
  shift_left = shift_left,
  shift_right = shift_right,
  shift_arithmetic = shift_arithmetic,
  rotate_left = rotate_left,
}), internal.has_obsolete)
