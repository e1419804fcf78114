-- The handlers of README.md in Lua. What a handler does is said there, once.

local M = {}

-- Things that must not outlive a run; `bump` counts each up.
local module_variable = 0
bump_global = 0
lithox.bump_library = 0
string.bump_method = 0
local metatable_of_text = getmetatable("")
metatable_of_text.bump_meta = 0
local kept_by_closure
do
  local kept = 0
  function kept_by_closure()
    kept = kept + 1
    return kept
  end
end
local counting = coroutine.wrap(function()
  local kept = 0
  while true do
    kept = kept + 1
    coroutine.yield(kept)
  end
end)
package.preload.bump = function() return { count = 0 } end

local function unpack_args(args) return table.unpack(args or {}) end

-- Values -------------------------------------------------------------------------------------

function M.echo(self, value) return value end

function M.pair(self, a, b)
  local function kept(value) return value == nil and lithox.null or value end
  return lithox.list { kept(a), kept(b) }
end

function M.describe(self, value)
  if value == nil or value == lithox.null then return "null" end
  local kind = math.type(value) or type(value)
  if kind == "boolean" then return "bool" end
  if kind == "integer" then return "int" end
  if kind == "string" then return utf8.len(value) and "text" or "bytes" end
  if kind == "table" then
    return getmetatable(value) == getmetatable(lithox.list {}) and "list" or "map"
  end
  return kind
end

local makers = {
  nan = function() return 0 / 0 end,
  infinity = function() return 1 / 0 end,
  minus_infinity = function() return -1 / 0 end,
  cycle = function()
    local list = lithox.list {}
    list[1] = list
    return list
  end,
  ["function"] = function() return M.echo end,
  number_key = function() return { a = 1, [1] = 2 } end,
}

function M.make(self, kind, key)
  local maker = makers[kind]
  if not maker then return "cannot" end
  if not key then return maker() end
  self.state[key] = maker()
end

function M.empty(self, kind)
  if kind == "list" then return lithox.list {} end
  return {}
end

function M.nest(self, depth)
  local value = lithox.list {}
  for _ = 2, depth do value = lithox.list { value } end
  return value
end

function M.text(self, length) return ("x"):rep(length) end

function M._hidden(self) return 1 end

-- Whose run it is ----------------------------------------------------------------------------

function M.who(self)
  return {
    id = self.id, caller = self.caller, attempt = self.attempt,
    request_id = self.request_id or lithox.null,
  }
end

function M.forge(self)
  for _, name in ipairs { "id", "caller", "request_id", "attempt" } do
    pcall(function() self[name] = "forged" end)
    pcall(rawset, self, name, "forged")
    pcall(function() getmetatable(self).__index = { [name] = "forged" } end)
  end
  return M.who(self)
end

function M.log(self, level, text, fields) self:log(level, text, fields) end

function M.say(self, text) print(text) end

function M.log_often(self, count, size)
  local text = ("x"):rep(size)
  for _ = 1, count do self:log("info", text) end
end

function M.usage(self) return self:usage() end

-- State --------------------------------------------------------------------------------------

function M.increment(self, by)
  self.state.count = (self.state.count or 0) + (by or 1)
  return self.state.count
end

function M.get(self, key) return self.state[key] end

function M.has(self, key) return self.state[key] ~= nil end

function M.put(self, key, value) self.state[key] = value end

function M.delete(self, key) self.state[key] = nil end

local function count_leaves(value)
  if type(value) ~= "table" then return 1 end
  local count = 0
  for _, item in pairs(value) do count = count + count_leaves(item) end
  return count
end

function M.look(self, key) return count_leaves(self.state[key]) end

local function edit(value)
  value.inner.count = value.inner.count + 1
  table.insert(value.inner.list, "added")
end

function M.edit(self, key) edit(self.state[key]) end

function M.unedit(self, key)
  local inner = self.state[key].inner
  edit(self.state[key])
  inner.count = inner.count - 1
  table.remove(inner.list)
end

function M.detach(self, key)
  local old = self.state[key]
  self.state[key] = { new = true }
  edit(old)
end

function M.share(self, key, other) self.state[other] = self.state[key] end

