--[[
io.lua - print, io and the clock.

Every write is passed on at once, since a process may be ended from outside at any point and must
not lose what it has printed; a `write` costs about as much as any system call, so a program that
writes many small pieces joins them first. Input is read in blocks and kept here.
]]
local sys, native = ...

local call = sys.call
local select, tostring, tonumber, type, error = select, tostring, tonumber, type, error
local concat, floor, setmetatable = table.concat, math.floor, setmetatable
local sub, find, match, format = string.sub, string.find, string.match, string.format
local getmetatable, unpack = getmetatable, native.unpack

local write_bytes_max = 65536
local read_bytes_max = 65536

--- Writes text to "out" or "err"; returns true, or nil, message, status.
function native.write(stream, text)
  for first = 1, #text, write_bytes_max do
    local piece = text
    if #text > write_bytes_max then piece = sub(text, first, first + write_bytes_max - 1) end
    local status, _, message = call("write", stream, piece)
    if status ~= 0 then return nil, message, status end
  end
  return true
end
local write = native.write

--- Writes its arguments as one line, through `tostring`, with tabs between.
-- @function print(...)
-- @arg ... values: what to write
-- @waits the whole process, while whoever reads is slower
function print(...)
  local count = select("#", ...)
  if count == 1 then
    local text = tostring((...))
    if type(text) ~= "string" then error("'tostring' must return a string to 'print'", 2) end
    write("out", text .. "\n")
    return
  end
  local parts = { ... }
  for i = 1, count do
    local text = tostring(parts[i])
    if type(text) ~= "string" then error("'tostring' must return a string to 'print'", 2) end
    parts[i] = text
  end
  write("out", concat(parts, "\t", 1, count) .. "\n")
end

-- Input: `pending` is what was received and not read yet.
local pending, is_at_end = "", false

-- Gets more input; returns false at the end.
local function fill()
  if is_at_end then return false end
  local _, data = call("read", read_bytes_max, nil)
  if type(data) ~= "string" or data == "" then
    is_at_end = true
    return false
  end
  pending = pending .. data
  return true
end

local function take(count)
  local text = sub(pending, 1, count)
  pending = sub(pending, count + 1)
  return text
end

