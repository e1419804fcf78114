--[[
task.lua - what programs see of tasks: the global `task`. The loop behind it is loop.lua.
]]
local sys, native = ...

local invoke = sys.invoke
local loop, unpack = native.loop, native.unpack
local refuse, milliseconds, check_optional =
  native.refuse, native.milliseconds, native.check_optional
local type, tostring, getmetatable, error = type, tostring, getmetatable, error
local wait = loop.wait
local status = os.status

local Task = { __name = "task" }
Task.__index = Task
Task.__tostring = function(self) return "task (" .. self.state .. ")" end
loop.metatable = Task

task = {}

--- Makes a task: a coroutine that runs beside main and the other tasks of this process. It begins
-- when the present task waits. A task that fails while nobody joins it is written to the error
-- stream with its traceback, and the process goes on; when main ends the process ends, whatever
-- tasks are left.
-- @function task.spawn(f, ...) -> task
-- @arg f function: what it runs
-- @arg ... values: its arguments
-- @return task: for `task.join` and `task.cancel`; also `t:join([ms])`, `t:cancel()`, `t.state`
--   (`"alive"`, `"ended"`, `"failed"` or `"cancelled"`)
-- @errors request.overloaded (4096 tasks are alive)
-- @waits no
function task.spawn(f, ...)
  if type(f) ~= "function" then refuse(1, "task.spawn", "function", f) end
  local made = loop.spawn(Task, f, ...)
  if made == nil then return nil, status.REQUEST_OVERLOADED, "the process has too many tasks" end
  return made
end

local function check_task(name, value)
  if getmetatable(value) ~= Task then
    error("bad argument #1 to '" .. name .. "' (task expected, got " .. type(value) .. ")", 3)
  end
end

local function results_of(t)
  if t.state == "ended" then return true, unpack(t.results, 1, t.results.n) end
  if t.state == "cancelled" then return nil, status.REQUEST_CANCELLED, "the task was cancelled" end
  return nil, status.GUEST_RAISED, tostring(t.failure), t.failure
end

local function join(t, ms)
  if t.state == "alive" then
    local me = loop.current()
    if t == me or wait("join", t, ms) == nil then
      if t == me or me.is_stuck then
        me.is_stuck = nil
        return nil, status.CALL_DEADLOCK, "every task waits for another one's end"
      end
      return nil, status.REQUEST_DEADLINE_PASSED, "the task has not ended in time"
    end
  end
  return results_of(t)
end

--- Waits until a task has ended.
-- @function task.join(t[, ms]) -> true, ...
-- @arg t task: from task.spawn
-- @arg ms number: milliseconds to wait at most; nil waits for ever
-- @return ...: what the task's function returned
-- @errors guest.raised (the task failed; message, then the error itself) request.cancelled
--   request.deadline_passed call.deadlock (tasks that wait for each other)
-- @waits the task
function task.join(t, ms)
  check_task("task.join", t)
  return join(t, milliseconds(2, "task.join", ms))
end

function Task:join(ms)
  return join(self, milliseconds(1, "join", ms))
end

--- Ends a task where it waits: the function it waits in raises `task.CANCELLED`, as does every
-- later one, so it can clean up but not go on. A task that has not begun never does.
-- @function task.cancel(t) -> is_alive
-- @arg t task: from task.spawn
-- @return is_alive: false when it had ended already
-- @waits no
function task.cancel(t)
  check_task("task.cancel", t)
  return loop.cancel(t)
end

function Task:cancel()
  return loop.cancel(self)
end

--- What tells a cancelled task.
-- @field task.CANCELLED error: what every wait of a cancelled task raises
task.CANCELLED = loop.CANCELLED

--- Sleeps while the other tasks go on.
-- @function task.sleep(ms) -> true
-- @arg ms number: milliseconds
-- @waits the task
function task.sleep(ms)
  if type(ms) ~= "number" then refuse(1, "task.sleep", "number", ms) end
  wait("sleep", nil, milliseconds(1, "task.sleep", ms))
  return true
end

--- Gives way: goes on when every other task that can run has had a turn.
-- @function task.yield() -> true
-- @waits the task
function task.yield()
  wait("turn")
  return true
end

local function request(ms, ctx, name, ...)
  -- With nobody else in this process the shorter way is the same.
  if loop.is_single() then return invoke("request", ctx, name, ms, ...) end
  local refused, cid, message = invoke("call", ctx, name, ms, ...)
  if refused ~= 0 then return refused, cid, message end
  local event = wait("answer", cid)
  local args = event.args
  return event.status, unpack(args, 1, args.n)
end

--- As `os.request`, while the other tasks go on.
-- @function task.request(ctx, name, ...) -> status, ...
-- @arg ctx number: a context this process holds
-- @arg name text: what its owner has bound
-- @arg ... values: arguments
-- @return status, ...: as os.request
-- @errors as os.request; context.too_many (256 calls of this process wait)
-- @waits the task, for the answer
function task.request(ctx, name, ...)
  if type(ctx) ~= "number" then refuse(1, "task.request", "number", ctx) end
  if type(name) ~= "string" then refuse(2, "task.request", "string", name) end
  return request(nil, ctx, name, ...)
end

--- As `os.request_within`, while the other tasks go on.
-- @function task.request_within(ms, ctx, name, ...) -> status, ...
-- @arg ms number: milliseconds until it returns `request.deadline_passed`, at most 1 h
-- @arg ctx number: a context this process holds
-- @arg name text: what its owner has bound
-- @arg ... values: arguments
-- @return status, ...: as os.request
-- @errors as os.request_within
-- @waits the task, for the answer
function task.request_within(ms, ctx, name, ...)
  if type(ctx) ~= "number" then refuse(2, "task.request_within", "number", ctx) end
  if type(name) ~= "string" then refuse(3, "task.request_within", "string", name) end
  return request(milliseconds(1, "task.request_within", ms), ctx, name, ...)
end

--- Waits for an event that fits, while the other tasks go on. Of several tasks that wait for the
-- same, the one that has waited longest gets it. Answers awaited by task.request go there first.
-- @function task.pull([filter[, ms]]) -> event
-- @arg filter text, table or function: an event's type; or fields that must be equal, as
--   `{type = "message", queue = "news"}`; or a function of the event that says true; nil fits all
-- @arg ms number: milliseconds to wait at most; nil waits for ever
-- @return event: nil when the time was up
-- @waits the task, for an event
function task.pull(filter, ms)
  local kind = type(filter)
  if filter ~= nil and kind ~= "string" and kind ~= "table" and kind ~= "function" then
    refuse(1, "task.pull", "string, table or function", filter)
  end
  ms = milliseconds(2, "task.pull", ms)
  local event = loop.take_kept(filter)
  if event then return event end
  return wait("event", filter, ms)
end

--- Says who gets the events no task waits for: a function, run as a new task for each. Without one
-- up to 1024 are kept for `task.pull` and `os.pull`; then a call is answered `request.overloaded`,
-- and other events are dropped, which is said once on the error stream.
-- @function task.on_event(f) -> true
-- @arg f function: takes the event; nil keeps events again
-- @waits no
function task.on_event(f)
  check_optional(1, "task.on_event", "function", f)
  loop.set_on_event(f)
  return true
end

--- Runs the other tasks until all have ended.
-- @function task.run() -> true
-- @errors call.deadlock (the tasks that are left wait for each other)
-- @waits the task
function task.run()
  local me = loop.current()
  if loop.is_alone(me) then return true end
  if wait("all") == nil and me.is_stuck then
    me.is_stuck = nil
    return nil, status.CALL_DEADLOCK, "every task waits for another one's end"
  end
  return true
end
