-- The mathematical functions that Lua 5.3 declared obsolete and its standard build still has:
-- pow, log10, ldexp, frexp, cosh, sinh, tanh, atan2. Built from the functions that stayed.

local internal = COMPAT_INTERNAL
local check_number, check_integer = internal.check_number, internal.check_integer
local abs, exp, floor, huge, log = math.abs, math.exp, math.floor, math.huge, math.log

local added = {}

function added.pow(x, y)
  return check_number(x, 1, "pow") ^ check_number(y, 2, "pow")
end

function added.atan2(y, x)
  y = check_number(y, 1, "atan2")
  x = check_number(x, 2, "atan2")
  return math.atan(y, x)
end

-- log(x, 10) is C's log10 from Lua 5.2 on, bit for bit.
function added.log10(x)
  return log(check_number(x, 1, "log10"), 10)
end

-- Returns m and e with x == m * 2^e and 0.5 <= |m| < 1, for a finite x that is not zero.
local function split(x)
  local shift = 0
  if abs(x) < 2.0 ^ -1022 then x, shift = x * 2.0 ^ 54, -54 end
  -- log is a guess that may be off by one either way; the loops make it exact.
  local guess = floor(log(abs(x)) / log(2)) + 1
  local half = floor(guess / 2)
  x = x * 2.0 ^ -half * 2.0 ^ -(guess - half)
  while abs(x) >= 1.0 do x, guess = x * 0.5, guess + 1 end
  while abs(x) < 0.5 do x, guess = x * 2.0, guess - 1 end
  return x, guess + shift
end

local function is_special(x)
  return x == 0.0 or x ~= x or x == huge or x == -huge
end

function added.frexp(x)
  x = check_number(x, 1, "frexp") * 1.0
  if is_special(x) then return x, 0 end
  return split(x)
end

function added.ldexp(x, power)
  x = check_number(x, 1, "ldexp") * 1.0
  power = check_integer(power, 2, "ldexp")
  if is_special(x) then return x end
  local part, own = split(x)
  local whole = own + power
  if whole > 1024 then return x * huge end
  if whole < -1080 then return x * 0.0 end
  -- Only the last product may round, into a subnormal number; two roundings would not be C's.
  if whole < -1000 then return part * 2.0 ^ (whole + 1000) * 2.0 ^ -1000 end
  local half = floor(whole / 2)
  return part * 2.0 ^ half * 2.0 ^ (whole - half)
end

function added.cosh(x)
  x = check_number(x, 1, "cosh")
  local e = exp(abs(x) * 0.5)
  return 0.5 * e * e + 0.5 / e / e
end

-- Below one the difference of exponentials loses digits; the series does not.
local function small_sinh(x)
  local square, term, sum = x * x, x, x
  for i = 1, 10 do
    term = term * square / ((2 * i) * (2 * i + 1))
    sum = sum + term
  end
  return sum
end

function added.sinh(x)
  x = check_number(x, 1, "sinh")
  if abs(x) < 1 then return small_sinh(x * 1.0) end
  local e = exp(abs(x) * 0.5)
  local result = 0.5 * e * e - 0.5 / e / e
  return x < 0 and -result or result
end

function added.tanh(x)
  x = check_number(x, 1, "tanh")
  if abs(x) < 1 then
    return small_sinh(x * 1.0) / added.cosh(x)
  end
  local result = 1.0 - 2.0 / (exp(2 * abs(x)) + 1.0)
  return x < 0 and -result or result
end

internal.add(math, added)
