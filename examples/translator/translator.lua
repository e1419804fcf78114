-- Runs an old program that knows its calls under other names: each call of its context 0 goes on to
-- ours under the name we have for it, with the arguments and values brought into today's shape.
--
--   translator PROGRAM
local program = ...

if not program then
  io.stderr:write("translator PROGRAM\n")
  os.exit(2)
end

-- Old name -> new name, and functions for what else has changed; the first value is the status.
local CALLS = {
  clock = {
    name = "time.now",
    values = function(status, ms) return status, status == 0 and math.floor(ms / 1000) or ms end,
  },
  load = { name = "program.get" },
  ["loadlib"] = { name = "library.get" },
}

local function same(...) return ... end

local handlers = {}
for old, call in pairs(CALLS) do
  local name, values = call.name, call.values or same
  handlers[old] = function(request, ...)
    request:answer(values(task.request(0, name, ...)))
  end
end

local ctx = os.context()
local ended = os.serve(ctx, handlers, {
  tasks = true,
  on_start = function() assert(os.run(program, { context = ctx })) end,
  on_event = function(event) return event.type == "exit" and event end,
})
os.exit(ended.status)
