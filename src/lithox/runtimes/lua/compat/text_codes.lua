-- The utf8 library of Lua 5.4 for a Lua that has none.
--
-- Sequences are those of RFC 3629; with `lax` also the old ones of up to six bytes.

local internal = COMPAT_INTERNAL
local check_integer, check_text = internal.check_integer, internal.check_text
local bad_argument = internal.bad_argument
local byte, char, sub = string.byte, string.char, string.sub
local floor, concat, unpack = math.floor, table.concat, internal.unpack
local error, select = error, select

local LARGEST = 2147483647
-- Least code that needs the sequence's length: a shorter form exists for anything below.
local LEAST = {128, 2048, 65536, 2097152, 67108864}

local added = {charpattern = "[%z\1-\127\194-\253][\128-\191]*"}
-- From Lua 5.2 on a pattern may hold a zero byte itself.
if internal.version > 5.1 then added.charpattern = "[\0-\127\194-\253][\128-\191]*" end

local function is_continuation(value)
  return value and value >= 128 and value < 192
end

-- Returns the code that begins at byte `at` and the position after it; nil if there is none.
local function decode(text, at, lax)
  local first = byte(text, at)
  if not first then return nil end
  if first < 128 then return first, at + 1 end
  if first < 192 or first >= 254 then return nil end
  local count, code = 0, 0
  local rest = first
  -- Each leading one bit after the first asks for one more byte.
  while rest % 128 >= 64 do
    count = count + 1
    local follower = byte(text, at + count)
    if not is_continuation(follower) then return nil end
    code = code * 64 + follower % 64
    rest = rest * 2
  end
  local bits = 2 ^ (6 - count)
  code = floor(code + first % bits * 64 ^ count)
  if count > 5 or code < LEAST[count] then return nil end
  if not lax and (code > 1114111 or (code >= 55296 and code <= 57343)) then return nil end
  return code, at + count + 1
end

local function encode(code)
  if code < 128 then return char(code) end
  local tail, limit = "", 32
  local mark = 192
  while true do
    tail = char(128 + code % 64) .. tail
    code = floor(code / 64)
    if code < limit then return char(mark + code) .. tail end
    limit = limit / 2
    mark = mark + limit * 2
  end
end

local function position(at, length)
  if at >= 0 then return at end
  if -at > length then return 0 end
  return length + at + 1
end

function added.char(...)
  local count = select("#", ...)
  local parts = {...}
  for i = 1, count do
    local code = check_integer(parts[i], i, "char")
    if code < 0 or code > LARGEST then bad_argument(i, "char", "value out of range") end
    parts[i] = encode(code)
  end
  return concat(parts, "", 1, count)
end

function added.codepoint(text, first, last, lax)
  text = check_text(text, 1, "codepoint")
  first = position(first == nil and 1 or check_integer(first, 2, "codepoint"), #text)
  last = position(last == nil and first or check_integer(last, 3, "codepoint"), #text)
  if first < 1 then bad_argument(2, "codepoint", "out of bounds") end
  if last > #text then bad_argument(3, "codepoint", "out of bounds") end
  local codes, count, at = {}, 0, first
  while at <= last do
    local code, after = decode(text, at, lax)
    if not code then error("invalid UTF-8 code", 2) end
    count = count + 1
    codes[count], at = code, after
  end
  return unpack(codes, 1, count)
end

function added.len(text, first, last, lax)
  text = check_text(text, 1, "len")
  first = position(first == nil and 1 or check_integer(first, 2, "len"), #text)
  last = position(last == nil and -1 or check_integer(last, 3, "len"), #text)
  if first < 1 or first > #text + 1 then
    bad_argument(2, "len", "initial position out of bounds")
  end
  if last > #text then bad_argument(3, "len", "final position out of bounds") end
  local count = 0
  while first <= last do
    local code, after = decode(text, first, lax)
    if not code then return nil, first end
    count, first = count + 1, after
  end
  return count
end

function added.offset(text, n, at)
  text = check_text(text, 1, "offset")
  n = check_integer(n, 2, "offset")
  if at == nil then at = n >= 0 and 1 or #text + 1 end
  at = position(check_integer(at, 3, "offset"), #text)
  if at < 1 or at > #text + 1 then bad_argument(3, "offset", "position out of bounds") end
  if n == 0 then
    while at > 1 and is_continuation(byte(text, at)) do at = at - 1 end
    return at
  end
  if is_continuation(byte(text, at)) then error("initial position is a continuation byte", 2) end
  while n < 0 and at > 1 do
    repeat at = at - 1 until at <= 1 or not is_continuation(byte(text, at))
    n = n + 1
  end
  if n > 0 then
    n = n - 1
    while n > 0 and at <= #text do
      repeat at = at + 1 until not is_continuation(byte(text, at))
      n = n - 1
    end
  end
  if n == 0 then return at end
  return nil
end

function added.codes(text, lax)
  text = check_text(text, 1, "codes")
  if is_continuation(byte(text, 1)) then bad_argument(1, "codes", "invalid UTF-8 code") end
  return function(_, at)
    -- Skip the rest of the sequence that was given last.
    if at > 0 then
      repeat at = at + 1 until not is_continuation(byte(text, at))
    else
      at = 1
    end
    if at > #text then return nil end
    local code, after = decode(text, at, lax)
    if not code or is_continuation(byte(text, after)) then error("invalid UTF-8 code", 2) end
    return at, code
  end, text, 0
end

internal.add_library("utf8", added, true)
