local json = require("dkjson")
local value, at, problem = json.decode('{"name": "\\u00e4bc", "list": [1, 2, 3, null, true], "deep": {"x": {"y": "z"}}, "empty": [], "n": -15}')
print(value.name, #value.list, value.list[5], value.deep.x.y, value.n, problem)
print(json.encode({1, 2, {a = "b"}, "text \n \" \\ /", true}, {indent = false}))
print(json.encode({b = 2, a = 1, c = {3}}, {indent = true, keyorder = {"a", "b", "c"}}))
print(json.decode('{"a": '))
print(json.decode("[1, 2"), json.null ~= nil, json.encode(json.null))
print(pcall(json.encode, {f = print}))
for _, text in ipairs{'"a"', "12", "true", "null", "[[[]]]", "{}"} do print(json.encode((json.decode(text)))) end
