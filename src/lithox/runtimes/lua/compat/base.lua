-- What the chunks of a compatibility runtime share while the image is made.
--
-- A runtime is a list of chunks (`table.toml`), each run once, with no arguments, after the native
-- prelude. They hand things to one another in the global COMPAT_INTERNAL, which the last chunk,
-- `finish.lua`, takes away again. Nothing here has a right that a program lacks. Every chunk adds
-- a name only where it is missing, so the functions of the Lua version itself stay untouched.
-- This file runs on Lua 5.1 to 5.5.

local error, select, tonumber, type = error, select, tonumber, type
local floor = math.floor

local internal = {}
rawset(_G, "COMPAT_INTERNAL", internal)

internal.version = tonumber((_VERSION:match("%d+%.%d+")))
internal.unpack = unpack or table.unpack
internal.load_text = loadstring or load

-- This and the checks are called directly by a library function; the error is placed where that
-- one was called.
function internal.bad_argument(position, name, message)
  error(("bad argument #%d to '%s' (%s)"):format(position, name, message), 3)
end

local function expected(position, name, what, value)
  local got = value == nil and "no value" or type(value)
  error(("bad argument #%d to '%s' (%s expected, got %s)"):format(position, name, what, got), 4)
end

-- Returns a number, made from text as Lua's own functions do.
function internal.check_number(value, position, name)
  local number = value
  if type(value) ~= "number" then
    number = type(value) == "string" and tonumber(value) or nil
    if not number then expected(position, name, "number", value) end
  end
  return number
end

-- Returns a whole number; where Lua has integers, an integer.
function internal.check_integer(value, position, name)
  local number = value
  if type(value) ~= "number" then
    number = type(value) == "string" and tonumber(value) or nil
    if not number then expected(position, name, "number", value) end
  end
  if floor(number) ~= number or number - number ~= 0 then
    error(("bad argument #%d to '%s' (number has no integer representation)"):format(
      position, name), 3)
  end
  return number
end

function internal.check_text(value, position, name)
  local kind = type(value)
  if kind == "number" then return tostring(value) end
  if kind ~= "string" then expected(position, name, "string", value) end
  return value
end

function internal.check_table(value, position, name)
  if type(value) ~= "table" then expected(position, name, "table", value) end
  return value
end

-- Adds to `library` what it has not; `functions` is a table of names.
function internal.add(library, functions)
  for name, value in pairs(functions) do
    if rawget(library, name) == nil then rawset(library, name, value) end
  end
end

-- Makes `name` a library: a global (only if `is_global`) and something `require` finds.
function internal.add_library(name, functions, is_global)
  if is_global and rawget(_G, name) == nil then rawset(_G, name, functions) end
  if package.loaded[name] == nil and package.preload[name] == nil then
    if is_global then
      package.loaded[name] = rawget(_G, name)
    else
      package.preload[name] = function() return functions end
    end
  end
end

-- Passes on what pcall(native function, ...) gave; an error gets the line of who called ours. It is
-- tail-called, and only Lua 5.1 still counts the frame that it replaces.
local LEVEL_OF_CALLER = internal.version == 5.1 and 3 or 2

function internal.finish(is_done, ...)
  if is_done then return ... end
  local failure = ...
  error(failure, type(failure) == "string" and LEVEL_OF_CALLER or 0)
end

-- Returns select("#", ...) and the values from the first, as Lua 5.2's table.pack does.
function internal.pack(...)
  return {n = select("#", ...), ...}
end
