--[[
storage - the service that gives each program a durable space under its name.

init asks `open(name)` and gets a context of its own for each process it starts; that process, and
whoever it hands the context on to, calls operations in it. Each is one of the operations of the
entity `~storage/NAME`; those one process has asked for meanwhile go together, in their order, as
one transaction, those of different processes at the same time. Locks live here, in memory, since
they end with their holders; their fencing tokens are the entity's.

Invariants: operations of one process are performed in the order of its calls; what is kept of
them is bounded, per process and in all; nothing waits but the one `os.pull`.
]]
local locks = require "storage.locks"

local unpack = table.unpack or unpack
local STATUS = os.status
local OWN = { ["storage.full"] = 1001, ["storage.not_a_number"] = 1002, ["storage.locked"] = 1003,
  ["storage.not_locked"] = 1004 }

local batch_max = 64
local batch_bytes_max = 512 * 1024
local queue_max = 64                     -- operations of one process that wait
local queue_bytes_max = 16 * 1024 * 1024 -- of all together
local in_flight_max = 64
local tries_max = 3
local spaces_max = 900                   -- of the 1024 contexts a process may have
local fence_count, fence_left_min = 100000, 1000
local lease_max_ms, timeout_max_ms = 24 * 3600 * 1000, 3600 * 1000

local contexts = {}      -- ctx -> {ctx, name, holders = {pid -> holder}, references}
local context_count = 0
local names = {}         -- name -> {name, locks, contexts, first token and last of those reserved}
local holders = {}       -- all, as keys and values
local ready, ready_first, ready_last = {}, 1, 0
local in_flight, in_flight_count = {}, 0
local queued_bytes = 0
local is_stopping = false
local control = os.contexts.control

-- ---- small things ----

local function now_ms()
  local _, now = os.request(0, "time.now")
  return now
end

local function refuse(cid, code, message)
  os.answer(cid, OWN[code] or STATUS[code:upper():gsub("%.", "_")] or STATUS.INTERNAL, code,
    message)
end

local function entity_of(name)
  -- A segment of a path has at most 64 characters, a program's name 128.
  local path = "~storage/" .. name:sub(1, 60)
  for at = 61, #name, 60 do path = path .. "/~" .. name:sub(at, at + 59) end
  return path
end

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

-- ---- locks ----

local lock_table = locks.new({
  now = now_ms,
  token = function(space)
    space.token = space.token + 1
    return space.token
  end,
  tell = function(waiter, status, ...) return os.answer(waiter.cid, status, ...) ~= nil end,
})

-- ---- operations on their way ----

local function option(args, position, name)
  local options = args[position]
  if options == nil then return nil end
  if type(options) ~= "table" then error("options are a table", 0) end
  return options[name]
end

-- name -> function(args) that makes the entity's operation. `at_cursor`: the offset was nil.
local BUILD = {
  get = function(a) return { key = a[1] } end,
  put = function(a) return { key = a[1], value = a[2], ttl_ms = option(a, 3, "ttl_ms") } end,
  delete = function(a) return { key = a[1] } end,
  scan = function(a) return { prefix = a[1], after = a[2], limit = a[3] } end,
  compare_and_set = function(a)
    return { key = a[1], expected = a[2], value = a[3], ttl_ms = option(a, 4, "ttl_ms") }
  end,
  add = function(a) return { key = a[1], by = a[2] } end,
  expire = function(a) return { key = a[1], ttl_ms = a[2] } end,
  read = function(a) return { offset = a[1], count = a[2], at_cursor = a[1] == nil } end,
  write = function(a) return { offset = a[1], bytes = a[2], at_cursor = a[1] == nil } end,
  append = function(a) return { bytes = a[1] } end,
  size = function() return {} end,
  truncate = function(a) return { size = a[1] } end,
  usage = function() return {} end,
  seek = function(a) return { whence = a[1] or "cur", by = a[2] or 0, at_cursor = true } end,
}

local function enlist(holder)
  if holder.is_ready or holder.sent or holder.first > holder.last then return end
  holder.is_ready = true
  ready_last = ready_last + 1
  ready[ready_last] = holder
end

local function take(holder)
  local item = holder.queue[holder.first]
  holder.queue[holder.first] = nil
  holder.first = holder.first + 1
  holder.queued, queued_bytes = holder.queued - 1, queued_bytes - item.bytes
  return item
end

-- The caller has gone, but a call that is never answered would count for this process until its
-- deadline, and enough of them would keep everybody else's calls out.
local function abandon(cid)
  os.answer(cid, STATUS.CALL_ABANDONED, "call.abandoned", "the process has given its storage up")
