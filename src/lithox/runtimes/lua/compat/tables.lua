-- table.pack, unpack, move and create, as the newest Lua that has them, for those that have not.

local internal = COMPAT_INTERNAL
local check_integer, check_table = internal.check_integer, internal.check_table
local bad_argument, plain_unpack = internal.bad_argument, internal.unpack
local getmetatable, select, type = getmetatable, select, type

local added = {}

function added.pack(...)
  return {n = select("#", ...), ...}
end

-- Elements are read through __index, as from Lua 5.3 on; the unpack of 5.1 reads them raw.
function added.unpack(list, first, last)
  if type(list) == "table" and getmetatable(list) == nil then
    return plain_unpack(list, first or 1, last or #list)
  end
  first = first == nil and 1 or check_integer(first, 2, "unpack")
  last = last == nil and #list or check_integer(last, 3, "unpack")
  local copy = {}
  for i = first, last do copy[i - first + 1] = list[i] end
  return plain_unpack(copy, 1, last - first + 1)
end

function added.move(from, first, last, at, to)
  check_table(from, 1, "move")
  first = check_integer(first, 2, "move")
  last = check_integer(last, 3, "move")
  at = check_integer(at, 4, "move")
  if to == nil then to = from else check_table(to, 5, "move") end
  if last < first then return to end
  if at > last or at <= first or to ~= from then
    for i = 0, last - first do to[at + i] = from[first + i] end
  else
    for i = last - first, 0, -1 do to[at + i] = from[first + i] end
  end
  return to
end

-- Room is given by the interpreter as the table grows; only the checks are left to do.
function added.create(sequence, records)
  sequence = check_integer(sequence, 1, "create")
  if sequence < 0 or sequence > 2147483647 then bad_argument(1, "create", "out of range") end
  if records ~= nil then
    records = check_integer(records, 2, "create")
    if records < 0 or records > 2147483647 then bad_argument(2, "create", "out of range") end
  end
  return {}
end

internal.add(table, added)
