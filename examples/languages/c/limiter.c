/* A rate limiter, `limit/NAME`: a bucket of at most `capacity` tokens, filled by `per_second`. */
#include "parts.h"

#define CAPACITY_MAX 1000000
#define PER_SECOND_MAX 1000000

/* Tokens are counted in thousandths. A rate per second is then one per millisecond, and everything
** is a whole number: nothing is lost by rounding, however often somebody asks. */
#define UNITS 1000

typedef struct bucket {
  int64_t capacity, per_second, level, filled_ms;
} bucket;

static bool find_bucket(bucket *found) {
  lx_value stored = lx_get(LX("bucket"));
  found->capacity = int_field(stored, LX("capacity"));
  found->per_second = int_field(stored, LX("per_second"));
  found->level = int_field(stored, LX("level"));
  found->filled_ms = int_field(stored, LX("filled_ms"));
  return !lx_is_null(stored);
}

static void put_bucket(const bucket *changed) {
  lx_value stored = lx_map();
  lx_set(&stored, LX("capacity"), lx_int(changed->capacity));
  lx_set(&stored, LX("per_second"), lx_int(changed->per_second));
  lx_set(&stored, LX("level"), lx_int(changed->level));
  lx_set(&stored, LX("filled_ms"), lx_int(changed->filled_ms));
  lx_put(LX("bucket"), stored);
}

static lx_value refuse_number(lx_str name, int64_t largest) {
  return REFUSE("bad_argument", JOIN(name, LX(" is a whole number from 1 to "), number(largest)));
}

static lx_value refuse_unconfigured(void) {
  return REFUSE("not_configured", JOIN(lx_self.id, LX(" is not configured")));
}

static int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}

/* What is in the bucket now. A clock that was set back takes nothing away. */
static int64_t level_of(const bucket *b) {
  int64_t passed_ms = larger(lx_self.now_ms - b->filled_ms, 0);
  return smaller(b->level + passed_ms * b->per_second, b->capacity * UNITS);
}

/* A new bucket is full; one that is there keeps what is in it, as far as that has room. */
LX_HANDLER(configure) {
  lx_value capacity = lx_arg(0), per_second = lx_arg(1);
  bucket b;
  if (!is_whole(capacity, 1, CAPACITY_MAX)) return refuse_number(LX("capacity"), CAPACITY_MAX);
  if (!is_whole(per_second, 1, PER_SECOND_MAX)) {
    return refuse_number(LX("per_second"), PER_SECOND_MAX);
  }
  int64_t full = capacity.integer * UNITS;
  int64_t level = find_bucket(&b) ? smaller(level_of(&b), full) : full;
  put_bucket(&(bucket){capacity.integer, per_second.integer, level, lx_self.now_ms});
  return lx_null();
}

/* Takes `cost` tokens if they are there. "No" is an answer: it says when to come back. */
LX_HANDLER(take) {
  lx_value cost = lx_is_null(lx_arg(0)) ? lx_int(1) : lx_arg(0), answer = lx_map();
  bucket b;
  if (!find_bucket(&b)) return refuse_unconfigured();
  if (!is_whole(cost, 1, b.capacity)) return refuse_number(LX("cost"), b.capacity);
  int64_t level = level_of(&b);
  int64_t missing = larger(cost.integer * UNITS - level, 0);
  if (missing == 0) {
    b.level = level -= cost.integer * UNITS;
    b.filled_ms = larger(lx_self.now_ms, b.filled_ms);
    put_bucket(&b);
  }
  lx_set(&answer, LX("allowed"), lx_bool(missing == 0));
  lx_set(&answer, LX("remaining"), lx_int(level / UNITS));
  lx_set(&answer, LX("retry_after_ms"), lx_int((missing + b.per_second - 1) / b.per_second));
  return answer;
}

LX_HANDLER(status) {
  lx_value answer = lx_map();
  bucket b;
  if (!find_bucket(&b)) return refuse_unconfigured();
  lx_set(&answer, LX("capacity"), lx_int(b.capacity));
  lx_set(&answer, LX("per_second"), lx_int(b.per_second));
  lx_set(&answer, LX("remaining"), lx_int(level_of(&b) / UNITS));
  return answer;
}
