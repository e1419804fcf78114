--[[
calls.lua - contexts, calls and queues: os.call, os.request, os.answer, os.pull and their kin.

The paths of a request, an answer and a pull make no closure and no table of their own.
]]
local sys, native = ...

local call, invoke, pull, reply, share = sys.call, sys.invoke, sys.pull, sys.reply, sys.share
local refuse, checked, succeeded = native.refuse, native.checked, native.succeeded
local milliseconds, check_optional = native.milliseconds, native.check_optional
local type = type

--- Makes a new context that this process owns.
-- @function os.context() -> ctx
-- @return ctx: its number in this process
-- @errors context.too_many
-- @waits no
function os.context()
  return checked(call("context"))
end

--- Gives up a context. Its owner closes it for everybody: whoever holds it is told
-- `context.closed` at the next use, and calls in it that wait are answered `call.abandoned`.
-- Of anybody else only this number goes, and the owner hears a close event.
-- @function os.close(ctx) -> true
-- @arg ctx number: a context this process holds
-- @errors context.invalid context.closed
-- @waits no
function os.close(ctx)
  if type(ctx) ~= "number" then refuse(1, "os.close", "number", ctx) end
  return succeeded(call("close", ctx))
end

--- Takes a context back from those it was given to; the owner keeps it.
-- @function os.revoke(ctx[, pid]) -> count
-- @arg ctx number: a context this process owns
-- @arg pid number: whose numbers to take; nil means everybody's
-- @return count: how many numbers were taken
-- @errors context.invalid context.closed context.not_owner
-- @waits no
function os.revoke(ctx, pid)
  if type(ctx) ~= "number" then refuse(1, "os.revoke", "number", ctx) end
  check_optional(2, "os.revoke", "number", pid)
  return checked(call("revoke", ctx, pid))
end

--- Says that this process answers calls of a name in a context it owns. A name that ends in `*`
-- stands for all that begin so; an exact name comes before the longest beginning.
-- @function os.bind(ctx, name) -> true
-- @arg ctx number: a context this process owns
-- @arg name text: 1 to 255 bytes
-- @errors context.invalid context.closed context.not_owner context.too_many request.bad_arguments
-- @waits no
function os.bind(ctx, name)
  if type(ctx) ~= "number" then refuse(1, "os.bind", "number", ctx) end
  if type(name) ~= "string" then refuse(2, "os.bind", "string", name) end
  return succeeded(call("bind", ctx, name))
end

--- Takes a name back; calls that wait already stay to be answered.
-- @function os.unbind(ctx, name) -> true
-- @arg ctx number: a context this process owns
-- @arg name text: exactly as it was bound
-- @errors context.invalid context.closed context.not_owner context.no_such_name
-- @waits no
function os.unbind(ctx, name)
  if type(ctx) ~= "number" then refuse(1, "os.unbind", "number", ctx) end
  if type(name) ~= "string" then refuse(2, "os.unbind", "string", name) end
  return succeeded(call("unbind", ctx, name))
end

--- Calls a name in a context and goes on. The answer comes as an answer event with this cid,
-- surely: from the owner, or `call.abandoned`, or `request.deadline_passed`.
-- @function os.call(ctx, name, ...) -> cid
-- @arg ctx number: a context this process holds
-- @arg name text: what its owner has bound
-- @arg ... values: arguments; contexts cannot be among them
-- @return cid: the call's number
-- @errors context.invalid context.closed context.no_such_name context.not_in_arguments
--   context.too_many request.overloaded request.too_large
-- @waits no
function os.call(ctx, name, ...)
  if type(ctx) ~= "number" then refuse(1, "os.call", "number", ctx) end
  if type(name) ~= "string" then refuse(2, "os.call", "string", name) end
  return checked(invoke("call", ctx, name, nil, ...))
end

