-- A rate limiter, `limit/NAME`: a bucket of at most `capacity` tokens, filled by `per_second`.
local limiter = {}

local CAPACITY_MAX <const> = 1000000
local PER_SECOND_MAX <const> = 1000000

-- Tokens are counted in thousandths. A rate per second is then one per millisecond, and everything
-- is a whole number: nothing is lost by rounding, however often somebody asks.
local UNITS <const> = 1000

local function refuse(code, message)
  error({ code = code, message = message })
end

local function check_integer(name, value, max)
  if math.type(value) ~= "integer" or value < 1 or value > max then
    refuse("bad_argument", name .. " is a whole number from 1 to " .. max)
  end
end

local function bucket_of(self)
  return self.state.bucket or refuse("not_configured", self.id .. " is not configured")
end

-- What is in the bucket now. A clock that was set back takes nothing away.
local function level_of(self, bucket)
  local passed_ms = math.max(self:now() - bucket.filled_ms, 0)
  return math.min(bucket.level + passed_ms * bucket.per_second, bucket.capacity * UNITS)
end

-- A new bucket is full; one that is there keeps what is in it, as far as that has room.
function limiter.configure(self, capacity, per_second)
  check_integer("capacity", capacity, CAPACITY_MAX)
  check_integer("per_second", per_second, PER_SECOND_MAX)
  local full, old = capacity * UNITS, self.state.bucket
  self.state.bucket = {
    capacity = capacity,
    per_second = per_second,
    level = old and math.min(level_of(self, old), full) or full,
    filled_ms = self:now(),
  }
end

-- Takes `cost` tokens if they are there. "No" is an answer: it says when to come back.
function limiter.take(self, cost)
  local bucket = bucket_of(self)
  cost = cost or 1
  check_integer("cost", cost, bucket.capacity)
  local level = level_of(self, bucket)
  local missing = math.max(cost * UNITS - level, 0)
  if missing == 0 then
    level = level - cost * UNITS
    bucket.level, bucket.filled_ms = level, math.max(self:now(), bucket.filled_ms)
  end
  return {
    allowed = missing == 0,
    remaining = level // UNITS,
    retry_after_ms = (missing + bucket.per_second - 1) // bucket.per_second,
  }
end

function limiter.status(self)
  local bucket = bucket_of(self)
  return {
    capacity = bucket.capacity,
    per_second = bucket.per_second,
    remaining = level_of(self, bucket) // UNITS,
  }
end

return limiter
