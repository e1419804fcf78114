--[[
run.lua - processes and the three code stores: os.run, os.get_program and their kin.
]]
local sys, native = ...

local call, invoke = sys.call, sys.invoke
local refuse, check_optional = native.refuse, native.check_optional
local checked, succeeded = native.checked, native.succeeded
local pairs, type, error, select, tostring = pairs, type, error, select, tostring
local format = string.format
local null, list = lithox.null, lithox.list

local OPTIONS = {
  runtime = "string", args = "table", contexts = "table", context = "number", limits = "table",
  priority = "number", mode = "string", output = "number", name = "string", account = "string",
}

--- Copies (values, count) into a list that keeps its nils.
local function to_list(values, count)
  local copy = {}
  for i = 1, count do
    local value = values[i]
    if value == nil then value = null end
    copy[i] = value
  end
  return list(copy)
end

--- Returns what `run` takes as its runtime: [name] of one that is built in, else [name, text].
local function find_runtime(name)
  if native.builtin_runtimes[name] then return list({ name }) end
  local text, status, message = os.get_runtime(name)
  if text == nil then return nil, status, message end
  return list({ name, text })
end

-- Starts a process. `options` has been checked.
local function start(text, name, runtime_name, options)
  local runtime, status, message = find_runtime(runtime_name)
  if runtime == nil then return nil, status, message end
  local args = options.args
  return checked(call("run", text, name, {
    runtime = runtime,
    contexts = options.contexts,
    context = options.context,
    limits = options.limits,
    priority = options.priority,
    mode = options.mode,
    output = options.output,
    account = options.account,
  }, args and to_list(args, args.n or #args) or list({})))
end

local function check_run_options(name, options)
  check_optional(2, name, "table", options)
  local checked_options = {}
  if options == nil then return checked_options end
  for field, value in pairs(options) do
    local expected = OPTIONS[field]
    if value ~= null then checked_options[field] = value end
    if expected == nil then
      error(format("bad argument #2 to '%s' (unknown option '%s')", name, tostring(field)), 3)
    elseif value ~= null and type(value) ~= expected then
      error(format("bad argument #2 to '%s' (option '%s': %s expected, got %s)", name, field,
        expected, type(value)), 3)
    end
  end
  return checked_options
end

--- Splits `runtime#name`; the runtime is nil when there is no `#`.
local function split(what)
  local runtime, name = what:match("^([^#]*)#(.*)$")
  if runtime then return runtime, name end
  return nil, what
end

-- Reads a program and starts it: os.run_code(os.get_program(name)), with the name kept.
local function run_stored(what, options)
  local runtime, name = split(what)
  local text, info, message = os.get_program(name)
  if text == nil then return nil, info, message end
  return start(text, options.name or name, runtime or options.runtime or info.runtime or "native",
    options)
end

local function run_source(code, options)
  local text, name, runtime = code, nil, "native"
  if type(code) == "function" then
    text, name = native.find_source(code)
    if text == nil then
      error("a function can run as a process only when 'load' made it from text", 3)
    end
    runtime = native.info.runtime
  end
  return start(text, options.name or name or "code", options.runtime or runtime, options)
end

--- Starts a process: a program of the store by its name, or a function that `load` made. Which
-- rights it has: its context 0 is the one given, else the same as this process's own context 0.
-- @function os.run(what[, options]) -> pid
-- @arg what text or function: a program's name, `"runtime#name"`, or a function made by `load`
-- @arg options table: `args` list of arguments (`n` when there are nils); `runtime` its name
--   (`native`, `compat`, ... or one of the runtime store; when nothing is said, what the program's
--   own info in the store says, else `native`; a function runs in this process's own);
--   `contexts` {name = ctx}, handed over and found there in `os.contexts`;
--   `context` what becomes its context 0; `limits` {fuel, memory, wall_ms, output, calls},
--   taken from what this process has left; `priority`; `mode` `"preemptive"` or `"cooperative"`;
--   `output` a context that takes what it writes; `name` another name for it; `account` who pays
--   (for the first process only)
-- @return pid: its number
-- @errors request.not_found request.limit_too_high request.overloaded context.invalid
--   context.closed guest.compile_failed request.bad_arguments
-- @waits the whole process, for the program's text
function os.run(what, options)
  options = check_run_options("os.run", options)
  if type(what) == "function" then return run_source(what, options) end
  if type(what) ~= "string" then refuse(1, "os.run", "string or function", what) end
  return run_stored(what, options)
end

--- Starts a program of the store: `os.run_code(os.get_program(name), options)`, under its name.
-- @function os.run_program(name[, options]) -> pid
-- @arg name text: a program's name, or `"runtime#name"`
-- @arg options table: as os.run
-- @return pid: its number
-- @errors as os.run
-- @waits the whole process, for the program's text
function os.run_program(name, options)
  options = check_run_options("os.run_program", options)
  if type(name) ~= "string" then refuse(1, "os.run_program", "string", name) end
  return run_stored(name, options)
end

--- Starts a process from code.
-- @function os.run_code(code[, options]) -> pid
-- @arg code text or function: Lua source, or a function made by `load`
-- @arg options table: as os.run
-- @return pid: its number
-- @errors as os.run
-- @waits no, but for the text of a runtime that is not built in
function os.run_code(code, options)
  options = check_run_options("os.run_code", options)
  if type(code) ~= "string" and type(code) ~= "function" then
    refuse(1, "os.run_code", "string or function", code)
  end
  return run_source(code, options)
end

local has_explained = false

--- Programs are not files here. Says so once, on the error stream, and does as `os.run_program`.
-- @function os.run_file(name[, options]) -> pid
-- @arg name text: a program's name
-- @arg options table: as os.run
-- @return pid: its number
-- @errors as os.run
-- @waits the whole process, for the program's text
function os.run_file(name, options)
  options = check_run_options("os.run_file", options)
  if type(name) ~= "string" then refuse(1, "os.run_file", "string", name) end
  if not has_explained then
    has_explained = true
    native.write("err", "os.run_file: programs are kept by name in the program store, not in "
      .. "files; this runs os.run_program(" .. format("%q", name) .. ")\n")
  end
  return run_stored(name, options)
end

--- Ends this process at once; nothing can catch it.
-- @function os.exit([status, ...])
-- @arg status number or boolean: 0 and true mean success; false is 1
-- @arg ... values: what the parent's exit event carries
-- @waits never returns
function os.exit(status, ...)
  if status == nil or status == true then
    status = 0
  elseif status == false then
    status = 1
  elseif type(status) ~= "number" or not (status >= 0 and status <= 65535)
    or status % 1 ~= 0 then
    refuse(1, "os.exit", "whole number from 0 to 65535", status)
  end
  call("exit", status, to_list({ ... }, select("#", ...)))
end

--- Ends a process that this one has started, or one of its descendants.
-- @function os.kill(pid[, reason]) -> true
-- @arg pid number: a descendant
-- @arg reason text: stands in the message of its exit event; its first 200 characters count
-- @errors request.not_found request.not_permitted
-- @waits no
function os.kill(pid, reason)
  if type(pid) ~= "number" then refuse(1, "os.kill", "number", pid) end
  check_optional(2, "os.kill", "string", reason)
  return succeeded(call("kill", pid, reason))
end

--- Tells about this process or a descendant.
-- @function os.info([pid]) -> info
-- @arg pid number: nil is this process
-- @return info: a table: pid, name, runtime, mode, state, parent, contexts and more
-- @errors request.not_found request.not_permitted
-- @waits no
function os.info(pid)
  check_optional(1, "os.info", "number", pid)
  local status, info, message = call("info", pid)
  if status ~= 0 then return nil, status, message end
  return native.without_nulls(info)
end

--- Tells what this process has used and what it may use.
-- @function os.usage() -> usage
-- @return usage: `{used = {...}, allowed = {...}}`
-- @waits no
function os.usage()
  return checked(call("usage"))
end

-- A map of the node has `lithox.null` for what is not there; programs look for nil.
local function without_nulls(map)
  if type(map) == "table" then
    for field, value in pairs(map) do
      if value == null then map[field] = nil end
    end
  end
  return map
end
native.without_nulls = without_nulls

local function text_and_info(text, info, ...)
  return text, without_nulls(info), ...
end

-- The three stores: one function each for getting and setting, all calls of context 0.
local function getter(kind)
  local what, name_of_function = kind .. ".get", "os.get_" .. kind
  return function(name, version)
    if type(name) ~= "string" then refuse(1, name_of_function, "string", name) end
    check_optional(2, name_of_function, "number", version)
    return text_and_info(checked(invoke("request", 0, what, nil, name, version)))
  end
end

local function setter(kind)
  local what, name_of_function = kind .. ".set", "os.set_" .. kind
  return function(name, text, note)
    if type(name) ~= "string" then refuse(1, name_of_function, "string", name) end
    if type(text) ~= "string" then refuse(2, name_of_function, "string", text) end
    check_optional(3, name_of_function, "string", note)
    return checked(invoke("request", 0, what, nil, name, text, note))
  end
end

--- Reads a program from the store: `os.request(0, "program.get", name, version)`.
-- @function os.get_program(name[, version]) -> text, info
-- @arg name text: its name
-- @arg version number: nil is the newest
-- @return text: its source
-- @return info: `{version, digest, by, at_ms, note, size, runtime}`
-- @errors request.not_found context.no_such_name (this process may not read the store)
-- @waits the whole process, for the store
os.get_program = getter("program")

--- Reads a library from the store, as `require` does.
-- @function os.get_library(name[, version]) -> text, info
-- @arg name text: its name
-- @arg version number: nil is the newest
-- @return text, info: as os.get_program
-- @errors as os.get_program
-- @waits the whole process, for the store
os.get_library = getter("library")

--- Reads a runtime from the store.
-- @function os.get_runtime(name[, version]) -> text, info
-- @arg name text: its name
-- @arg version number: nil is the newest
-- @return text, info: as os.get_program
-- @errors as os.get_program
-- @waits the whole process, for the store
os.get_runtime = getter("runtime")

--- Publishes a program as a new version; those that run keep the code they have.
-- @function os.set_program(name, text[, note]) -> version
-- @arg name text: 1 to 128 of letters, digits, `.`, `_`, `-`, not beginning with a dot
-- @arg text text: its source
-- @arg note text: why, for the history
-- @return version: its number, from 1
-- @errors context.no_such_name (this process may not write the store) request.bad_arguments
--   request.too_large guest.compile_failed
-- @waits the whole process, until it is durable
os.set_program = setter("program")

--- Publishes a library as a new version.
-- @function os.set_library(name, text[, note]) -> version
-- @arg name text: as os.set_program
-- @arg text text: its source
-- @arg note text: why
-- @return version: its number
-- @errors as os.set_program
-- @waits the whole process, until it is durable
os.set_library = setter("library")

--- Publishes a runtime as a new version.
-- @function os.set_runtime(name, text[, note]) -> version
-- @arg name text: as os.set_program
-- @arg text text: its source; a first line `-- lithox: engine=5.2 base=compat-5.2` chooses
-- @arg note text: why
-- @return version: its number
-- @errors as os.set_program
-- @waits the whole process, until it is durable
os.set_runtime = setter("runtime")