--- As `os.call`, with a deadline of its own instead of the node's (30 s).
-- @function os.call_within(ms, ctx, name, ...) -> cid
-- @arg ms number: milliseconds until the call is answered `request.deadline_passed`, at most 1 h
-- @arg ctx number: a context this process holds
-- @arg name text: what its owner has bound
-- @arg ... values: arguments
-- @return cid: the call's number
-- @errors as os.call, request.bad_arguments
-- @waits no
function os.call_within(ms, ctx, name, ...)
  if type(ctx) ~= "number" then refuse(2, "os.call_within", "number", ctx) end
  if type(name) ~= "string" then refuse(3, "os.call_within", "string", name) end
  return checked(invoke("call", ctx, name, milliseconds(1, "os.call_within", ms), ...))
end

--- Calls a name in a context and waits for the answer. No event comes for it; other events stay
-- until `os.pull`.
-- @function os.request(ctx, name, ...) -> status, ...
-- @arg ctx number: a context this process holds
-- @arg name text: what its owner has bound
-- @arg ... values: arguments; contexts cannot be among them
-- @return status: 0 when it was answered well
-- @return ...: the answer's values; of an error of lithox itself its code and message
-- @errors as os.call, call.abandoned call.deadlock request.deadline_passed
-- @waits the whole process, for the answer
function os.request(ctx, name, ...)
  if type(ctx) ~= "number" then refuse(1, "os.request", "number", ctx) end
  if type(name) ~= "string" then refuse(2, "os.request", "string", name) end
  return invoke("request", ctx, name, nil, ...)
end

--- As `os.request`, with a deadline of its own instead of the node's (30 s).
-- @function os.request_within(ms, ctx, name, ...) -> status, ...
-- @arg ms number: milliseconds until it returns `request.deadline_passed`, at most 1 h
-- @arg ctx number: a context this process holds
-- @arg name text: what its owner has bound
-- @arg ... values: arguments
-- @return status, ...: as os.request
-- @errors as os.request, request.bad_arguments
-- @waits the whole process, for the answer
function os.request_within(ms, ctx, name, ...)
  if type(ctx) ~= "number" then refuse(2, "os.request_within", "number", ctx) end
  if type(name) ~= "string" then refuse(3, "os.request_within", "string", name) end
  return invoke("request", ctx, name, milliseconds(1, "os.request_within", ms), ...)
end

--- Answers a call, once. Contexts made with `os.share` may be anywhere among the values; the
-- caller finds its own numbers of them there. A caller that has ended is no error: contexts meant
-- for it are closed, and their owner is told.
-- @function os.answer(cid, status, ...) -> true
-- @arg cid number: of a call event
-- @arg status number: 0 for success, a number of `os.status`, or one of your own, 1000 to 65535
-- @arg ... values: what the caller gets
-- @errors call.not_found context.invalid context.closed request.too_large request.bad_arguments
-- @waits no
function os.answer(cid, status, ...)
  if type(cid) ~= "number" then refuse(1, "os.answer", "number", cid) end
  if type(status) ~= "number" then refuse(2, "os.answer", "number", status) end
  return succeeded(invoke("answer", cid, status, nil, ...))
end

-- Set by task.lua once tasks exist, since an event may then be awaited by one of them.
local pull_beside_tasks

function native.set_pull(f)
  pull_beside_tasks = f
end

-- What sys.reply gave: an event; or nil, status, code, message.
local function replied(event, status, _, message)
  if event ~= nil or status == nil then return event end
  return nil, status, message
end

--- `os.answer`, then `os.pull`, in one step: what a program that serves does all day. Does not
-- wait when the answer is refused.
-- @function os.reply(cid, status, ...) -> event
-- @arg cid number: of a call event
-- @arg status number: as os.answer
-- @arg ... values: as os.answer
-- @return event: the next event
-- @errors as os.answer
-- @waits the whole process, for an event
function os.reply(cid, status, ...)
  if type(cid) ~= "number" then refuse(1, "os.reply", "number", cid) end
  if type(status) ~= "number" then refuse(2, "os.reply", "number", status) end
  if pull_beside_tasks then
    local ok, number, message = os.answer(cid, status, ...)
    if not ok then return nil, number, message end
    return pull_beside_tasks()
  end
  return replied(reply(cid, status, nil, ...))
