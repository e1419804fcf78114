/* A counter: the smallest handlers worth having (docs/how-to/handlers-in-c.md). */
#include <lithox.h>

LX_HANDLER(increment) {
  lx_value count = lx_int(lx_get_int(LX("count"), 0) + lx_arg_int(0, 1));
  lx_put(LX("count"), count);
  return count;
}

LX_HANDLER(get) {
  return lx_int(lx_get_int(LX("count"), 0));
}
