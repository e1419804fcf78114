-- Functions that a newer Lua dropped, built from those it has: names of Lua 5.0 to 5.3.
--
-- Only the runtimes that say so in `table.toml` have them; what needs environments of functions
-- is in `environments.lua`.

local internal = COMPAT_INTERNAL
local check_table = internal.check_table
local load, next, type, error, tostring = load, next, type, error, tostring

internal.has_obsolete = true

local function check_function(value, position, name)
  if type(value) ~= "function" then
    local got = value == nil and "no value" or type(value)
    error(("bad argument #%d to '%s' (function expected, got %s)"):format(position, name, got), 3)
  end
end

-- ---- tables ----

local tables = {}

function tables.getn(list)
  check_table(list, 1, "getn")
  return #list
end

if not internal.is_luajit then
  function tables.setn(list)
    check_table(list, 1, "setn")
    error("'setn' is obsolete", 2)
  end
end

function tables.maxn(list)
  check_table(list, 1, "maxn")
  local largest = 0
  for key in next, list do
    if type(key) == "number" and key > largest then largest = key end
  end
  return largest
end

function tables.foreach(list, visit)
  check_table(list, 1, "foreach")
  check_function(visit, 2, "foreach")
  for key, value in next, list do
    local result = visit(key, value)
    if result ~= nil then return result end
  end
end

function tables.foreachi(list, visit)
  check_table(list, 1, "foreachi")
  check_function(visit, 2, "foreachi")
  for i = 1, #list do
    local result = visit(i, rawget(list, i))
    if result ~= nil then return result end
  end
end

internal.add(table, tables)
if not internal.is_luajit then
  internal.add(string, {gfind = string.gmatch})
  internal.add(math, {mod = math.fmod})
end

-- ---- globals ----

local globals = {unpack = internal.unpack}

function globals.loadstring(text, name)
  if type(text) ~= "string" and type(text) ~= "number" then
    local got = text == nil and "no value" or type(text)
    error("bad argument #1 to 'loadstring' (string expected, got " .. got .. ")", 2)
  end
  text = tostring(text)
  return load(text, name or text)
end

function globals.gcinfo()
  return math.floor(collectgarbage("count")), 0
end

-- Userdata cannot be made from Lua; a table whose metatable says so does for what proxies are for:
-- an __index, __gc or __len of one's own.
function globals.newproxy(of)
  local kind = type(of)
  if of == nil or of == false then return setmetatable({}, {__name = "userdata"}) end
  local metatable
  if of == true then
    metatable = {}
  else
    metatable = getmetatable(of)
    if kind ~= "table" or type(metatable) ~= "table" then
      error("bad argument #1 to 'newproxy' (boolean or proxy expected)", 2)
    end
  end
  return setmetatable({}, metatable)
end

internal.add(_G, globals)
