-- A program of old: its context 0 had `clock`, in seconds, and `load`. It knows no other names.
local status, seconds = os.request(0, "clock")
print("clock", status, seconds > 1e9 and seconds < 1e11)
local text
status, text = os.request(0, "load", "translator.client")
print("load", status, text:sub(1, 19))
print("time.now", os.request(0, "time.now"))
