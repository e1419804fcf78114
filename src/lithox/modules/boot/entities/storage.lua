-- storage.lua - what one program remembers: a stream of bytes and a map of keys, under a quota.
--
-- Handlers of `~storage/NAME`. Only the storage service calls them (docs/explanation/
-- init-and-storage.md). A run takes a list of operations and performs them in order, in one
-- transaction; one that is refused changes nothing, the others go on.
--
-- State: `meta` = {size, used, expiring, fence}; `k/KEY` = {v = value, n = bytes counted, e = the
-- time it expires or nil}; `x/TIME/KEY` = true for each key that expires; `s/NUMBER` = one chunk of
-- the stream, no longer than it must be: what is missing of it is zeros.
-- Invariants: `used` is the sum of all `n` and the stream's size; nothing but `quota` bounds it.
local storage = {}

local CHUNK = 64 * 1024
local KEY_BYTES_MAX = 480
local VALUE_BYTES_MAX = 256 * 1024
local KEY_COST = 64          -- counted for each key besides key and value
local ROWS_MAX = 1000
local ROWS_BYTES_MAX = 256 * 1024
local READ_BYTES_MAX = 512 * 1024
local PURGED_MAX = 500
local QUOTA_DEFAULT = 16 * 1024 * 1024

local function refuse(code, message)
  error({ refused = code, message = message }, 0)
end

local function check_whole(value, what, low, high)
  if math.type(value) == "float" and math.tointeger(value) then value = math.tointeger(value) end
  if math.type(value) ~= "integer" or value < low or value > high then
    refuse("request.bad_arguments", what .. " is a whole number from " .. low .. " to " .. high)
  end
  return value
end

local function check_key(key)
  if type(key) ~= "string" or #key == 0 or #key > KEY_BYTES_MAX or not utf8.len(key) then
    refuse("request.bad_arguments", "a key is 1 to " .. KEY_BYTES_MAX .. " bytes of UTF-8")
  end
  return key
end

