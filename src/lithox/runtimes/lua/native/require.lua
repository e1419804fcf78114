--[[
require.lua - libraries: package.loaded, package.preload, then the library store.

`require` itself stays that of the Lua version; it gets a searcher that asks the store, and around
it stands what notices circles, which stock Lua runs into (5.2 and later) or tells unclearly (5.1).
A library runs once in a process; `...` in it is its name and, from 5.2 on, where it is from.
]]
local _, native = ...

local concat, error, format, type, tostring = table.concat, error, string.format, type, tostring
local pcall, require_one = pcall, require
local loaded, load_text = package.loaded, native.load_text
local searchers = package.searchers or package.loaders

-- From Lua 5.4 on, require returns where it found a library, and puts the line breaks between what
-- the searchers say; older ones want them in it.
local gives_where = _VERSION == "Lua 5.4" or _VERSION == "Lua 5.5"
local indent = gives_where and "" or "\n\t"

searchers[#searchers + 1] = function(name)
  local text, info, message = os.get_library(name)
  if text == nil then
    return format("%sno library '%s' in the store (%s)", indent, name, tostring(message))
  end
  local where = format("library:%s@%d", name, info.version)
  local chunk, problem = load_text(text, "=" .. where)
  if chunk == nil then error(format("error loading library '%s':\n\t%s", name, problem), 0) end
  return chunk, where
end

-- Names being loaded, outermost first; and name -> its place there.
local path, place_of = {}, {}

local function finish(name, ok, ...)
  for i = #path, place_of[name], -1 do
    place_of[path[i]] = nil
    path[i] = nil
  end
  if ok then return ... end
  local problem = ...
  -- Lua 5.1 would say "loop or previous error" ever after, and hide what is wrong.
  if type(loaded[name]) == "userdata" then loaded[name] = nil end
  -- Only what `require` itself says lacks a place: it was called from here.
  local is_its_own = type(problem) == "string"
    and problem:sub(1, #name + 9) == "module '" .. name .. "'"
  error(problem, is_its_own and 3 or 0)
end

--- Gives a library: what `package.loaded` has under the name, else what `package.preload` makes,
-- else the newest version in the library store, run once. Libraries that need each other in a
-- circle are an error that shows the circle.
-- @function require(name) -> library, where
-- @arg name text: the library's name
-- @return library: what its code returned, or true
-- @return where: from Lua 5.4 on: `"library:NAME@VERSION"`, or `":preload:"`
-- @errors raised as text: not found (and where it was looked for), not compiled (with its line), or
--   what its code raised
-- @waits the whole process, for the store
function require(name)
  if type(name) ~= "string" then native.refuse(1, "require", "string", name) end
  local found, place = loaded[name], place_of[name]
  if place then
    -- Lua 5.1 keeps a mark there while a library loads; a library's own table ends the circle.
    if not found or type(found) == "userdata" then
      local circle = concat(path, "' -> '", place)
      error(format("libraries require each other in a circle: '%s' -> '%s'", circle, name), 2)
    end
    return found
  end
  if found and type(found) ~= "userdata" then return found end
  path[#path + 1] = name
  place_of[name] = #path
  -- No tail call: the program's line must stay two levels above where errors are raised.
  local library, where = finish(name, pcall(require_one, name))
  if gives_where then return library, where end
  return library
end
