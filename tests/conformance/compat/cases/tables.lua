--# exact table.concat
print(table.concat({1, 2, 3}), table.concat({1, 2, 3}, ", "), table.concat({}, "x"), table.concat({1, 2, 3}, "-", 2), table.concat({1, 2, 3}, "-", 2, 2), table.concat({1}, "-", 2))
print(pcall(table.concat, {1, {}, 3})) print(pcall(table.concat, {1, nil, 3}, "", 1, 3)) print(pcall(table.concat)) print(table.concat({1.5, "x", 2}, " "))
--# exact table.concat of ordinary lists
print(table.concat({1, 2, 3}), table.concat({1, 2, 3}, ", "), table.concat({"x"}, "x", 2), table.concat({1, 2, 3}, "-", 2, 2)) print((pcall(table.concat, {1, {}, 3})))
--# near table.concat @ 5.3
print(pcall(table.concat, {1, {}, 3}))
--= false	invalid value (table) at index 0 in table for 'concat'
--# near table.concat @ luajit
print((pcall(table.concat, setmetatable({}, {__len = function() return 3 end}))))
--= false
--# exact table.concat
print(pcall(table.concat, setmetatable({}, {__index = function(_, i) return "v" .. i end, __len = function() return 3 end}), ","))
--# exact table.create
print(#table.create(10), next(table.create(5, 5)), type(table.create(0))) print(pcall(table.create)) print((pcall(table.create, -1))) print((pcall(table.create, "x")))
--# exact table.foreach @ compat 5.1 luajit
table.foreach({a = 1}, print) print(table.foreach({5, 6}, function(k, v) if v == 6 then return k * 10 end end)) print(table.foreach({}, print)) print((pcall(table.foreach, 1)))
--# exact table.foreachi @ compat 5.1 luajit
table.foreachi({"a", "b", x = 1}, print) print(table.foreachi({5, 6}, function(i, v) if v == 6 then return v end end)) print((pcall(table.foreachi, {})))
--# exact table.getn @ compat 5.1 luajit
print(table.getn({1, 2, 3}), table.getn({}), table.getn({n = 5})) print((pcall(table.getn, 1)))
--# exact table.insert
local t = {1, 2} table.insert(t, 3) table.insert(t, 1, 0) print(table.concat(t, " ")) table.insert(t, 5, 4) print(table.concat(t, " "))
print(pcall(table.insert, t)) print(pcall(table.insert, t, 1, 2, 3)) print((pcall(table.insert, nil, 1))) print(select("#", table.insert(t, 9)))
--# exact table.insert within bounds
local t = {1, 2} table.insert(t, 3) table.insert(t, 1, 0) table.insert(t, 2, "x") print(table.concat(t, " ")) print((pcall(table.insert, t))) print((pcall(table.insert, nil, 1)))
--# near table.insert, table.remove @ luajit
print((pcall(table.insert, {1, 2}, 5, "x")), (pcall(table.remove, {1, 2, 3}, 7)))
--= false	false
--# exact table.insert
print(pcall(table.insert, {1, 2}, 5, "x")) print(pcall(table.insert, {1, 2}, 0, "x")) print(pcall(table.insert, {1}, -1, 2)) print(pcall(table.insert, {}, 1.5, 2))
--# exact table.maxn @ compat 5.1 5.2 luajit
print(table.maxn({}), table.maxn({1, 2, 3}), table.maxn({[10] = 1, [2.5] = 2}), table.maxn({[-1] = 1, x = 2})) print((pcall(table.maxn)))
--# near table.move @ luajit
print(#table.move(setmetatable({}, {__index = function(_, k) return k end}), 1, 3, 1, {}))
--= 3
--# exact table.move of ordinary lists ~ table.move
print(table.concat(table.move({1, 2, 3}, 1, 3, 2), " "), table.concat(table.move({1, 2, 3}, 2, 3, 1), " "), table.concat(table.move({1, 2, 3}, 1, 3, 1, {}), " ")) print((pcall(table.move, {}, 1, 2)))
--# exact table.move
local t = table.move({1, 2, 3}, 1, 3, 2) print(table.concat(t, " ")) print(table.concat(table.move({1, 2, 3}, 2, 3, 1), " ")) print(table.concat(table.move({1, 2, 3}, 1, 3, 1, {}), " "))
print(table.concat(table.move({1, 2, 3}, 1, 0, 5), " ")) print((pcall(table.move, {}, 1, 2))) print((pcall(table.move, 1, 1, 1, 1)))
local seen = {} table.move(setmetatable({}, {__index = function(_, k) return k * 2 end}), 1, 3, 1, setmetatable({}, {__newindex = function(_, k, v) seen[#seen + 1] = k .. "=" .. v end}))
print(table.concat(seen, " "))
--# exact table.pack
local t = table.pack(1, nil, 3, nil) print(t.n, t[1], t[2], t[3], t[4]) print(table.pack().n, #table.pack(1, 2))
--# exact table.remove of ordinary lists
local t = {1, 2, 3} print(table.remove(t), table.remove(t, 1), #t, table.remove(t), table.remove(t), #t) print(table.remove({1, 2, 3}, 2))
--# exact table.remove
local t = {1, 2, 3} print(table.remove(t), #t, table.remove(t, 1), #t, table.remove(t), table.remove(t), #t) print(table.remove({}), table.remove({}, 0)) print(table.remove({1, 2, 3}, 2))
print(select("#", table.remove({}))) print(table.remove({[0] = "z"}, 0))
--# exact table.remove
print(pcall(table.remove, {1, 2, 3}, 7)) print(pcall(table.remove, {1, 2, 3}, -1)) print(table.remove({1, 2, 3}, 4)) print((pcall(table.remove)))
--# exact table.setn @ compat 5.1
print(pcall(function() table.setn({}, 1) end)) print((pcall(table.setn)))
--# exact table.sort
local t = {3, 1, 2} table.sort(t) print(table.concat(t, " ")) table.sort(t, function(a, b) return a > b end) print(table.concat(t, " ")) t = {"b", "a", "C"} table.sort(t) print(table.concat(t, " "))
print((pcall(table.sort, {1, "x"}))) print((pcall(table.sort, {{}, {}}))) print(pcall(table.sort, {1, 2}, 5)) local t = {} for i = 1, 100 do t[i] = (i * 37) % 101 end table.sort(t) print(table.concat(t, ","))
--# exact table.sort
local t = {} for i = 1, 20 do t[i] = {key = i % 3, at = i} end table.sort(t, function(a, b) if a.key ~= b.key then return a.key < b.key end return a.at < b.at end)
for i = 1, 20 do io.write(t[i].key, ":", t[i].at, " ") end print() print(pcall(table.sort, {1, 2, 3}, function() error("cmp", 0) end))
--# exact table.unpack
print(table.unpack({1, 2, 3})) print(table.unpack({1, 2, 3}, 2)) print(table.unpack({}, 1, 2)) print(table.unpack({1, 2, 3}, -1, 1)) print(select("#", table.unpack({}, 1, 0))) print((pcall(table.unpack)))
--# exact table.unpack @ compat 5.1 5.3 5.4 5.5
print(table.unpack(setmetatable({}, {__index = function(_, i) return i * 2 end}), 1, 3)) print(table.unpack("abc", 1, 2)) print((pcall(table.unpack, {}, 1, 1e8)))
