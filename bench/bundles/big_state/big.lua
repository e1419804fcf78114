-- What a handler does with an entity of any size: one key, or a page of many.
local big = {}

function big.get(self, key)
  return self.state[key]
end

function big.page(self, after, count)
  local seen = 0
  for _ in self:scan("k", after) do
    seen = seen + 1
    if seen == count then break end
  end
  return seen
end

return big
