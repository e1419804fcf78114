--[[
init.supervisor - services kept running: a state machine over ports, without a call to the node.

Theory. A service is wanted or not; what it is doing is its state. `step` compares the two, and is
run for a service, and for those it depends on or that depend on it, whenever a state changes.

    stopped    nothing runs                 -> waiting   somebody wants it
    waiting    wanted, not yet startable    -> starting  everything required runs
    starting   launched, not ready          -> running   ready
    running                                 -> stopping  not wanted, or something required is gone
    stopping   asked to end, or waits       -> stopped   it has ended (or -> waiting, still wanted)
               for its dependents to end
    backoff    ended, will start again      -> waiting   its pause is over
    failed     given up                     -> waiting   started by hand, or defined anew

Invariants: `by_pid` has exactly the services with a process; a state with a process ends only by
the word of its end; every reply is given exactly once; nothing here waits.
]]
local definitions = require "init.definitions"

local watchers_max = 64
local ready_timeout_ms = 30000

local Supervisor = {}
Supervisor.__index = Supervisor

local supervisor = {}

--- Makes a supervisor.
-- @arg ports table of functions: `now()` milliseconds that never run backwards, `wall_ms()`,
--   `launch(service, done)` which calls `done(pid)` or `done(nil, status, message)` now or later,
--   `ask(service)` -> how many hear that it should end, `kill(pid)`, `release(service)`,
--   `log(level, text)`
-- @arg is_passive boolean: services are kept in mind but not running, those built in excepted
function supervisor.new(ports, is_passive)
  return setmetatable({
    ports = ports, services = {}, by_pid = {}, touched = {}, touched_count = 0, watchers = 0,
    is_closing = false, is_passive = is_passive or false,
  }, Supervisor)
end

local function is_live(service)
  local state = service.state
  return state == "starting" or state == "running" or state == "stopping"
end

-- ---- changes and who hears of them ----

local function answer_all(replies, ...)
  for i = 1, #replies do
    local reply = replies[i]
    replies[i] = nil
    reply(...)
  end
end

function Supervisor:touch(service)
  if not service.is_touched then
    service.is_touched = true
    self.touched_count = self.touched_count + 1
    self.touched[self.touched_count] = service
  end
end

--- Calls `f(other, is_required)` for each service that names this one in `requires` or `after`.
local function each_dependent(self, name, f)
  for _, other in pairs(self.services) do
    if other.needs[name] then f(other, true) elseif other.follows[name] then f(other, false) end
  end
end

local function notice(self, service)
  service.changes = service.changes + 1
  local watching = service.watching
  service.watching = {}
  for _, watcher in ipairs(watching) do
    self.watchers = self.watchers - 1
    watcher.reply(0, self:describe(service))
  end
end

local function set_state(self, service, state, reason)
  local is_change = service.state ~= state
  service.state, service.reason = state, reason
  if is_change then
    service.since_ms = self.ports.wall_ms()
    if state ~= "waiting" then service.is_lost = false end
    self.ports.log(state == "failed" and "error" or "info", "service " .. service.name .. ": "
      .. state .. (reason and ", " .. reason or ""))
  end
  if state ~= "starting" and state ~= "stopping" and state ~= "backoff" then
    service.due_ms = nil
  end
  notice(self, service)
  self:touch(service)
  each_dependent(self, service.name, function(other) self:touch(other) end)
  for name in pairs(service.needs) do
    if self.services[name] then self:touch(self.services[name]) end
  end
  for name in pairs(service.follows) do
    if self.services[name] then self:touch(self.services[name]) end
  end
end

-- ---- starting ----

