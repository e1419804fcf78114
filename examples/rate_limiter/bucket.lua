-- A token bucket, `limit/NAME`: at most `capacity` at once, and `per_second` in the long run.
local bucket = {}

function bucket.configure(self, capacity, per_second)
  self.state.capacity = capacity
  self.state.per_second = per_second
  self.state.tokens = capacity
  self.state.filled_ms = self:now()
end

-- Takes `count` tokens if they are there. Saying no is an answer here, not an error: an error would
-- undo the refill.
function bucket.take(self, count)
  count = count or 1
  local capacity = self.state.capacity
  if capacity == nil then error({ code = "not_configured", message = "call configure first" }) end

  -- `now` is the start of the run in milliseconds. It does not move while the run lasts, and a
  -- clock that was set back must not take tokens away.
  local now_ms = math.max(self:now(), self.state.filled_ms)
  local new = (now_ms - self.state.filled_ms) / 1000 * self.state.per_second
  local tokens = math.min(capacity, self.state.tokens + new)
  local is_allowed = tokens >= count
  if is_allowed then tokens = tokens - count end
  self.state.tokens = tokens
  self.state.filled_ms = now_ms

  local wait_ms = 0
  if not is_allowed then
    wait_ms = math.ceil((count - tokens) / self.state.per_second * 1000)
  end
  return { allowed = is_allowed, left = math.floor(tokens), retry_after_ms = wait_ms }
end

return bucket
