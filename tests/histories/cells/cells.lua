-- Lists and registers, `cells/N`, whose every answer tells what it saw. A list is kept in one of two
-- ways, so that both kinds of reads are put to the test: whole under one key (`whole/...`), or an item
-- a key, found by walking through a range (`items/...`).
local cells = {}

local function is_whole(key)
  return string.sub(key, 1, 6) == "whole/"
end

function cells.read(self, key)
  if is_whole(key) then return self.state[key] or lithox.list {} end
  local found = lithox.list {}
  for _, value in self:scan(key .. "/") do found[#found + 1] = value end
  return found
end

function cells.append(self, key, value)
  if is_whole(key) then
    local list = self.state[key] or lithox.list {}
    list[#list + 1] = value
    self.state[key] = list
  else
    self.state[string.format("%s/%06d", key, #cells.read(self, key) + 1)] = value
  end
end

-- A register: the version is made from the one found.
function cells.write(self, key, value)
  local found = self.state[key]
  local version = (found and found.version or 0) + 1
  self.state[key] = { version = version, value = value }
  return version
end

function cells.look(self, key)
  return self.state[key] or { version = 0 }
end

-- A plain register: a write that reads nothing.
function cells.put(self, key, value)
  self.state[key] = value
end

function cells.get(self, key)
  return self.state[key]
end

-- Several steps as one transaction, each of them an entity of its own.
function cells.group(self, steps)
  local answers = lithox.list {}
  for i, step in ipairs(steps) do
    local answer = self:call(step.entity, step.act, step.key, step.value)
    answers[i] = answer == nil and lithox.null or answer
  end
  return answers
end

-- One step as a request of its own, whose effect stays whatever becomes of this run.
function cells.relay(self, entity, act, key, value)
  return self:request(entity, act, key, value)
end

-- One append as a message: it takes effect later, and once.
function cells.mail(self, entity, key, value)
  return self:send(entity, "append", key, value)
end

return cells
