-- string.pack, unpack and packsize of Lua 5.3 for a Lua whose numbers are all doubles.
--
-- Integers travel byte by byte; between 2^53 and 2^63 a double keeps only the upper 53 bits, so
-- what is read from eight bytes may be rounded. Sizes are those of the guest: int and size_t are
-- 4 bytes as in any 32-bit build, long and lua_Integer 8.

local internal = COMPAT_INTERNAL
local byte, char, rep = string.byte, string.char, string.rep
local reverse, sub = string.reverse, string.sub
local floor, frexp, ldexp, huge = math.floor, math.frexp, math.ldexp, math.huge
local concat, select, unpack, error = table.concat, select, internal.unpack, error
local pcall, tonumber, tostring, type = pcall, tonumber, tostring, type

local SIZES = {b = 1, B = 1, h = 2, H = 2, i = 4, I = 4, l = 8, L = 8, j = 8, J = 8, T = 8}
local SIZE_LARGEST, ALIGN_NATIVE = 16, 8
local IS_SIGNED = {b = true, h = true, i = true, l = true, j = true}

-- Errors are found at several depths; a Failure carries the text up to where the caller's line is
-- known, which is where C would have put it.
local Failure = {}
-- `finish` is tail-called; only Lua 5.1 still counts the frame that this replaces.
local LEVEL_OF_CALLER = internal.version == 5.1 and 3 or 2

local function fail(message)
  error({[Failure] = message}, 0)
end

local function bad(position, name, message)
  fail(("bad argument #%d to '%s' (%s)"):format(position, name, message))
end

local function finish(is_done, ...)
  if is_done then return ... end
  local failure = ...
  if type(failure) == "table" and failure[Failure] then failure = failure[Failure] end
  error(failure, type(failure) == "string" and LEVEL_OF_CALLER or 0)
end

local function check(kind, value, position, name)
  local result = value
  if kind == "number" then
    if type(value) == "string" then result = tonumber(value) end
  elseif type(value) == "number" then
    result = tostring(value)
  end
  if type(result) ~= kind then
    local got = value == nil and "no value" or type(value)
    bad(position, name, ("%s expected, got %s"):format(kind, got))
  end
  return result
end

local function check_text(value, position, name) return check("string", value, position, name) end
local function check_number(value, position, name) return check("number", value, position, name) end

local function check_integer(value, position, name)
  local number = check("number", value, position, name)
  if floor(number) ~= number or number - number ~= 0 then
    bad(position, name, "number has no integer representation")
  end
  return number
end

-- Reads a number out of the format at `at`; returns it (or nil) and the position after it.
local function read_size(format, at)
  local digits = format:match("^%d+", at)
  if not digits then return nil, at end
  return tonumber(digits), at + #digits
end

local function integer_size(format, at, default)
  local size
  size, at = read_size(format, at)
  size = size or default
  if size < 1 or size > SIZE_LARGEST then
    fail(("integral size (%d) out of limits [1,%d]"):format(size, SIZE_LARGEST))
  end
  return size, at
end

-- Reads the option at `at`: returns its kind, size, whether signed, and the position after it.
local function read_option(format, at, state)
  local option = sub(format, at, at)
  at = at + 1
  local size = SIZES[option]
  if size then
    if option == "i" or option == "I" then size, at = integer_size(format, at, size) end
    return "integer", size, IS_SIGNED[option], at
  elseif option == "s" then
    size, at = integer_size(format, at, 8)
    return "string", size, false, at
  elseif option == "f" then return "float", 4, false, at
  elseif option == "d" or option == "n" then return "float", 8, false, at
  elseif option == "c" then
    size, at = read_size(format, at)
    if not size then fail("missing size for format option 'c'") end
    return "chars", size, false, at
  elseif option == "z" then return "zero", 0, false, at
  elseif option == "x" then return "byte", 1, false, at
  elseif option == "X" then return "align", 0, false, at
  elseif option == " " then return "none", 0, false, at
  elseif option == "<" or option == "=" then state.is_little = true
  elseif option == ">" then state.is_little = false
  elseif option == "!" then
    state.align, at = integer_size(format, at, ALIGN_NATIVE)
  else
    fail(("invalid format option '%s'"):format(option))
  end
  return "none", 0, false, at
end

