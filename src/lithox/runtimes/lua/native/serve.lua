--[[
serve.lua - os.serve: a table of functions as the answers to calls; and the library `daemon`.
]]
local sys, native = ...

local invoke = sys.invoke
local refuse, check_optional, unpack = native.refuse, native.check_optional, native.unpack
local type, pairs, tostring, getmetatable, setmetatable =
  type, pairs, tostring, getmetatable, setmetatable
local status, status_name = os.status, os.status_name
local raw_pcall = pcall

local Request = {}
Request.__index = Request

--- Answers now, with any status; what the handler returns or raises counts no more.
-- @function request:answer(status, ...) -> true
-- @arg status number: as os.answer
-- @arg ... values: as os.answer
-- @errors as os.answer
-- @waits no
function Request:answer(number, ...)
  self.is_answered = true
  return os.answer(self.cid, number, ...)
end

--- Says that the answer comes later, by `request:answer`; what the handler returns counts no more.
-- @function request:defer()
-- @waits no
function Request:defer()
  self.is_answered = true
end

-- What a caller gets for an error: the text, or what {status=, message=} says.
local function answer_error(cid, problem)
  local number, text = status.GUEST_RAISED, problem
  if type(problem) == "table" and type(problem.status) == "number" then
    number, text = problem.status, problem.message
  end
  text = tostring(text)
  local ok, answered = raw_pcall(invoke, "answer", cid, number, nil, status_name(number), text)
  if not ok or answered == status.REQUEST_BAD_ARGUMENTS then
    invoke("answer", cid, status.GUEST_RAISED, nil, "guest.raised", text)
  end
end

local function answer(request, ok, ...)
  if not ok then
    if request.is_answered then
      native.write("err", "os.serve: '" .. request.name .. "' failed after its answer: "
        .. tostring((...)) .. "\n")
    else
      answer_error(request.cid, (...))
    end
  elseif not request.is_answered then
    local made, number, _, message = raw_pcall(invoke, "answer", request.cid, 0, nil, ...)
    if not made then
      answer_error(request.cid, number)
    elseif number ~= 0 and number ~= status.CALL_NOT_FOUND then
      answer_error(request.cid, message)
    end
  end
end

local function handle(event, handler)
  local request = setmetatable(
    { cid = event.cid, ctx = event.ctx, pid = event.pid, name = event.name }, Request)
  local args = event.args
  return answer(request, native.pcall(handler, request, unpack(args, 1, args.n)))
end

local function find_handler(handlers, prefixes, name)
  local handler = handlers[name]
  if handler then return handler end
  for i = 1, #prefixes do
    local prefix = prefixes[i]
    if name:sub(1, #prefix) == prefix then return handlers[prefix .. "*"] end
  end
end

-- Binds every name; returns the beginnings of those that end in `*`, longest first.
local function bind_all(ctx, handlers)
  local prefixes = {}
  for name, handler in pairs(handlers) do
    if type(name) ~= "string" or type(handler) ~= "function" then
      refuse(2, "os.serve", "table of functions", handler)
    end
    local ok, number, message = os.bind(ctx, name)
    if not ok then return nil, number, message end
    if name:sub(-1) == "*" then prefixes[#prefixes + 1] = name:sub(1, -2) end
  end
  table.sort(prefixes, function(a, b) return #a > #b end)
  return prefixes
end

--- Binds names and answers calls of them for ever. A handler's values are the answer; an error
-- answers `guest.raised` with its text, `error({status = 1001, message = "sold out"})` answers that
-- status. `request` has `cid`, `ctx`, `pid` (who asks) and `name`; `request:answer(status, ...)`
-- answers at once, `request:defer()` lets it be answered later.
-- @function os.serve(ctx, handlers[, options]) -> result
-- @arg ctx number: a context this process owns
-- @arg handlers table: name -> `function(request, ...)`; a name may end in `*`
-- @arg options table: `tasks` true runs each handler as a task, so that one that waits by a task
--   function does not hold up the others; `on_start` a function called once all names are bound,
--   where to start who will call them; `on_event` a function that gets every other event, and
--   ends the serving by returning something that is not nil or false
-- @return result: what `on_event` returned
-- @errors as os.bind
-- @waits the whole process, for calls (with `tasks`: the task)
function os.serve(ctx, handlers, options)
  if type(ctx) ~= "number" then refuse(1, "os.serve", "number", ctx) end
  if type(handlers) ~= "table" then refuse(2, "os.serve", "table", handlers) end
  check_optional(3, "os.serve", "table", options)
  options = options or {}
  native.check_options(3, "os.serve", options,
    { tasks = "boolean", on_event = "function", on_start = "function" })
  local prefixes, number, message = bind_all(ctx, handlers)
  if prefixes == nil then return nil, number, message end
  if options.on_start then options.on_start() end
  local on_event, pull = options.on_event, options.tasks and task.pull or os.pull
  while true do
    local event = pull()
    local handler = event.type == "call" and event.ctx == ctx
      and find_handler(handlers, prefixes, event.name)
    if handler then
      if not (options.tasks and task.spawn(handle, event, handler)) then handle(event, handler) end
    elseif on_event then
      local result = on_event(event)
      if result then return result end
    elseif event.type == "call" then
      invoke("answer", event.cid, status.CONTEXT_NO_SUCH_NAME, nil, "context.no_such_name",
        "nobody answers this call")
    end
  end
end

-- A table whose fields are functions that request in a context: client(ctx).fs.open(path).
local Client = {}

local function client(ctx, prefix)
  return setmetatable({},
    { ctx = ctx, prefix = prefix, __index = Client.index, __call = Client.call })
end

function Client.index(self, name)
  local of = getmetatable(self)
  local found = client(of.ctx, of.prefix and of.prefix .. "." .. name or name)
  rawset(self, name, found)
  return found
end

local function values_or_refusal(number, ...)
  if number == 0 then return ... end
  local _, message = ...
  return nil, number, message
end

function Client.call(self, ...)
  local of = getmetatable(self)
  return values_or_refusal(task.request(of.ctx, of.prefix, ...))
end

-- Flattens {fs = {open = f}} to {["fs.open"] = f}.
local function flatten(rpc, prefix, into)
  for name, value in pairs(rpc) do
    if type(value) == "table" then
      flatten(value, prefix .. name .. ".", into)
    else
      into[prefix .. name] = value
    end
  end
  return into
end

--- The library `daemon`, as thox programs know it: `local daemon = require "daemon"`, functions
-- `f(request, ...)` put into the tree `daemon.rpc` (`daemon.rpc.fs.open` answers `fs.open`).
package.preload.daemon = function()
  local daemon = { rpc = {} }

  --- Answers the calls of `daemon.rpc` in a context; as os.serve.
  -- @function daemon.run(ctx[, options]) -> result
  -- @arg ctx number: a context this process owns
  -- @arg options table: as os.serve
  -- @return result: as os.serve
  -- @errors as os.serve
  -- @waits as os.serve
  function daemon.run(ctx, options)
    return os.serve(ctx, flatten(daemon.rpc, "", {}), options)
  end

  --- Gives a table whose fields are the calls of a context: `client.fs.open("x")` requests
  -- `fs.open` and returns the answer's values, or nil, status, message.
  -- @function daemon.client(ctx) -> client
  -- @arg ctx number: a context this process holds
  -- @return client: calls wait as task.request does
  -- @waits no
  function daemon.client(ctx)
    if type(ctx) ~= "number" then refuse(1, "daemon.client", "number", ctx) end
    return client(ctx, nil)
  end

  return daemon
end
