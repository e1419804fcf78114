--[[
load.lua - load and loadstring that remember the source, so that os.run_code can send a function
made by them to another process.

The memory is weak: it lasts as long as the function. Environments do not travel.
]]
local _, native = ...

local load, loadstring, setmetatable, type = load, loadstring, setmetatable, type
local concat = table.concat

local source_of = setmetatable({}, { __mode = "k" })
local name_of = setmetatable({}, { __mode = "k" })

--- Returns (source text, chunk name or nil) of a function that load made, else nil.
function native.find_source(f)
  local source = source_of[f]
  if type(source) == "table" then
    source = concat(source)
    source_of[f] = source
  end
  return source, name_of[f]
end

local function remember(source, name, f, ...)
  if f then
    source_of[f] = source
    name_of[f] = name
  end
  return f, ...
end

-- A reader's pieces are kept as they are read; `pieces` is joined only when somebody asks.
local function recording(reader, pieces)
  return function()
    local piece = reader()
    if type(piece) == "string" then pieces[#pieces + 1] = piece end
    return piece
  end
end

_G.load = function(chunk, name, ...)
  if type(chunk) == "function" then
    local pieces = {}
    return remember(pieces, name, load(recording(chunk, pieces), name, ...))
  end
  return remember(chunk, name, load(chunk, name, ...))
end

if loadstring then
  _G.loadstring = function(text, name)
    return remember(text, name, loadstring(text, name))
  end
end

--- Compiles text in any version: Lua 5.1's `load` takes functions only.
native.load_text = loadstring or load
