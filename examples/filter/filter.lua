-- Runs a program and stands between it and the world: of the calls it makes in its context 0, some
-- go on to our own context 0, the others are refused. The program cannot tell that we are there.
--
--   filter PROGRAM allow NAME...     these names and no others
--   filter PROGRAM deny NAME...      every name but these
--
-- A name that ends in `*` stands for all that begin so.
local program, rule = ...
local names = { select(3, ...) }

if not program or (rule ~= "allow" and rule ~= "deny") then
  io.stderr:write("filter PROGRAM allow|deny NAME...\n")
  os.exit(2)
end

local function is_named(name)
  for _, one in ipairs(names) do
    if one == name then return true end
    if one:sub(-1) == "*" and name:sub(1, #one - 1) == one:sub(1, -2) then return true end
  end
  return false
end

-- One function for every name. Contexts in an answer are numbers of ours, so they would mean
-- nothing to the program: a filter that is to hand them on gives os.share(number) instead.
local function pass_on(request, ...)
  if is_named(request.name) ~= (rule == "allow") then
    error({ status = os.status.REQUEST_NOT_PERMITTED, message = request.name .. " is filtered" })
  end
  request:answer(task.request(0, request.name, ...))
end

local ctx = os.context()
local ended = os.serve(ctx, { ["*"] = pass_on }, {
  tasks = true, -- a call that takes its time does not hold up the next
  on_start = function() assert(os.run(program, { context = ctx })) end,
  on_event = function(event) return event.type == "exit" and event end,
})
os.exit(ended.status)
