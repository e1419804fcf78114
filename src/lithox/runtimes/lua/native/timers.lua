--[[
timers.lua - which task's time comes next: a binary heap of tasks by `end_ms`.

Invariants: task.slot is the task's place in the heap, nil when it has no timer; a task has at most
one timer, so the heap never holds more than there are tasks.
]]
local _, native = ...

local heap, size = {}, 0
local floor = math.floor

local function put(task, slot)
  heap[slot] = task
  task.slot = slot
end

local function rise(task, slot)
  while slot > 1 do
    local above = floor(slot / 2)
    if heap[above].end_ms <= task.end_ms then break end
    put(heap[above], slot)
    slot = above
  end
  put(task, slot)
end

local function sink(task, slot)
  while true do
    local below = slot * 2
    if below > size then break end
    if below < size and heap[below + 1].end_ms < heap[below].end_ms then below = below + 1 end
    if heap[below].end_ms >= task.end_ms then break end
    put(heap[below], slot)
    slot = below
  end
  put(task, slot)
end

local timers = {}
native.timers = timers

function timers.add(task, end_ms)
  task.end_ms = end_ms
  size = size + 1
  rise(task, size)
end

--- Takes the task's timer away, if it has one.
function timers.remove(task)
  local slot = task.slot
  if slot == nil then return end
  task.slot = nil
  local last = heap[size]
  heap[size] = nil
  size = size - 1
  if last == task then return end
  if slot > 1 and heap[floor(slot / 2)].end_ms > last.end_ms then
    rise(last, slot)
  else
    sink(last, slot)
  end
end

--- Returns the task whose time comes first, or nil.
function timers.first()
  return heap[1]
end
