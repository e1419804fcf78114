--# exact bit.band, bit.bor, bit.bxor, bit.bnot
print(bit.band(0xff, 0x0f), bit.bor(1, 2, 4), bit.bxor(0xff, 0x0f), bit.bnot(0), bit.bnot(-1), bit.band(-1, 0xffff), bit.bor(0x80000000, 1), bit.bxor(-1, 1))
print(bit.band(5), bit.bor(-1), bit.band(1, 3, 5, 7), bit.bxor(1, 2, 4, 8)) print(bit.band(0xffffffff, 0xffffffff), bit.bor(0x7fffffff, 0)) print(bit.band("255", "15"))
print((pcall(bit.band))) print((pcall(bit.bor, {}))) print((pcall(bit.bnot, "x")))
--# exact bit.lshift, bit.rshift, bit.arshift, bit.rol, bit.ror
print(bit.lshift(1, 0), bit.lshift(1, 31), bit.lshift(1, 32), bit.lshift(1, 33), bit.lshift(-1, 4)) print(bit.rshift(256, 8), bit.rshift(-256, 8), bit.rshift(-1, 31), bit.rshift(1, 32))
print(bit.arshift(256, 8), bit.arshift(-256, 8), bit.arshift(-1, 31), bit.arshift(-2147483648, 31)) print(bit.rol(0x12345678, 12), bit.ror(0x12345678, 12), bit.rol(1, 32), bit.ror(1, 1), bit.rol(-1, 7))
print(bit.lshift(1, -1), bit.rshift(-1, -1), bit.rol(0x12345678, 0))
--# exact bit.tobit, bit.tohex, bit.bswap
print(bit.tobit(0xffffffff), bit.tobit(0x80000000), bit.tobit(2^32 + 5), bit.tobit(-1), bit.tobit(0.5), bit.tobit(1.5), bit.tobit(2.5), bit.tobit(-0.5), bit.tobit(-1.5), bit.tobit(1e10))
print(bit.tohex(1), bit.tohex(-1), bit.tohex(255, 4), bit.tohex(255, -4), bit.tohex(0x12345678, 2), bit.tohex(1, 0), bit.tohex(-1, -20), bit.tohex(10, 1)) print(bit.bswap(0x12345678), bit.bswap(0x78563412), bit.bswap(255), bit.bswap(-1))
--# exact bit32.band, bit32.bor, bit32.bxor, bit32.bnot, bit32.btest
print(("%.0f "):rep(6):format(bit32.band(0xff, 0x0f), bit32.band(), bit32.bor(), bit32.bxor(), bit32.bor(1, 2, 4), bit32.bxor(5, 3))) print(("%.0f %.0f %.0f"):format(bit32.bnot(0), bit32.bnot(1), bit32.bnot(-1)))
print(("%.0f %.0f"):format(bit32.band(-1), bit32.bor(-1, 0))) print(bit32.btest(1, 2), bit32.btest(3, 2), bit32.btest()) print(("%.0f"):format(bit32.band(2^32 + 5))) print((pcall(bit32.band, {}))) print((pcall(bit32.bnot)))
print(bit32.band("255", "15"), bit32.band(2^31 - 1, 12) == 12)
--# exact bit32.lshift, bit32.rshift, bit32.arshift, bit32.lrotate, bit32.rrotate
local function show(x) print(("%.0f"):format(x)) end
show(bit32.lshift(1, 0)) show(bit32.lshift(1, 31)) show(bit32.lshift(1, 32)) show(bit32.lshift(1, -1)) show(bit32.lshift(0xff, 28)) show(bit32.lshift(256, -8)) show(bit32.lshift(1, 100)) show(bit32.lshift(1, -100))
show(bit32.rshift(256, 8)) show(bit32.rshift(-1, 31)) show(bit32.rshift(1, -4)) show(bit32.rshift(1, 40)) show(bit32.arshift(-256, 8)) show(bit32.arshift(256, 8)) show(bit32.arshift(-1, 40)) show(bit32.arshift(1, -4)) show(bit32.arshift(0x80000000, 31)) show(bit32.arshift(0x80000000, 0))
show(bit32.lrotate(0x12345678, 12)) show(bit32.lrotate(1, -1)) show(bit32.lrotate(1, 33)) show(bit32.rrotate(0x12345678, 12)) show(bit32.rrotate(1, 1)) show(bit32.rrotate(1, -33)) show(bit32.lrotate(5, 0))
--# exact bit32.extract, bit32.replace
local function show(x) print(("%.0f"):format(x)) end
show(bit32.extract(0x12345678, 0)) show(bit32.extract(0x12345678, 3)) show(bit32.extract(0x12345678, 4, 8)) show(bit32.extract(-1, 0, 32)) show(bit32.extract(0x80000000, 31))
show(bit32.replace(0, 1, 5)) show(bit32.replace(0xffffffff, 0, 8, 8)) show(bit32.replace(0, 0x1ff, 4, 8)) show(bit32.replace(0, -1, 0, 32)) show(bit32.replace(0x12345678, 0xab, 24, 8))
print((pcall(bit32.extract, 1, 32))) print((pcall(bit32.extract, 1, -1))) print((pcall(bit32.extract, 1, 0, 33))) print((pcall(bit32.extract, 1, 0, 0))) print((pcall(bit32.replace, 1, 1, 31, 2)))
print(pcall(function() return bit32.extract(1, 30, 5) + 1 end))
--# exact require of bit32 ~ bit32.band
local b = require("bit32") print(b.band(6, 3), ("%.0f"):format(b.bnot(0)), b.btest(1, 1))
--# exact require of bit ~ bit.band
local b = require("bit") print(b.band(6, 3), b.bnot(0), b.tohex(255))
