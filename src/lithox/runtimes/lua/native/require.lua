--[[
require.lua - libraries: package.loaded, package.preload, then the library store.

A library runs once in a process; `...` in it is its name and where it is from. The searchers stand
in `package.searchers` (`package.loaders` in Lua 5.1), so a program may add its own.
]]
local _, native = ...

local concat, error, format, type, tostring = table.concat, error, string.format, type, tostring
local load_text = native.load_text

package = package or {}
package.loaded = package.loaded or {}
package.preload = package.preload or {}
package.path, package.cpath = package.path or "", package.cpath or ""
package.config = package.config or "/\n;\n?\n!\n-\n"

local loaded, preload = package.loaded, package.preload

local function search_preload(name)
  local found = preload[name]
  if found ~= nil then return found, ":preload:" end
  return format("\n\tno field package.preload['%s']", name)
end

local function search_store(name)
  local text, info, message = os.get_library(name)
  if text == nil then
    return format("\n\tno library '%s' in the store (%s)", name, tostring(message))
  end
  local where = format("library:%s@%d", name, info.version)
  local chunk, problem = load_text(text, "=" .. where)
  if chunk == nil then
    error(format("error loading library '%s':\n\t%s", name, problem), 0)
  end
  return chunk, where
end

local searchers = { search_preload, search_store }
if native.is_5_1 then package.loaders = searchers else package.searchers = searchers end

-- Names being loaded, outermost first; and name -> its place there.
local path, place_of = {}, {}

local function find_loader(name)
  local tried = {}
  local current = package.searchers or package.loaders
  if type(current) ~= "table" then error("'package.searchers' must be a table", 3) end
  for i = 1, #current do
    local loader, where = current[i](name)
    if type(loader) == "function" then return loader, where end
    if type(loader) == "string" then tried[#tried + 1] = loader end
  end
  error(format("module '%s' not found:%s", name, concat(tried)), 3)
end

local function leave(name)
  for i = #path, place_of[name], -1 do
    place_of[path[i]] = nil
    path[i] = nil
  end
end

--- Gives a library: what `package.loaded` has under the name, else what `package.preload` makes,
-- else the newest version in the library store, run once. Libraries that need each other in a circle
-- are an error that shows the circle.
-- @function require(name) -> library, where
-- @arg name text: the library's name
-- @return library: what its code returned, or true
-- @return where: `":preload:"` or `"library:NAME@VERSION"`
-- @errors raised as text: not found (and where it was looked for), not compiled (with its line), or
--   what its code raised
-- @waits the whole process, for the store
function require(name)
  if type(name) ~= "string" then native.refuse(1, "require", "string", name) end
  local found = loaded[name]
  if found then return found end
  local place = place_of[name]
  if place then
    local circle = concat(path, "' -> '", place)
    error(format("libraries require each other in a circle: '%s' -> '%s'", circle, name), 2)
  end
  local loader, where = find_loader(name)
  path[#path + 1] = name
  place_of[name] = #path
  local ok, result = native.pcall(loader, name, where)
  leave(name)
  if not ok then error(result, 0) end
  if result ~= nil then loaded[name] = result end
  if loaded[name] == nil then loaded[name] = true end
  return loaded[name], where
end