-- Returns kind, size, is_signed, padding before the item, and the position after the option.
local function next_option(format, at, state, total)
  local kind, size, is_signed, after = read_option(format, at, state)
  local align = size
  if kind == "align" then
    local next_kind
    if after > #format then bad(1, state.name, "invalid next option for option 'X'") end
    next_kind, align, is_signed, after = read_option(format, after, state)
    if next_kind == "chars" or align == 0 then
      bad(1, state.name, "invalid next option for option 'X'")
    end
    size = 0
  end
  local padding = 0
  if align > 1 and (kind == "align" or kind == "integer" or kind == "float" or kind == "string")
  then
    if align > state.align then align = state.align end
    local power = align
    while power > 1 and power % 2 == 0 do power = power / 2 end
    if power ~= 1 then bad(1, state.name, "format asks for alignment not power of 2") end
    padding = (align - total % align) % align
  end
  return kind, size, is_signed, padding, after
end

local function encode_integer(value, size, is_little)
  local bytes = {}
  for i = 1, size do
    bytes[i] = char(value % 256)
    value = floor(value / 256)
  end
  local text = concat(bytes)
  return is_little and text or reverse(text)
end

local function decode_integer(text, at, size, is_little, is_signed)
  local value = 0
  for i = 0, size - 1 do
    -- From the highest byte down.
    local digit = byte(text, is_little and at + size - 1 - i or at + i)
    if i == 0 and is_signed and digit >= 128 then digit = digit - 256 end
    value = value * 256 + digit
  end
  return value
end

-- Rounds half to even, as the processor does.
local function round(x)
  local whole = floor(x)
  local part = x - whole
  if part > 0.5 or (part == 0.5 and whole % 2 == 1) then whole = whole + 1 end
  return whole
end

local function encode_float(value, size, is_little)
  local bias, bits = 1023, 52
  if size == 4 then bias, bits = 127, 23 end
  local sign = (value < 0 or 1 / value < 0) and 1 or 0
  local exponent, fraction
  if value ~= value then
    sign, exponent, fraction = 0, 2 * bias + 1, 2 ^ (bits - 1)
  elseif value == huge or value == -huge then
    exponent, fraction = 2 * bias + 1, 0
  elseif value == 0 then
    exponent, fraction = 0, 0
  else
    local part, power = frexp(value < 0 and -value or value)
    exponent = power + bias - 1
    if exponent <= 0 then
      fraction, exponent = round(ldexp(part, exponent + bits)), 0
    else
      fraction = round(ldexp(part, bits + 1)) - 2 ^ bits
    end
    -- Rounding up may carry into the exponent.
    if fraction >= 2 ^ bits then exponent, fraction = exponent + 1, fraction - 2 ^ bits end
    if exponent > 2 * bias then exponent, fraction = 2 * bias + 1, 0 end
  end
  if size == 4 then
    return encode_integer(sign * 2 ^ 31 + exponent * 2 ^ 23 + fraction, 4, is_little)
  end
  local low = fraction % 2 ^ 32
  local high = sign * 2 ^ 31 + exponent * 2 ^ 20 + (fraction - low) / 2 ^ 32
  local text = encode_integer(low, 4, true) .. encode_integer(high, 4, true)
  return is_little and text or reverse(text)
end

local function decode_float(text, at, size, is_little)
  local bias, bits = 1023, 52
  local low, high = 0
  if size == 4 then
    bias, bits = 127, 23
    high = decode_integer(text, at, 4, is_little)
  elseif is_little then
    low, high = decode_integer(text, at, 4, true), decode_integer(text, at + 4, 4, true)
  else
    low, high = decode_integer(text, at + 4, 4, false), decode_integer(text, at, 4, false)
  end
  local unit = size == 4 and 2 ^ 23 or 2 ^ 20
  local sign = high >= 2 ^ 31 and -1 or 1
  high = high % 2 ^ 31
  local exponent = floor(high / unit)
  local fraction = high % unit
  if size == 8 then fraction = fraction * 2 ^ 32 + low end
  if exponent == 2 * bias + 1 then
    return fraction == 0 and sign * huge or 0 / 0
  elseif exponent == 0 then
    return sign * ldexp(fraction, 1 - bias - bits)
  end
  return sign * ldexp(fraction + 2 ^ bits, exponent - bias - bits)
end

local encoders = {}

