-- string.pack, unpack and packsize with the sizes of a 64-bit build: `l`, `L`, `T` and the length
-- of `s` are eight bytes there and four in the guest, so what one machine packed another unpacks.

local finish = COMPAT_INTERNAL.finish
local find, gsub, pcall = string.find, string.gsub, pcall
local pack, packsize, unpack = string.pack, string.packsize, string.unpack
local select, type = select, type

local WIDE = {l = "i8", L = "I8", T = "I8"}

local function widen(format)
  if type(format) ~= "string" or not find(format, "[lLTs]") then return format end
  format = gsub(format, "[lLT]", WIDE)
  -- An `s` with a size of its own keeps it.
  return (gsub(format .. "\0", "s(%D)", "s8%1"):gsub("s(%D)", "s8%1"):sub(1, -2))
end

-- The protected call lets an error be placed where the program called.
function string.pack(format, ...) return finish(pcall(pack, widen(format), ...)) end
function string.packsize(...) return finish(pcall(packsize, widen((...)), select(2, ...))) end
function string.unpack(format, ...) return finish(pcall(unpack, widen(format), ...)) end
