-- A chat room in one process: members hold its context, push into the queue `say`, and listen to
-- the queue `said`. Nobody waits for anybody: a member that is slow loses the oldest lines and is
-- told so.
--
--   chat MEMBER...
local arguments = { ... }
local ctx = os.context()
os.listen(ctx, "say", { limit = 256 })

local names, present = {}, 0
local function enter(request, name)
  names[request.pid] = name
  return "welcome " .. name
end

local function on_event(event)
  if event.type == "message" then
    local name = names[event.pid] or "somebody"
    os.push(ctx, "said", name, event.args[1])
    print(name .. ": " .. event.args[1])
  elseif event.type == "exit" then
    present = present - 1
    return present == 0
  end
end

os.serve(ctx, { enter = enter }, {
  on_start = function()
    for _, name in ipairs(arguments) do
      assert(os.run("chat.member", { context = ctx, args = { name } }))
      present = present + 1
    end
  end,
  on_event = on_event,
})
print("the room is empty")
