-- What a program of the standalone interpreter expects around the language: print, files, os and
-- package. There are no files, no environment and no shell: functions on them exist and fail as
-- they fail in Lua when there is nothing to find, so a program meets an error it knows.

local internal = COMPAT_INTERNAL
local version, is_luajit = internal.version, internal.is_luajit
local is_old = version == 5.1 or is_luajit
local error, select, tostring, type = error, select, tostring, type
local concat, match, sub = table.concat, string.match, string.sub
local unpack, load_text = internal.unpack, internal.load_text

local NO_FILE, NO_FILE_STATUS = "No such file or directory", 2

local function check_name(value, position, name)
  if type(value) ~= "string" and type(value) ~= "number" then
    local got = value == nil and "no value" or type(value)
    error(("bad argument #%d to '%s' (string expected, got %s)"):format(position, name, got), 3)
  end
  return tostring(value)
end

-- ---- print: before Lua 5.4 it asks the global `tostring`, which a program may replace ----

if version < 5.4 then
  local write, globals = io.write, _G
  function print(...)
    local parts, ask = {}, globals.tostring
    if ask == nil then error("attempt to call a nil value", 0) end
    for i = 1, select("#", ...) do
      local text = ask((select(i, ...)))
      if type(text) ~= "string" and (version == 5.3 or type(text) ~= "number") then
        error("'tostring' must return a string to 'print'", 2)
      end
      parts[i] = text
    end
    parts[#parts + 1] = ""
    write(concat(parts, "\t", 1, #parts - 1), "\n")
  end
end

-- ---- io: three streams, no files ----

local Stream = getmetatable(io.stdout)
local native_read, native_write = io.read, io.write
local input, output = io.stdin, io.stdout

function Stream.close()
  return nil, "cannot close standard file"
end

-- Before Lua 5.3 a format is "*l" or a number; "L" came with 5.2.
local function check_formats(first, ...)
  for i = 1, select("#", ...) do
    local what = (select(i, ...))
    if type(what) ~= "number" and version < 5.3 then
      local letter = match(tostring(what), "^%*(.)")
      local message
      if not letter then
        message = "invalid option"
      elseif not (is_old and not is_luajit and "nla" or "nlaL"):find(letter, 1, true) then
        message = "invalid format"
      end
      if message then
        error(("bad argument #%d to 'read' (%s)"):format(i + first - 1, message), 3)
      end
    end
  end
end

if version < 5.3 and not is_luajit then
  local stream_read = Stream.read
  function io.read(...)
    check_formats(1, ...)
    return native_read(...)
  end
  function Stream:read(...)
    check_formats(1, ...)
    return stream_read(self, ...)
  end
end

-- Floats are written by C's own format in Lua 5.3 and 5.4: 1.0 as "1", unlike print.
if version == 5.3 or version == 5.4 then
  local native_stream_write, math_type, format = Stream.write, math.type, string.format
  local function plain(...)
    local values, count = {...}, select("#", ...)
    for i = 1, count do
      if math_type(values[i]) == "float" then values[i] = format("%.14g", values[i]) end
    end
    return unpack(values, 1, count)
  end
  local function has_float(first, second, ...)
    return math_type(first) == "float" or math_type(second) == "float" or select("#", ...) > 0
  end
  function io.write(...)
    if has_float(...) then return native_write(plain(...)) end
    return native_write(...)
  end
  function Stream:write(...)
    if has_float(...) then return native_stream_write(self, plain(...)) end
    return native_stream_write(self, ...)
  end
end

if is_old then
  local stream_write = Stream.write
  -- Answers true where later versions answer the file.
  local function done(result, ...)
    if result == nil then return nil, ... end
    return true
  end
  function io.write(...) return done(native_write(...)) end
  function Stream:write(...) return done(stream_write(self, ...)) end
  function Stream.flush() return true end
end

local function check_stream(value, name)
  if getmetatable(value) ~= Stream then
    local got = value == nil and "no value" or type(value)
    error(("bad argument #1 to '%s' (FILE* expected, got %s)"):format(name, got), 3)
  end
end

local function cannot_open(name)
  if is_old then return ("bad argument #1 to '?' (%s: %s)"):format(name, NO_FILE) end
  return ("cannot open file '%s' (%s)"):format(name, NO_FILE)
end

local files = {}

function files.open(name, mode)
  name = check_name(name, 1, "open")
  if mode ~= nil and not is_old and not match(check_name(mode, 2, "open"), "^[rwa]%+?b?$") then
    error("bad argument #2 to 'open' (invalid mode)", 2)
  end
  return nil, name .. ": " .. NO_FILE, NO_FILE_STATUS
end

function files.close(file)
  if file == nil then file = output end
  check_stream(file, "close")
  return file:close()
end

function files.flush()
  return output:flush()
end

function files.input(file)
  if file == nil then return input end
  if type(file) == "string" then
    error(cannot_open(file), 2)
  end
  check_stream(file, "input")
  input = file
  return file
end

function files.output(file)
  if file == nil then return output end
  if type(file) == "string" then
    error(cannot_open(file), 2)
  end
  check_stream(file, "output")
  output = file
  return file
end

function files.popen(command)
  check_name(command, 1, "popen")
  error("'popen' not supported", 2)
end

function files.tmpfile()
  return nil, "Read-only file system", 30
end

internal.add(io, files)
package.loaded.io = io

local native_lines = io.lines
function io.lines(name, ...)
  if name == nil then return native_lines(nil, ...) end
  name = check_name(name, 1, "lines")
  error(cannot_open(name), 2)
end

-- ---- chunks in files ----

local added = {}

local function load_input(mode, environment, has_environment)
  local text = native_read("a") or ""
  text = text:gsub("^#[^\n]*", "")
  if version == 5.1 then return load_text(text, "=stdin") end
  if has_environment then return load(text, "=stdin", mode, environment) end
  return load(text, "=stdin", mode)
end

function added.loadfile(name, mode, ...)
  if name ~= nil then
    name = check_name(name, 1, "loadfile")
    return nil, ("cannot open %s"):format(name) .. ": " .. NO_FILE
  end
  return load_input(mode, (...), select("#", ...) > 0)
end

function added.dofile(name)
  if name ~= nil then
    name = check_name(name, 1, "dofile")
    error(("cannot open %s"):format(name) .. ": " .. NO_FILE, 0)
  end
  local chunk, message = load_input()
  if not chunk then error(message, 0) end
  return chunk()
end

internal.add(_G, added)

-- Bytecode is neither made nor loaded. Its header alone says what programs look for in it: whether
-- bytes come lowest first, and how many an int, a size_t, an instruction and a number have.
local HEADERS = {
  [5.1] = "\27LuaQ\0\1\4\8\4\8\0",
  [5.2] = "\27LuaR\0\1\4\8\4\8\0\25\147\r\n\26\n",
  [5.3] = "\27LuaS\0\25\147\r\n\26\n\4\8\4\8\8xV\0\0\0\0\0\0\0\0\0\0\0\40w@",
  [5.4] = "\27LuaT\0\25\147\r\n\26\n\4\8\8xV\0\0\0\0\0\0\0\0\0\0\0\40w@",
  [5.5] = "\27LuaU\0\25\147\r\n\26\n",
}
internal.bytecode_header = is_luajit and "\27LJ\2" or HEADERS[version]

internal.add(string, {
  dump = function(of)
    if type(of) ~= "function" then
      local got = of == nil and "no value" or type(of)
      error("bad argument #1 to 'dump' (function expected, got " .. got .. ")", 2)
    end
    if debug.getinfo(of, "S").what == "C" then
      error(version == 5.5 and "bad argument #1 to 'dump' (Lua function expected)"
        or "unable to dump given function", 2)
    end
    return internal.bytecode_header
  end,
})

-- ---- os ----

local system = {}

function system.getenv(name)
  check_name(name, 1, "getenv")
  return nil
end

function system.execute(command)
  if command == nil then
    if is_old then return 0 end
    return false
  end
  check_name(command, 1, "execute")
  if is_old then return -1 end
  return nil, "Function not implemented", 38
end

function system.remove(name)
  name = check_name(name, 1, "remove")
  return nil, name .. ": " .. NO_FILE, NO_FILE_STATUS
end

function system.rename(from, to)
  from = check_name(from, 1, "rename")
  check_name(to, 2, "rename")
  if is_old then return nil, from .. ": " .. NO_FILE, NO_FILE_STATUS end
  return nil, NO_FILE, NO_FILE_STATUS
end

function system.tmpname()
  error("unable to generate a unique filename", 2)
end

local LOCALES = {[""] = true, C = true, POSIX = true}
local CATEGORIES = {
  all = true, collate = true, ctype = true, monetary = true, numeric = true, time = true,
}

function system.setlocale(locale, category)
  if locale ~= nil then locale = check_name(locale, 1, "setlocale") end
  if category ~= nil and not CATEGORIES[check_name(category, 2, "setlocale")] then
    error(("bad argument #2 to 'setlocale' (invalid option '%s')"):format(category), 2)
  end
  if locale == nil or LOCALES[locale] then return "C" end
  return nil
end

internal.add(os, system)

-- ---- package and debug ----

local libraries = {config = "/\n;\n?\n!\n-\n", path = "", cpath = ""}

function libraries.loadlib(path, name)
  check_name(path, 1, "loadlib")
  check_name(name, 2, "loadlib")
  return nil, "dynamic libraries not enabled; check your Lua installation", "absent"
end

-- No file is ever found, so all that is left is to say where one was looked for.
function libraries.searchpath(name, path, separator, replacement)
  name = check_name(name, 1, "searchpath")
  path = check_name(path, 2, "searchpath")
  separator = separator == nil and "." or check_name(separator, 3, "searchpath")
  replacement = replacement == nil and "/" or check_name(replacement, 4, "searchpath")
  if separator ~= "" then
    local at, parts = 1, {}
    while true do
      local first, last = name:find(separator, at, true)
      if not first then break end
      parts[#parts + 1] = sub(name, at, first - 1)
      at = last + 1
    end
    parts[#parts + 1] = sub(name, at)
    name = concat(parts, replacement)
  end
  local tried = {}
  if path == "" then tried[1] = "no file ''" end
  for template in path:gmatch("[^;]+") do
    local file = template:gsub("%?", (name:gsub("%%", "%%%%")))
    tried[#tried + 1] = "no file '" .. file .. "'"
  end
  return nil, concat(tried, "\n\t")
end

internal.add(package, libraries)
if is_old or version == 5.2 then
  package.loaders = package.loaders or package.searchers
end
package.searchers = package.searchers or package.loaders

internal.add(debug, {
  debug = function()
    while true do
      io.stderr:write("lua_debug> ")
      local line = native_read("l")
      if line == nil or line == "cont" then return end
      local chunk, message = load_text(line, "=(debug command)")
      local is_done = chunk ~= nil
      if chunk then is_done, message = pcall(chunk) end
      if not is_done then io.stderr:write(tostring(message), "\n") end
    end
  end,
})
