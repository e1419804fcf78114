-- Runs a program and writes a line for every call it makes in its context 0: who called what, with
-- how many arguments, and how it was answered. Each call goes on to our own context 0 with its
-- arguments, and its status and values come back. Contexts among those are numbers of ours, plain
-- numbers to the program until we share them again (os.share); messages are not passed on.
--
--   watcher PROGRAM ARGUMENT...
local program = ...
local args = { n = select("#", ...) - 1, select(2, ...) }

if not program then
  io.stderr:write("watcher PROGRAM ARGUMENT...\n")
  os.exit(2)
end

local count = 0

local function watch(request, ...)
  count = count + 1
  local number = count
  print(("%d: %s, arguments: %d"):format(number, request.name, select("#", ...)))
  local answer = table.pack(task.request(0, request.name, ...))
  print(("%d: %s, values: %d"):format(number, os.status_name(answer[1]) or answer[1], answer.n - 1))
  request:answer(table.unpack(answer, 1, answer.n))
end

local ctx = os.context()
local ended = os.serve(ctx, { ["*"] = watch }, {
  tasks = true,
  on_start = function() assert(os.run(program, { context = ctx, args = args })) end,
  on_event = function(event) return event.type == "exit" and event end,
})
os.exit(ended.status)
