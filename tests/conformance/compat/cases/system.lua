--# exact io.read, io.lines without a name
print(io.read()) print(io.read("*l")) print(io.read(3)) print(io.read(0)) print(io.read("*n")) print(io.read("*n", "*n")) print(io.read("*l")) for line in io.lines() do print("[" .. line .. "]") end print(io.read(), io.read("*a"), io.read(1), io.read(0))
--< first line
--< second line
--< abcdef 12 0x1F
--<  -1.5e3 tail
--< third
--< 
--< last
--# exact io.read
print(io.read("*a")) print(io.read("*a")) print(io.read("*l"))
--< all
--< of it
--# exact io.read
print(pcall(io.read, "*q")) print((pcall(io.read, "n"))) print((pcall(io.read, "l"))) print((pcall(io.read, "*L"))) print((pcall(io.read, {})))
--< 7 one
--< two
--# exact io.read @ 5.2 5.3 5.4 5.5 compat luajit
io.write(io.read("*L")) print(io.read("*n")) print(io.read("*n"))
--< with its end
--< 12 notanumber
--# exact io.close
print((pcall(io.close, 1))) print((pcall(io.close, {})))
--# exact io.flush
print((pcall(io.flush)))
--# near io.input @ all
print(io.input() == io.stdin, (pcall(io.input, "/etc/passwd")))
--= true	false
--# near io.lines @ all
print((pcall(io.lines, "/etc/passwd")))
--= false
--# near io.open @ all
print(io.open("/etc/passwd"))
--= nil	/etc/passwd: No such file or directory	2
--# exact opening what is not there @ all
print(io.open("/nosuch/file")) print(io.open("/nosuch/file", "w")) print(pcall(io.lines, "/nosuch")) print(pcall(io.input, "/nosuch")) print(pcall(io.output, "/nosuch/file")) print(pcall(io.open))
print(loadfile("/nosuch")) print(pcall(dofile, "/nosuch")) print(os.remove("/nosuch/file")) print(os.rename("/nosuch/a", "/nosuch/b")) print(os.getenv("NOSUCH_VARIABLE_EVER"))
--# exact opening what is not there @ 5.2 5.3 5.4 5.5 compat
print(pcall(io.open, "/nosuch", "bad mode")) print(pcall(io.open, "/nosuch", "rw"))
--# near io.output @ all
print(io.output() == io.stdout, (pcall(io.output, "/tmp")), (pcall(io.output, "/dev/null")))
--= true	false	false
--# here io.popen @ all
print(pcall(io.popen, "true"))
--= false	'popen' not supported
--# near io.stderr, io.stdin, io.stdout @ all
print(type(io.stdin), type(io.stdout), type(io.stderr))
--= table	table	table
--# exact io.type
print(io.type(io.stdout), io.type(io.stdin), io.type(1), io.type({}), io.type("x"))
--# near io.tmpfile @ all
print(io.tmpfile())
--= nil	Read-only file system	30
--# exact io.write
io.write("a", 1, 2.5, "\n") io.write() io.write("x\n") print((pcall(io.write, {}))) print((pcall(io.write, nil)))
--# exact file:write, file:flush, file:setvbuf, file:lines, file:read
print(type(io.stdout.write), type(io.stdout.flush), type(io.stdout.setvbuf), type(io.stdin.lines), type(io.stdin.read)) print(tostring(io.stdout):match("^file %(")) print(io.stdout:setvbuf("no"))
--# exact file:close
local file = io.stdout print(io.close(file)) print(io.type(file), file:close())
--# near file:seek @ all
print((io.stdin:seek("cur")))
--= nil
--# near os.clock @ all
print(os.clock() < 0.5, type(os.clock()))
--= true	number
--# here os.date, os.time @ all
print(os.date("%Y-%m-%d %H:%M", 0), os.time({year = 1970, month = 1, day = 2, hour = 0}) == 86400)
--= 1970-01-01 00:00	true
--# ours os.exit @ all
io.write("before\n") os.exit(3, "a value") io.write("after\n")
--= before
--# ours debug.debug @ all
debug.debug() io.stderr:write("\n") print(x)
--< x = 5
--< cont
--= 5
--= to stderr: lua_debug> lua_debug> 
--# exact os.date of UTC times
print(os.date("!%Y-%m-%d %H:%M:%S", 0)) print(os.date("!%Y-%m-%d %H:%M:%S", 1e9)) local t = os.date("!*t", 86400) print(t.year, t.month, t.day, t.hour, t.min, t.sec, t.wday, t.yday, t.isdst)
print(os.date("!%A %B %d %j %p %y %a %b %I %M %w", 1234567890)) print(os.date("!%c", 0)) print(os.date("!%x %X", 0)) print(os.date("!%%", 0))
--# exact os.difftime
print(os.difftime(10, 4), os.difftime(0, 5)) print((pcall(os.difftime)))
--# near os.execute @ 5.1 luajit
print(os.execute(), os.execute("true"))
--= 0	-1
--# near os.execute @ 5.2 5.3 5.4 5.5 compat
print(os.execute(), os.execute("true"))
--= false	nil	Function not implemented	38
--# near os.getenv @ all
print(os.getenv("PATH"))
--= nil
--# near os.remove, os.rename @ all
local is_made, name = pcall(os.tmpname) print(is_made and os.rename(name, name), is_made and os.remove(name))
--= false	false
--# near os.setlocale @ all
print(os.setlocale(), os.setlocale(""), os.setlocale("C.UTF-8"), os.setlocale("C"), os.setlocale(nil, "numeric"))
--= C	C	nil	C	C
--# exact locales that are nowhere
print(os.setlocale("xx_YY")) print((pcall(os.setlocale, "C", "nonsense"))) print(os.setlocale("C")) print(os.setlocale("POSIX", "numeric"))
--# exact os.time of a table
print(os.time({year = 2000, month = 1, day = 1, hour = 12}) - os.time({year = 2000, month = 1, day = 1, hour = 0})) print(os.time({year = 2001, month = 14, day = -3}) - os.time({year = 2002, month = 1, day = 28}))
print((pcall(os.time, {year = 2000}))) print(type(os.time())) print(os.time({year = 2000, month = 1, day = 1, hour = 12, min = "30"}) - os.time({year = 2000, month = 1, day = 1}))
--# near os.tmpname @ all
local is_made, name = pcall(os.tmpname) if is_made then os.remove(name) name = "made" end print(is_made, name)
--= false	unable to generate a unique filename
