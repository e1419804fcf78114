local inifile = require("inifile")
local data = inifile.parse("; comment\n[section]\nname = value\nnumber=12\nflag = true\n\n[other]\npath = /a/b c\n", "memory") print(data.section.name, data.section.number, data.section.flag, data.other.path) data.section.added = "new" local text = inifile.save("-", data, "memory") print((text:gsub("\r", "")))
