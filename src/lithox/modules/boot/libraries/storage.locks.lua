--[[
storage.locks - named locks with leases and fencing tokens: who has one, who waits for it. Pure.

A lock is shared by many or held by one. Whoever comes waits behind those who wait already, so a
stream of readers cannot keep a writer out. A lock is let go by its holder, by the end of its lease
or by the end of its holder; then those who wait get it in order. Each grant has a token larger
than every one before it in the space.

Invariants: a lock without grants and waiters is not kept; every waiter is told exactly once.
]]
local locks = {}

local locks_per_holder_max = 256
local waiting_per_holder_max = 16
-- Every waiter is a call the service owes: the kernel lets it owe 64 to one account and 256 in all.
-- Below both stays room for other operations, for the unlock the waiters wait for among them.
local waiting_per_context_max = 48
local waiting_max = 192

local Locks = {}
Locks.__index = Locks

--- Makes the locks of all spaces.
-- @arg ports table of functions: `now()` milliseconds, `token(space)` the next fencing token,
--   `tell(waiter, status, ...)` -> whether it was heard
function locks.new(ports)
  return setmetatable({ ports = ports, waiting = 0, earliest_ms = nil, leased = {} }, Locks)
end

local function note_due(self, due_ms)
  if due_ms and (not self.earliest_ms or due_ms < self.earliest_ms) then
    self.earliest_ms = due_ms
  end
end

-- Counts one waiter more or less: of a holder, of the context it holds, and of all.
local function count_waiter(self, holder, by)
  local space = holder.space
  self.waiting = self.waiting + by
  holder.waiting_count = holder.waiting_count + by
  space.waiting_count = (space.waiting_count or 0) + by
end

local function may_wait(self, holder)
  return self.waiting < waiting_max and holder.waiting_count < waiting_per_holder_max
    and (holder.space.waiting_count or 0) < waiting_per_context_max
end

local function is_free(lock)
  return lock.count == 0 and #lock.queue == 0
end

local function may_have(lock, mode)
  return lock.count == 0 or (mode == "shared" and lock.mode == "shared")
end

local function drop_if_free(lock)
  if is_free(lock) then lock.space.locks[lock.name] = nil end
end

local function give(self, lock, waiter)
  local token = self.ports.token(lock.space)
  local due_ms = waiter.lease_ms and self.ports.now() + waiter.lease_ms
  local grant = { lock = lock, holder = waiter.holder, token = token, due_ms = due_ms }
  lock.mode = waiter.mode
  lock.grants[waiter.holder] = grant
  lock.count = lock.count + 1
  waiter.holder.locks[lock] = grant
  waiter.holder.lock_count = waiter.holder.lock_count + 1
  if due_ms then
    self.leased[grant] = true
    note_due(self, due_ms)
  end
  -- Nobody may hear of it any more: its caller's deadline has passed.
  if not self.ports.tell(waiter, 0, token) then return grant end
end

local take_back

-- Gives a lock to those who wait, in order, as far as it can be.
local function pump(self, lock)
  while lock.queue[1] and may_have(lock, lock.queue[1].mode) do
    local waiter = table.remove(lock.queue, 1)
    waiter.holder.waiting[waiter] = nil
    count_waiter(self, waiter.holder, -1)
    local unheard = give(self, lock, waiter)
    if unheard then take_back(self, unheard, true) end
  end
  drop_if_free(lock)
end

function take_back(self, grant, is_pumping)
  local lock = grant.lock
  lock.grants[grant.holder] = nil
  lock.count = lock.count - 1
  grant.holder.locks[lock] = nil
  grant.holder.lock_count = grant.holder.lock_count - 1
  self.leased[grant] = nil
  if not is_pumping then pump(self, lock) end
end