end

local function abandon_queue(holder)
  while holder.first <= holder.last do abandon(take(holder).cid) end
end

local function move_cursor(holder, item, offset)
  if offset < 0 then
    return refuse(item.cid, "request.bad_arguments", "the cursor cannot stand before the beginning")
  end
  holder.cursor = offset
  os.answer(item.cid, 0, offset)
end

-- Performs the seeks at the head of the queue that need no entity; true when something is left.
local function seek_at_head(holder)
  while holder.first <= holder.last do
    local item = holder.queue[holder.first]
    local op = item.op
    if op.op ~= "seek" or op.whence == "end" then return true end
    take(holder)
    if type(op.by) ~= "number" or op.by % 1 ~= 0 or (op.whence ~= "set" and op.whence ~= "cur") then
      refuse(item.cid, "request.bad_arguments", "seek takes set, cur or end, and a whole number")
    else
      move_cursor(holder, item, op.whence == "set" and op.by or holder.cursor + op.by)
    end
  end
  return false
end

-- About the bytes of an operation and of its answer.
local function weigh(op)
  local name, answer = op.op, 64
  if name == "read" and type(op.count) == "number" then
    answer = math.min(math.max(op.count, 0), batch_bytes_max)
  elseif name == "scan" then
    answer = batch_bytes_max / 2
  elseif name == "get" or name == "compare_and_set" then
    answer = 4096
  end
  return measure(op) + answer
end

