--# exact utf8.char
print(utf8.char(72, 228, 8364, 128512)) print(utf8.char()) print(#utf8.char(0), #utf8.char(127, 128, 2047, 2048, 65535, 65536))
print(pcall(utf8.char, -1)) print(pcall(utf8.char, "x")) print(utf8.char("65"))
--# exact utf8.char @ compat 5.1 5.2 5.4 5.5 luajit
print(utf8.char(0x7FFFFFFF):byte(1, -1)) print(utf8.char(0x200000):byte(1, -1)) print(utf8.char(0x4000000):byte(1, -1)) print(pcall(utf8.char, 0x80000000))
--# exact utf8.codepoint
print(utf8.codepoint("häß", 1, -1)) print(utf8.codepoint("abc")) print(utf8.codepoint("abc", 2)) print(utf8.codepoint("€", 1)) print(utf8.codepoint("abc", -1))
print(pcall(utf8.codepoint, "€", 2)) print(pcall(utf8.codepoint, "abc", 4)) print(pcall(utf8.codepoint, "\255")) print(pcall(utf8.codepoint, "\192\128")) print(pcall(utf8.codepoint, "\237\160\128"))
print(pcall(utf8.codepoint, "\244\144\128\128")) print(utf8.codepoint("abc", 3, 2))
--# exact utf8.codes
for p, c in utf8.codes("aä€😀") do print(p, c) end for _ in utf8.codes("") do print("never") end
print(pcall(function() for p, c in utf8.codes("a\255b") do io.write(p, " ") end end)) print(pcall(function() for p, c in utf8.codes("ab\228") do io.write(p, " ") end end))
--# exact utf8.codes @ compat 5.1 5.2 5.4 5.5 luajit
print(pcall(function() for p, c in utf8.codes("\128x") do io.write(p, " ") end end)) print(pcall(function() for p, c in utf8.codes("ä\128x") do io.write(p, " ") end end))
--# exact utf8.len
print(utf8.len("häß€"), utf8.len(""), utf8.len("abc", 2), utf8.len("abc", 4), utf8.len("äö", 3), utf8.len("abc", -2)) print(utf8.len("a\255")) print(utf8.len("ä", 2))
print(pcall(utf8.len, "abc", 5)) print(pcall(utf8.len, "abc", 1, 4)) print(utf8.len("\237\160\128")) print(utf8.len("\244\144\128\128")) print(utf8.len("\192\128")) print(utf8.len("\226\130"))
--# exact utf8.len @ compat 5.1 5.2 5.4 5.5 luajit
print(utf8.len("\237\160\128", 1, -1, true)) print(utf8.len("\244\144\128\128", 1, -1, true)) print(utf8.codepoint("\253\191\191\191\191\191", 1, 1, true)) print(utf8.len("\254", 1, -1, true))
--# exact utf8.offset
print(utf8.offset("aä€b", 1)) print((utf8.offset("aä€b", 2))) print((utf8.offset("aä€b", 3))) print((utf8.offset("aä€b", 4))) print((utf8.offset("aä€b", 5))) print((utf8.offset("aä€b", 6)))
print((utf8.offset("aä€b", -1))) print((utf8.offset("aä€b", -2))) print((utf8.offset("aä€b", -5))) print((utf8.offset("aä€b", 0, 5))) print((utf8.offset("aä€b", 1, 2))) print((utf8.offset("aä", 0)))
print(pcall(utf8.offset, "aä", 1, 3)) print(pcall(utf8.offset, "abc", 1, 5)) print(pcall(utf8.offset, "abc"))
--# exact utf8.charpattern @ compat 5.2 5.3 5.4 5.5 luajit
for c in ("aä€\0😀"):gmatch(utf8.charpattern) do io.write(#c, " ") end print() print(utf8.charpattern:byte(1, -1))
--# near utf8.charpattern @ 5.1
for c in ("aä€\0😀"):gmatch(utf8.charpattern) do io.write(#c, " ") end print() print(utf8.charpattern:byte(1, -1))
--= 1 2 3 1 4 
--= 91	37	122	1	45	127	194	45	253	93	91	128	45	191	93	42
