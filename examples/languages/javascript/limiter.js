// A rate limiter, `limit/NAME`: a bucket of at most `capacity` tokens, filled by `perSecond`.

const CAPACITY_MAX = 1_000_000;
const PER_SECOND_MAX = 1_000_000;

// Tokens are counted in thousandths. A rate per second is then one per millisecond, and everything
// is a whole number: nothing is lost by rounding, however often somebody asks.
const UNITS = 1000;

function refuse(code, message) {
  throw new LithoxError(code, message);
}

function checkInteger(name, value, max) {
  if (!Number.isInteger(value) || value < 1 || value > max) {
    refuse("bad_argument", `${name} is a whole number from 1 to ${max}`);
  }
}

function bucketOf(self) {
  return self.state.bucket ?? refuse("not_configured", `${self.id} is not configured`);
}

// What is in the bucket now. A clock that was set back takes nothing away.
function levelOf(self, bucket) {
  const passedMs = Math.max(self.now() - bucket.filled_ms, 0);
  return Math.min(bucket.level + passedMs * bucket.per_second, bucket.capacity * UNITS);
}

// A new bucket is full; one that is there keeps what is in it, as far as that has room.
export function configure(self, capacity, perSecond) {
  checkInteger("capacity", capacity, CAPACITY_MAX);
  checkInteger("per_second", perSecond, PER_SECOND_MAX);
  const full = capacity * UNITS;
  const old = self.state.bucket;
  self.state.bucket = {
    capacity,
    per_second: perSecond,
    level: old ? Math.min(levelOf(self, old), full) : full,
    filled_ms: self.now(),
  };
}

// Takes `cost` tokens if they are there. "No" is an answer: it says when to come back.
export function take(self, cost) {
  const bucket = bucketOf(self);
  cost ??= 1;
  checkInteger("cost", cost, bucket.capacity);
  let level = levelOf(self, bucket);
  const missing = Math.max(cost * UNITS - level, 0);
  if (missing === 0) {
    level -= cost * UNITS;
    bucket.level = level;
    bucket.filled_ms = Math.max(self.now(), bucket.filled_ms);
  }
  return {
    allowed: missing === 0,
    remaining: Math.floor(level / UNITS),
    retry_after_ms: Math.ceil(missing / bucket.per_second),
  };
}

export function status(self) {
  const bucket = bucketOf(self);
  const { capacity, per_second } = bucket;
  return { capacity, per_second, remaining: Math.floor(levelOf(self, bucket) / UNITS) };
}
