/* What bench/languages.py measures, in C. */
#include <lithox.h>

LX_HANDLER(echo) { return lx_arg(0); }

LX_HANDLER(increment) {
  lx_value count = lx_int(lx_get_int(LX("count"), 0) + lx_arg_int(0, 1));
  lx_put(LX("count"), count);
  return count;
}

LX_HANDLER(ask) {
  for (int64_t n = lx_arg_int(0, 0); n > 0; n--) lx_usage();
  return lx_null();
}

LX_HANDLER(spin) {
  int64_t t = 0, count = lx_arg_int(0, 0);
  for (int64_t i = 1; i <= count; i++) t = (t * 31 + i) % 1000003;
  return lx_int(t);
}

LX_HANDLER(loop) {
  for (volatile int n = 0;; n++) {
  }
}
