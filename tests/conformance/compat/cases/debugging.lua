--# exact debug.gethook
print((debug.gethook())) local function nothing() end debug.sethook(nothing, "l") local f, mask, count = debug.gethook() debug.sethook() print(f == nothing, mask, count)
--# near debug.sethook @ luajit
local events = {} debug.sethook(function(event) events[#events + 1] = event end, "cr") local function f() end f() debug.sethook() print(table.concat(events, " "))
--= return call return call
--# near debug.getinfo @ luajit
print(debug.getinfo(function() return x end, "u").nups)
--= 1
--# exact debug.sethook
print((debug.gethook())) local n = 0 debug.sethook(function(event, line) n = n + 1 end, "l") local a = 1
local b = 2
debug.sethook() print(n > 0, (debug.gethook())) local calls = {} debug.sethook(function(event) calls[#calls + 1] = event end, "cr") local function f() end f() debug.sethook() print(#calls > 1)
local count = 0 debug.sethook(function() count = count + 1 end, "", 100) for i = 1, 10000 do end debug.sethook() print(count > 10)
--# exact debug.getinfo
local function f(a, b, ...) local info = debug.getinfo(1, "nSlu") return info end local i = f() print(i.name, i.namewhat, i.short_src, i.source, i.what, i.currentline, i.linedefined, i.lastlinedefined, i.nups)
local p = debug.getinfo(print) print(p.short_src ~= nil) print(debug.getinfo(1, "f").func ~= nil, debug.getinfo(100)) print(pcall(debug.getinfo, 1, "?")) print(debug.getinfo(f, "L").activelines ~= nil)
--# exact debug.getinfo @ compat 5.2 5.3 5.4 5.5 luajit
local i = debug.getinfo(function(a, b, ...) end, "u") print(i.nparams, i.isvararg)
--# exact debug.getlocal, debug.setlocal
local function f(a, b) local c = 3 print(debug.getlocal(1, 1)) print(debug.getlocal(1, 3)) print(debug.setlocal(1, 2, "new")) print(b) print(debug.getlocal(1, 99)) end f(1, 2) print((pcall(debug.getlocal, 99, 1)))
--# exact debug.getlocal @ compat 5.2 5.3 5.4 5.5 luajit
print(debug.getlocal(function(alpha, beta) end, 2)) local function v(...) print(debug.getlocal(1, -1)) print(debug.getlocal(1, -3)) end v("x", "y")
--# exact debug.getmetatable, debug.setmetatable
local m = {__index = {x = 1}, __metatable = "locked"} local t = setmetatable({}, m) print(debug.getmetatable(t) == m, getmetatable(t)) print(debug.setmetatable(10, {__index = function(n, k) return k .. n end}) == 10, (5).x) debug.setmetatable(10, nil) print(debug.getmetatable(10), (pcall(debug.setmetatable, {}, 1)))
debug.setmetatable(nil, {__index = function() return "nil field" end}) local n = nil print(n.x) debug.setmetatable(nil, nil)
--# exact debug.getupvalue, debug.setupvalue
local a, b = 1, 2 local function f() return a + b end print(debug.getupvalue(f, 1)) print(debug.getupvalue(f, 2)) print(debug.getupvalue(f, 3)) print(debug.setupvalue(f, 1, 10), f(), a) print(debug.setupvalue(f, 5, 1)) print((pcall(debug.getupvalue, 1, 1)))
--# exact debug.traceback
local function f() return (debug.traceback("message")) end local text = f() print(text:match("^message\nstack traceback:\n") ~= nil, text:match("case:1:") ~= nil) print(debug.traceback({1}) ~= nil, type(debug.traceback())) print(debug.traceback("x", 99):gsub("\n.*", ""))
local co = coroutine.create(function() local inside = 1 coroutine.yield() end) coroutine.resume(co) print(debug.traceback(co):match("case:2") ~= nil, debug.traceback(co, "m"):match("^m\n") ~= nil)
--# exact debug.upvalueid, debug.upvaluejoin @ compat 5.2 5.3 5.4 5.5 luajit
local a, b = 1, 2 local function f() return a end local function g() return a end local function h() return b end print(debug.upvalueid(f, 1) == debug.upvalueid(g, 1), debug.upvalueid(f, 1) == debug.upvalueid(h, 1)) debug.upvaluejoin(f, 1, h, 1) print(f()) b = 20 print(f(), g())
print((pcall(debug.upvaluejoin, f, 5, h, 1))) print(type(debug.upvalueid(f, 1)))
--# exact debug.getregistry
print(type(debug.getregistry()))
--# exact debug.getuservalue, debug.setuservalue @ compat 5.2 5.3 5.4 5.5
print(debug.getuservalue(1), debug.getuservalue({})) print((pcall(debug.setuservalue, {}, 1)))
--# exact debug.setcstacklimit @ compat 5.4
print(type(debug.setcstacklimit(200)))
--# exact tracebacks of errors
local ok, text = xpcall(function() local t = nil; return t.x end, debug.traceback) print(ok, text:match("^[^\n]*"), text:match("stack traceback:") ~= nil)
