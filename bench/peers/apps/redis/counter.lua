#!lua name=counter
-- The work of the side-by-side run as functions of Redis; KEYS[1] is the entity, a hash.
redis.register_function('increment', function(keys)
  return redis.call('HINCRBY', keys[1], 'count', 1)
end)
redis.register_function{function_name = 'look', flags = {'no-writes'}, callback = function(keys)
  return tonumber(redis.call('HGET', keys[1], 'count') or 0)
end}
redis.register_function('give', function(keys)
  redis.call('HINCRBY', keys[1], 'count', -1)
  return redis.call('HINCRBY', keys[2], 'count', 1)
end)
redis.register_function('fill', function(keys)
  for field = 1, 100 do
    redis.call('HSET', keys[1], 'field' .. field, string.rep('x', 92))
  end
  return redis.call('HINCRBY', keys[1], 'count', 1)
end)
redis.register_function('spoil', function(keys)
  redis.call('HSET', keys[1], 'count', 999)
  error('spoiled on purpose')
end)
redis.register_function{function_name = 'loop', flags = {'no-writes'}, callback = function()
  while true do end
end}
redis.register_function{function_name = 'eat', flags = {'no-writes'}, callback = function()
  local eaten = {}
  while true do
    eaten[#eaten + 1] = string.rep('x', 100000) .. #eaten
  end
end}