function encoders.integer(state, value, position, size, is_signed)
  value = check_integer(value, position, "pack")
  if size < 8 then
    local limit = 2 ^ (size * 8)
    if is_signed then
      if value < -limit / 2 or value >= limit / 2 then bad(position, "pack", "integer overflow") end
    elseif value >= limit or value < 0 then
      bad(position, "pack", "unsigned overflow")
    end
  end
  return encode_integer(value, size, state.is_little)
end

function encoders.float(state, value, position, size)
  return encode_float(check_number(value, position, "pack"), size, state.is_little)
end

function encoders.chars(_, value, position, size)
  value = check_text(value, position, "pack")
  if #value > size then bad(position, "pack", "string longer than given size") end
  return value .. rep("\0", size - #value)
end

function encoders.string(state, value, position, size)
  value = check_text(value, position, "pack")
  if size < 8 and #value >= 2 ^ (size * 8) then
    bad(position, "pack", "string length does not fit in given size")
  end
  return encode_integer(#value, size, state.is_little) .. value
end

function encoders.zero(_, value, position)
  value = check_text(value, position, "pack")
  if value:find("\0", 1, true) then bad(position, "pack", "string contains zeros") end
  return value .. "\0"
end

local function new_state(name)
  return {is_little = true, align = 1, name = name}
end

local function pack(format, ...)
  format = check_text(format, 1, "pack")
  local state, parts, total, at, used = new_state("pack"), {}, 0, 1, 0
  local function append(text)
    parts[#parts + 1] = text
    total = total + #text
  end
  while at <= #format do
    local kind, size, is_signed, padding, after = next_option(format, at, state, total)
    at = after
    if padding > 0 then append(rep("\0", padding)) end
    if kind == "byte" then
      append("\0")
    elseif encoders[kind] then
      used = used + 1
      append(encoders[kind](state, (select(used, ...)), used + 1, size, is_signed))
    end
  end
  return concat(parts)
end

local function pack_size(format)
  format = check_text(format, 1, "packsize")
  local state, total, at = new_state("packsize"), 0, 1
  while at <= #format do
    local kind, size, _, padding, after = next_option(format, at, state, total)
    if kind == "string" or kind == "zero" then bad(1, "packsize", "variable-length format") end
    if total + padding + size > 2147483647 then bad(1, "packsize", "format result too large") end
    total, at = total + padding + size, after
  end
  return total
end

-- Returns one value and the position after it.
local function read_value(state, kind, text, at, size, is_signed)
  if kind == "integer" then
    -- More than eight bytes must only extend the sign; doubles keep the value as it is.
    return decode_integer(text, at, size, state.is_little, is_signed), at + size
  elseif kind == "float" then
    return decode_float(text, at, size, state.is_little), at + size
  elseif kind == "chars" then
    return sub(text, at, at + size - 1), at + size
  elseif kind == "string" then
    local length = decode_integer(text, at, size, state.is_little, false)
    if at + size + length - 1 > #text then bad(2, "unpack", "data string too short") end
    return sub(text, at + size, at + size + length - 1), at + size + length
  end
  local stop = text:find("\0", at, true)
  if not stop then bad(2, "unpack", "unfinished string for format 'z'") end
  return sub(text, at, stop - 1), stop + 1
end

local function unpack_text(format, text, from)
  format, text = check_text(format, 1, "unpack"), check_text(text, 2, "unpack")
  local position = from == nil and 1 or check_integer(from, 3, "unpack")
  if position < 0 then position = -position > #text and 0 or #text + position + 1 end
  if position > #text + 1 or position < 1 then
    bad(3, "unpack", "initial position out of string")
  end
  local state, values, count, at = new_state("unpack"), {}, 0, 1
  while at <= #format do
    local kind, size, is_signed, padding, after = next_option(format, at, state, position - 1)
    at = after
    if position - 1 + padding + size > #text then bad(2, "unpack", "data string too short") end
    position = position + padding
    if kind == "byte" then
      position = position + 1
    elseif kind ~= "none" and kind ~= "align" then
      count = count + 1
      values[count], position = read_value(state, kind, text, position, size, is_signed)
    end
  end
  values[count + 1] = position
  return unpack(values, 1, count + 1)
end

internal.add(string, {
  pack = function(...) return finish(pcall(pack, ...)) end,
  packsize = function(...) return finish(pcall(pack_size, ...)) end,
  unpack = function(...) return finish(pcall(unpack_text, ...)) end,
})
