--# exact setfenv, getfenv @ 5.1
print(getfenv() == _G, getfenv(1) == _G, getfenv(0) == _G, getfenv(print) == _G) local function f() return x end setfenv(f, {x = 5}) print(f(), getfenv(f).x) print(pcall(setfenv, 1, 2)) print(pcall(setfenv, string.rep, {})) print(pcall(getfenv, 99)) print(pcall(getfenv, -1))
--# exact setfenv of ordinary functions @ compat 5.1 luajit ~ setfenv
local function f() return x end print(getfenv(f) == _G) print(setfenv(f, {x = 5}) == f, f(), getfenv(f).x, rawget(_G, "x"))
local env = setmetatable({}, {__index = _G}) setfenv(f, env) x = 9 print(f()) x = nil
local function g() y = 7 return function() return y end end local genv = {} setfenv(g, genv) local inner = g() print(genv.y, inner(), getfenv(inner) == genv, rawget(_G, "y"))
print(getfenv() == _G, getfenv(1) == _G, getfenv(print) == _G)
--# exact setfenv of ordinary functions @ compat 5.1 luajit ~ setfenv
local out, setfenv = print, setfenv local function f() setfenv(1, {z = 3}) return z end out(f()) out(f())
local function outer() local function inner() setfenv(2, {v = "set by callee"}) end inner() return v end out(outer())
local f = loadstring("a = 1; return a, getfenv") local env = {} setfenv(f, env) out(f()) out(env.a, rawget(_G, "a"))
out(pcall(setfenv, function() end, 1)) out(pcall(setfenv, "x", {})) out((pcall(getfenv, 200))) out((pcall(setfenv, string.rep, {}))) out((pcall(getfenv, -1)))
--# exact setfenv of ordinary functions @ compat 5.1 luajit ~ setfenv
local box = {print = print} local chunk = assert(loadstring("function hello() return 'hi ' .. tostring(secret) end print(tostring == nil)")) setfenv(chunk, box) box.tostring = nil chunk() box.tostring = tostring box.secret = 1 print(box.hello()) print(hello == nil)
local function a() return name end local function b() return name end setfenv(a, {name = "a"}) setfenv(b, {name = "b"}) print(a(), b(), name) local twin = setfenv(loadstring("return name"), getfenv(a)) print(twin())
--# near setfenv, getfenv, debug.setfenv, debug.getfenv @ compat luajit
local function outer() return function() return 1 end end setfenv(outer, {mark = 1}) print(getfenv(outer).mark, getfenv(outer()).mark, debug.getfenv(outer()).mark)
print((pcall(debug.setfenv, coroutine.create(function() end), {})))
--= 1	nil	nil
--= false
--# exact debug.setfenv, debug.getfenv @ 5.1
local co = coroutine.create(function() end) print(debug.getfenv(co) == _G) local env = {} print(debug.setfenv(co, env) == co, debug.getfenv(co) == env) local u = newproxy() print(type(debug.getfenv(u))) print(debug.getfenv(print) == _G)
--# exact module, package.seeall @ 5.1
local here = print module("my.module", package.seeall) function hello() return "hello from " .. _NAME .. " " .. _PACKAGE end here(my.module.hello(), package.loaded["my.module"] == _M)
--# exact module of ordinary chunks @ compat 5.1 5.2 luajit ~ module
package.preload["geo.shapes"] = (loadstring or load)([[
  module(..., package.seeall)
  local secret = 3
  side = 4
  function area(n) return (n or side) ^ 2 + secret * 0 end
  function describe() return _NAME .. " " .. _PACKAGE .. " " .. tostring(_M == package.loaded[_NAME]) end
]])
local m = require("geo.shapes") print(("%d"):format(m.area(3)), m.side, m.describe(), m.secret) print(geo.shapes == m, area, side) print(package.loaded["geo.shapes"] == m)
--# exact module of ordinary chunks @ compat 5.1 5.2 luajit ~ module
package.preload.plain = (loadstring or load)([[ local type = type module("plain") kind = type(1) function get() return kind end has_print = print ~= nil ]])
local m = require("plain") print(m.kind, m.get(), m.has_print, m._NAME, m._PACKAGE == "", plain == m)
--# exact module of ordinary chunks @ compat 5.1 5.2 luajit ~ module
taken = 5 package.preload.conflict = (loadstring or load)([[ module("taken.sub") ]]) print((pcall(require, "conflict"))) package.preload.twice = (loadstring or load)([[ module("twice", function(m) m.by_option = true end) ]]) print(require("twice").by_option, require("twice") == twice)
--# near module @ compat luajit
package.preload.quiet = loadstring([[ module("quiet") function get() return 1 end ]]) local m = require("quiet") print(m.get(), getfenv(m.get) == m, getfenv(m.get) == _G)
--= 1	false	true
--# here module @ 5.2
local print = print local function before() return print ~= nil and table ~= nil end module("own") print(before(), _NAME)
--= true	own
--# exact package.seeall @ compat 5.1 5.2 luajit
local t = {} package.seeall(t) print(t.print == print, getmetatable(t).__index == _G) print((pcall(package.seeall, 1)))
--# exact _ENV
print(type(_ENV)) local ok, m = pcall(function() local _ENV = {x = 5} return x end) print(ok, m)
--# exact _ENV @ compat 5.2 5.3 5.4 5.5
print(_ENV == _G) local print = print do local _ENV = {print = print} y = 3 print(y, _ENV.y) end print(y) local function f(_ENV) return a end print(f({a = "from argument"})) local function g() local _ENV <const> = {} end
--# exact _ENV @ compat 5.2 5.3 5.4 5.5
local print, load = print, load print(load("return x", "=c", "t", {x = 7})()) local function sandbox(_ENV) function defined() return 1 end return _ENV end print(type(sandbox({}).defined)) print(pcall(load("local _ENV = nil; return x")))
--# near _ENV @ luajit
print(type(_ENV)) local _ENV = {print = print} print(string)
--= table
--= nil
