-- setfenv, getfenv, module and package.seeall for a Lua whose environments are the upvalue _ENV.
--
-- A function has its own environment once setfenv has joined its _ENV to a fresh upvalue; closures
-- it makes from then on have it too, as in Lua 5.1. A function that uses no global, nor has one
-- inside that does, has no _ENV: for such the environment is only remembered, for getfenv.

local internal = COMPAT_INTERNAL
local getinfo, getupvalue = debug.getinfo, debug.getupvalue
local setupvalue, upvaluejoin = debug.setupvalue, debug.upvaluejoin
local error, type, setmetatable, tonumber = error, type, setmetatable, tonumber
local floor = math.floor

local remembered = setmetatable({}, {__mode = "k"})
local thread_environment = _G

local function find_environment(of)
  local i = 0
  repeat
    i = i + 1
    local name = getupvalue(of, i)
    if name == "_ENV" then return i end
  until name == nil
  return nil
end

-- Levels count from the caller of getfenv or setfenv, and this is called by those directly.
local function function_at(target, name)
  if type(target) == "function" then return target end
  local level = tonumber(target)
  if not level then
    local got = target == nil and "no value" or type(target)
    error(("bad argument #1 to '%s' (number expected, got %s)"):format(name, got), 3)
  end
  level = floor(level)
  if level < 0 then
    error(("bad argument #1 to '%s' (level must be non-negative)"):format(name), 3)
  end
  local info = getinfo(level + 2, "f")
  if not info then error(("bad argument #1 to '%s' (invalid level)"):format(name), 3) end
  return info.func
end

local function environment_of(target)
  local at = find_environment(target)
  if at then
    local _, value = getupvalue(target, at)
    return value
  end
  return remembered[target] or thread_environment
end

-- Not a tail call: the level would count differently.
local function get_environment(target)
  if target == nil then target = 1 end
  if target == 0 then return thread_environment end
  local of = function_at(target, "getfenv")
  return environment_of(of)
end

local function join_environment(of, environment)
  local at = find_environment(of)
  if at then
    local holder = environment
    local function hold() return holder end
    upvaluejoin(of, at, hold, 1)
    setupvalue(of, at, environment)
  elseif getinfo(of, "S").what == "C" then
    return false
  else
    remembered[of] = environment
  end
  return true
end

local function set_environment(target, environment)
  if type(environment) ~= "table" then
    local got = environment == nil and "no value" or type(environment)
    error("bad argument #2 to 'setfenv' (table expected, got " .. got .. ")", 2)
  end
  if target == 0 then
    thread_environment = environment
    return
  end
  local of = function_at(target, "setfenv")
  if not join_environment(of, environment) then
    error("'setfenv' cannot change environment of given object", 2)
  end
  return of
end

internal.get_environment = environment_of
internal.set_environment = join_environment

-- ---- module ----

-- Returns the table at a dotted name in the globals, made where missing; nil if something is there.
local function find_table(name)
  local at = _G
  for part in name:gmatch("[^.]+") do
    local inner = rawget(at, part)
    if inner == nil then
      inner = {}
      at[part] = inner
    elseif type(inner) ~= "table" then
      return nil
    end
    at = inner
  end
  return at
end

local function declare_module(name, ...)
  if type(name) ~= "string" then
    local got = name == nil and "no value" or type(name)
    error("bad argument #1 to 'module' (string expected, got " .. got .. ")", 2)
  end
  local made = package.loaded[name]
  if type(made) ~= "table" then
    made = find_table(name)
    if not made then error("name conflict for module '" .. name .. "'", 2) end
    package.loaded[name] = made
  end
  if made._NAME == nil then
    made._M = made
    made._NAME = name
    made._PACKAGE = name:match("^(.*%.)[^.]*$") or ""
  end
  local caller = getinfo(2, "f")
  if not caller or getinfo(caller.func, "S").what == "C" then
    error("'module' not called from a Lua function", 2)
  end
  join_environment(caller.func, made)
  for i = 1, select("#", ...) do
    local option = select(i, ...)
    if type(option) == "function" then option(made) end
  end
  return made
end

local function see_all(made)
  if type(made) ~= "table" then
    local got = made == nil and "no value" or type(made)
    error("bad argument #1 to 'seeall' (table expected, got " .. got .. ")", 2)
  end
  local metatable = getmetatable(made)
  if not metatable then
    metatable = {}
    setmetatable(made, metatable)
  end
  metatable.__index = _G
end

-- Lua 5.2's standard build has module without setfenv.
local wanted = {module = declare_module}
if not internal.only_module then
  wanted.getfenv, wanted.setfenv = get_environment, set_environment
  internal.add(debug, {
    getfenv = function(of) return type(of) == "function" and environment_of(of) or {} end,
    setfenv = function(of, environment)
      if type(of) ~= "function" or not join_environment(of, environment) then
        error("'setfenv' cannot change environment of given object", 2)
      end
      return of
    end,
  })
end
internal.add(_G, wanted)
internal.add(package, {seeall = see_all})
