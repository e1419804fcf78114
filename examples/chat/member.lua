-- One member: enters, says hello, and leaves after it has heard itself.
local name = ...
os.listen(0, "said")
os.request(0, "enter", name)
os.push(0, "say", "hello from " .. name)
repeat
  local event = os.pull()
until event.type == "message" and event.args[1] == name
