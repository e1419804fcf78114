-- warn of Lua 5.4, for every version; `@on` also lets the interpreter's own warnings through.

local native = warn
local error, select, tostring, type = error, select, tostring, type
local concat, sub = table.concat, string.sub
local stderr = io.stderr

-- Lua 5.5 begins with warnings on.
local is_on = _VERSION == "Lua 5.5"
if is_on then native("@on") end

function warn(...)
  local count = select("#", ...)
  local parts = {...}
  for i = 1, count == 0 and 1 or count do
    local part = parts[i]
    if type(part) ~= "string" and type(part) ~= "number" then
      local got = i > count and "no value" or type(part)
      error(("bad argument #%d to 'warn' (string expected, got %s)"):format(i, got), 2)
    end
    parts[i] = tostring(part)
  end
  if count == 1 and sub(parts[1], 1, 1) == "@" then
    if native then native(parts[1]) end
    if parts[1] == "@on" then is_on = true elseif parts[1] == "@off" then is_on = false end
  elseif is_on then
    stderr:write("Lua warning: ", concat(parts, "", 1, count), "\n")
  end
end