-- Takes what goes in one transaction. An operation at the cursor only comes first, since where the
-- cursor stands is known when those before it have been answered.
local function take_batch(holder)
  local items, bytes = {}, 0
  local count_max = holder.alone > 0 and 1 or batch_max
  while holder.first <= holder.last and #items < count_max do
    local item = holder.queue[holder.first]
    if #items > 0 and (item.op.at_cursor or bytes + item.bytes > batch_bytes_max) then break end
    items[#items + 1] = take(holder)
    bytes = bytes + item.bytes
  end
  return items
end

local function encode(holder, items)
  local ops = lithox.list({})
  for i, item in ipairs(items) do
    local op = item.op
    local sent = { op = op.op == "seek" and "size" or op.op }
    for key, value in pairs(op) do
      if key ~= "op" and key ~= "at_cursor" and key ~= "whence" then sent[key] = value end
    end
    if op.at_cursor and op.op ~= "seek" then
      item.offset = holder.cursor
      sent.offset = holder.cursor
    end
    ops[i] = sent
  end
  return ops
end

local function refuse_all(items, status, code, message)
  for _, item in ipairs(items) do os.answer(item.cid, status, code, message) end
end

local function send(holder, items, tries)
  local ops = encode(holder, items)
  local cid, status, message = os.call(0, "entity.request", holder.space.entity, "operate",
    lithox.list({ ops, holder.space.named.quota }))
  if cid == nil then return refuse_all(items, status, os.status_name(status), message) end
  in_flight[cid] = { holder = holder, items = items, tries = tries }
  in_flight_count = in_flight_count + 1
  holder.sent = cid
end

-- Sends as many batches as there may be at a time, one process after the other.
local function pump()
  while in_flight_count < in_flight_max and ready_first <= ready_last do
    local holder = ready[ready_first]
    ready[ready_first] = nil
    ready_first = ready_first + 1
    holder.is_ready = false
    if not holder.sent and seek_at_head(holder) then
      send(holder, take_batch(holder), 1)
      enlist(holder)
    end
  end
end

local function answer_item(holder, item, result)
  if result.refused then return refuse(item.cid, result.refused, result.message) end
  local values, op = result.values, item.op
  for i = 1, #values do
    if values[i] == lithox.null then values[i] = nil end
  end
  if op.op == "seek" then
    local by = type(op.by) == "number" and op.by % 1 == 0 and op.by or 0
    return move_cursor(holder, item, values[1] + by)
  end
  if item.offset then
    holder.cursor = item.offset + #(op.op == "read" and values[1] or op.bytes)
  end
  os.answer(item.cid, 0, unpack(values, 1, result.n))
end

-- Puts items back to the head of the queue, in their order.
local function put_back(holder, items)
  for i = #items, 1, -1 do
    holder.first = holder.first - 1
    holder.queue[holder.first] = items[i]
    holder.queued, queued_bytes = holder.queued + 1, queued_bytes + items[i].bytes
  end
end

local function on_performed(event, sent)
  local holder, items = sent.holder, sent.items
  holder.sent = nil
  if event.status == 0 then
    holder.alone = math.max(holder.alone - 1, 0)
    for i, item in ipairs(items) do
      local result = event.args[1][i]
      if result.values then result.n = #result.values end
      answer_item(holder, item, result)
    end
  elseif event.status == STATUS.TRANSACTION_CONFLICT and sent.tries < tries_max then
    return send(holder, items, sent.tries + 1)
  elseif #items > 1 then
    -- Together they were too much for one run, or one is at fault: nothing of it remains, so each
    -- is asked for alone.
    holder.alone = #items
    put_back(holder, items)
  else
    holder.alone = math.max(holder.alone - 1, 0)
    refuse_all(items, event.status, event.args[1], event.args[2])
  end
  if holder.is_gone then
    abandon_queue(holder)
  else
    enlist(holder)
  end
end

local function on_operation(holder, event)
  local ok, op = pcall(BUILD[event.name], event.args)
  if not ok then return refuse(event.cid, "request.bad_arguments", tostring(op)) end
  op.op = event.name
  local bytes = weigh(op)
  if holder.queued >= queue_max or (holder.queued > 0
    and queued_bytes + bytes > queue_bytes_max) then
    return refuse(event.cid, "request.overloaded", "too many operations wait; wait for answers")
  end
  holder.last = holder.last + 1
  holder.queue[holder.last] = { cid = event.cid, op = op, bytes = bytes }
  holder.queued, queued_bytes = holder.queued + 1, queued_bytes + bytes
  enlist(holder)
end

-- ---- locks: tokens first ----

local function check_lock_name(event)
  local name = event.args[1]
  if type(name) == "string" and #name >= 1 and #name <= 255 then return name end
  refuse(event.cid, "request.bad_arguments", "a lock's name is 1 to 255 bytes")
end

local function check_ms(event, options, key, max)
  local value = options[key]
  if value == nil then return true, nil end
  if type(value) == "number" and value % 1 == 0 and value >= 0 and value <= max
    and (value > 0 or key == "timeout_ms") then
    return true, value
  end
  refuse(event.cid, "request.bad_arguments", key .. " is 1 to " .. max .. " milliseconds")
  return false
end

-- Tokens are reserved in the entity before the first lock of a space, so that they grow even if
-- this process is killed.
local function with_tokens(space, go, cid)
  local named = space.named
  if named.token and named.last_token - named.token >= fence_left_min then return go() end
  named.waiting[#named.waiting + 1] = { go = go, cid = cid }
  if named.is_asking then return end
  named.is_asking = true
  local asked, status, message = os.call(0, "entity.request", space.entity, "operate",
    lithox.list({ lithox.list({ { op = "fence", count = fence_count } }) }))
  local function take_answer(event)
    named.is_asking = false
    local waiting, result = named.waiting, event.status == 0 and event.args[1][1]
    named.waiting = {}
    if result and result.values then
      named.token = result.values[1] - 1
      named.last_token = named.token + fence_count
    end
    for _, one in ipairs(waiting) do
      if result and result.values then
        one.go()
      else
        os.answer(one.cid, event.status ~= 0 and event.status or STATUS.INTERNAL, event.args[1],
          event.args[2])
      end
    end
  end
  if asked then
    in_flight[asked] = take_answer
  else
    take_answer({ status = status, args = { os.status_name(status), message } })
  end
end

local LOCKS = {}

function LOCKS.lock(holder, event)
  local name = check_lock_name(event)
  if name == nil then return end
  local mode, options = event.args[2] or "exclusive", event.args[3] or {}
  if (mode ~= "shared" and mode ~= "exclusive") or type(options) ~= "table" then
    return refuse(event.cid, "request.bad_arguments",
      "lock takes a name, shared or exclusive, and options")
  end
  local ok, lease_ms, timeout_ms
  ok, lease_ms = check_ms(event, options, "lease_ms", lease_max_ms)
  if not ok then return end
  ok, timeout_ms = check_ms(event, options, "timeout_ms", timeout_max_ms)
  if not ok then return end
  with_tokens(holder.space, function()
    if holder.is_gone then return abandon(event.cid) end
    lock_table:acquire(holder.space.named, name, { cid = event.cid, holder = holder, mode = mode,
      lease_ms = lease_ms, timeout_ms = timeout_ms })
  end, event.cid)
end

function LOCKS.unlock(holder, event)
  local name = check_lock_name(event)
  if name == nil then return end
  if lock_table:release(holder.space.named, name, holder) then
    return os.answer(event.cid, 0, true)
  end
  refuse(event.cid, "storage.not_locked", "this process does not hold the lock '" .. name .. "'")
end

function LOCKS.renew(holder, event)
  local name = check_lock_name(event)
  if name == nil then return end
  local ok, lease_ms = check_ms(event, { lease_ms = event.args[2] }, "lease_ms", lease_max_ms)
  if not ok then return end
  local token = lock_table:renew(holder.space.named, name, holder, lease_ms)
  if token then return os.answer(event.cid, 0, token) end
  refuse(event.cid, "storage.not_locked", "this process does not hold the lock '" .. name .. "'")
end

-- ---- who holds what ----

local function find_holder(space, pid)
  local holder = space.holders[pid]
  if holder == nil then
    holder = {
      space = space, pid = pid, references = 0, cursor = 0, queue = {}, first = 1, last = 0,
      queued = 0, alone = 0, locks = {}, lock_count = 0, waiting = {}, waiting_count = 0,
    }
    space.holders[pid] = holder
    holders[holder] = holder
  end
  return holder
end

local function leave(space, holder)
  holder.is_gone = true
  space.holders[holder.pid] = nil
  holders[holder] = nil
  lock_table:free(holder)
  if not holder.sent then abandon_queue(holder) end
end

local function close(space)
  contexts[space.ctx] = nil
  context_count = context_count - 1
  space.named.contexts = space.named.contexts - 1
  -- Tokens that were reserved are kept as long as somebody may ask again: a number a name.
  if space.named.contexts == 0 and not space.named.is_asking then names[space.named.name] = nil end
  os.close(space.ctx)
end

local function on_open(event)
  local name, quota = event.args[1], event.args[2]
  if type(name) ~= "string" or #name > 128 or not name:find("^[%w_-][%w._-]*$") then
    return refuse(event.cid, "request.bad_arguments", "a space has the name of a program")
  end
  if context_count >= spaces_max then
    return refuse(event.cid, "request.overloaded", "as many contexts of storage are open as may be")
  end
  local ctx, status, message = os.context()
  if ctx == nil then return os.answer(event.cid, status, os.status_name(status), message) end
  os.bind(ctx, "*")
  local named = names[name]
  if named == nil then
    named = { name = name, locks = {}, waiting = {}, contexts = 0 }
    names[name] = named
  end
  named.contexts = named.contexts + 1
  if quota ~= nil then named.quota = quota end
  local space = { ctx = ctx, name = name, named = named, entity = entity_of(name), holders = {},
    references = 1 }
  contexts[ctx], context_count = space, context_count + 1
  find_holder(space, event.pid).references = 1
  if not os.answer(event.cid, 0, os.share(ctx)) then close(space) end
end

local handlers = {}
local served = os.context()

function handlers.call(event)
  local space = contexts[event.ctx]
  if space == nil then
    if event.ctx == served and event.name == "open" then return on_open(event) end
    return refuse(event.cid, "context.no_such_name", "nobody answers this")
  end
  local holder = find_holder(space, event.pid)
  local lock = LOCKS[event.name]
  if lock then return lock(holder, event) end
  if BUILD[event.name] then return on_operation(holder, event) end
  refuse(event.cid, "context.no_such_name", "storage has no operation of this name")
end

function handlers.answer(event)
  local sent = in_flight[event.cid]
  if sent == nil then return end
  in_flight[event.cid] = nil
  if type(sent) == "function" then return sent(event) end
  in_flight_count = in_flight_count - 1
  on_performed(event, sent)
end

handlers["open"] = function(event)
  local space = contexts[event.ctx]
  if space == nil then return end
  local holder = find_holder(space, event.pid)
  holder.references, space.references = holder.references + 1, space.references + 1
end

handlers["close"] = function(event)
  local space = contexts[event.ctx]
  local holder = space and space.holders[event.pid]
  if holder == nil then return end
  holder.references, space.references = holder.references - 1, space.references - 1
  if holder.references <= 0 then leave(space, holder) end
  if space.references <= 0 then close(space) end
end

function handlers.message(event)
  if event.ctx == control then is_stopping = true end
end

os.bind(served, "open")
os.listen(control, "stop")
os.request(control, "serve", served)
os.request(control, "ready")

while true do
  local due = lock_table.earliest_ms
  local event = os.pull(due and math.max(0, due - now_ms()) or nil)
  local handler = event and handlers[event.type]
  if handler then
    -- A bug in one call must not take everybody's storage away.
    local ok, problem = pcall(handler, event)
    if not ok then
      os.request(0, "log.write", "error", "storage: " .. tostring(problem))
      if event.type == "call" then
        refuse(event.cid, "internal", "storage failed; see the node's log")
      end
    end
  end
  lock_table:on_time(holders)
  if is_stopping and in_flight_count == 0 then os.exit(0) end
  if not is_stopping then pump() end
end