--- Finds why a wanted service cannot start yet: a text and whether it is lost until another is
-- started, or nil when nothing is in the way.
local function find_blocker(self, service)
  for _, name in ipairs(service.required) do
    local other = self.services[name]
    if other == nil then return "requires '" .. name .. "', which is not defined", true end
    local state = other.state
    if state == "failed" or state == "stopped" or (state == "waiting" and other.is_lost) then
      local why = other.reason and ": " .. other.reason or ""
      local what = state == "failed" and "has failed" or state == "stopped" and "is stopped"
        or "cannot start"
      return "requires '" .. name .. "', which " .. what .. why, true
    elseif state ~= "running" then
      return "waits for '" .. name .. "', which it requires", false
    end
  end
  for name in pairs(service.follows) do
    local other = self.services[name]
    if other and (other.state == "starting" or (other.state == "waiting"
      and not other.is_lost)) then
      return "waits for '" .. name .. "', after which it starts", false
    end
  end
end

local function become_ready(self, service)
  service.due_ms = nil
  set_state(self, service, "running")
  answer_all(service.starters, 0, service.pid)
end

-- Decides what follows an end nobody asked for.
local function after_failure(self, service, is_failure, text)
  local definition, now = service.definition, self.ports.now()
  local policy = definition.restart
  if not service.is_wanted then return set_state(self, service, "stopped", text) end
  if policy == "never" or (policy == "on-failure" and not is_failure) then
    service.is_wanted = false
    return set_state(self, service, is_failure and "failed" or "stopped", text)
  end
  local ends, recent = service.ends, {}
  for i = 1, #ends do
    if now - ends[i] < definition.burst_window_ms then recent[#recent + 1] = ends[i] end
  end
  recent[#recent + 1] = now
  service.ends = recent
  if definition.burst > 0 and #recent >= definition.burst then
    service.is_wanted = false
    return set_state(self, service, "failed", "it has ended " .. #recent .. " times within "
      .. definition.burst_window_ms .. " ms; the last time: " .. text)
  end
  if definition.burst == 0 then service.ends = {} end
  local is_stable = service.launched_ms and now - service.launched_ms >= definition.burst_window_ms
  local pause_ms = definition.backoff_min_ms
  if service.pause_ms and not is_stable then
    pause_ms = math.min(service.pause_ms * 2, definition.backoff_max_ms)
  end
  service.pause_ms = pause_ms
  set_state(self, service, "backoff", text)
  service.due_ms = now + pause_ms
end

-- The word of an end: of its process, or that it could not be launched at all.
local function ended(self, service, status, code, message)
  local was = service.state
  if service.pid then self.by_pid[service.pid] = nil end
  service.pid, service.due_ms, service.is_launching = nil, nil, false
  self.ports.release(service)
  if service.is_late then
    service.is_late = false
    status, code, message = 18, "request.deadline_passed",
      "it did not say that it is ready within " .. ready_timeout_ms .. " ms"
  end
  service.last_exit = { status = status, code = code, message = message,
    at_ms = self.ports.wall_ms(), asked = was == "stopping" }
  local text = "status " .. tostring(status)
  if message and message ~= "" then text = text .. ": " .. message end
  local is_failure = status ~= 0
  if was == "stopping" then
    if service.is_wanted and not self.is_closing then
      set_state(self, service, "waiting", service.reason)
    else
      answer_all(service.starters, 20, "request.cancelled", "the service was stopped")
      set_state(self, service, "stopped", service.reason)
    end
    return answer_all(service.stoppers, 0)
  end
  if was == "starting" then
    answer_all(service.starters, is_failure and status or 43, code ~= "" and code
      or "process.exited", "'" .. service.name .. "' did not become ready: " .. text)
  end
  after_failure(self, service, is_failure, text)
end

local function ask_to_end(self, service)
  service.is_told = true
  if service.pid == nil then return end
  local deadline_ms = service.definition.stop_deadline_ms
  if self.ports.ask(service) == 0 then return self.ports.kill(service.pid) end
  service.due_ms = self.ports.now() + deadline_ms
end

local function launch(self, service)
  service.launched_ms, service.is_launching, service.is_late = self.ports.now(), true, false
  service.is_told = false
  set_state(self, service, "starting")
  if service.definition.ready == "notify" then
    service.due_ms = service.launched_ms + ready_timeout_ms
  end
  local attempt = service.attempt + 1
  service.attempt = attempt
  local function done(pid, status, message)
    if service.attempt ~= attempt or not service.is_launching then return end
    service.is_launching = false
    if pid == nil then
      ended(self, service, status, self.ports.code_of(status), message)
    else
      service.pid = pid
      self.by_pid[pid] = service
      if service.state == "stopping" then
        if service.is_told then ask_to_end(self, service) end
      elseif service.definition.ready == "started" or service.is_ready_early then
        become_ready(self, service)
      end
    end
    service.is_ready_early = false
    self:settle()
  end
  -- A definition that cannot even be tried is a failure to start, not an end of supervision.
  local ok, problem = pcall(self.ports.launch, service, done)
  if not ok then done(nil, 90, tostring(problem)) end
end

-- ---- stopping ----

local function begin_stop(self, service, reason)
  service.is_told, service.due_ms = false, nil
  set_state(self, service, "stopping", reason)
end

-- Dependents end first: those that require it, and those that start after it if they end as well.
local function has_live_dependents(self, service)
  local found = false
  each_dependent(self, service.name, function(other, is_required)
    if is_live(other) and (is_required or other.state == "stopping") then found = true end
  end)
  return found
end

local function step(self, service)
  local state = service.state
  if state == "waiting" then
    if not service.is_wanted then
      answer_all(service.starters, 20, "request.cancelled", "the service was stopped")
      set_state(self, service, "stopped", service.reason)
      return answer_all(service.stoppers, 0)
    end
    local blocker, is_lost = find_blocker(self, service)
    if blocker == nil then return launch(self, service) end
    is_lost = is_lost or false
    if service.reason ~= blocker or service.is_lost ~= is_lost then
      service.is_lost = is_lost
      set_state(self, service, "waiting", blocker)
    end
    if is_lost then
      answer_all(service.starters, 21, "request.not_available",
        "'" .. service.name .. "' " .. blocker)
    end
  elseif state == "starting" or state == "running" then
    if not service.is_wanted then return begin_stop(self, service, service.reason) end
    for _, name in ipairs(service.required) do
      local other = self.services[name]
      if other == nil or other.state ~= "running" then
        local why = other == nil and "is not defined" or "is " .. other.state
        if other and other.reason then why = why .. ": " .. other.reason end
        return begin_stop(self, service, "requires '" .. name .. "', which " .. why)
      end
    end
  elseif state == "stopping" then
    if not service.is_told and not has_live_dependents(self, service) then
      ask_to_end(self, service)
    end
  elseif state == "backoff" then
    if not service.is_wanted then
      set_state(self, service, "stopped", service.reason)
      answer_all(service.stoppers, 0)
    end
  end
end

--- Steps whatever was touched until nothing changes. Every entry below ends with it.
function Supervisor:settle()
  if self.is_settling then return end
  self.is_settling = true
  local first = 1
  while first <= self.touched_count do
    local service = self.touched[first]
    first = first + 1
    service.is_touched = false
    if self.services[service.name] == service then
      -- A bug met at one service must not leave all others unstepped for ever.
      local ok, problem = pcall(step, self, service)
      if not ok then
        self.ports.log("error", "service " .. service.name .. ": " .. tostring(problem))
      end
    end
  end
  self.touched, self.touched_count, self.is_settling = {}, 0, false
  if self.when_closed and self.is_closing and not self:has_live() then
    local reply = self.when_closed
    self.when_closed = nil
    reply(0)
  end
end

function Supervisor:has_live()
  for _, service in pairs(self.services) do
    if is_live(service) then return true end
  end
  return false
end

-- ---- definitions ----

local function to_set(names)
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end

local function adopt(service, definition)
  service.definition = definition
  service.required = definitions.required(service.name, definition)
  service.needs, service.follows = to_set(service.required), to_set(definition.after)
end

--- Finds why a definition cannot stand beside the others; nil when it can.
function Supervisor:find_conflict(name, definition)
  local all, count = {}, 0
  for other, service in pairs(self.services) do
    all[other], count = service.definition, count + 1
  end
  if all[name] == nil and count >= definitions.services_max then
    return "there are " .. count .. " services; there may be " .. definitions.services_max
  end
  all[name] = definition
  for _, other in ipairs(definition.requires) do
    if all[other] == nil then return "it requires '" .. other .. "', which is not defined" end
  end
  local ring = definitions.find_cycle(all, name)
  if ring then return "services wait for each other in a ring: " .. table.concat(ring, " -> ") end
end

--- Takes a checked definition, of a new service or of one that is there: if it differs, what runs
-- is restarted with it. A new service starts if its definition says so.
function Supervisor:apply(name, definition, is_builtin)
  local service = self.services[name]
  if service == nil then
    service = {
      name = name, state = "stopped", is_wanted = false, restarts = 0, changes = 0, attempt = 0,
      ends = {}, starters = {}, stoppers = {}, watching = {}, since_ms = self.ports.wall_ms(),
    }
    adopt(service, definition)
    self.services[name] = service
    each_dependent(self, name, function(other) self:touch(other) end)
    service.is_builtin = is_builtin or false
    if definition.autostart and not is_builtin and not self.is_closing and not self.is_passive then
      self:want(service)
    end
  else
    service.is_builtin = is_builtin or false
    if definitions.is_same(service.definition, definition) then return service end
    adopt(service, definition)
    service.ends, service.pause_ms = {}, nil
    if service.state == "starting" or service.state == "running" then
      begin_stop(self, service, "it was defined anew")
    elseif service.state == "backoff" or service.state == "failed" then
      self:want(service)
    end
    self:touch(service)
  end
  notice(self, service)
  self:settle()
  return service
end

--- Forgets a service; what runs of it is ended first.
function Supervisor:drop(name, reply)
  local service = self.services[name]
  if service == nil then
    if reply then reply(0) end
    return
  end
  self:stop(name, function()
    if self.services[name] == service then
      self.services[name] = nil
      each_dependent(self, name, function(other) self:touch(other) end)
    end
    if reply then reply(0) end
    self:settle()
  end)
end

-- ---- what people ask ----

--- Wants a service and all it requires, with a clean record.
function Supervisor:want(service)
  service.is_wanted, service.ends, service.pause_ms = true, {}, nil
  local state = service.state
  if state == "stopped" or state == "failed" or state == "backoff" then
    set_state(self, service, "waiting")
  end
  for _, name in ipairs(service.required) do
    local other = self.services[name]
    -- A ring never comes through `find_conflict`, and would end here: whoever waits is wanted.
    if other and not (other.is_wanted and (is_live(other) or other.state == "waiting")) then
      self:want(other)
    end
  end
end

function Supervisor:start(name, reply)
  local service = self.services[name]
  if self.is_closing then return reply(21, "request.not_available", "the node is closing") end
  if self.is_passive and not service.is_builtin then
    return reply(21, "request.not_available",
      "this node is open for a moment only and keeps no services; start it where it is served")
  end
  if service.state == "running" and service.is_wanted then return reply(0, service.pid) end
  service.starters[#service.starters + 1] = reply
  self:want(service)
  self:touch(service)
  self:settle()
end

function Supervisor:stop(name, reply)
  local service = self.services[name]
  service.is_wanted = false
  if service.state == "stopped" or service.state == "failed" then
    if service.state == "failed" then set_state(self, service, "stopped", service.reason) end
    reply(0)
  else
    service.stoppers[#service.stoppers + 1] = reply
    if service.state == "running" or service.state == "starting" then
      service.reason = "asked to stop"
    end
    self:touch(service)
  end
  self:settle()
end

function Supervisor:restart(name, reply)
  local service = self.services[name]
  if service.state ~= "running" and service.state ~= "starting" then
    return self:start(name, reply)
  end
  if self.is_closing then return reply(21, "request.not_available", "the node is closing") end
  service.starters[#service.starters + 1] = reply
  service.is_wanted, service.ends, service.pause_ms = true, {}, nil
  begin_stop(self, service, "asked to restart")
  self:settle()
end

--- Ends all services, dependents first; what has not ended by the deadline is killed.
function Supervisor:shutdown(deadline_ms, reply)
  self.is_closing, self.when_closed = true, reply
  self.closing_ms = self.ports.now() + deadline_ms
  for _, service in pairs(self.services) do
    service.is_wanted = false
    if is_live(service) then service.reason = "the node is closing" end
    self:touch(service)
  end
  self:settle()
end

-- ---- what is heard ----

--- A process has ended; returns the service it was, or nil.
function Supervisor:on_exit(pid, status, code, message)
  local service = self.by_pid[pid]
  if service == nil then return nil end
  ended(self, service, status, code, message)
  self:settle()
  return service
end

--- A service says that it is ready.
function Supervisor:on_ready(service)
  if service.is_launching then
    service.is_ready_early = true
  elseif service.state == "starting" then
    become_ready(self, service)
    self:settle()
  end
end

--- The earliest time something is due, or nil.
function Supervisor:next_ms()
  local earliest = self.when_closed and self.closing_ms
  for _, service in pairs(self.services) do
    local due = service.due_ms
    if due and (not earliest or due < earliest) then earliest = due end
    for _, watcher in ipairs(service.watching) do
      if not earliest or watcher.due_ms < earliest then earliest = watcher.due_ms end
    end
  end
  return earliest or nil
end

local function take_late_watchers(self, service, now)
  for i = #service.watching, 1, -1 do
    local watcher = service.watching[i]
    if watcher.due_ms <= now then
      table.remove(service.watching, i)
      self.watchers = self.watchers - 1
      watcher.reply(0, self:describe(service))
    end
  end
end

--- Does what is due.
function Supervisor:on_time()
  local now = self.ports.now()
  local is_late = self.when_closed and self.closing_ms <= now
  for _, service in pairs(self.services) do
    take_late_watchers(self, service, now)
    if is_late and service.pid then self.ports.kill(service.pid) end
    if service.due_ms and service.due_ms <= now then
      service.due_ms = nil
      if service.state == "backoff" then
        service.restarts = service.restarts + 1
        set_state(self, service, "waiting")
      elseif service.state == "stopping" and service.pid then
        service.reason = (service.reason or "") .. "; killed, since it did not end within "
          .. service.definition.stop_deadline_ms .. " ms"
        self.ports.kill(service.pid)
      elseif service.state == "starting" then
        service.is_late = true
        if service.pid then self.ports.kill(service.pid) end
      end
    end
  end
  if is_late then self.closing_ms = now + 1000 end
  self:settle()
end

-- ---- what is told ----

--- Describes a service as plain data.
function Supervisor:describe(service)
  local found = {
    name = service.name, state = service.state, reason = service.reason, pid = service.pid,
    program = service.definition.program, restarts = service.restarts, changes = service.changes,
    since_ms = service.since_ms, last_exit = service.last_exit, wanted = service.is_wanted,
    builtin = service.is_builtin, definition = service.definition,
  }
  if service.state == "backoff" and service.due_ms then
    found.next_start_in_ms = math.max(0, service.due_ms - self.ports.now())
  end
  return found
end

--- Describes all, by name, without their definitions.
function Supervisor:list()
  local names, rows = {}, {}
  for name in pairs(self.services) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    local row = self:describe(self.services[name])
    row.definition = nil
    rows[i] = row
  end
  return rows
end

--- Answers once a service has changed since `seen` (its `changes`), or when the time is up.
function Supervisor:watch(service, seen, wait_ms, reply)
  if service.changes ~= seen or wait_ms <= 0 or self.watchers >= watchers_max then
    return reply(0, self:describe(service))
  end
  self.watchers = self.watchers + 1
  service.watching[#service.watching + 1] = { reply = reply, due_ms = self.ports.now() + wait_ms }
end

return supervisor
