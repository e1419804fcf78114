-- The work of the side-by-side run as functions of Tarantool; an entity is a tuple.
-- Arguments: port, folder.
local port, folder = arg[1], arg[2]
box.cfg{
  listen = '127.0.0.1:' .. port, wal_mode = 'fsync', memtx_memory = 2 * 1024 * 1024 * 1024,
  memtx_dir = folder, wal_dir = folder, vinyl_dir = folder, log_level = 3,
}
box.once('counter', function()
  local space = box.schema.space.create('counter')
  space:create_index('primary', {parts = {1, 'string'}})
  box.schema.user.grant('guest', 'execute,read,write', 'universe')
end)
local space = box.space.counter

local function add(entity, by)
  local found = space:update(entity, {{'+', 2, by}})
  if found == nil then
    -- Another fibre may have made it while this one waited for the log.
    local is_made, made = pcall(space.insert, space, {entity, by})
    found = is_made and made or space:update(entity, {{'+', 2, by}})
  end
  return found[2]
end

function increment(entity) return add(entity, 1) end

function look(entity)
  local found = space:get(entity)
  return found and found[2] or 0
end

function give(from, to)
  box.begin()
  add(from, -1)
  local given = add(to, 1)
  box.commit()
  return given
end

function fill(entity)
  local values = {entity, 1}
  for field = 1, 100 do values[field + 2] = string.rep('x', 100) end
  return space:replace(values)[2]
end

function spoil(entity)
  space:replace{entity, 999}
  error('spoiled on purpose')
end

function loop()
  while true do end
end

function eat()
  local eaten = {}
  while true do
    eaten[#eaten + 1] = string.rep('x', 100000) .. #eaten
  end
end

print('ready')
io.flush()
