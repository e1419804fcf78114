--[[
init - the first program: runs what people ask for, and keeps services running.

It is started by the node with a context 0 that answers every native call, and takes the node's own
calls in a context of its own (`init.serve`). Replace it with `lithox store set program init FILE`;
one that fails is set aside for this copy (docs/explanation/init-and-storage.md).

Invariants: nothing here waits but the one `os.pull`; what takes time is a call whose answer comes
as an event, kept in `pending`. A service reaches init only by two names in a control context of
its own, so what it does concerns that service alone.
]]
local definitions = require "init.definitions"
local supervisor = require "init.supervisor"

local order = ...
local is_passive = type(order) == "table" and order.services == false

local STATUS = os.status
local RUN_NAMES = {
  "log.write", "time.now", "program.get", "library.get", "runtime.get", "program.list",
  "library.list", "runtime.list", "node.info", "context.derive",
}
-- Services of the package's own; a definition under the same name in the registry replaces one.
local BUILTIN = {
  storage = {
    program = "storage", restart = "always", ready = "notify",
    contexts = { "entity.request", "time.now", "log.write", "library.get" },
  },
}
local PREFIX = "service/"
local page_max = 1000
local open_timeout_ms = 10000
local wait_max_ms = 60000

local pending = {}    -- cid -> function(status, ...) that takes the answer
local manager
local run_context     -- context 0 of what people run

-- ---- the clock ----

local last_wall, shift = nil, 0

local function wall_ms()
  local _, now = os.request(0, "time.now")
  return now
end

--- Milliseconds that never run backwards, whatever is done to the clock of the machine.
local function now_ms()
  local wall = wall_ms()
  if last_wall and wall < last_wall then shift = shift + last_wall - wall end
  last_wall = wall
  return wall + shift
end

-- ---- calls whose answer takes time ----

local function call(take, ctx, name, ...)
  local cid, status, message = os.call(ctx, name, ...)
  if cid then pending[cid] = take else take(status, os.status_name(status), message) end
end

local function call_within(ms, take, ctx, name, ...)
  local cid, status, message = os.call_within(ms, ctx, name, ...)
  if cid then pending[cid] = take else take(status, os.status_name(status), message) end
end

local function log(level, text)
  os.request(0, "log.write", level, text)
end

local function derive(names, identity)
  local list = lithox.list({})
  for i = 1, #names do list[i] = names[i] end
  local status, ctx, message = os.request(0, "context.derive", list, { identity = identity })
  if status ~= 0 then return nil, status, message end
  return ctx
end

-- ---- storage ----

--- Gives `take` a context of the storage service for a name, or nil, status, message.
local function open_storage(name, quota, take)
  local storage = manager.services.storage
  manager:start("storage", function(status, code, message)
    if status ~= 0 then return take(nil, status, message) end
    if storage.served == nil then
      return take(nil, STATUS.REQUEST_NOT_AVAILABLE, "the storage service serves no context")
    end
    call_within(open_timeout_ms, function(answered, ctx, text)
      if answered ~= 0 then return take(nil, answered, text) end
      take(ctx)
    end, storage.served, "open", name, quota)
  end)
end

-- ---- running something ----

--- Gives a program's text and the runtime it asks for; nil, status, message when there is none.
local function get_program(name, runtime)
  local asked, plain = name:match("^([^#]*)#(.*)$")
  if asked then runtime, name = asked, plain end
  local text, info, message = os.get_program(name)
  if text == nil then return nil, info, message end
  if runtime == nil and type(info.runtime) == "string" and info.runtime ~= "" then
    runtime = info.runtime
  end
  return text, runtime or "native", name
end

local function output_of(kind, name)
  local status, ctx, message = os.request(0, "output.open", kind, name)
  if status ~= 0 then return nil, status, message end
  return ctx
end

-- Each service and each run has an account of its own, so that none uses up what others need.
local function run_options(order, name, runtime, contexts, account)
  return {
    name = name, runtime = runtime, args = order.args, limits = order.limits,
    priority = order.priority, mode = order.mode, contexts = contexts, account = account,
  }
end

--- `run`: starts what somebody outside asked for; answers with its pid.
local function run(reply, order)
  if type(order) ~= "table"
    or (type(order.program) ~= "string") == (type(order.code) ~= "string") then
    return reply(STATUS.REQUEST_BAD_ARGUMENTS, "request.bad_arguments",
      "run takes a program's name, or code")
  end
  if manager.is_closing then
    return reply(STATUS.REQUEST_NOT_AVAILABLE, "request.not_available", "the node is closing")
  end
  local text, runtime, name
  if order.program then
    text, runtime, name = get_program(order.program, order.runtime)
    if text == nil then return reply(runtime, os.status_name(runtime), name) end
  else
    text, runtime, name = order.code, order.runtime or "native", order.name
  end
  local function start(storage)
    local contexts = { storage = storage }
    local options = run_options(order, name or "code", runtime, contexts, order.account)
    options.context = run_context
    local status, message
    if order.session then
      options.output, status, message = output_of("session", tostring(order.session))
      if options.output == nil then return reply(status, os.status_name(status), message) end
    end
    local pid
    pid, status, message = os.run_code(text, options)
    if options.output then os.close(options.output) end
    if storage then os.close(storage) end
    if pid == nil then return reply(status, os.status_name(status), message) end
    reply(0, pid)
  end
  -- Code without a name has no space of its own; one whose space cannot be had runs without.
  if not definitions.is_name(name) then return start(nil) end
  open_storage(name, nil, function(ctx, _, message)
    if ctx == nil then log("warning", "no storage for " .. name .. ": " .. tostring(message)) end
    start(ctx)
  end)
