--# near jit.arch, jit.os, jit.version, jit.version_num, jit.status @ luajit
print(jit.arch, jit.os, jit.version, jit.version_num, jit.status())
--= wasm32	Other	LuaJIT 2.1 (lithox, interpreted)	20199	false
--# exact require "table.new", require "table.clear" @ luajit
local new, clear = require("table.new"), require("table.clear") local t = new(10, 10) print(type(t), #t) t[1], t.x = 1, 2 clear(t) print(next(t), t.x) print((pcall(clear))) print((pcall(new)))
--# here jit.on, jit.off, jit.flush, jit.attach, jit.opt, jit.security @ luajit
print(jit.on(), jit.off(), jit.flush(), jit.attach(print), jit.opt.start(1), jit.security("ll"))
--= nil	nil	nil	nil	nil	0
--# here debug.getuservalue, debug.setuservalue @ luajit
print(debug.getuservalue({}), (pcall(debug.setuservalue, {}, 1)))
--= nil	false
--# near # of a table with holes @ luajit
print(#{1, nil, 3})
--= 3
--# exact jit switches @ luajit
print(jit.flush(), jit.off(), type(jit.opt)) jit.off(function() end, true) jit.opt.start("hotloop=10") print(type(jit.attach)) print(package.loaded.jit == jit)
--# exact LuaJIT takes from 5.2 @ luajit
print(("x"):rep(3, "-"), math.log(8, 2), load("return 1")(), load("return x", "=c", "t", {x = 2})()) for i = 1, 3 do if i == 2 then goto continue end io.write(i, " ") ::continue:: end print() print("\x41\z
  B", '\065') print(0x1p4, 0xA.8) print(xpcall(function(...) return ... end, print, 1, 2))
print(string.format("%q", "a\nb\0c")) print(string.format("%s", setmetatable({}, {__tostring = function() return "T" end})))
--# exact LuaJIT keeps from 5.1 @ luajit
print(unpack({1, 2}), loadstring("return 5")(), table.getn({1}), type(setfenv), type(module), math.pow(2, 3), math.log10(100)) for k in pairs(setmetatable({a = 1}, {__pairs = function() return function() end end})) do print(k) end
for i, v in ipairs(setmetatable({1}, {__ipairs = function() return function() end end})) do print(i, v) end print(_VERSION) print(coroutine.running()) print(pcall(string.format, "%d", 2.9)) print(tostring(2^31), 2^53, 1e15, -0.0 == 0, 10 / 2, 7 % -3, 3 % math.huge)
--# exact LuaJIT keeps from 5.1 @ luajit
print(pcall(string.format, "%d", "2.9")) print(pcall(string.format, "%5d|%-5d|%05d", 2.5, -2.5, -3)) print(pcall(string.format, "%x", 2^32)) print(pcall(string.format, "%u", 5)) print(pcall(string.format, "%x %s %d%%", -1, "a", 3.5)) print(pcall(string.format, "%c%c", 72.5, 105))
--# exact goto loops @ luajit
do local i = 1 ::top:: if i <= 3 then io.write(i, " ") i = i + 1 goto top end print() end print((loadstring("goto nowhere"))) print((load("::a:: ::a::")))
