--# exact coroutine.close of ordinary coroutines ~ coroutine.close
local co = coroutine.create(function() coroutine.yield(1) print("never") end) coroutine.resume(co) print(coroutine.close(co), coroutine.status(co)) print(coroutine.close(co)) print(coroutine.resume(co))
local new = coroutine.create(print) print(coroutine.close(new), coroutine.status(new)) print((pcall(coroutine.close))) print((pcall(coroutine.close, 1))) print((pcall(coroutine.close, coroutine.running() or 1)))
--# exact coroutine.close @ compat 5.4 5.5
local bad = coroutine.create(function() error("x", 0) end) coroutine.resume(bad) print(coroutine.close(bad)) print(coroutine.close(bad)) print(pcall(coroutine.close))
--# exact coroutine.status, coroutine.yield @ luajit
local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) return b * 2 end) print(coroutine.status(co), coroutine.resume(co, 1)) print(coroutine.status(co), coroutine.resume(co, 5)) print(coroutine.status(co))
--# exact coroutine.close of one that catches @ compat 5.2 5.3 5.4 5.5 luajit ~ coroutine.close
local stubborn = coroutine.create(function() while true do pcall(coroutine.yield) end end) coroutine.resume(stubborn) print(coroutine.status(stubborn)) print(coroutine.close(stubborn), coroutine.status(stubborn))
--# near coroutine.close @ 5.1 5.2 5.3 luajit
local bad = coroutine.create(function() error("x", 0) end) coroutine.resume(bad) print(coroutine.close(bad))
--= true
--# near coroutine.resume @ luajit
local co co = coroutine.create(function() print(coroutine.resume(co)) end) coroutine.resume(co)
--= false	cannot resume non-suspended coroutine
--# near yield across metamethods and iterators @ luajit
print((select(2, pcall(coroutine.yield))))
--= attempt to yield from outside a coroutine
--# exact coroutine.create, coroutine.resume, coroutine.status, coroutine.yield
local co = coroutine.create(function(a, b) local c = coroutine.yield(a + b) local d, e = coroutine.yield(c * 2) return d + e end)
print(coroutine.status(co)) print(coroutine.resume(co, 1, 2)) print(coroutine.status(co)) print(coroutine.resume(co, 10)) print(coroutine.resume(co, 3, 4)) print(coroutine.status(co)) print(coroutine.resume(co))
print(pcall(coroutine.create)) print(pcall(coroutine.create, 1)) print(pcall(coroutine.resume, 1)) print(pcall(coroutine.status, nil))
local co2 co2 = coroutine.create(function() print(coroutine.status(co2)) print(coroutine.resume(co2)) end) coroutine.resume(co2)
--# exact coroutine.create
local co = coroutine.create(function() error("inside", 0) end) print(coroutine.resume(co)) print(coroutine.status(co)) print(coroutine.resume(co)) local co = coroutine.create(function() error({1}) end) print(select("#", coroutine.resume(co)))
local outer = coroutine.create(function() local inner = coroutine.create(function() print(coroutine.status(outer or coroutine.running())) coroutine.yield() end) coroutine.resume(inner) print(coroutine.status(inner)) end) coroutine.resume(outer)
--# exact coroutine.isyieldable
print(coroutine.wrap(function() return coroutine.isyieldable() end)())
--# exact coroutine.running
print(coroutine.wrap(function() return type((coroutine.running())), select(2, coroutine.running()) end)()) local co co = coroutine.create(function() print(coroutine.running() == co) end) coroutine.resume(co)
--# exact coroutine.wrap
local gen = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) print(gen(), gen(), gen()) print(gen()) print(pcall(gen)) print(pcall(coroutine.wrap(function() error("w", 0) end))) print(pcall(coroutine.wrap(function() error({}) end)) == false) print(pcall(coroutine.wrap))
--# exact yield across pcall
local co = coroutine.wrap(function() local ok, v = pcall(function() local x = coroutine.yield(1) error("got " .. x, 0) end) coroutine.yield(v) return "end" end) print(pcall(co)) print(pcall(co, "x")) print(pcall(co))
--# exact yield across pcall
local co = coroutine.create(function() return xpcall(function() coroutine.yield("in") return "out" end, function(m) return m end) end) print(coroutine.resume(co)) print(coroutine.status(co)) print(coroutine.resume(co))
--# exact yield across metamethods and iterators
local mt = {__add = function(a, b) return coroutine.yield("adding") end, __index = function(_, k) return coroutine.yield("index " .. k) end}
local co = coroutine.create(function() local t = setmetatable({}, mt) local s = t + 1 return s end) print(coroutine.resume(co)) print(coroutine.resume(co, 42))
local co = coroutine.create(function() local t = setmetatable({}, mt) return t.field end) print(coroutine.resume(co)) print(coroutine.resume(co, "value"))
local co = coroutine.create(function() for v in function() return coroutine.yield("next") end do print("got", v) end end) print(coroutine.resume(co)) print(coroutine.resume(co, 1)) print(coroutine.resume(co, nil))
--# exact yield across metamethods and iterators
local co = coroutine.create(function() table.sort({3, 2, 1}, function(a, b) coroutine.yield() return a < b end) end) print((coroutine.resume(co))) local co = coroutine.create(function() return (("x"):gsub("x", function() coroutine.yield() end)) end) print((coroutine.resume(co)))
print(pcall(coroutine.yield))
--# exact many coroutines
local n = 0 local function spawn(depth) if depth == 0 then return end local co = coroutine.wrap(function() n = n + 1 spawn(depth - 1) end) co() end spawn(60) print(n)
local all = {} for i = 1, 500 do all[i] = coroutine.wrap(function() coroutine.yield(i) return -i end) end local sum = 0 for i = 1, 500 do sum = sum + all[i]() end print(sum)