function M.keys(self)
  local keys = lithox.list {}
  for key in pairs(self.state) do keys[#keys + 1] = key end
  return keys
end

local function collect(iterator, state, first)
  local rows = lithox.list {}
  for key, value in iterator, state, first do rows[#rows + 1] = lithox.list { key, value } end
  return rows
end

function M.scan(self, prefix, after) return collect(self:scan(prefix, after)) end

function M.range(self, first, last, after) return collect(self:range(first, last, after)) end

function M.scan_some(self, prefix, count)
  local rows = lithox.list {}
  if count < 1 then return rows end
  for key, value in self:scan(prefix) do
    rows[#rows + 1] = lithox.list { key, value }
    if #rows == count then break end
  end
  return rows
end

function M.scan_own(self, prefix, added, removed)
  self.state[added] = true
  self.state[removed] = nil
  local keys = lithox.list {}
  for key in self:scan(prefix) do keys[#keys + 1] = key end
  return keys
end

function M.fill(self, prefix, count, size)
  local text = ("x"):rep(size)
  for n = 1, count do self.state[("%s%05d"):format(prefix, n)] = text end
end

-- Others -------------------------------------------------------------------------------------

function M.call(self, entity, handler, args)
  return self:call(entity, handler, unpack_args(args))
end

function M.try_call(self, entity, handler, args)
  local ok, value = pcall(self.call, self, entity, handler, unpack_args(args))
  if ok then return { value = value == nil and lithox.null or value } end
  return { code = value.code, message = value.message }
end

function M.put_call(self, key, value, entity, handler, args)
  self.state[key] = value
  return M.try_call(self, entity, handler, args)
end

function M.call_fail(self, entity, handler, args)
  self:call(entity, handler, unpack_args(args))
  error { code = "after_call", message = "after the call" }
end

function M.request(self, entity, handler, args)
  return self:request(entity, handler, unpack_args(args))
end

function M.request_fail(self, entity, handler, args)
  self:request(entity, handler, unpack_args(args))
  error { code = "after_request", message = "after the request" }
end

function M.send(self, entity, handler, args)
  return self:send(entity, handler, unpack_args(args))
end

function M.send_fail(self, entity, handler, args)
  self:send(entity, handler, unpack_args(args))
  error { code = "after_send", message = "after sending" }
end

function M.after(self, ms, handler, args) return self:after(ms, handler, unpack_args(args)) end

function M.schedule(self, options) return self:schedule(options) end

function M.cancel(self, id) return self:cancel(id) end

function M.timers(self, after) return (self:timers(after)) end

-- Big values ---------------------------------------------------------------------------------

function M.write_big(self, key, pieces, size)
  local writer = self:writer(key)
  for _ = 1, pieces do writer:write(("x"):rep(size)) end
  return writer:close()
end

function M.leave_big(self, key) self:writer(key):write("never closed") end

function M.read_big(self, key, size)
  local reader = self:reader(key)
  if not reader then return nil end
  local pieces, count = 0, 0
  for piece in function() return reader:read(size) end do
    pieces, count = pieces + 1, count + #piece
  end
  return { size = reader.size, digest = reader.digest, pieces = pieces, bytes = count }
end

function M.big_at(self, key, offset, size)
  local reader = self:reader(key)
  reader:seek(offset)
  return lithox.bytes(reader:read(size) or "")
end

-- Errors -------------------------------------------------------------------------------------

local function raise(message)
  error(message) -- RAISED HERE
end

function M.fail(self, message, code, data)
  if not code then raise(message) end
  local value = { code = code, message = message }
  for name, item in pairs(data or {}) do value[name] = item end
  error(value)
end

function M.put_fail(self, key, value, message)
  self.state[key] = value
  self.state.count = nil
  self.state["not " .. key] = true
  error(message)
end

function M.catch(self)
  local ok = pcall(function() return nil + 1 end)
  return ok and "passed" or "caught"
end

-- Limits -------------------------------------------------------------------------------------

function M.loop(self)
  while true do end
end

local function closing(action) return setmetatable({}, { __close = action, __gc = action }) end

function M.loop_caught(self)
  local function again() while true do end end
  while true do
    pcall(function()
      local _ <close> = closing(again)
      xpcall(again, again)
      pcall(coroutine.wrap(function() pcall(again) end))
    end)
    closing(again)
  end
end

function M.loop_asking(self)
  while true do pcall(self.usage, self) end
end

function M.recurse(self)
  local function down(n) return 1 + down(n + 1) end
  return down(1)
end

function M.eat(self)
  local kept = {}
  while true do kept[#kept + 1] = ("x"):rep(100000) .. #kept end
end

function M.eat_caught(self)
  local kept = {}
  while true do
    pcall(function()
      while true do kept[#kept + 1] = ("x"):rep(100000) .. #kept end
    end)
  end
end

function M.ask_often(self, count)
  local answered = 0
  for _ = 1, count do
    if pcall(self.usage, self) then answered = answered + 1 end
  end
  return answered
end

function M.spin(self, count)
  local t = 0
  for i = 1, count do t = (t * 31 + i) % 1000003 end
  return t
end

-- Determinism, authority, images -------------------------------------------------------------

function M.random(self, count)
  local numbers = lithox.list {}
  for n = 1, count do numbers[n] = math.random(1 << 40) end
  return numbers
end

function M.now(self) return self:now() end

function M.clocks(self)
  -- `os.clock` counts fuel and has no epoch; `mixed` looks at it.
  return lithox.list { os.time() * 1000, os.time(os.date("*t")) * 1000 }
end

function M.mixed(self, count)
  local seen = lithox.list {}
  local map = {}
  for n = 1, count do
    map[("key %d"):format(n * 7919 % 10007)] = math.random()
    map[n * 0.5] = n
    map[{}] = n
  end
  for key, value in pairs(map) do
    seen[#seen + 1] = tostring(key) .. "=" .. ("%.14g"):format(value)
  end
  local sorted = {}
  for n = 1, count do sorted[n] = math.random(count) end
  table.sort(sorted, function(a, b) return a > b end)
  math.randomseed()
  seen[#seen + 1] = table.concat(sorted, ",")
  seen[#seen + 1] = tostring(M.echo) .. tostring(self) .. tostring(math.random(1000000))
  seen[#seen + 1] = ("%.3f"):format(collectgarbage("count"))
  seen[#seen + 1] = ("%.9f %d %s"):format(os.clock(), os.time(), os.date())
  return seen
end

function M.bump(self)
  module_variable = module_variable + 1
  bump_global = bump_global + 1
  lithox.bump_library = lithox.bump_library + 1
  string.bump_method = string.bump_method + 1
  metatable_of_text.bump_meta = metatable_of_text.bump_meta + 1
  M.bump_handler = (M.bump_handler or 0) + 1
  local required = require("bump")
  required.count = required.count + 1
  return lithox.list {
    module_variable, bump_global, lithox.bump_library, string.bump_method,
    metatable_of_text.bump_meta, M.bump_handler, required.count, kept_by_closure(), counting(),
  }
end

local function try(...)
  for n = 1, select("#", ...) do
    local ok, got = pcall((select(n, ...)))
    if ok and got ~= nil and got ~= false then return "reached: " .. tostring(got) end
  end
  return "absent"
end

function M.reach(self)
  return {
    files = try(
      function() return io.open("/etc/passwd") end, function() return dofile("/etc/passwd") end,
      function() return loadfile("/etc/passwd") end, function() return os.remove("/tmp/none") end,
      function() return os.tmpname() end, function() return package.searchpath("a", "./?.lua") end
    ),
    network = try(function() return require("socket") end),
    environment = try(function() return os.getenv("PATH") end, function() return os.setlocale() end),
    process = try(
      function() return os.execute("true") end, function() return io.popen("true") end,
      function() return os.exit() end
    ),
    clock = os.time() == self:now() // 1000 and "virtual" or "reached: " .. os.time(),
    randomness = "virtual", -- From the run's seed: the suite compares runs.
    code = try(
      function() return string.dump(M.echo) end, function() return load("\27Lua", "b", "b") end,
      function() return package.loadlib("libc.so.6", "*") end
    ),
    host = try(
      function() return debug.getregistry() end, function() return debug.getinfo(1) end,
      function() return debug.getlocal(1, 1) end, function() return _G.syscall end
    ),
  }
end

return M