end

-- ---- ports of the supervisor ----

local ports = { now = now_ms, wall_ms = wall_ms, log = log, code_of = os.status_name }

local function close_all(contexts)
  for _, ctx in pairs(contexts) do os.close(ctx) end
end

-- Starts a service's process; `given` are contexts of others that it may see, closed here after.
local function start_process(service, given)
  local definition = service.definition
  local text, runtime, problem = get_program(definition.program, definition.runtime)
  if text == nil then return nil, runtime, problem end
  local context, status, message = derive(definition.contexts, "service:" .. service.name)
  if context == nil then return nil, status, message end
  local output
  output, status, message = output_of("log", service.name)
  if output == nil then
    os.close(context)
    return nil, status, message
  end
  local control
  control, status, message = os.context()
  if control == nil then
    close_all({ context, output })
    return nil, status, message
  end
  os.bind(control, "*")
  given.control = control
  local options = run_options(definition, service.name, runtime, given, "service:" .. service.name)
  options.context, options.output = context, output
  local pid
  pid, status, message = os.run_code(text, options)
  close_all({ context, output })
  given.control = nil
  if pid == nil then
    os.close(control)
    return nil, status, message
  end
  service.control = control
  return pid
end

local controls = {}   -- ctx -> service whose control context it is

function ports.launch(service, done)
  local given = {}
  for _, name in ipairs(service.definition.requires) do
    local other = manager.services[name]
    if other and other.served then given[name] = other.served end
  end
  local function go(storage)
    given.storage = storage or given.storage
    local pid, status, message = start_process(service, given)
    if storage then os.close(storage) end
    if pid then controls[service.control] = service end
    done(pid, status, message)
  end
  if not service.definition.storage or service.name == "storage" then return go(nil) end
  open_storage(service.name, service.definition.quota, function(ctx, status, message)
    if ctx == nil then return done(nil, status, message) end
    go(ctx)
  end)
end

function ports.ask(service)
  return (os.push(service.control, "stop", service.reason or "stop")) or 0
end

function ports.kill(pid)
  os.kill(pid, "service")
end

function ports.release(service)
  if service.served then os.close(service.served) end
  if service.control then
    controls[service.control] = nil
    os.close(service.control)
  end
  service.served, service.control = nil, nil
end

manager = supervisor.new(ports, is_passive)

-- ---- what services say, in their control contexts ----

local function on_control(event, service)
  if event.pid ~= service.pid and service.pid ~= nil then
    return os.answer(event.cid, STATUS.REQUEST_NOT_PERMITTED, "request.not_permitted",
      "only the service's own process may say this")
  end
  if event.name ~= "serve" and event.name ~= "ready" then
    return os.answer(event.cid, STATUS.CONTEXT_NO_SUCH_NAME, "context.no_such_name",
      "a control context answers ready and serve")
  elseif event.name == "serve" then
    local status, ctx, message = os.request(0, "context.take", event.pid, event.args[1])
    if status ~= 0 then return os.answer(event.cid, status, ctx, message) end
    if service.served then os.close(service.served) end
    service.served = ctx
    os.answer(event.cid, 0, true)
  else
    os.answer(event.cid, 0, true)
    manager:on_ready(service)
  end
end

-- ---- definitions in the registry ----

local function adopt(name, value)
  local definition, fault = definitions.check(name, value)
  if definition == nil then
    return log("error", "service " .. name .. ": its definition cannot be used: " .. fault)
  end
  manager:apply(name, definition, false)
end

local function forget(name)
  if BUILTIN[name] then
    manager:apply(name, definitions.check(name, BUILTIN[name]), true)
  elseif manager.services[name] then
    manager:drop(name)
  end
end

