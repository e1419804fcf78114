--# exact math.abs, math.ceil, math.floor, math.sqrt
print(math.abs(-5), math.abs(2.5), math.abs(-0.5)) print(math.ceil(1.2), math.ceil(-1.2), math.ceil(3), math.floor(1.8), math.floor(-1.8), math.floor(4)) print(math.sqrt(16), math.sqrt(2))
print(math.floor(1e100), math.ceil(-1e100)) print(pcall(math.abs)) print(pcall(math.floor, "x")) print(math.floor("3.7"), math.abs("-2"))
--# exact math to fourteen digits
print = (function(p) return function(...) local t = {...} for i = 1, select("#", ...) do if type(t[i]) == "number" then t[i] = ("%.14g"):format(t[i]) end t[i] = tostring(t[i]) end p(table.concat(t, " ")) end end)(print)
print(math.acos(0.5), math.asin(0.5), math.atan(1), math.cos(1), math.sin(1), math.tan(1)) print(math.acos(1), math.asin(0), math.cos(0), math.sin(0), math.tan(0), math.atan(0))
print(math.sin(100), math.cos(1e6), math.tan(-2.5)) print(math.acos(2) ~= math.acos(2))
--# exact math.atan of two @ compat 5.3 5.4 5.5
print(("%.14g %.14g %.14g %.14g"):format(math.atan(1, 2), math.atan(-1, -1), math.atan(0, -1), math.atan(1, 0)))
--# exact math.atan2 to fourteen digits ~ math.atan2
print(("%.14g %.14g %.14g %.14g"):format(math.atan2(1, 2), math.atan2(-1, -1), math.atan2(0, -1), math.atan2(1, 0))) print((pcall(math.atan2, 1)))
--# exact math.cosh and kin as printed @ 5.1 5.2 luajit ~ math.cosh
print(math.cosh(1), math.sinh(1), math.tanh(1), math.cosh(0), math.sinh(0), math.tanh(0), math.cosh(-3), math.sinh(-3), math.tanh(-3)) print(math.sinh(0.001), math.tanh(100))
--# exact math.cosh and kin to fourteen digits ~ math.cosh
for _, x in ipairs{0, 0.001, 0.1, 0.5, 0.9, 1, 1.5, 3, 10, 300, 700, -0.25, -2} do print(("%.14g %.14g %.14g"):format(math.cosh(x), math.sinh(x), math.tanh(x))) end
print(math.cosh(1000) == math.huge, math.sinh(-1000) == -math.huge, math.tanh(1000) == 1, math.tanh(-1000) == -1)
--# here math.sin, math.cos, math.tan, math.asin, math.acos, math.atan, math.exp, math.log, operator ^ @ all
print(("%.17g %.17g %.17g %.17g"):format(math.sin(0.48), math.cos(0.24), math.tan(0.36), math.asin(-0.96))) print(("%.17g %.17g %.17g %.17g %.17g"):format(math.acos(-0.94), math.atan(0.23), math.exp(0.27), math.log(0.03) / math.log(10), 23.29 ^ 1.7))
--= 0.46177917554148284 0.97133797485202955 0.37640285164202691 -1.2870022175865685
--= 2.793426632316832 0.2260683879938839 1.3099644507332475 -1.5228787452803374 210.95417770640631
--# here math.atan2, math.log10, math.pow @ all
print(("%.17g %.17g %.17g"):format(math.atan2(0.05, 3), math.log10(0.17), math.pow(23.29, 1.7)))
--= 0.016665123713940747 -0.769551078621726 210.95417770640631
--# here math.cosh, math.sinh, math.tanh @ 5.1 5.2 luajit
print(("%.17g %.17g %.17g"):format(math.cosh(0.4), math.sinh(3.69), math.tanh(0.29)))
--= 1.0810723718384547 20.009937477622223 0.28213481266963408
--# here math.cosh, math.sinh, math.tanh @ compat 5.3 5.4 5.5
print(("%.17g %.17g %.17g"):format(math.cosh(0.08), math.sinh(0.02), math.tanh(0.03)))
--= 1.003201707030797 0.020001333360000251 0.029991003238820146
--# exact math.deg, math.rad, math.huge, math.pi
print(math.deg(math.pi), math.rad(180), ("%.14g"):format(math.exp(1)), math.exp(0), math.huge, -math.huge, math.pi) print(math.deg(1), math.rad(1)) print(("%.17g"):format(math.pi))
--# exact math.fmod
print(math.fmod(7, 3), math.fmod(-7, 3), math.fmod(7, -3), math.fmod(5.5, 2)) print(pcall(math.fmod, 1)) print(math.fmod(1, 0) ~= math.fmod(1, 0) or "same")
--# exact math.fmod
local ok, m = pcall(math.fmod, 1, 0) print(ok, ok and m ~= m or m)
--# exact math.frexp
local function show(m, e) print(("%.17g"):format(m), ("%d"):format(e)) end
for _, x in ipairs{1, 2, 0.5, 3, 0.1, -8, 1e300, 1e-300, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1023, 1024, 1/3} do show(math.frexp(x)) end show(math.frexp(0))
print(math.frexp(1/0)) print((pcall(math.frexp)))
--# exact math.ldexp
local function show(x) print(("%.17g"):format(x)) end
show(math.ldexp(1, 0)) show(math.ldexp(1, 10)) show(math.ldexp(0.5, 1)) show(math.ldexp(3, -2)) show(math.ldexp(1, 1023)) show(math.ldexp(1, 1024)) show(math.ldexp(1, -1074)) show(math.ldexp(1, -1075))
show(math.ldexp(1.5, -1074)) show(math.ldexp(5e-324, 1074)) show(math.ldexp(0.75, -1073)) show(math.ldexp(1e300, -2000)) show(math.ldexp(5e-324, 2097)) show(math.ldexp(0, 5)) show(math.ldexp(-1/0, 3)) show(math.ldexp(0.99999999999999989, -1022))
--# exact math.log to fourteen digits ~ math.log
print(("%.14g %.14g %.14g %.14g"):format(math.log(1), math.log(10), math.log(2), math.log(0))) print(("%.14g %.14g %.14g"):format(math.log(8, 2), math.log(100, 10), math.log(27, 3))) print((pcall(math.log)))
--# exact math.log10 to fourteen digits ~ math.log10
print(("%.14g %.14g %.14g"):format(math.log10(1), math.log10(2), math.log10(0.001))) for i = 0, 22 do io.write(("%.14g "):format(math.log10(10 ^ i))) end print() print((pcall(math.log10)))
--# exact math.max, math.min
print(math.max(1, 5, 3), math.min(1, 5, 3), math.max(2), math.min(-1, -2), math.max(1, 2.5), math.min(1, 0.5)) print(pcall(math.max)) print(pcall(math.min)) print(pcall(math.max, 1, "x"))
--# exact math.maxinteger, math.mininteger
print(math.maxinteger, math.mininteger, math.maxinteger + 1 == math.mininteger, math.type(math.maxinteger))
--# exact math.mod @ compat 5.1
print(math.mod(7, 3), math.mod(-7, 3))
--# exact math.modf
print(math.modf(3.7)) print(math.modf(-3.7)) print(math.modf(5)) print(math.modf(1/0)) print(math.modf(-1/0)) print((pcall(math.modf)))
--# exact math.pow to fourteen digits ~ math.pow
print(("%.14g %.14g %.14g %.14g %.14g"):format(math.pow(2, 10), math.pow(2, 0.5), math.pow(2, -1), math.pow(-8, 1), math.pow(0, 0))) print((pcall(math.pow, 1)))
--# exact math.random in range @ compat 5.1 5.2 5.3 5.4 5.5
math.randomseed(7) for _ = 1, 50 do local a, b, c = math.random(), math.random(6), math.random(-3, 3) if not (a >= 0 and a < 1 and b >= 1 and b <= 6 and c >= -3 and c <= 3) then print("out of range") end end
print(pcall(math.random, 0, -1)) print(pcall(math.random, 1, 2, 3)) print(math.random(3, 3)) local s = {} for i = 1, 2 do math.randomseed(42) s[i] = math.random(1000) end print(s[1] == s[2])
--# exact math.random, math.randomseed @ compat 5.4 5.5
math.randomseed(42) print(math.random(100), math.random(100), math.random(1, 1000), math.random(), math.random(0)) math.randomseed(123, 456) print(math.random(1 << 40))
--# here math.random, math.randomseed @ 5.1
math.randomseed(42) local a = math.random(1e6) math.randomseed(42) print(a == math.random(1e6)) print(a)
--= true
--= 741565
--# here math.random, math.randomseed @ 5.2 5.3 luajit
math.randomseed(42) local a = math.random(1e6) math.randomseed(42) print(a == math.random(1e6)) print(a)
--= true
--= 159911
--# exact math.tointeger, math.type, math.ult @ compat 5.3 5.4 5.5
print(math.tointeger(3.0), math.tointeger(3.5), math.tointeger(2^53), math.tointeger(2^63), math.tointeger({})) print(math.type(1), math.type(1.0), math.type("1"), math.type(nil)) print(pcall(math.type))
print(math.ult(1, 2), math.ult(-1, 2), math.ult(2, -1), math.ult(-2, -1)) print(pcall(math.ult, 1.5, 2)) print(math.tointeger("x"))
--# exact math.tointeger and kin of small numbers ~ math.tointeger
print(math.tointeger(3), math.tointeger(3.5), math.tointeger({}), math.tointeger(-0.5)) print(math.type(1), math.type(1.5), math.type("1"), math.type(nil), math.type(1/0), math.type(0/0)) print((pcall(math.type)))
print(math.ult(1, 2), math.ult(-1, 2), math.ult(2, -1), math.ult(-2, -1), math.ult(5, 5)) print((pcall(math.ult, 1.5, 2)))
--# near math.type @ 5.1 5.2 luajit
print(math.type(2.0), math.type(2^53))
--= integer	integer
--# near math.tointeger @ 5.1 5.2 luajit
print(math.tointeger(2^70) == 2^70)
--= true
--# near math.ult @ 5.1 5.2 luajit
print(math.ult(9007199254740992, 9007199254740993))
--= false
