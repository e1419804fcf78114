local heap = require("binaryheap")
local h = heap.minHeap() local seed = 7 for i = 1, 100 do seed = (seed * 37 + 11) % 101 h:insert(seed) end local out = {} while h:size() > 0 do out[#out + 1] = h:pop() end print(table.concat(out, " "))
local u = heap.maxUnique() u:insert(1, "low") u:insert(10, "high") u:insert(5, "mid") print(u:peek()) u:update("low", 20) print(u:pop()) print(u:remove("high")) print(u:size(), u:valueByPayload("mid")) print((pcall(u.insert, u, 3, "mid")))
local by = heap.minHeap(function(a, b) return #a < #b end) for _, w in ipairs{"three", "a", "to", "longest"} do by:insert(w) end print(by:pop(), by:pop(), by:pop())