end

--- Stands for a context among the values of an answer, where a number would be just a number.
-- @function os.share(ctx) -> handle
-- @arg ctx number: a context this process holds
-- @return handle: an opaque value for `os.answer` and handlers of `os.serve`
-- @waits no
function os.share(ctx)
  if type(ctx) ~= "number" then refuse(1, "os.share", "number", ctx) end
  return share(ctx)
end

--- Waits for the next event: call, answer, open, close, message or exit (see Events).
-- @function os.pull([ms]) -> event
-- @arg ms number: how long to wait at most; 0 looks only; nil waits for ever
-- @return event: a table with `type`, or nil when the time was up
-- @waits the whole process, for an event
function os.pull(ms)
  if ms ~= nil then ms = milliseconds(1, "os.pull", ms) end
  if pull_beside_tasks then return pull_beside_tasks(ms) end
  return pull(ms)
end

--- Sleeps. Events that come meanwhile stay until `os.pull`.
-- @function os.sleep(ms) -> true
-- @arg ms number: milliseconds
-- @waits the whole process, for the time given
function os.sleep(ms)
  if type(ms) ~= "number" then refuse(1, "os.sleep", "number", ms) end
  return succeeded(call("sleep", milliseconds(1, "os.sleep", ms)))
end

--- Sends a message into a queue of a context: from its owner to all who listen, from anybody else
-- to the owner if it listens. Never waits; a listener that is slow loses messages by its own rule
-- and is told how many.
-- @function os.push(ctx, queue, ...) -> delivered, lost
-- @arg ctx number: a context this process holds
-- @arg queue text: the queue's name
-- @arg ... values: the message; contexts cannot be among them
-- @return delivered: how many listeners got it
-- @return lost: how many mailboxes lost a message over it
-- @errors context.invalid context.closed context.not_in_arguments request.too_large
-- @waits no
function os.push(ctx, queue, ...)
  if type(ctx) ~= "number" then refuse(1, "os.push", "number", ctx) end
  if type(queue) ~= "string" then refuse(2, "os.push", "string", queue) end
  return checked(invoke("push", ctx, queue, nil, ...))
end

--- Asks for the messages of a queue as message events.
-- @function os.listen(ctx, queue[, options]) -> true
-- @arg ctx number: a context this process holds
-- @arg queue text: the queue's name
-- @arg options table: `limit`, messages kept at most (64; up to 1024); `overflow`, which goes when
--   they are too many: `"drop_oldest"` (so unless told) or `"drop_newest"`
-- @errors context.invalid context.closed context.too_many request.bad_arguments
-- @waits no
function os.listen(ctx, queue, options)
  if type(ctx) ~= "number" then refuse(1, "os.listen", "number", ctx) end
  if type(queue) ~= "string" then refuse(2, "os.listen", "string", queue) end
  check_optional(3, "os.listen", "table", options)
  local limit, overflow
  if options ~= nil then
    native.check_options(3, "os.listen", options, { limit = "number", overflow = "string" })
    limit, overflow = options.limit, options.overflow
  end
  return succeeded(call("listen", ctx, queue, limit, overflow))
end

--- Stops listening; messages not pulled yet are dropped.
-- @function os.unlisten(ctx, queue) -> true
-- @arg ctx number: a context this process holds
-- @arg queue text: the queue's name
-- @errors context.invalid context.closed request.not_found
-- @waits no
function os.unlisten(ctx, queue)
  if type(ctx) ~= "number" then refuse(1, "os.unlisten", "number", ctx) end
  if type(queue) ~= "string" then refuse(2, "os.unlisten", "string", queue) end
  return succeeded(call("unlisten", ctx, queue))
end
