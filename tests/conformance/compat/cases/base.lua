--# exact _G
print(_G == _G._G, type(_G), _G.print == print)
x = 1 print(_G.x, rawget(_G, "x"))
setmetatable(_G, {__index = function(_, k) return "no " .. k end}) print(undefined_name)
setmetatable(_G, nil)
--# exact _G
local env = setmetatable({}, {__newindex = function(t, k, v) rawset(t, k, v) end})
for k in pairs(_G) do if type(k) ~= "string" then print(k) end end
--# exact _VERSION
print(_VERSION, type(_VERSION))
--# exact assert
print(assert(1, 2, 3)) print(select("#", assert(1, nil, nil)))
print(pcall(assert, false)) print(pcall(assert, nil, "message"))
print(pcall(assert, false, {1} and 42))
--# exact assert
local t = {} local ok, e = pcall(assert, nil, t) print(ok, e == t or type(e))
print(select("#", pcall(assert)))
--# exact collectgarbage
print(type(collectgarbage("count")), collectgarbage("count") > 0)
print(collectgarbage()) print(collectgarbage("collect")) print(type(collectgarbage("step")))
print(collectgarbage("stop")) print(collectgarbage("restart"))
--# exact collectgarbage
print(pcall(collectgarbage, "nonsense"))
--# exact collectgarbage
local weak = setmetatable({}, {__mode = "v"})
weak[1] = {} weak[2] = "text" collectgarbage() collectgarbage() print(weak[1], weak[2])
local keys = setmetatable({}, {__mode = "k"})
keys[{}] = 1 collectgarbage() collectgarbage() print(next(keys))
--# exact collectgarbage @ 5.2 5.3 5.4 5.5 compat
print(collectgarbage("isrunning")) collectgarbage("stop") print(collectgarbage("isrunning"))
--# near dofile @ all
print(pcall(dofile, "/etc/passwd"))
--= false	cannot open /etc/passwd: No such file or directory
--# near loadfile @ all
print(loadfile("/dev/null"))
--= nil	cannot open /dev/null: No such file or directory
--# exact error
print(pcall(error)) print(pcall(error, nil)) print(pcall(error, "text", 0)) print(pcall(error, "text", 2))
print(pcall(function() error("here") end)) print(pcall(function() error("there", 2) end))
print(select("#", pcall(error)), pcall(error, 42))
local t = {} print(select(2, pcall(error, t)) == t)
--# exact error
local function level1() error("level 1", 1) end
local function level2() error("level 2", 2) end
local function level3() error("level 3", 3) end
print(pcall(level1)) print(pcall(function() level2() return 1 end))
print(pcall(function()
  local function inner() level3() return 1 end
  inner()
  return 1
end))
--# exact gcinfo @ 5.1
print(type(gcinfo()), gcinfo() > 0)
--# near gcinfo @ compat luajit
print(select(2, gcinfo()))
--= 0
--# exact getmetatable, setmetatable
local t = {} print(getmetatable(t)) local m = {} print(setmetatable(t, m) == t, getmetatable(t) == m)
setmetatable(t, {__metatable = "locked"}) print(getmetatable(t)) print(pcall(setmetatable, t, {}))
print(getmetatable("").__index == string, getmetatable(1), getmetatable(print))
print(pcall(setmetatable, 1, {})) print(pcall(setmetatable, {}, 1)) print(pcall(setmetatable, {}))
--# exact ipairs
for i, v in ipairs({1, 2, nil, 4}) do print(i, v) end
for i, v in ipairs(setmetatable({}, {__index = function(_, i) if i < 4 then return i * 10 end end})) do print(i, v) end
print(pcall(ipairs)) print(pcall(ipairs, nil))
local f, s, c = ipairs({}) print(type(f), type(s), c)
--# exact ipairs
print(pcall(function() for i, v in ipairs(3) do print(i, v) end end))
--# near load @ compat 5.2 5.3 5.4 5.5 luajit
print(load("\27Lua", "chunk", "b"))
--= nil	bytecode is not loaded; give the source text
--# near load @ 5.1
print(load(function() return nil end) ~= nil)
local done = false
print(load(function() if done then return nil end done = true return "\27Lua" end))
--= true
--= nil	bytecode is not loaded; give the source text
--# near loadstring @ compat 5.1 5.2 luajit
print(loadstring("\27Lua", "chunk"))
--= nil	bytecode is not loaded; give the source text
--# exact load of text
local parts, i = {"return ", "1 + ", "41"}, 0
local f = load(function() i = i + 1 return parts[i] end) print(f())
print(load(function() return 1 > 2 and "x" or nil end))
print(pcall(load, function() error("reader") end))
print(load(function() return {} end))
--# exact load of text @ compat 5.2 5.3 5.4 5.5 luajit
print(load("return 1 + 1")()) print(load("return", "=name")) print(load("x =", "=name")) print(load("x =", "@file.lua"))
print(load("x =")) print(load("x = \n\n y", "first line\nsecond"))
print(load("return ...", "=c")(1, 2, 3))
local env = {y = 5} print(load("return y", "=c", "t", env)()) print(load("y = 6 return y", "=c", "bt", env)(), env.y)
print(pcall(load("return y", "=c", "t", nil) or print)) print(load("return 1", "=c", "b"))
print(pcall(load)) print(pcall(load, nil))
--# exact load of text @ 5.1
print(pcall(load, "return 1")) print(pcall(load)) print(loadstring("return 1 + 1")()) print(loadstring("x =", "=name"))
print(loadstring("x =", "@file.lua")) print(loadstring("x =")) print(loadstring("x = \n\n y", "first line\nsecond"))
print(pcall(loadstring)) print(pcall(loadstring, nil)) print(loadstring("return ...")(1, 2))
--# exact load of text @ 5.2 luajit compat ~ loadstring
print(loadstring("return 1 + 1")()) print(loadstring("x =", "=name")) print(loadstring("x ="))
print(loadstring("return ...")(1, 2)) print(loadstring("return 7", "=x")())
--# exact newproxy @ 5.1
local p = newproxy(true) print(type(p), type(getmetatable(p)), getmetatable(newproxy(p)) == getmetatable(p))
print(type(newproxy()), getmetatable(newproxy(false)), pcall(newproxy, 1))
getmetatable(p).__len = function() return 7 end getmetatable(p).__index = {a = 1} print(#p, p.a)
--# near newproxy @ compat luajit
local p = newproxy(true) print(type(p), type(getmetatable(p)), getmetatable(newproxy(p)) == getmetatable(p))
getmetatable(p).__len = function() return 7 end getmetatable(p).__index = {a = 1} print(#p, p.a)
--= table	table	true
--= 7	1
--# exact next
print(next({})) print(next({10})) print(next({10}, 1)) print(next({a = 1})) print(pcall(next, {}, "nokey"))
local t = {1, 2, 3} local n = 0 for k in next, t do n = n + k t[k] = nil end print(n, next(t))
print(pcall(next)) print(pcall(next, nil))
--# exact pairs
local keys = {} for k, v in pairs({a = 1, b = 2, 3}) do keys[#keys + 1] = tostring(k) .. "=" .. v end
table.sort(keys) print(table.concat(keys, " ")) local f, s, c = pairs({}) print(f == next, type(s), c)
print(pcall(pairs)) print(pcall(pairs, nil))
--# exact pcall
print(pcall(function(...) return ... end, 1, nil, 3)) print(pcall(error, "x")) print(pcall(nil)) print(pcall(42))
print(select("#", pcall(function() end))) print(pcall(pcall, error)) print(pcall(pcall))
--# exact pcall
local function deep(n) return n == 0 and error("bottom", 0) or deep(n - 1) + 1 end
print(pcall(deep, 50))
local function endless() return 1 + endless() end
local ok, message = pcall(endless) print(ok, (message:gsub("^(.-stack overflow).*", "%1")))
--# exact print
print() print(nil) print(1, "two", true, nil) print(("x"):rep(3)) print("a\0b" == "a\0b", #"a\0b")
print(setmetatable({}, {__tostring = function() return "object" end}))
print(pcall(print, setmetatable({}, {__tostring = function() return 42 end})))
--# exact print
local old = tostring tostring = function(v) return "<" .. old(v) .. ">" end print(1, "x") tostring = old
--# exact print
local old = tostring tostring = nil print(pcall(print, 1)) tostring = old
--# exact rawequal
local t = setmetatable({}, {__eq = function() return true end}) local u = setmetatable({}, getmetatable(t))
print(t == u, rawequal(t, u), rawequal(t, t), rawequal(1, 1), rawequal("a", "a"), rawequal(1, "1"))
print(pcall(rawequal, 1)) print(rawequal(0, -0), rawequal(1, 1.0))
--# exact rawget, rawset
local t = setmetatable({}, {__index = function() return "meta" end, __newindex = function() error("no") end})
print(t.x, rawget(t, "x"), rawset(t, "x", 1) == t, t.x) print(pcall(rawget, 1, 1)) print(pcall(rawset, {}, nil, 1))
print(pcall(rawset, {}, 0 / 0, 1))
--# exact rawlen
print(rawlen({1, 2, 3}), rawlen("abcd")) print(rawlen(setmetatable({1}, {__len = function() return 9 end})))
print((pcall(rawlen, 1)), (pcall(rawlen)), (pcall(rawlen, nil)))
--# exact select
print(select("#")) print(select("#", nil, nil)) print(select(2, "a", "b", "c")) print(select(-1, "a", "b", "c"))
print(select(-3, "a", "b", "c")) print(pcall(select, 0)) print(pcall(select, -4, 1, 2, 3)) print(select(9, 1))
print(pcall(select, "x")) print(select("2", "a", "b"))
--# exact tonumber
for _, s in ipairs{"10", "0x10", " 10 ", "1e2", "1e", "0x", "", " ", "10a", "1 0", "0x1p4", "0xA.8", ".5", "5.", ".", "inf", "nan", "1e1000", "- 1", "-0x10", "+7", "0b1", "1_000"} do
  print("[" .. s .. "]", tonumber(s))
end
--# exact tonumber
print(tonumber("10", 2), tonumber("ff", 16), tonumber("FF", 16), tonumber("zz", 36), tonumber("8", 8), tonumber("", 10), tonumber("7", 8))
print(tonumber("-ff", 16), tonumber(" 11 ", 2), tonumber("1.0", 10)) print(pcall(tonumber, "1", 1)) print(pcall(tonumber, "1", 37))
print(tonumber(nil), pcall(tonumber)) print(tonumber({}), tonumber(true), tonumber(print))
--# exact tonumber
print(tonumber("1" .. ("0"):rep(30))) print(tonumber("0x" .. ("f"):rep(8))) print(tonumber("9007199254740993"))
print(tonumber("1e15"), tonumber("1e16"), tonumber("123456789012345"), tonumber("1.5e3"))
--# exact tostring
print(tostring(nil), tostring(true), tostring(12), tostring("s"), tostring(-0.5), tostring(1e100), tostring(1/0), tostring(-1/0))
print((tostring({}):gsub("0x%x+", "P")), (tostring(print):gsub("0x%x+", "P"):gsub("builtin.*", "builtin: P")))
print((tostring(coroutine.create(print)):gsub("0x%x+", "P")))
print(tostring(setmetatable({}, {__tostring = function() return "mine" end})))
print(pcall(tostring)) print(pcall(tostring, setmetatable({}, {__tostring = function() return {} end})))
--# exact type
print(type(nil), type(1), type("s"), type({}), type(print), type(true), type(coroutine.create(print))) print(pcall(type))
--# exact unpack
print(unpack({1, 2, 3})) print(unpack({1, 2, 3}, 2)) print(unpack({1, 2, 3}, 2, 3)) print(unpack({}, 1, 3))
print(select("#", unpack({n = 3}, 1, 3))) print(pcall(unpack)) print(unpack({1, 2}, 3)) print(unpack({1, 2, 3}, -1, 1))
--# exact unpack
print((pcall(unpack, {}, 1, 1e8)))
--# exact warn @ 5.1 5.2 5.3 5.4 5.5 compat luajit
print(warn("not shown")) print(pcall(warn)) print(pcall(warn, {})) print(pcall(warn, "a", {})) print(warn("@off"))
--# exact xpcall
print(xpcall(function() return 1, 2 end, print)) print(xpcall(error, function(m) return "handled: " .. tostring(m) end))
print(xpcall(function() error("e", 0) end, function(m) return m .. "!" end))
print(xpcall(function(...) return select("#", ...) end, print, 1, 2, 3))
--# exact xpcall
print((pcall(xpcall))) print(xpcall(function() local x = nil; x() end, function(m) return (m:gsub("^.-:%d+: ", "")) end))
print(xpcall(function() error({code = 7}) end, function(e) return e.code end))
--# exact messages of errors
local function try(f) local _, m = pcall(f) print(m) end
local t = {} local s = "text"
try(function() return t.x.y end) try(function() return nil_global.y end) try(function() t.x() end)
try(function() t:method() end) try(function() return t + 1 end) try(function() return 1 + {} end)
try(function() return "a" + 1 end) try(function() return #5 end) try(function() return -{} end)
try(function() return t .. "x" end) try(function() return 1 < "2" end) try(function() return {} < {} end)
try(function() return s.x.y end) try(function() t[nil] = 1 end) try(function() t[0/0] = 1 end)
try(function() undefined_function() end) try(function() return 2 ^ {} end) try(function() for i = 1, "x" do end end)
try(function() for i = "a", 2 do end end) try(function() for i = 1, 2, {} do end end)
--# exact messages of errors
local function try(text)
  local f, m = (loadstring or load)(text, "=x")
  print(m)
end
try("x = = 1") try("for") try("local function") try("x = }") try("x = 'abc") try("x = [[abc") try("return return")
try("break") try("x = 5 5") try("local 1") try("f(") try("a.b:c = 1") try("x = \"\\400\"") try("goto nowhere")
try("--[[ unfinished") try("x = 0x") try("x = 1..2") try("if x then else elseif y end") try("x = ~") try("x, y")
