--# exact operator // as a comment or an error
print(1, 1.0, -0.0, 1e3, 2^2, 10 / 2, 7 // 1 and 7 or 7)
--# exact numbers: integers and floats
print(1 == 1.0, 3 % 2, -3 % 2, 3 % -2, 5.5 % 2, -5.5 % 2, 2^31, 2^53, 2^53 + 1, 1e15, 1e14, 123456789012, 10 / 2, 3 * 1.0, 100000000000000, 1e100) print(5 % math.huge ~= nil) print(1/0, -1/0, 0/0 ~= 0/0)
print(9007199254740993, 2^63, 9223372036854775807, 9223372036854775807 + 1, -9223372036854775808) print(math.max(1, 2.5), math.floor(2.5), 7 - 7.0, 1e308 * 10)
--# exact numbers: integers and floats
local t = {} t[1] = "int" t[1.0] = "float" t[2^53] = "big" print(t[1], #t, t[2^53]) for i = 1, 3 do io.write(i, " ") end for i = 1.0, 3 do io.write(i, " ") end for i = 1, 2, 0.5 do io.write(i, " ") end for i = 3, 1, -1 do io.write(i, " ") end print()
for i = 1, 0 do print("never") end print(#"x" + 0, ("5") + 1, "0x10" + 0, 10 .. 20)
--# exact numbers: integers and floats
print((pcall(function() return 1 % 0 end))) print(pcall(function() return 5 % 0.0 ~= 5 % 0.0 end)) print(1e15 + 0.5, 0.1 + 0.2, 1/3, 100 * 1.1, -7 / 2)
--# exact numbers: printing
print(1e15, 1e16, 1e17, 123456.789, 0.1, 1/3, 1e-5, 1e-4, 12345678901234567890, 0.1 + 0.2, 100, 1e2, -1e-7, 3.14159265358979, 5e-324, 1.7976931348623157e308) print(255, 0xff, 0x7fffffff, 0xffffffff, 1e5, 2^24, 2^40) print(tostring(3) == "3", tostring(3.0), 3 .. "", 3.0 .. "", 1e15 .. "")
--# exact numbers: text becomes a number
print("10" + 5, "3" * "4", "0x10" + 0, " 7 " + 1, "1e1" + 0, 10 .. "", "2" ^ 2, -"3", "7" % 4, "10" / 2) print(pcall(function() return "abc" + 1 end)) print(pcall(function() return "10" < 5 end)) print("10" == 10, pcall(function() return {} + 1 end)) print(("10" + 5) == 15, math.max("3", 2) == nil)
--# exact numbers: text becomes a number
print(pcall(function() return "10" + "5" end)) print(pcall(function() return "1.5" + 1 end)) print(pcall(function() return "9007199254740993" + 0 end)) for i = "1" + 0, 2 do io.write(i, " ") end print() print(pcall(function() for i = "1", 2 do io.write(i, " ") end end))
--# exact numbers: literals
print(0x10, 0xA, 1e3, 1E-2, .5, 3., 0x.8p1 or 1)
--# exact numbers: literals
print(0xff, 0XFF, 1e+5, 314.16e-2, 0.31416E1, 34, 0xffffffffff) local f = (loadstring or load)("return 0x1p-2") print(f and f()) print(((loadstring or load)("return 1e")))
--# near numbers: literals @ luajit
print(loadstring("return 1LL"))
--= nil	[string "return 1LL"]:1: <eof> expected near 'LL'
--# exact operator //
print((loadstring or load)("return 7 // 2", "=c") ~= nil) local f = (loadstring or load)("return 7 // 2, -7 // 2, 7 // -2, 7.0 // 2, 1 // 0.0, 5.5 // 2", "=c") if f then print(f()) print(pcall((loadstring or load)("return 1 // 0", "=c"))) print(setmetatable({}, {__idiv = function() return "idiv" end}) and (loadstring or load)("local a = ... return a // 1")(setmetatable({}, {__idiv = function() return "idiv" end}))) end
--# exact operators on bits @ compat 5.1 5.2 5.3 5.4 5.5
local compile = loadstring or load local f, m = compile("return 6 & 3, 6 | 3, 6 ~ 3, ~0, 1 << 4, 256 >> 4, 1 << 64, -1 >> 60, 1 << -1, 3.0 & 1, '7' & 3", "=c") if f then print(f()) print(pcall(compile("return 1.5 & 1", "=c"))) print(pcall(compile("return {} & 1", "=c"))) print(pcall(compile("return 'x' | 1", "=c"))) print(pcall(compile("return 2^64 | 0", "=c"))) else print(m) end
--# exact operators on bits
local compile = loadstring or load local mt = {__band = function() return "band" end, __bor = function() return "bor" end, __bxor = function() return "bxor" end, __bnot = function() return "bnot" end, __shl = function() return "shl" end, __shr = function() return "shr" end}
local f = compile("local a = ... return a & 1, 1 | a, a ~ a, ~a, a << 1, 1 >> a", "=c") if f then print(f(setmetatable({}, mt))) end
--# exact goto and labels @ 5.1 5.2 5.3 5.4 5.5 compat
local compile = loadstring or load local function try(text) local f, m = compile(text, "=c") print(f and pcall(f) or m) end
try("for i = 1, 3 do if i == 2 then goto skip end print(i) ::skip:: end") try("goto done; print(1) ::done:: print(2)") try("goto = 5; print(goto)") try("local goto = 1") try("goto missing") try("::a:: ::a::") try("do goto inner end local x ::inner:: print(x)") try("while true do do goto out end end ::out:: print('out')") try("::top:: goto = nil")
try("local t = {goto = 1} print(t.goto)") try("repeat if true then goto continue end local z = 1 ::continue:: until true print('r')") try("do ::x:: end goto x")
--# exact <const> and <close>
local compile = loadstring or load local function try(text) local f, m = compile(text, "=c") if f then print(pcall(f)) else print(m) end end
try("local x <const> = 5 print(x)") try("local x <const> = 5 x = 6") try("local x <close> = setmetatable({}, {__close = function(_, e) print('closed', e) end}) print('body')") try("local x <bad> = 1") try("local x <close> = 5")
try("local ok, m = pcall(function() local c <close> = setmetatable({}, {__close = function(_, e) print('closing', e) end}) error('boom', 0) end) print(ok, m)") try("for i in ipairs, {1}, 0, setmetatable({}, {__close = function() print('loop closed') end}) do break end")
--# exact __close
local compile = loadstring or load local f = compile([[
  local function make(n) return setmetatable({}, {__close = function() print("close", n) end}) end
  do local a <close> = make("a") local b <close> = make("b") local n <close> = nil end
  local co = coroutine.wrap(function() local c <close> = make("c") coroutine.yield(1) return 2 end) print(co(), co())
  print(pcall(function() local d <close> = setmetatable({}, {__close = function() error("in close", 0) end}) error("first", 0) end))
  local co = coroutine.create(function() local e <close> = make("e") coroutine.yield() end) coroutine.resume(co) print(coroutine.close(co))
]], "=c") if f then f() else print("no") end
--# exact global declarations
local compile = loadstring or load local function try(text) local f, m = compile(text, "=c") if f then print(pcall(f)) else print(_VERSION == "Lua 5.1" or m) end end
try("global x; x = 1 print(x)") try("global = 5 print(global)") try("global print; global x = 7 print(x)") try("global <const> print, tostring; y = 1") try("global *; z = 1 print(z)") try("global function f() return 1 end") try("do global none; w = 1 end")
--# exact loop variables
local compile = loadstring or load local function try(text) local f, m = compile(text, "=c") if f then print(pcall(f)) else print(m) end end
try("for i = 1, 3 do i = i + 10 io.write(i, ' ') end print()") try("for k, v in pairs({1}) do k = 5 v = 6 print(k, v) end") try("for i = 1, 2 do local i = i * 2 print(i) end") try("local fs = {} for i = 1, 3 do fs[i] = function() return i end end print(fs[1](), fs[2](), fs[3]())")
try("for i = 1, 3 do if i == 2 then break end print(i) end") try("for i = 1, math.huge do if i > 3 then break end io.write(i, ' ') end print()")
--# exact break @ 5.1 5.2 5.3 5.4 5.5 compat
local compile = loadstring or load local function try(text) local f, m = compile(text, "=c") if f then print(pcall(f)) else print(m) end end
try("while true do break end print(1)") try("while true do break print(1) end") try("break") try("while true do if true then break; end end print(2)") try("repeat break until false print(3)") try("for i = 1, 2 do local function f() break end end") try("return 1; ") try("do return end print(4)") try(";;; print(5)") try("f = function() return end;")
--# near break @ luajit
print(pcall(loadstring("while true do break print(1) end return 'ended'")))
--= true	ended
--# exact escapes in strings @ 5.1 5.2 5.3 5.4 5.5 compat
local compile = loadstring or load local function try(text) local f, m = compile("return " .. text, "=c") if f then local s = f() print(type(s) == "string" and table.concat({s:byte(1, -1)}, " ") or s) else print(m) end end
try([['\65\066\10']]) try([['\x41\x7f']]) try([['a\z
   b']]) try([['\u{48}\u{20AC}']]) try([['\u{7FFFFFFF}']]) try([['\a\b\f\n\r\t\v\\\'\"']]) try([['\q']]) try([['\256']]) try([['\xZZ']]) try([['\u{110000000}']]) try("'a\\\nb'") try("[[\nfirst newline dropped]]") try("[==[a]]b]==]") try([['\0end']]) try("'\r\n'") try([['\
']])
--# exact escapes in strings as LuaJIT has them @ luajit
local function try(text) local f, m = loadstring("return " .. text, "=c") if f then local s = f() print(table.concat({s:byte(1, -1)}, " ")) else print("error") end end try([['\65\066\10']]) try([['\x41\x7f']]) try([['a\z
   b']]) try([['\a\b\f\n\r\t\v\\\'\"']]) try([['\256']]) try([['\xZZ']]) try("[[\nfirst]]") try("[==[a]]b]==]") try([['\0end']]) try([['\q']])
--# near escapes in strings @ luajit
print((loadstring([[return '\u{20AC}']])))
--= nil
--# exact comparison metamethods @ 5.1 5.2 5.3 5.4 5.5 compat
local mt = {__eq = function(a, b) return a.v == b.v end, __lt = function(a, b) return a.v < b.v end, __le = function(a, b) return a.v <= b.v end} local function new(v) return setmetatable({v = v}, mt) end print(new(1) == new(1), new(1) ~= new(2), new(1) < new(2), new(2) <= new(2), new(3) > new(2), new(1) >= new(2), new(1) == 1)
local a, b = setmetatable({}, {__eq = function() return true end}), setmetatable({}, {__eq = function() return false end}) print(a == b, b == a) local c = setmetatable({}, {__lt = function() return "truthy" end}) local d = setmetatable({}, {}) print(pcall(function() return c < d end)) print(pcall(function() return d < c end)) print(pcall(function() return c < 1 end)) print(pcall(function() return c <= d end)) print(a == {})
print(pcall(function() return {} < {} end)) print("a" < "b", "a" < "B", "" < "a", "a\0b" < "a\0c", "Z" < "a") print(pcall(function() return 1 < "x" end)) print(pcall(function() return nil < 1 end))
--# exact comparison of one kind @ luajit
local mt = {__eq = function(a, b) return a.v == b.v end, __lt = function(a, b) return a.v < b.v end, __le = function(a, b) return a.v <= b.v end} local function new(v) return setmetatable({v = v}, mt) end print(new(1) == new(1), new(1) ~= new(2), new(1) < new(2), new(2) <= new(2), new(3) > new(2), new(1) >= new(2), new(1) == 1)
local only_lt = setmetatable({v = 1}, {__lt = function(a, b) return true end}) print(pcall(function() return only_lt <= only_lt end))
--# near comparison metamethods @ luajit
local c = setmetatable({}, {__lt = function() return true end}) print((pcall(function() return c < 1 end)))
--= true
--# exact __len @ 5.1 5.2 5.3 5.4 5.5 compat
print(#setmetatable({1, 2}, {__len = function() return 42 end})) print(#setmetatable({}, {__len = function() return "text" end})) print(pcall(function() return #nil end)) print(#{1, 2, 3, nil}, #{nil}, #{n = 1}, #"\0\0")
--# near __len @ luajit
print(#setmetatable({1, 2}, {__len = function() return 42 end}))
--= 42
--# exact # of a table with holes
local t = {} for i = 1, 8 do t[i] = i end t[5] = nil local n = #t print(n) print(#{1, nil, 3}, #{nil, nil, 3}, #{n = 1, 1, nil})
--# exact __pairs and __ipairs
local p = setmetatable({}, {__pairs = function(t) return function(_, k) if not k then return 1, "from __pairs" end end, t, nil end}) for k, v in pairs(p) do print(k, v) end local q = setmetatable({"raw"}, {__ipairs = function(t) return function(_, i) if i < 1 then return i + 1, "from __ipairs" end end, t, 0 end}) for i, v in ipairs(q) do print(i, v) end
local r = setmetatable({}, {__index = function(_, i) if i <= 2 then return "indexed " .. i end end}) for i, v in ipairs(r) do print(i, v) end print(pcall(pairs, setmetatable({}, {__pairs = 5})))
--# exact __gc of tables @ 5.1 5.2 5.3 5.4 5.5 compat
local n = 0 do local t = setmetatable({}, {__gc = function() n = n + 1 end}) end collectgarbage() collectgarbage() print(n) local late = setmetatable({}, {}) getmetatable(late).__gc = function() n = n + 100 end late = nil collectgarbage() collectgarbage() print(n)
--# near __gc of tables @ luajit
local n = 0 do local t = setmetatable({}, {__gc = function() n = n + 1 end}) end collectgarbage() collectgarbage() print(n)
--= 1
--# exact __index and __newindex
local base = {x = 1} local t = setmetatable({}, {__index = base}) print(t.x, rawget(t, "x")) local u = setmetatable({}, {__index = t}) print(u.x) local log = {} local v = setmetatable({}, {__newindex = function(t, k, val) log[#log + 1] = k rawset(t, k, val) end}) v.a = 1 v.a = 2 print(#log, v.a) local w = setmetatable({}, {__newindex = base}) w.y = 5 print(base.y, rawget(w, "y"))
local loop = {} setmetatable(loop, {__index = loop}) print((pcall(function() return loop.x end))) local c = setmetatable({}, {__index = function(t, k) return k end}) print(c[1], c.z, c[true])
--# exact __call and __concat
local c = setmetatable({}, {__call = function(self, ...) return select("#", ...), ... end, __concat = function(a, b) return (type(a) == "table" and "T" or a) .. "+" .. (type(b) == "table" and "T" or b) end, __unm = function() return "unm" end, __add = function(a, b) return "add" end, __mul = function() return "mul" end, __pow = function() return "pow" end, __mod = function() return "mod" end, __div = function() return "div" end, __sub = function() return "sub" end})
print(c(1, nil, 3)) print(c .. "x", "x" .. c, 1 .. c, c .. c) print(-c, c + 1, 1 + c, c * 2, c ^ 2, c % 2, c / 2, c - 2) print(pcall(function() return "x" .. {} end)) print(pcall(setmetatable({}, {__call = setmetatable({}, {__call = function() return "nested" end})})))
--# exact __name
print((tostring(setmetatable({}, {__name = "MyType"})):gsub("0x%x+", "P"):gsub("table: .*", "table: P"))) print(pcall(function() return setmetatable({}, {__name = "MyType"}) + 1 end)) print(pcall(string.rep, setmetatable({}, {__name = "MyType"})))
--# exact varargs and arg @ 5.1 5.2 5.3 5.4 5.5 compat
local function f(...) return select("#", ...), ... end print(f(1, nil, 3), (f())) local function g(...) local a, b = ... return b, a end print(g(1, 2, 3)) print((f(1, 2))) print({f(1, 2)}[1] == nil or #{f(1, 2)})
--# exact varargs and arg
local function f(...) return select("#", ...), ... end print(f(1, nil, 3)) local function g(...) local a, b = ... return b, a end print(g(1, 2, 3)) print((f(1, 2))) print(#{f(1, 2)}, #{f(1, 2), f(1, 2)}) local t = {f()} print(#t) local function old(...) return arg and arg.n end print(old(1, 2) == nil or old(1, 2)) local function both(...) local n = select("#", ...) return n, arg and arg.n end print((both(1)))
--# exact varargs and arg
local function old(...) return type(arg) end arg = "global" print(old(1, 2))
--# near sign of what is no number @ all
local zero = 0 print(zero / zero, -(zero / zero))
--= nan	-nan
--# near numbers: integers and floats @ luajit
for i = 1, 10, 0 do print("loop") break end
--=
--# near goto and labels @ luajit
print((loadstring("goto = 1")))
--= nil
--# near tail calls @ luajit
local function traced() return (debug.traceback("t")) end local function tail() return traced() end print((tail():match("tail call") ~= nil))
--= true
--# near comments and line ends @ luajit
print((loadstring("#!shebang\nreturn 5")))
--= nil
--# near load of text @ luajit
print((select(2, load("x ="))))
--= [string "x ="]:1: unexpected symbol near <eof>
--# exact tail calls
local function loop(n) if n == 0 then return "done" end return loop(n - 1) end print(loop(100000)) local function traced() return (debug.traceback("t")) end local function tail() return traced() end print((tail():match("tail call") ~= nil))
--# exact order of evaluation
local log = {} local function t(n) log[#log + 1] = n return n end local x, y = t(1), t(2) local u = {t(3), t(4), k = t(5)} local s = t(6) + t(7) * t(8) print(table.concat(log, " ")) local i, a = 1, {} i, a[i] = i + 1, 20 print(i, a[1], a[2]) local p, q, r = (function() return 1, 2, 3 end)() print(p, q, r) print(1 or error("no"), nil and error("no"), false == nil, not nil)
print(2 ^ 3 ^ 2, -2 ^ 2, not 1 == 2, 1 .. 2 .. 3, 2 * 3 % 4, "a" .. 1 + 2, 1 < 2 == true, -3 % 5)
--# exact comments and line ends
local compile = loadstring or load print(compile("return 1 -- comment\n")()) print(compile("--[[ long ]] return 2")()) print(compile("--[==[ a ]] b ]==] return 3")()) print(compile("return\r\n4")()) print(select(2, compile("\r\n\r\nx =", "=c"))) print(compile("#!shebang\nreturn 5", "=c")) print(compile("return 'a' --[[ unfinished", "=c"))
--# exact limits of locals and upvalues @ 5.1 5.2 5.3 5.4 5.5 compat
local compile = loadstring or load local function try(n) local parts = {} for i = 1, n do parts[i] = "local v" .. i .. " = " .. i end local f, m = compile(table.concat(parts, "\n"), "=c") print(n, f and "fine" or m) end try(200) try(201)
local function ups(n) local a, b = {}, {} for i = 1, n do a[i] = "local v" .. i .. " = 1" b[i] = "v" .. i end local f, m = compile("do " .. table.concat(a, " ", 1, math.min(n, 150)) .. " local function f() return " .. table.concat(b, "+", 1, math.min(n, 150)) .. " end return f() end", "=c") print(n, f and f() or m) end ups(50) ups(61) ups(100)
--# near limits of locals and upvalues @ luajit
local a, b = {}, {} for i = 1, 100 do a[i] = "local v" .. i .. " = 1" b[i] = "v" .. i end local f, m = loadstring(table.concat(a, " ") .. " local function f() return " .. table.concat(b, "+") .. " end return f()", "=c") print(f and f() or m)
--= 100
--# near arg of the command line @ all
local list = rawget(_G, "arg") print(type(list), list[0], list[-1], list[1] ~= nil)
--= table	main	nil	true
--# near messages of errors @ luajit
print(pcall(function() return math.floor({}) end)) print(pcall(function() return ("x"):rep({}) end)) print(loadstring("x = = 1", "=x"))
--= false	case:1: bad argument #1 to '?' (number expected, got table)
--= false	case:1: bad argument #1 to '?' (number expected, got table)
--= nil	x:1: unexpected symbol near '='
