-- Several things at once in one process: three workers ask a slow service, a clock ticks beside.
--
-- The service is in this very process too: a task that answers calls in a context of ours.
local ctx = os.context()
os.bind(ctx, "square")

task.spawn(function()
  while true do
    local call = task.pull({ type = "call", name = "square" })
    task.spawn(function()
      task.sleep(call.args[1] * 20)
      os.answer(call.cid, 0, call.args[1] ^ 2)
    end)
  end
end)

local clock = task.spawn(function()
  for tick = 1, 2 do
    task.sleep(25)
    print("tick", tick)
  end
end)

local workers = {}
for _, number in ipairs({ 3, 1, 2 }) do
  workers[#workers + 1] = task.spawn(function()
    local _, square = task.request(ctx, "square", number)
    print(number, math.floor(square))
    return square
  end)
end

local sum = 0
for _, worker in ipairs(workers) do
  local _, square = worker:join()
  sum = sum + square
end
clock:join()
print("sum", math.floor(sum))
