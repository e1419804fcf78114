/* What there is of one item, `stock/ITEM`; orders reserve and release it in their transactions. */
#include "parts.h"

#define COUNT_MAX 1000000

static int64_t there(void) {
  return lx_get_int(LX("available"), 0);
}

static lx_value put_available(int64_t available) {
  lx_put(LX("available"), lx_int(available));
  return lx_int(available);
}

/* Gives the first argument; leaves an error when it is no count. */
static int64_t arg_count(void) {
  if (!is_whole(lx_arg(0), 1, COUNT_MAX)) {
    REFUSE("bad_argument", JOIN(LX("count is a whole number from 1 to "), number(COUNT_MAX)));
  }
  return lx_as_int(lx_arg(0), 0);
}

LX_HANDLER(available) { return lx_int(there()); }

LX_HANDLER(receive) {
  int64_t count = arg_count();
  return put_available(there() + count);
}

LX_HANDLER(release) {
  int64_t count = arg_count();
  return put_available(there() + count);
}

LX_HANDLER(reserve) {
  int64_t count = arg_count(), available = there();
  if (count > available) {
    return REFUSE("sold_out", JOIN(LX("of "), lx_self.id, LX(" there are "), number(available)));
  }
  return put_available(available - count);
}
