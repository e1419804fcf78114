--# exact string.byte, string.char
print(("abc"):byte(), ("abc"):byte(2), ("abc"):byte(-1), ("abc"):byte(1, -1)) print(("abc"):byte(10)) print(("abc"):byte(0))
print(string.char(), string.char(72, 105), #string.char(0, 255)) print((pcall(string.char, 256))) print((pcall(string.char, -1)))
print(("a\0b"):byte(1, 3)) print(pcall(string.byte)) print(string.byte("x", 1.0))
--# near string.dump @ all
local text = string.dump(function() end) print(#text < 40, text:sub(1, 1) == "\27", ((loadstring or load)(text)))
--= true	true	nil
--# exact header of string.dump @ compat 5.1 5.2 5.3 5.4 5.5
local text = string.dump(function() end) print(text:byte(1, 5))
--# exact string.dump of what cannot be dumped
print(pcall(string.dump, string.rep)) print((pcall(string.dump))) print((pcall(string.dump, 1)))
--# exact string.find of all kinds
print(("hello world"):find("wor")) print(("hello"):find("l+")) print(("hello"):find("(l)(l)")) print(("hello"):find("xyz"))
print(("a.b"):find(".", 1, true)) print(("a.b"):find("%.")) print(("hello"):find("")) print(("hello"):find("", 6))
print(("hello"):find("l", -2)) print(("hello"):find("h", -100)) print(("a\0b"):find("\0", 1, true)) print(("abc"):find("b", nil, true))
print(pcall(string.find, "a", "[a")) print(pcall(string.find, "a", "%")) print(pcall(string.find, "a", "(a"))
print(pcall(string.find, "a", "a)")) print((pcall(string.find, "a", "%1"))) print(pcall(string.find))
--# exact string.match of all kinds
print(("THE (quick) fox"):find("%((%a+)%)")) print(("key = value"):match("^(%w+)%s*=%s*(%w+)$")) print(("  x  "):match("^%s*(.-)%s*$"))
print(("f(a(b)c)d"):match("%b()")) print(("[[x]]"):match("%[%[(.*)%]%]")) print(("2024-01-02"):match("(%d+)-(%d+)-(%d+)"))
print(("abc"):match("()b()")) print(("abc123"):match("%a+%d+")) print(("x-y"):match("[%w-]+")) print(("]"):match("[]]"))
print(("^"):match("[%^]")) print(("a^"):match("[a^]+")) print(("THE END"):match("%f[%a]%a+%f[%A]")) print(("äö"):match("[\195][\164]") ~= nil)
print(("abab"):match("(ab)%1")) print(("x=1, y=2"):match("(%w)=(%w), (%w)=(%w)")) print(("aaa"):match("a-")) print(("aaab"):match("a-b"))
print(("abc"):match(".", -1)) print(("0x1F"):match("^0[xX](%x+)$")) print(("a b"):match("%S+")) print(("tab\t"):match("%c") == "\t")
--# exact string.find of classes
for _, class in ipairs{"%a", "%d", "%l", "%s", "%u", "%w", "%x", "%p", "%c", "%A", "%g"} do
  local n = 0 for i = 1, 255 do if string.char(i):find(class) then n = n + 1 end end print(class, n)
end
--# exact string.find of zero bytes
print(("a\0b\0c"):find("b%z")) print(("a\0b"):find("%z")) print((("a\0b"):gsub("%z", "0")))
--# exact string.format of all kinds
print(string.format("%d %5d %-5d| %05d %+d", 42, 42, 42, 42, 42)) print(string.format("%s %10s %-10s| %.2s", "abc", "abc", "abc", "abc"))
print(string.format("%f %.2f %10.3f %e %.3e %g %G", 3.14159, 3.14159, 3.14159, 31415.9, 31415.9, 0.0001, 1e20))
print(string.format("%x %X %#x %o %c%c", 255, 255, 255, 8, 72, 105)) print(string.format("%%")) print(string.format("%i", 7))
print(string.format("%q", 'a "quoted"\n\\ \0 \r text')) print(string.format("%s", true and "x")) print(string.format("%5.1f|%-8.3g|", 2.25, 1/3))
print(string.format("%s %s", 1, 2.5)) print(string.format("%d", "10")) print(string.format("%5s%%", 50))
--# exact string.format
print(pcall(string.format, "%d", "x")) print(pcall(string.format, "%d")) print(pcall(string.format, "%y", 1)) print(pcall(string.format, "%"))
print(pcall(string.format, "%0100d", 1)) print(pcall(string.format)) print(pcall(string.format, "%s"))
--# exact string.format of fractions
print(pcall(string.format, "%d", 3.7)) print(pcall(string.format, "%d", -3.7)) print(pcall(string.format, "%d", 2^31)) print(pcall(string.format, "%d", "3.0"))
print(pcall(string.format, "%d", -1)) print(pcall(string.format, "%i", -2^31))
--# exact string.format of negative numbers @ 5.1 5.3 5.4 5.5 compat luajit
print(pcall(string.format, "%x", -1)) print(pcall(string.format, "%X", -255)) print(pcall(string.format, "%20x|", -16))
--# exact string.format
print(pcall(string.format, "%s", nil)) print(pcall(string.format, "%s", true)) print((pcall(string.format, "%s", {})))
print(pcall(string.format, "%s", setmetatable({}, {__tostring = function() return "obj" end})))
--# exact string.format of widths
print(string.format("%.14g %.17g %.3g %g", 0.1, 0.1, 123456, 1e15)) print(string.format("%g %g %g", 1/0, -1/0, 100)) print(string.format("%.0f %.0f", 0.5, 1.5))
print(string.format("%5.2s|", "abcdef")) print(string.format("% d", 5)) print(string.format("%.3d", 5)) print(string.format("%.20s", ("x"):rep(30)))
print(#string.format("%99d", 1), #string.format("%.99f", 1))
--# exact string.format of %a @ compat 5.2 5.3 5.4 5.5 luajit
print(string.format("%a", 1)) print(string.format("%A", 0.5))
--# exact string.gfind @ compat 5.1
for w in string.gfind("one two", "%a+") do print(w) end
--# exact string.gmatch
for w in ("one two three"):gmatch("%a+") do print(w) end for k, v in ("a=1, b=2"):gmatch("(%w+)=(%w+)") do print(k, v) end
for p in ("abc"):gmatch("()") do io.write(p, " ") end print() for s in ("a,b,,c"):gmatch("([^,]*)") do io.write("[", s, "]") end print()
for w in ("x"):gmatch("y") do print("never") end print(pcall(string.gmatch, "x"))
--# exact string.gsub of all kinds
print(("hello"):gsub("l", "L")) print(("hello"):gsub("l", "L", 1)) print(("hello"):gsub("", "-")) print(("hello world"):gsub("(%w+)", "<%1>"))
print(("abc"):gsub("%w", "%0%0")) print(("abc"):gsub("%w", {a = "1", b = true and "2"})) print(("abc"):gsub("%w", function(c) if c == "b" then return "[b]" end end))
print(("$name is $age"):gsub("%$(%w+)", {name = "Bob", age = 42})) print(("abc"):gsub("b", "%%")) print(("x"):gsub("x", "%1"))
print(pcall(string.gsub, "x", "x", "%2")) print(pcall(string.gsub, "x", "x", {x = {}} )) print(pcall(string.gsub, "x", "x")) print(("abc"):gsub("^a", "x"))
print(("aaa"):gsub("^a", "x")) print(("abc"):gsub("$", "!")) print(("a b c"):gsub(" ", "_", 0)) print(("abc"):gsub(".", {a = false}))
--# exact string.gsub
print((select(2, pcall(string.gsub, "x", "x", "%y")))) print((pcall(string.gsub, "x", "x", "%"))) print(pcall(string.gsub, "x", "x", true))
print(("hello world from lua"):gsub("(%w+) (%w+)", "%2 %1")) print(("äöü"):gsub("[\128-\255]", "?")) print(("abc"):gsub("()", "%1"))
--# exact string.find, string.match
print(("hello"):find("", 10)) print(("abc"):match("", 5)) print(("abc"):find("b", 100)) print(("abc"):match("%a+", 2))
--# exact string.char @ 5.1 5.2 5.3 5.4 5.5 compat
print(pcall(string.char, 256)) print(pcall(string.char, -1)) print(string.char(72))
--# near string.find, string.match @ luajit
print(("hello"):find("", 10)) print(("abc"):match("", 5))
--= nil
--= nil
--# near string.gsub @ luajit
print((pcall(string.gsub, "x", "x", "%y")))
--= false
--# near string.format @ luajit
print((select(2, pcall(string.format, "%0100d", 1)))) print(string.format("%.1a", 1.55))
--= invalid format (width or precision too long)
--= ADDRESS.8cccccccccccdp+0
--# exact string.len, string.lower, string.upper, string.reverse
print(("abc"):len(), (""):len(), ("a\0b"):len(), string.len(123)) print(("AbC1"):lower(), ("AbC1"):upper(), ("abc"):reverse(), (""):reverse())
print(("\196"):lower() == "\196", ("\228"):upper() == "\228") print((pcall(string.len))) print((pcall(string.lower, {}))) print(string.upper(12), string.reverse(123))
--# exact string.match of captures
print(("key=val"):match("(%w+)=(%w+)")) print(("none"):match("%d")) print(("abc"):match("b", 3)) print(("abc"):match("a(.)c")) print(("  "):match("^%s*$") ~= nil)
print(string.match("hello", "(h)(e)(l)(l)(o)")) print(pcall(string.match, "x", ("(x)"):rep(33))) print(("x"):match("((x))"))
--# exact string.rep
print(("ab"):rep(3), ("ab"):rep(0), ("ab"):rep(-1), #("x"):rep(1000)) print(pcall(string.rep)) print(pcall(string.rep, "x")) print((""):rep(1000) == "")
print(("ab"):rep(3, ","), ("ab"):rep(1, ","), ("ab"):rep(0, ","))
--# exact string.sub
print(("hello"):sub(2, 4), ("hello"):sub(-3), ("hello"):sub(2), ("hello"):sub(0), ("hello"):sub(10), ("hello"):sub(-100, 2), ("hello"):sub(3, 2), ("hello"):sub(-3, -2))
print(pcall(string.sub)) print(pcall(string.sub, "x")) print(("hello"):sub(2.0, 3)) print(("hello"):sub("2", "3"))
--# exact string.sub
print(pcall(string.sub, "hello", 1.5)) print(pcall(string.rep, "x", 1.7)) print(pcall(string.byte, "abc", 1.2)) print(pcall(string.char, 65.5))
--# exact string.packsize
print(string.packsize("i4"), string.packsize("!8 b i8"), string.packsize("<i2 >i4"), string.packsize("b h i4 i8 d f"), string.packsize("!4 b i8"))
print(string.packsize("c10"), string.packsize("bxb"), string.packsize("!8 bXi8"), string.packsize(""), string.packsize("jJnd"), string.packsize("lLT"), string.packsize("!i"))
print(pcall(string.packsize, "s")) print(pcall(string.packsize, "z")) print(pcall(string.packsize, "i17")) print(pcall(string.packsize, "q")) print(pcall(string.packsize, "c"))
--# exact string.pack of doubles ~ string.pack
local function hex(s) return (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
print(hex(string.pack("<i4", 1)), hex(string.pack(">i4", 1)), hex(string.pack("<i2", -2)), hex(string.pack("b", -1)), hex(string.pack("B", 255)))
print(hex(string.pack("<I3", 0x010203)), hex(string.pack(">I3", 0x010203)), hex(string.pack("<i8", -5)), hex(string.pack("<i16", -5)), hex(string.pack(">i9", 7)))
print(hex(string.pack("z", "ab")), hex(string.pack("<s2", "ab")), hex(string.pack("s1", "ab")), hex(string.pack("c4", "ab")), hex(string.pack("<s", "ab")))
print(hex(string.pack("<!4 b i4", 1, 2)), hex(string.pack("<!8 b d", 1, 0.5)), hex(string.pack("<bxh", 1, 2)), hex(string.pack("<!4 bXi4 b", 1, 2)))
print(hex(string.pack("<l", 1)), hex(string.pack("<L", 2)), hex(string.pack("<T", 3)), hex(string.pack("<j", 4)), hex(string.pack("<H", 65535)))
--# exact string.pack of doubles ~ string.pack
local function hex(s) return (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
for _, x in ipairs{0, 1, -1, 0.5, 0.1, 1/3, 1e300, -1e-300, 5e-324, 2.2250738585072014e-308, 1/0, -1/0, 123456.789} do
  print(hex(string.pack("<d", x)), hex(string.pack(">n", x)))
end
for _, x in ipairs{0, 1, -1, 0.5, 0.1, 1/3, 1e38, -1e-38, 1e-45, 3.4028234e38, 1/0, 16777217, 1.5e-44} do print(hex(string.pack("<f", x))) end
--# exact string.pack of doubles ~ string.pack
local function show(...) local t = {...} for i = 1, select("#", ...) do t[i] = type(t[i]) == "number" and ("%.17g"):format(t[i]) or tostring(t[i]) end print(table.concat(t, " ")) end
show(string.unpack("<i4", "\1\0\0\0")) show(string.unpack(">i2", "\255\254")) show(string.unpack("<I2", "\255\255")) show(string.unpack("z", "ab\0c"))
show(string.unpack("<s2", "\2\0abc")) show(string.unpack("c3", "abcd")) show(string.unpack("bBb", "\255\255\127")) show(string.unpack("<i3", "\255\255\255"))
show(string.unpack("<d", "\0\0\0\0\0\0\224\63")) show(string.unpack(">d", "\191\240\0\0\0\0\0\0")) show(string.unpack("<f", "\0\0\0\63")) show(string.unpack("<d", "\0\0\0\0\0\0\240\127"))
show(string.unpack("<d", "\1\0\0\0\0\0\0\0")) show(string.unpack("<i4", "xx\1\0\0\0", 3)) show(string.unpack("<i2i2", "\1\0\2\0")) show(string.unpack("<!4 b i4", "\1\0\0\0\2\0\0\0"))
show(string.unpack("<i8", "\255\255\255\255\255\255\255\255")) show(string.unpack("<i16", ("\255"):rep(16))) show(string.unpack("b", "abc", -1)) show(string.unpack("", "abc"))
--# exact string.pack of doubles ~ string.pack
local function fail(...) print((select(2, pcall(...)))) end
fail(string.unpack, "i4", "abc") fail(string.unpack, "z", "abc") fail(string.unpack, "s1", "\5ab") fail(string.pack, "i1", 200) fail(string.pack, "I1", 256)
fail(string.pack, "z", "a\0b") fail(string.pack, "c1", "ab") fail(string.pack, "s1", ("x"):rep(300)) fail(string.pack, "i17", 1) fail(string.pack, "!3 i4", 1)
fail(string.pack, "Xz") fail(string.pack, "X") fail(string.pack, "r", 1) fail(string.pack, "i0", 1) fail(string.unpack, "b", "a", 9) fail(string.pack, "i4", 1.5)
--# exact string.pack of doubles ~ string.pack
local function f() local text = string.pack("i1", 300) return text end
print(pcall(f)) print(pcall(function() local s = string.unpack("i4", "x") return s end))
--# near string.pack, string.unpack @ 5.1 5.2 luajit
local text = string.pack("<i8", 9007199254740993) print(text:byte(1, 8))
print(string.format("%.0f", (string.unpack("<i8", "\1\0\0\0\0\0\32\0"))))
--= 0	0	0	0	0	0	32	0
--= 9007199254740992
--# exact string.pack, string.unpack @ compat 5.3 5.4 5.5
print(string.unpack("<i8", string.pack("<i8", math.mininteger))) print(string.unpack("<j", string.pack("<j", math.maxinteger))) print(string.unpack("<I8", ("\255"):rep(8)))
print(pcall(string.unpack, "<i16", ("\127"):rep(16))) print(string.unpack("s", string.pack("s", "hello")))
--# exact method calls on strings
print(("x"):rep(3), #"abc", ("%d"):format(5)) local s = "text" print(s:upper(), s.len, s.nothing == nil) print(pcall(function() return s.x.y end))
print(pcall(function() return ("x"):nomethod() end)) string.double = function(s) return s .. s end print(("ab"):double()) string.double = nil