-- What a value is counted as: about its bytes in the store.
local function measure(value)
  local kind = type(value)
  if kind == "string" then return #value + 5 end
  if kind ~= "table" then return 9 end
  local total = 5
  for key, item in pairs(value) do
    total = total + measure(item) + (type(key) == "string" and #key + 5 or 0)
  end
  return total
end

local function is_same(a, b)
  if type(a) == "number" and type(b) == "number" then return a == b end
  if a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  for key, item in pairs(a) do
    if not is_same(item, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- One transaction's view: meta is read once and written once.
local function open_space(self, quota)
  local meta = self.state.meta or { size = 0, used = 0, expiring = 0, fence = 0 }
  return { self = self, state = self.state, meta = meta, quota = quota, now = self:now() }
end

-- ---- keys ----

local function expiry_key(time, key)
  return string.format("x/%015d/%s", time, key)
end

local function remove(space, key, found)
  local meta = space.meta
  space.state["k/" .. key] = nil
  meta.used = meta.used - found.n
  if found.e then
    space.state[expiry_key(found.e, key)] = nil
    meta.expiring = meta.expiring - 1
  end
end

-- Removes what has expired, oldest first, up to a bound; returns whether anything was.
local function purge(space)
  if space.meta.expiring == 0 then return false end
  local gone = {}
  for name in space.self:scan("x/") do
    local time, key = name:match("^x/(%d+)/(.*)$")
    if tonumber(time) > space.now or #gone >= PURGED_MAX then break end
    gone[#gone + 1] = key
  end
  for _, key in ipairs(gone) do remove(space, key, space.state["k/" .. key]) end
  return #gone > 0
end

local function find(space, key)
  local found = space.state["k/" .. check_key(key)]
  if found and found.e and found.e <= space.now then return nil, found end
  return found, found
end

local function check_room(space, more)
  local meta = space.meta
  if more <= 0 then return end
  while meta.used + more > space.quota do
    if not purge(space) then
      refuse("storage.full", "it would take " .. (meta.used + more) .. " bytes; the quota is "
        .. space.quota)
    end
  end
end

local function expiry_of(space, ttl_ms)
  if ttl_ms == nil then return nil end
  return space.now + check_whole(ttl_ms, "ttl_ms", 1, 1 << 45)
end

-- Puts a value; `kept` is the record it replaces, expired or not, or nil.
local function put(space, key, value, expires, kept)
  local n = #key + KEY_COST + measure(value)
  if n > VALUE_BYTES_MAX + KEY_BYTES_MAX then
    refuse("request.too_large", "a value has at most " .. VALUE_BYTES_MAX .. " bytes; found " .. n)
  end
  check_room(space, n - (kept and kept.n or 0))
  -- A purge on the way may have taken what was to be replaced.
  if kept and space.state["k/" .. key] then remove(space, key, kept) end
  space.state["k/" .. key] = { v = value, n = n, e = expires }
  space.meta.used = space.meta.used + n
  if expires then
    space.state[expiry_key(expires, key)] = true
    space.meta.expiring = space.meta.expiring + 1
  end
end

local operations = {}

function operations.get(space, op)
  local found = find(space, op.key)
  if found then return found.v end
end

function operations.put(space, op)
  if op.value == nil then refuse("request.bad_arguments", "nil is no value; use delete") end
  local _, kept = find(space, op.key)
  put(space, op.key, op.value, expiry_of(space, op.ttl_ms), kept)
  return true
end

function operations.delete(space, op)
  local found, kept = find(space, op.key)
  if kept then remove(space, op.key, kept) end
  return found ~= nil
end

function operations.compare_and_set(space, op)
  local found, kept = find(space, op.key)
  local current
  if found then current = found.v end
  if not is_same(current, op.expected) then return false, current end
  if op.value == nil then
    if kept then remove(space, op.key, kept) end
  else
    put(space, op.key, op.value, expiry_of(space, op.ttl_ms), kept)
  end
  return true, op.value
end

function operations.add(space, op)
  local found, kept = find(space, op.key)
  local current, by = 0, op.by == nil and 1 or op.by
  if found then current = found.v end
  if type(by) ~= "number" then refuse("request.bad_arguments", "what is added is a number") end
  if type(current) ~= "number" then
    refuse("storage.not_a_number", "the value is a " .. type(current))
  end
  local new = current + by
  if new ~= new or new == math.huge or new == -math.huge then
    refuse("storage.not_a_number", "the sum is too large")
  end
  put(space, op.key, new, found and found.e, kept)
  return new
end

function operations.expire(space, op)
  local found = find(space, op.key)
  if not found then return false end
  put(space, op.key, found.v, expiry_of(space, op.ttl_ms), found)
  return true
end

function operations.scan(space, op)
  local prefix, after = op.prefix or "", op.after or ""
  for _, text in ipairs{ prefix, after } do
    if type(text) ~= "string" or #text > KEY_BYTES_MAX or not utf8.len(text) then
      refuse("request.bad_arguments", "prefix and after are texts, at most " .. KEY_BYTES_MAX
        .. " bytes of UTF-8")
    end
  end
  local limit = op.limit == nil and 100 or check_whole(op.limit, "limit", 1, ROWS_MAX)
  local rows, size = lithox.list({}), 0
  for name, found in space.self:scan("k/" .. prefix, "k/" .. after) do
    if not (found.e and found.e <= space.now) then
      size = size + found.n
      if #rows >= limit or (size > ROWS_BYTES_MAX and #rows > 0) then return rows, true end
      rows[#rows + 1] = lithox.list({ name:sub(3), found.v })
    end
  end
  return rows, false
end

-- ---- the stream ----

local function chunk_key(number)
  return string.format("s/%08d", number)
end

local function read(space, offset, count)
  local size = space.meta.size
  count = math.min(count, size - offset)
  if count <= 0 then return "" end
  local parts = {}
  for number = offset // CHUNK, (offset + count - 1) // CHUNK do
    local start = number * CHUNK
    local chunk = space.state[chunk_key(number)] or ""
    local first, last = math.max(offset - start, 0), math.min(offset + count - start, CHUNK)
    local part = chunk:sub(first + 1, last)
    parts[#parts + 1] = part
    parts[#parts + 1] = string.rep("\0", last - first - #part)
  end
  return table.concat(parts)
end

local function write(space, offset, bytes)
  if type(bytes) ~= "string" then refuse("request.bad_arguments", "bytes are a string") end
  local meta, done = space.meta, 0
  local grown = math.max(offset + #bytes - meta.size, 0)
  if #bytes == 0 then return end
  check_room(space, grown)
  while done < #bytes do
    local number, start = (offset + done) // CHUNK, (offset + done) % CHUNK
    local part = bytes:sub(done + 1, done + CHUNK - start)
    local old = ""
    if #part < CHUNK then old = space.state[chunk_key(number)] or "" end
    local before = old:sub(1, start)
    if #before < start then before = before .. string.rep("\0", start - #before) end
    space.state[chunk_key(number)] = lithox.bytes(before .. part .. old:sub(start + #part + 1))
    done = done + #part
  end
  meta.size, meta.used = meta.size + grown, meta.used + grown
end

function operations.read(space, op)
  local offset = check_whole(op.offset, "offset", 0, 1 << 45)
  return lithox.bytes(read(space, offset, check_whole(op.count, "count", 0, READ_BYTES_MAX)))
end

function operations.write(space, op)
  write(space, check_whole(op.offset, "offset", 0, 1 << 45), op.bytes)
  return true
end

function operations.append(space, op)
  local offset = space.meta.size
  write(space, offset, op.bytes)
  return offset
end

function operations.size(space)
  return space.meta.size
end

function operations.truncate(space, op)
  local meta, size = space.meta, check_whole(op.size, "size", 0, 1 << 45)
  check_room(space, size - meta.size)
  if size < meta.size then
    for number = (size + CHUNK - 1) // CHUNK, (meta.size - 1) // CHUNK do
      space.state[chunk_key(number)] = nil
    end
    local chunk = size % CHUNK > 0 and space.state[chunk_key(size // CHUNK)]
    if chunk then
      space.state[chunk_key(size // CHUNK)] = lithox.bytes(chunk:sub(1, size % CHUNK))
    end
  end
  meta.used, meta.size = meta.used + size - meta.size, size
  return true
end

-- Tells how full the space is.
function operations.usage(space)
  return { used = space.meta.used, quota = space.quota, size = space.meta.size }
end

-- Reserves fencing tokens for the service's locks: they grow for ever, whoever hands them out.
function operations.fence(space, op)
  local first = space.meta.fence + 1
  space.meta.fence = space.meta.fence + check_whole(op.count, "count", 1, 1 << 20)
  return first
end

-- ---- the one handler ----

local READS = { get = true, scan = true, read = true, size = true, usage = true }

local function perform(space, op)
  local operation = operations[op.op]
  if operation == nil then refuse("request.bad_arguments", "no such operation") end
  local values = table.pack(operation(space, op))
  for i = 1, values.n do
    if values[i] == nil then values[i] = lithox.null end
  end
  values.n = nil
  return lithox.list(values)
end

-- Performs operations in order; returns one {values} or {refused, message} for each.
function storage.operate(self, ops, quota)
  local space = open_space(self, quota or QUOTA_DEFAULT)
  local results, is_change = lithox.list({}), false
  for i, op in ipairs(ops) do
    local ok, outcome = pcall(perform, space, op)
    if ok then
      results[i] = { values = outcome }
      is_change = is_change or not READS[op.op]
    elseif type(outcome) == "table" and outcome.refused then
      results[i] = { refused = outcome.refused, message = outcome.message }
    else
      error(outcome, 0)
    end
  end
  if is_change then self.state.meta = space.meta end
  return results
end

return storage