local function read_line(keeps_end)
  local from = 1
  while true do
    local newline = find(pending, "\n", from, true)
    if newline then
      local line = take(newline)
      return keeps_end and line or sub(line, 1, -2)
    end
    from = #pending + 1
    if not fill() then
      if pending == "" then return nil end
      return take(#pending)
    end
  end
end

local function read_all()
  local parts = { pending }
  repeat
    pending = ""
    local more = fill()
    parts[#parts + 1] = pending
  until not more
  pending = ""
  return concat(parts)
end

local function read_count(count)
  if count == 0 then
    if pending == "" and not fill() then return nil end
    return ""
  end
  while #pending < count and fill() do end
  if pending == "" then return nil end
  return take(count)
end

local NUMERALS = {
  "^[+-]?0[xX]%x*%.?%x*[pP][+-]?%d+", "^[+-]?0[xX]%x+%.?%x*", "^[+-]?0[xX]%.%x+",
  "^[+-]?%d+%.?%d*[eE][+-]?%d+", "^[+-]?%.%d+[eE][+-]?%d+", "^[+-]?%d+%.?%d*", "^[+-]?%.%d+",
}

local function read_number()
  repeat
    local first = find(pending, "%S")
    pending = first and sub(pending, first) or ""
  until first or not fill()
  -- A numeral ends where its line does at the latest.
  while not find(pending, "%s") and #pending < 200 and fill() do end
  for i = 1, #NUMERALS do
    local numeral = match(pending, NUMERALS[i])
    if numeral then
      take(#numeral)
      return tonumber(numeral)
    end
  end
  return nil
end

local READERS = {
  l = function() return read_line(false) end,
  L = function() return read_line(true) end,
  a = read_all,
  n = read_number,
}

local function read_one(what, position)
  if type(what) == "number" then return read_count(floor(what)) end
  local reader = type(what) == "string" and READERS[match(what, "^%*?(.)") or ""]
  if not reader then error(format("bad argument #%d to 'read' (invalid format)", position), 3) end
  return reader()
end

local function read(...)
  local count = select("#", ...)
  if count == 0 then return read_line(false) end
  local results = {}
  for i = 1, count do
    results[i] = read_one((select(i, ...)), i)
    if results[i] == nil then return unpack(results, 1, i) end
  end
  return unpack(results, 1, count)
end

local Stream = { __name = "FILE*" }
Stream.__index = Stream
Stream.__tostring = function(self) return "file (" .. self.name .. ")" end

local function write_all(stream, self, ...)
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    local kind = type(value)
    if kind ~= "string" and kind ~= "number" then
      error(format("bad argument #%d to 'write' (string expected, got %s)", i, kind), 3)
    end
  end
  local text = select("#", ...) == 1 and tostring((...)) or concat({ ... })
  local done, message, status = write(stream, text)
  if not done then return nil, message, status end
  return self
end

function Stream:write(...)
  if not self.stream then return nil, self.name .. " is not for writing", 11 end
  return write_all(self.stream, self, ...)
end

function Stream:read(...)
  if self.stream then return nil, self.name .. " is not for reading", 11 end
  return read(...)
end

function Stream:lines(...)
  local formats, count = { ... }, select("#", ...)
  return function() return read(unpack(formats, 1, count)) end
end

--- Nothing is kept back, so there is nothing to flush, to buffer or to close.
function Stream:flush() return self end
function Stream.setvbuf() return true end
function Stream.close() return true end
function Stream:seek() return nil, self.name .. " cannot be positioned", 21 end

io = io or {}

--- The streams, with the methods `write`, `read`, `lines`, `flush`, `setvbuf`, `seek` and `close`
-- that such a stream can have; the last four change nothing.
-- @field io.stdin file: what comes in
-- @field io.stdout file: where `print` and `io.write` write
-- @field io.stderr file: where errors and warnings go
io.stdin = setmetatable({ name = "stdin" }, Stream)
io.stdout = setmetatable({ name = "stdout", stream = "out" }, Stream)
io.stderr = setmetatable({ name = "stderr", stream = "err" }, Stream)

--- Writes strings and numbers as they are; `io.stderr:write(...)` does so to the error stream.
-- @function io.write(...) -> file
-- @arg ... text or numbers: what to write
-- @return file: `io.stdout`; nil, message and status when it could not be written
-- @waits the whole process, while whoever reads is slower
function io.write(...)
  return write_all("out", io.stdout, ...)
end

--- Reads from the input: a line without its end (`"l"`, when nothing is said), with it (`"L"`),
-- a number (`"n"`), everything (`"a"`), or as many bytes as a number says. A `*` may stand before.
-- @function io.read(...) -> ...
-- @arg ... text or number: what to read
-- @return ...: what was read; nil at the end of input
-- @waits the whole process, for input
io.read = read

--- Iterates over the input.
-- @function io.lines([nil, ...]) -> iterator
-- @arg ... text or number: as io.read, lines unless told; there are no files, so no name before
-- @return iterator: gives what `io.read(...)` would
-- @waits the whole process, for input
function io.lines(name, ...)
  if name ~= nil then error("io.lines: there are no files here; only the input has lines", 2) end
  return io.stdin:lines(...)
end

--- Tells a stream from other values.
-- @function io.type(value) -> kind
-- @arg value any: what to look at
-- @return kind: `"file"`, or nil
-- @waits no
function io.type(value)
  return getmetatable(value) == Stream and "file" or nil
end

local date, now_ms = os.date, native.now_ms
local time = os.time

--- Tells the time: now, unlike in handlers, where it is the run's start.
-- @function os.time([date]) -> seconds
-- @arg date table: year, month, day, hour, min, sec, in UTC; nil is now
-- @return seconds: since 1970
-- @waits no
function os.time(when)
  if when ~= nil then return time(when) end
  return floor(now_ms() / 1000)
end

--- Tells the time in milliseconds.
-- @function os.time_ms() -> ms
-- @return ms: milliseconds since 1970, now
-- @waits no
os.time_ms = now_ms

--- Formats a time, as in stock Lua, in UTC.
-- @function os.date([format[, seconds]]) -> date
-- @arg format text: as strftime; `"*t"` gives a table
-- @arg seconds number: nil is now
-- @return date: text or a table
-- @waits no
function os.date(how, seconds)
  return date(how or "%c", seconds or floor(now_ms() / 1000))
end
