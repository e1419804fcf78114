-- A document with revisions, `document/NAME`. Each revision is a key of its own, so a save writes
-- one of them however many there are; the oldest make room for new ones.
local document = {}

local TEXT_CHARACTERS_MAX <const> = 10000
local REVISIONS_MAX <const> = 50
local PAGE_MAX <const> = 20
local PREFIX <const> = "revision/"

-- An error's further fields go to the caller with it.
local function refuse(code, message, fields)
  local err = fields or {}
  err.code, err.message = code, message
  error(err)
end

-- Keys are ordered as text, so numbers in them have a fixed width.
local function key_of(revision)
  return string.format("%s%08d", PREFIX, revision)
end

local function check_text(text)
  local length = type(text) == "string" and utf8.len(text)
  if not length then refuse("bad_argument", "text is text") end
  if length > TEXT_CHARACTERS_MAX then
    refuse("too_long", "text has at most " .. TEXT_CHARACTERS_MAX .. " characters")
  end
end

local function check_number(name, value)
  if math.type(value) ~= "integer" or value < 0 then
    refuse("bad_argument", name .. " is a whole number from 0")
  end
end

local function find(self, revision)
  check_number("revision", revision)
  local found = self.state[key_of(revision)]
  if not found then refuse("no_such_revision", self.id .. " has no revision " .. revision) end
  return found
end

-- Who has not seen the newest revision is told so, and nobody's work is overwritten.
local function save(self, text, base_revision, restored_from)
  check_number("base_revision", base_revision)
  local newest = self.state.newest or 0
  if base_revision ~= newest then
    local message = self.id .. " is at revision " .. newest .. ", not " .. base_revision
    refuse("conflict", message, { newest = newest })
  end
  local revision = newest + 1
  self.state.newest = revision
  self.state[key_of(revision)] = {
    text = text,
    author = self.caller,
    saved_ms = self:now(),
    restored_from = restored_from,
  }
  if revision > REVISIONS_MAX then self.state[key_of(revision - REVISIONS_MAX)] = nil end
  return revision
end

function document.put(self, text, base_revision)
  check_text(text)
  return save(self, text, base_revision)
end

function document.get(self, revision)
  revision = revision or self.state.newest or 0
  local found = find(self, revision)
  return {
    revision = revision,
    text = found.text,
    author = found.author,
    saved_ms = found.saved_ms,
  }
end

-- Makes an old revision the newest one; what came between stays.
function document.restore(self, revision, base_revision)
  return save(self, find(self, revision).text, base_revision, revision)
end

-- A page of revisions behind number `after`, oldest first, without their texts.
function document.history(self, after)
  after = after or 0
  check_number("after", after)
  local page = lithox.list {}
  for key, found in self:scan(PREFIX, key_of(after)) do
    if #page == PAGE_MAX then return { revisions = page, more = true } end
    page[#page + 1] = {
      revision = math.tointeger(key:sub(#PREFIX + 1)),
      author = found.author,
      saved_ms = found.saved_ms,
      restored_from = found.restored_from,
    }
  end
  return { revisions = page, more = false }
end

return document
