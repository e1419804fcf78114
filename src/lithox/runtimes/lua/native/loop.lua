--[[
loop.lua - several coroutines in one process: who runs next, and who gets an event.

Theory. A task is a record with a coroutine; main is one without. A task that waits has its kind of
wait in `waits` and yields TAG; when what it waits for comes, `wake` puts it at the end of `ready`.
Main, and a task that cannot yield (inside a C function's callback), waits by running the loop
itself until its own turn comes: it "nests". One turn after the other, in the order of waking; after
each round the process's events are looked at, so neither tasks nor events starve. When nobody is
ready the process waits in `sys.pull` until the next event or the earliest timer.

    waits     key              ended by
    turn                       its place in `ready`
    sleep                      its timer
    answer    cid              the answer event of that call
    event     filter           an event that matches
    join      task             that task's end
    all                        the end of all tasks that are not themselves in task.run

A coroutine that a task makes and resumes may wait too: `coroutine.resume` and `wrap` are replaced
when the first task is made, and hand TAG on to the task that runs them. Lua 5.1 cannot tell whether
it may yield, and cannot inside iterators, metamethods and callbacks: a wait there is an error.
]]
local sys, native = ...

local pull, invoke = sys.pull, sys.invoke
local create, raw_resume, raw_yield = coroutine.create, coroutine.resume, coroutine.yield
local running, status_of, is_yieldable = coroutine.running, coroutine.status, coroutine.isyieldable
local error, type, next, setmetatable = error, type, next, setmetatable
local remove, traceback, tostring = table.remove, debug.traceback, tostring
local pack, unpack, raw_pcall = native.pack, native.unpack, pcall
local timers, now_ms = native.timers, native.now_ms

local tasks_max = 4096
local kept_max = 1024
local events_per_round_max = 16

local TAG = {}
local CANCELLED = setmetatable({}, { __tostring = function() return "the task was cancelled" end })

local main = { name = "main" }
local current = main
local tasks_count = 0                               -- made and not ended
local ready, ready_first, ready_last = {}, 1, 0     -- tasks whose turn comes
local round_last = 0                                -- where the present round ends in `ready`
local awaited, awaited_count = {}, 0                -- cid -> task, or false: nobody wants it now
local pullers, finishers = {}, {}                   -- tasks that wait for an event / for all others
local kept = {}                                     -- events nobody waited for, oldest first
local on_event                                      -- takes those instead
local passing = {}                                  -- coroutines resumed by our resume
local has_lost = false

local loop = { CANCELLED = CANCELLED }
native.loop = loop

function loop.current() return current end
function loop.main() return main end
function loop.set_on_event(f) on_event = f end
function loop.is_single() return tasks_count == 0 and on_event == nil end

-- ---- waking and waiting ----

local function wake(task)
  timers.remove(task)
  task.waits, task.key = nil, nil
  ready_last = ready_last + 1
  ready[ready_last] = task
end

local function drop_from(tasks, task)
  for i = 1, #tasks do
    if tasks[i] == task then
      remove(tasks, i)
      return
    end
  end
end

-- Ends a wait that was not fulfilled: its time is up, or the task is cancelled.
local function give_up(task)
  local kind, key = task.waits, task.key
  if kind == "answer" then
    -- The answer will come, and must not reach anybody else.
    awaited[key] = false
    awaited_count = awaited_count - 1
  elseif kind == "event" then
    drop_from(pullers, task)
  elseif kind == "join" then
    drop_from(key.joiners, task)
  elseif kind == "all" then
    drop_from(finishers, task)
  end
  wake(task)
end

local turn_until -- defined below: runs the loop until it is the task's turn

local function may_yield(task)
  if task == main then return false end
  local thread = running()
  if thread ~= task.thread and not passing[thread] then return false end
  return is_yieldable == nil or is_yieldable()
end

local function pause(task)
  if may_yield(task) then raw_yield(TAG) else turn_until(task) end
end

local function check_cancelled(task)
  if task.is_cancelled then error(CANCELLED, 0) end
end

--- Waits as the current task; see the table at the top.
-- Returns what ended it: an event for answer and event, true for the others, nil for the time.
function loop.wait(kind, key, ms)
  local task = current
  check_cancelled(task)
  task.waits, task.key, task.outcome = kind, key, nil
  if kind == "answer" then
    awaited[key] = task
    awaited_count = awaited_count + 1
  elseif kind == "event" then
    pullers[#pullers + 1] = task
  elseif kind == "join" then
    key.joiners[#key.joiners + 1] = task
  elseif kind == "all" then
    finishers[#finishers + 1] = task
  elseif kind == "turn" then
    task.outcome = true
    wake(task)
  end
  if ms ~= nil then timers.add(task, now_ms() + ms) end
  pause(task)
  local outcome, failure = task.outcome, task.failure
  task.outcome = nil
  check_cancelled(task)
  if outcome == nil and failure ~= nil then
    task.failure = nil
    error(failure, 0)
  end
  return outcome
end

-- ---- turns ----

local function wake_all(tasks)
  for i = 1, #tasks do
    tasks[i].outcome = true
    wake(tasks[i])
    tasks[i] = nil
  end
end

-- Everybody who waits in task.run goes on once only such tasks are left.
local function check_finished()
  local left = tasks_count
  for i = 1, #finishers do
    if finishers[i] ~= main then left = left - 1 end
  end
  if left == 0 and #finishers > 0 then wake_all(finishers) end
end

--- Says whether `task` is the only one there is, itself and those in task.run left out.
function loop.is_alone(task)
  local left = tasks_count
  if task ~= main then left = left - 1 end
  for i = 1, #finishers do
    if finishers[i] ~= main then left = left - 1 end
  end
  return left == 0
end

local function finish(task, ok, ...)
  tasks_count = tasks_count - 1
  if ok then
    task.state, task.results = "ended", pack(...)
  elseif (...) == CANCELLED then
    task.state = "cancelled"
  else
    task.state, task.failure = "failed", (...)
    if #task.joiners == 0 then
      local text = tostring(task.failure)
      native.write("err", traceback(task.thread, "task failed: " .. text) .. "\n")
    end
  end
  task.thread = nil
  wake_all(task.joiners)
  check_finished()
end

local function after_turn(task, before, ok, ...)
  current = before
  if status_of(task.thread) == "dead" then
    finish(task, ok, ...)
  elseif (...) ~= TAG then
    -- The program's own yield, outside of any coroutine of its own: it gives way.
    wake(task)
  end
end

local function take_turn(task)
  if task.thread == nil and task ~= main then return end -- cancelled before its first turn
  if task.nests then
    task.has_turn = true
    return
  end
  local before, args = current, task.args
  current = task
  if args then
    task.args = nil
    after_turn(task, before, raw_resume(task.thread, unpack(args, 1, args.n)))
  else
    after_turn(task, before, raw_resume(task.thread))
  end
end

--- Makes a task; returns its record, or nil when there are too many.
function loop.spawn(metatable, f, ...)
  if tasks_count >= tasks_max then return nil end
  loop.replace_coroutines()
  local task = setmetatable({ thread = create(f), args = pack(...), joiners = {} }, metatable)
  task.state = "alive"
  tasks_count = tasks_count + 1
  ready_last = ready_last + 1
  ready[ready_last] = task
  return task
end

--- Cancels a task; returns whether it had not ended yet.
function loop.cancel(task)
  if task.state ~= "alive" then return false end
  task.is_cancelled = true
  if task.args then
    finish(task, false, CANCELLED)
  elseif task.waits then
    give_up(task)
  end
  return true
end

-- ---- events ----

local function matches(filter, event)
  local kind = type(filter)
  if filter == nil then return true end
  if kind == "string" then return event.type == filter end
  if kind == "function" then return filter(event) end
  for field, value in next, filter do
    if event[field] ~= value then return false end
  end
  return true
end

-- A filter that fails ends the wait of the task it belongs to, and of no other.
local function is_for(task, event)
  local ok, answer = raw_pcall(matches, task.key, event)
  if ok and not answer then return false end
  if ok then task.outcome = event else task.failure = answer end
  return true, ok
end

local function offer(event)
  if event.type == "answer" then
    local task = awaited[event.cid]
    if task ~= nil then
      awaited[event.cid] = nil
      if task then
        awaited_count = awaited_count - 1
        task.outcome = event
        wake(task)
      end
      return true
    end
  end
  local i = 1
  while i <= #pullers do
    local task = pullers[i]
    local is_taken, ok = is_for(task, event)
    if is_taken then
      remove(pullers, i)
      wake(task)
      if ok then return true end
    else
      i = i + 1
    end
  end
  return false
end

-- Keeps an event nobody waits for. When there is no more room a call is answered so that its
-- caller knows; of the others the newest is dropped, and the first time the program is told.
local function keep(event)
  if #kept < kept_max then
    kept[#kept + 1] = event
    return
  end
  if event.type == "call" then
    invoke("answer", event.cid, os.status.REQUEST_OVERLOADED, nil, "request.overloaded",
      "the process keeps as many events as it may")
  elseif not has_lost then
    has_lost = true
    native.write("err", "task: events were dropped, since nobody waits for them; "
      .. "use task.on_event or task.pull\n")
  end
end

local function deliver(event)
  if offer(event) then return end
  if on_event and loop.spawn(loop.metatable, on_event, event) then return end
  keep(event)
end

--- Takes the oldest kept event that matches, or nil.
function loop.take_kept(filter)
  for i = 1, #kept do
    if matches(filter, kept[i]) then return remove(kept, i) end
  end
end

local function fire_timers(now)
  local task = timers.first()
  while task and task.end_ms <= now do
    give_up(task)
    task = timers.first()
  end
end

local function waits_for_outside()
  return awaited_count > 0 or #pullers > 0 or on_event ~= nil
end

-- At the end of a round: whatever is there already, without waiting.
local function look_around()
  if timers.first() then fire_timers(now_ms()) end
  if not waits_for_outside() then return end
  for _ = 1, events_per_round_max do
    local event = pull(0)
    if event == nil then return end
    deliver(event)
  end
end

-- Nobody is ready: waits for an event or the earliest timer.
local function wait_outside(task)
  local first = timers.first()
  if first == nil then
    if not waits_for_outside() then
      -- Only joins are left, and no event can end one.
      task.is_stuck = true
      give_up(task)
      return
    end
    return deliver(pull(nil))
  end
  local now = now_ms()
  if first.end_ms <= now then return fire_timers(now) end
  local event = pull(first.end_ms - now)
  -- Having slept it out counts, even when the clock was set back meanwhile.
  if event then deliver(event) else fire_timers(first.end_ms) end
end

function turn_until(task)
  task.nests = true
  while not task.has_turn do
    if ready_first > round_last then
      if ready_first > ready_last then wait_outside(task) else look_around() end
      round_last = ready_last
    else
      local next_task = ready[ready_first]
      ready[ready_first] = nil
      ready_first = ready_first + 1
      take_turn(next_task)
    end
  end
  task.nests, task.has_turn = nil, nil
end

--- os.pull beside tasks: events a task waits for go there, the first other one is returned.
function loop.pull(ms)
  local event = loop.take_kept(nil)
  if event then return event end
  local end_ms = ms and now_ms() + ms
  while true do
    event = pull(ms)
    if event == nil or not offer(event) then return event end
    if ms then ms = math.max(end_ms - now_ms(), 0) end
  end
end

-- ---- coroutines of the program's own inside tasks ----

local function resume(co, ...)
  passing[co] = true
  return raw_resume(co, ...)
end

local function passed(co, ...)
  local ok, first = ...
  if ok and first == TAG then
    pause(current)
    return passed(co, raw_resume(co))
  end
  passing[co] = nil
  return ...
end

local function unwrapped(ok, ...)
  if ok then return ... end
  local problem = ...
  -- As stock Lua does: a text is said to come from whoever called the wrapped function.
  error(problem, type(problem) == "string" and 3 or 0)
end

-- Lua 5.1 cannot yield across pcall, so there a task's pcall is a coroutine of its own.
local function through(co, ok, ...)
  if status_of(co) == "suspended" then
    if (...) == TAG then
      pause(current)
      return through(co, raw_resume(co))
    end
    return through(co, raw_resume(co, raw_yield(...)))
  end
  passing[co] = nil
  return ok, ...
end

local function is_in_task()
  local thread = running()
  return thread ~= nil and (thread == current.thread or passing[thread])
end

local function protected(f, ...)
  if not is_in_task() then return raw_pcall(f, ...) end
  local co = create(function(...) return f(...) end)
  return through(co, resume(co, ...))
end

local function handled(handler, ok, ...)
  if ok then return ok, ... end
  return ok, handler(...)
end

local raw_xpcall = xpcall

local function protected_by(f, handler)
  if not is_in_task() then return raw_xpcall(f, handler) end
  return handled(handler, protected(f))
end

--- Replaces what yields inside a task cannot pass; once, when the first task is made.
function loop.replace_coroutines()
  loop.replace_coroutines = function() end
  setmetatable(passing, { __mode = "k" })
  native.set_pull(loop.pull)
  coroutine.resume = function(co, ...)
    if type(co) ~= "thread" then native.refuse(1, "resume", "coroutine", co) end
    return passed(co, resume(co, ...))
  end
  coroutine.wrap = function(f)
    local co = create(f)
    return function(...) return unwrapped(passed(co, resume(co, ...))) end
  end
  if native.is_5_1 then
    pcall, xpcall = protected, protected_by
    native.pcall = protected
  end
end
