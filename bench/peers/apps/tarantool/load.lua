-- Tarantool's own client as a check of our generator: fibres that share one connection of net.box.
-- Arguments: port, fibres, seconds. Prints calls a second.
local net_box, fiber, clock = require('net.box'), require('fiber'), require('clock')
local port, fibres, seconds = arg[1], tonumber(arg[2]), tonumber(arg[3])
local connection = net_box.connect('127.0.0.1:' .. port)
local answered, stop = 0, clock.monotonic() + seconds

for _ = 1, fibres do
  fiber.create(function()
    while clock.monotonic() < stop do
      connection:call('increment', {'e' .. math.random(0, 255)})
      if clock.monotonic() < stop then answered = answered + 1 end
    end
  end)
end
fiber.sleep(seconds + 0.1)
print(answered / seconds)
os.exit(0)
