--[[
init.definitions - what a service may be: its definition checked, and the order of dependencies.

A definition is plain data, as a service of a manifest is kept in the registry: durations in
milliseconds, sizes in bytes. Pure: nothing here calls the node.
]]
local definitions = {}

-- Each has up to three of the 1024 contexts that init may have.
definitions.services_max = 300
local dependencies_max = 64
local patterns_max = 128
local duration_max_ms = 24 * 3600 * 1000
local quota_min, quota_max = 4096, 256 * 1024 * 1024

local DEFAULTS = {
  restart = "on-failure", backoff_min_ms = 100, backoff_max_ms = 30000, burst = 5,
  burst_window_ms = 10000, storage = false, stop_deadline_ms = 5000, ready = "started",
  autostart = true,
}
local CONTEXTS = { "log.*", "time.*", "library.get" }
local CHOICES = {
  restart = { always = true, ["on-failure"] = true, never = true },
  ready = { started = true, notify = true },
  mode = { preemptive = true, cooperative = true },
}
local DURATIONS = { "backoff_min_ms", "backoff_max_ms", "burst_window_ms", "stop_deadline_ms" }
local KNOWN = {
  name = "string", program = "string", runtime = "string", args = "table", restart = "string",
  backoff_min_ms = "number", backoff_max_ms = "number", burst = "number",
  burst_window_ms = "number", requires = "table", after = "table", contexts = "table",
  storage = "boolean", limits = "table", priority = "number", stop_deadline_ms = "number",
  mode = "string", log = "table", ready = "string", autostart = "boolean", quota = "number",
}

--- Says whether `name` may be a service's or a program's: 1-128 of [A-Za-z0-9._-], no dot first.
function definitions.is_name(name)
  return type(name) == "string" and #name <= 128 and name:find("^[%w_-][%w._-]*$") ~= nil
end

local function is_whole(value, low, high)
  return type(value) == "number" and value % 1 == 0 and value >= low and value <= high
end

local function check_types(definition)
  for key, value in pairs(definition) do
    local expected = KNOWN[key]
    if expected == nil then return "unknown key '" .. tostring(key) .. "'" end
    if type(value) ~= expected then return key .. " is a " .. expected end
    if CHOICES[key] and not CHOICES[key][value] then
      return key .. " cannot be '" .. value .. "'"
    end
  end
end

local function check_list(definition, key, count_max, is_item)
  local items = definition[key] or {}
  if #items > count_max then return key .. " has at most " .. count_max end
  for i = 1, #items do
    if not is_item(items[i]) then
      return key .. " has an item that is none: " .. tostring(items[i])
    end
  end
end

local function is_pattern(text)
  return type(text) == "string" and #text >= 1 and #text <= 128
    and text:find("^[%w._-]*%*?$") ~= nil
end

local function check_numbers(found)
  for i = 1, #DURATIONS do
    local key = DURATIONS[i]
    if not is_whole(found[key], 1, duration_max_ms) then
      return key .. " is 1 to " .. duration_max_ms .. " milliseconds"
    end
  end
  if not is_whole(found.burst, 0, 1000) then return "burst is 0 to 1000" end
  if found.backoff_min_ms > found.backoff_max_ms then
    return "backoff_min_ms is more than backoff_max_ms"
  end
  if found.quota ~= nil and not is_whole(found.quota, quota_min, quota_max) then
    return "quota is " .. quota_min .. " to " .. quota_max .. " bytes"
  end
  if found.priority ~= nil and not is_whole(found.priority, 0, 9) then
    return "priority is 0 to 9"
  end
end

local function find_fault(name, found)
  if not definitions.is_name(name) then
    return "a service's name is 1-128 of [A-Za-z0-9._-], not beginning with a dot"
  end
  if found.name ~= nil and found.name ~= name then
    return "it names itself '" .. found.name .. "'"
  end
  if not definitions.is_name(found.program) then return "needs the name of a program" end
  local fault = check_numbers(found)
    or check_list(found, "requires", dependencies_max, definitions.is_name)
    or check_list(found, "after", dependencies_max, definitions.is_name)
    or check_list(found, "contexts", patterns_max, is_pattern)
  if fault then return fault end
  for _, key in ipairs({ "requires", "after" }) do
    for _, other in ipairs(found[key] or {}) do
      if other == name then return "it cannot wait for itself" end
    end
  end
end

--- Checks a definition.
-- @arg name text: the service's name
-- @arg definition table: as the registry keeps it; missing keys get their defaults
-- @return a new table with every default filled in, or nil and what is wrong
function definitions.check(name, definition)
  if type(definition) ~= "table" then return nil, "a definition is a table" end
  local fault = check_types(definition)
  if fault then return nil, fault end
  local found = {}
  for key, value in pairs(DEFAULTS) do found[key] = value end
  for key, value in pairs(definition) do found[key] = value end
  found.requires, found.after = found.requires or {}, found.after or {}
  found.contexts = found.contexts or CONTEXTS
  found.args, found.limits = found.args or {}, found.limits or {}
  fault = find_fault(name, found)
  if fault then return nil, fault end
  return found
end

--- Gives the services that must run before this one: what it requires, and `storage` if it uses it.
function definitions.required(name, definition)
  local names = {}
  for i, other in ipairs(definition.requires) do names[i] = other end
  if definition.storage and name ~= "storage" then names[#names + 1] = "storage" end
  return names
end

local function waits_for(name, definition)
  local names = definitions.required(name, definition)
  for _, other in ipairs(definition.after) do names[#names + 1] = other end
  return names
end

--- Finds services that wait for each other in a ring, beginning from one.
-- @arg all table: name -> definition
-- @arg start text: where to look from
-- @return the names of the ring with the first again at its end, or nil
function definitions.find_cycle(all, start)
  local path, place_of, is_done = {}, {}, {}
  local function visit(name)
    if is_done[name] or all[name] == nil then return nil end
    if place_of[name] then
      local ring = {}
      for i = place_of[name], #path do ring[#ring + 1] = path[i] end
      ring[#ring + 1] = name
      return ring
    end
    path[#path + 1], place_of[name] = name, #path + 1
    for _, other in ipairs(waits_for(name, all[name])) do
      local ring = visit(other)
      if ring then return ring end
    end
    place_of[name], path[#path], is_done[name] = nil, nil, true
  end
  return visit(start)
end

--- Compares two plain values, however deep.
function definitions.is_same(a, b)
  if a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  for key, value in pairs(a) do
    if not definitions.is_same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

return definitions
