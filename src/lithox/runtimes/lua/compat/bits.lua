-- The library bit (LuaJIT, LuaBitOp), out of operations on words: numbers from 0 to 2^32 - 1.
--
-- Words are made of whatever numbers a version of Lua has, so what makes and joins them comes from
-- bits_double or bits_integer.

local internal = COMPAT_INTERNAL
local select, tonumber, type = select, tonumber, type

local function signed(word)
  return word > 0x7FFFFFFF and word - 0x100000000 or word
end

-- Returns the library. `ops` has to_word(number), band, bor, bxor, bnot, bswap of words, and
-- shift_left, shift_right, shift_arithmetic, rotate_left of a word by 0 to 31 (rotate_left: to 32).
function internal.make_bit(ops)
  local to_word, rotate_left = ops.to_word, ops.rotate_left

  -- Called directly by what the program calls, so level 3 is the program.
  local function to_bits(value, position, name)
    local number = value
    if type(value) == "string" then number = tonumber(value) end
    if type(number) ~= "number" then
      local got = value == nil and "no value" or type(value)
      error(("bad argument #%d to '%s' (number expected, got %s)"):format(position, name, got), 3)
    end
    return to_word(number)
  end

  local function fold(name)
    local join = ops[name]
    return function(first, ...)
      local result = to_bits(first, 1, name)
      for i = 1, select("#", ...) do
        local value = to_bits((select(i, ...)), i + 1, name)
        result = join(result, value)
      end
      return signed(result)
    end
  end

  local function shift(name, act)
    return function(value, by)
      value = to_bits(value, 1, name)
      by = to_bits(by, 2, name) % 32
      return signed(act(value, by))
    end
  end

  local function unary(name, act)
    return function(value)
      value = to_bits(value, 1, name)
      return signed(act(value))
    end
  end

  local lib = {
    band = fold("band"),
    bor = fold("bor"),
    bxor = fold("bxor"),
    lshift = shift("lshift", ops.shift_left),
    rshift = shift("rshift", ops.shift_right),
    arshift = shift("arshift", ops.shift_arithmetic),
    rol = shift("rol", rotate_left),
    ror = shift("ror", function(value, by) return rotate_left(value, 32 - by) end),
    bnot = unary("bnot", ops.bnot),
    bswap = unary("bswap", ops.bswap),
  }

  function lib.tobit(value)
    value = to_bits(value, 1, "tobit")
    return signed(value)
  end

  function lib.tohex(value, digits)
    value = to_bits(value, 1, "tohex")
    local format = "%08x"
    if digits ~= nil then
      digits = signed(to_bits(digits, 2, "tohex"))
      if digits < 0 then digits, format = -digits, "%08X" end
    end
    local text = format:format(value)
    if digits == nil or digits == 8 then return text end
    if digits < 8 then return text:sub(9 - digits) end
    return ("0"):rep((digits < 254 and digits or 254) - 8) .. text
  end

  return lib
end
