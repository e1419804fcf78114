--# exact package.config
io.write(package.config:sub(1, 9))
--# near package.cpath, package.path @ all
print(package.cpath == "", type(package.path))
--= true	string
--# exact package.loaded
print(package.loaded._G == _G, package.loaded.string == string, package.loaded.table == table, package.loaded.math == math, package.loaded.coroutine == coroutine, package.loaded.package == package, package.loaded.os == os, package.loaded.debug == debug, package.loaded.io == io)
package.loaded.mine = 42 print((require("mine"))) package.loaded.mine = nil print(package.loaded.nosuch)
--# exact package.preload
package.preload.lib = function(...) print((...)) return {value = 1} end local a = require("lib") local b = require("lib") print(a == b, a.value, package.loaded.lib == a)
package.preload.void = function() end print((require("void")), package.loaded.void) package.preload.sets = function(name) package.loaded[name] = "set" end print((require("sets")))
package.preload.fails = function() error("inside", 0) end print((pcall(require, "fails"))) print((pcall(require))) print((pcall(require, "not.there")))
--# near package.loaders @ 5.1 5.2 luajit
print(#package.loaders, type(package.loaders[1]))
--= 2	function
--# near package.searchers @ all
print(#package.searchers)
--= 2
--# exact own searchers @ all
local list = package.searchers or package.loaders table.insert(list, 1, function(name) if name == "made.up" then return function(n) return "made " .. n end end return "\n\tnot made up" end) print((require("made.up"))) print((select(2, pcall(require, "other")):match("not made up")))
--# near package.loadlib @ all
print(package.loadlib("libc.so.6", "*"))
--= nil	dynamic libraries not enabled; check your Lua installation	absent
--# exact io and package.loaded
print(package.loaded.io == io)
--# near package.searchpath @ all
print((package.searchpath("passwd", "/etc/?")))
--= nil
--# exact searching for what is not there ~ package.searchpath
print(package.searchpath("a.b", "./?.lua;./?/init.lua")) print(package.searchpath("a-b", "?.x", "-", "+")) print(package.searchpath("x", "")) print(package.searchpath("a.b", "/nosuch/?", ""))
--# near require @ all
package.preload.one = function() return require("two") end package.preload.two = function() return require("one") end print(pcall(require, "one"))
--= false	libraries require each other in a circle: 'one' -> 'two' -> 'one'
--# near require @ all
print(pcall(require, "nosuch"))
--= false	module 'nosuch' not found:
--= 	no field package.preload['nosuch']
--= 	no library 'nosuch' in the store (there is no request here)