--- Asks for a lock.
-- @arg space table: has `locks` (name -> lock)
-- @arg waiter table: `holder` (whose `space` is the context it holds), `mode` ("shared" or
--   "exclusive"), `lease_ms` or nil, `timeout_ms` or nil; told 0 and the token, or why not
function Locks:acquire(space, name, waiter)
  local holder, tell = waiter.holder, self.ports.tell
  local lock = space.locks[name]
  if lock and lock.grants[holder] then
    return tell(waiter, 1003, "storage.locked",
      "this process holds the lock '" .. name .. "' already")
  end
  if holder.lock_count >= locks_per_holder_max then
    return tell(waiter, 19, "request.overloaded", "a process holds at most "
      .. locks_per_holder_max .. " locks")
  end
  if lock == nil then
    lock = { name = name, space = space, grants = {}, count = 0, queue = {} }
    space.locks[name] = lock
  end
  if #lock.queue == 0 and may_have(lock, waiter.mode) then
    local unheard = give(self, lock, waiter)
    if unheard then take_back(self, unheard) end
    return
  end
  if waiter.timeout_ms == 0 then
    return tell(waiter, 1003, "storage.locked", "somebody else holds the lock '" .. name .. "'")
  end
  if not may_wait(self, holder) then
    return tell(waiter, 19, "request.overloaded", "as many wait for locks as may; try again")
  end
  holder.waiting[waiter] = lock
  count_waiter(self, holder, 1)
  waiter.due_ms = waiter.timeout_ms and self.ports.now() + waiter.timeout_ms
  note_due(self, waiter.due_ms)
  lock.queue[#lock.queue + 1] = waiter
end

--- Gives a lock back; false when the holder does not have it (any more).
function Locks:release(space, name, holder)
  local lock = space.locks[name]
  local grant = lock and lock.grants[holder]
  if not grant then return false end
  take_back(self, grant)
  return true
end

--- Begins the lease anew, of `lease_ms` from now (nil: no end); returns the token, or nil.
function Locks:renew(space, name, holder, lease_ms)
  local lock = space.locks[name]
  local grant = lock and lock.grants[holder]
  if not grant then return nil end
  grant.due_ms = lease_ms and self.ports.now() + lease_ms
  self.leased[grant] = lease_ms and true or nil
  note_due(self, grant.due_ms)
  return grant.token
end

local function forget_waiter(self, lock, waiter)
  for i = 1, #lock.queue do
    if lock.queue[i] == waiter then
      table.remove(lock.queue, i)
      waiter.holder.waiting[waiter] = nil
      count_waiter(self, waiter.holder, -1)
      return
    end
  end
end

--- Frees all a holder has and waits for: it has ended.
function Locks:free(holder)
  local waits, grants = {}, {}
  for waiter, lock in pairs(holder.waiting) do waits[waiter] = lock end
  for _, grant in pairs(holder.locks) do grants[#grants + 1] = grant end
  for waiter, lock in pairs(waits) do
    forget_waiter(self, lock, waiter)
    self.ports.tell(waiter, 52, "context.closed", "the process has given its storage up")
    pump(self, lock)
  end
  -- In the order they were given, so that every run of the same events is the same.
  table.sort(grants, function(a, b) return a.token < b.token end)
  for _, grant in ipairs(grants) do take_back(self, grant) end
end

--- Does what is due: leases that end, waits that have lasted long enough.
-- @arg holders list of all holders
function Locks:on_time(holders)
  local now = self.ports.now()
  if not self.earliest_ms or self.earliest_ms > now then return end
  local over, earliest = {}, nil
  for grant in pairs(self.leased) do
    if grant.due_ms <= now then
      over[#over + 1] = grant
    elseif not earliest or grant.due_ms < earliest then
      earliest = grant.due_ms
    end
  end
  for _, holder in pairs(holders) do
    local late = {}
    for waiter, lock in pairs(holder.waiting) do
      local due_ms = waiter.due_ms
      if due_ms and due_ms <= now then
        late[waiter] = lock
      elseif due_ms and (not earliest or due_ms < earliest) then
        earliest = due_ms
      end
    end
    for waiter, lock in pairs(late) do
      forget_waiter(self, lock, waiter)
      self.ports.tell(waiter, 18, "request.deadline_passed", "the lock '" .. lock.name
        .. "' was not free in time")
      pump(self, lock)
    end
  end
  self.earliest_ms = earliest
  table.sort(over, function(a, b) return a.token < b.token end)
  for _, grant in ipairs(over) do
    if grant.lock.grants[grant.holder] == grant then take_back(self, grant) end
  end
end

return locks
