-- A document that keeps all its revisions, `document/NAME`. Each is a key of its own, so a save
-- writes one revision however many there are.
local document = {}

-- Keys are ordered as text, so numbers in them have a fixed width.
local function key_of(revision)
  return string.format("revision/%08d", revision)
end

-- Saves `text` as the revision after `base`. Who has not seen the newest one is told so, and
-- nobody's work is overwritten. (Two saves at the same moment are no problem of ours: runs end as
-- if they had come one after the other.)
function document.save(self, text, base)
  local newest = self.state.newest or 0
  if base ~= newest then
    error({
      code = "stale",
      message = "based on revision " .. tostring(base) .. ", the newest is " .. newest,
    })
  end
  self.state.newest = newest + 1
  self.state[key_of(newest + 1)] = { text = text, author = self.caller, saved_ms = self:now() }
  return newest + 1
end

function document.read(self, revision)
  local found = self.state[key_of(revision or self.state.newest or 0)]
  if found == nil then error({ code = "no_such_revision", message = "no such revision" }) end
  return found.text
end

-- Returns who saved what, oldest first.
function document.history(self)
  local lines = lithox.list {}
  for key, revision in self:scan("revision/") do
    lines[#lines + 1] = {
      revision = math.tointeger(tonumber(string.sub(key, 10))),
      author = revision.author,
      size = #revision.text,
    }
  end
  return lines
end

return document
