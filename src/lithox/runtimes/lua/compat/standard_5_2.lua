-- What Lua 5.2's standard build (LUA_COMPAT_ALL) keeps of 5.1: unpack, loadstring, math.log10,
-- table.maxn, module, package.loaders and package.seeall.

local internal = COMPAT_INTERNAL
local log, next, type, load = math.log, next, type, load

internal.only_module = true

local function log10(x)
  x = internal.check_number(x, 1, "log10")
  return log(x, 10)
end

local function maxn(list)
  internal.check_table(list, 1, "maxn")
  local largest = 0
  for key in next, list do
    if type(key) == "number" and key > largest then largest = key end
  end
  return largest
end

internal.add(_G, {unpack = table.unpack, loadstring = load})
internal.add(math, {log10 = log10})
internal.add(table, {maxn = maxn})