--- Reads all definitions: at the start, and whenever messages about changes were lost.
local function read_all()
  local found, after = {}, ""
  repeat
    local status, rows, more = os.request(0, "registry.list", PREFIX, after, page_max)
    if status ~= 0 then
      return log("error", "the registry cannot be read: " .. tostring(more))
    end
    for _, row in ipairs(rows) do
      found[row[1]:sub(#PREFIX + 1)] = row[2]
      after = row[1]
    end
  until not more or #rows == 0
  -- In order of names, so that every start of a node is the same.
  local names = {}
  for name in pairs(found) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do adopt(name, found[name]) end
  local gone = {}
  for name, service in pairs(manager.services) do
    if not found[name] and not service.is_builtin then gone[#gone + 1] = name end
  end
  for _, name in ipairs(gone) do forget(name) end
end

local function on_registry(event)
  if event.missed and event.missed > 0 then return read_all() end
  local key = event.args[1]
  if type(key) ~= "string" or key:sub(1, #PREFIX) ~= PREFIX then return end
  local name = key:sub(#PREFIX + 1)
  local status, value = os.request(0, "registry.get", key)
  if status ~= 0 then return end
  if value == nil then forget(name) else adopt(name, value) end
end

-- ---- the node's calls ----

local function refuse(reply, code, message)
  reply(STATUS[code:upper():gsub("%.", "_")], code, message)
end

--- Wraps what concerns one service that must be there.
local function of_service(act)
  return function(reply, name, ...)
    local service = manager.services[name]
    if service == nil then
      return refuse(reply, "request.not_found", "no service '" .. tostring(name):sub(1, 128) .. "'")
    end
    act(reply, service, ...)
  end
end

local calls = { run = run }

calls["service.list"] = function(reply)
  reply(0, lithox.list(manager:list()))
end

calls["service.show"] = of_service(function(reply, service, seen, wait_ms)
  wait_ms = type(wait_ms) == "number" and math.min(wait_ms, wait_max_ms) or 0
  manager:watch(service, seen, wait_ms, reply)
end)

calls["service.define"] = function(reply, name, value)
  local definition, fault = definitions.check(name, value)
  if definition == nil then return refuse(reply, "request.bad_arguments", "service: " .. fault) end
  fault = manager:find_conflict(name, definition)
  if fault then
    return refuse(reply, "request.bad_arguments", "service '" .. name .. "': " .. fault)
  end
  call(function(status, code, message)
    if status ~= 0 then return reply(status, code, message) end
    -- What was put, not what is there: another definition may have come after it.
    local service = manager:apply(name, definition, false)
    reply(0, manager:describe(service))
  end, 0, "registry.put", PREFIX .. name, value)
end

calls["service.start"] = of_service(function(reply, service) manager:start(service.name, reply) end)
calls["service.stop"] = of_service(function(reply, service) manager:stop(service.name, reply) end)
calls["service.restart"] = of_service(function(reply, service)
  manager:restart(service.name, reply)
end)

calls["service.remove"] = of_service(function(reply, service)
  local name = service.name
  if service.is_builtin then
    return refuse(reply, "request.bad_arguments",
      "'" .. name .. "' belongs to the package; stop it")
  end
  for other, one in pairs(manager.services) do
    if one.needs[name] and not BUILTIN[name] then
      return refuse(reply, "request.bad_arguments", "'" .. other .. "' requires '" .. name .. "'")
    end
  end
  call(function(status, code, message)
    if status ~= 0 and status ~= STATUS.REQUEST_NOT_FOUND then
      return reply(status, code, message)
    end
    if BUILTIN[name] then
      forget(name)
      reply(0)
    else
      manager:drop(name, reply)
    end
  end, 0, "registry.delete", PREFIX .. name)
end)

calls.shutdown = function(reply, deadline_ms)
  manager:shutdown(type(deadline_ms) == "number" and deadline_ms or 0, reply)
end

local served = os.context()

--- Answers one call of the node, whatever happens to it on the way.
local function on_call(event)
  local is_answered = false
  local function reply(...)
    if is_answered then return end
    is_answered = true
    os.answer(event.cid, ...)
  end
  local args = event.args
  local ok, problem = pcall(calls[event.name], reply, (table.unpack or unpack)(args, 1, args.n))
  if not ok then
    log("error", "init: " .. event.name .. " failed: " .. tostring(problem))
    reply(STATUS.INTERNAL, "internal", "init failed; the node's log has more")
  end
end

-- ---- events ----

local handlers = {}

function handlers.call(event)
  local service = controls[event.ctx]
  if service then return on_control(event, service) end
  if event.ctx == served and event.pid == 0 and calls[event.name] then return on_call(event) end
  os.answer(event.cid, STATUS.CONTEXT_NO_SUCH_NAME, "context.no_such_name", "nobody answers this")
end

function handlers.answer(event)
  local take = pending[event.cid]
  if take == nil then return end
  pending[event.cid] = nil
  take(event.status, (table.unpack or unpack)(event.args, 1, event.args.n))
end

function handlers.exit(event)
  manager:on_exit(event.pid, event.status, event.code, event.message)
end

function handlers.message(event)
  if event.ctx == 0 and event.queue == "registry" then on_registry(event) end
end

for name in pairs(calls) do os.bind(served, name) end
os.listen(0, "registry", { limit = 1024 })
run_context = assert(derive(RUN_NAMES))
for name, definition in pairs(BUILTIN) do
  manager:apply(name, definitions.check(name, definition), true)
end
local status, _, message = os.request(0, "init.serve", served)
if status ~= 0 then error("init.serve: " .. tostring(message), 0) end
read_all()

while true do
  local due = manager:next_ms()
  local event = os.pull(due and math.max(0, due - now_ms()) or nil)
  local handler = event and handlers[event.type]
  if handler then
    -- A bug in one event must not end every service with init.
    local ok, problem = pcall(handler, event)
    if not ok then log("error", "init: " .. event.type .. " event: " .. tostring(problem)) end
  end
  manager:on_time()
end
