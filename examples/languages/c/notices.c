/* What a customer has been told, `notices/NAME`: the newest hundred. A message takes effect once,
** and those of one order come in their order, so nothing here looks for doubles. */
#include "parts.h"

#define NOTICES_MAX 100

static lx_str key_of(int64_t number) {
  return lx_concat(LX("notice/"), padded(number));
}

LX_HANDLER(notify) {
  int64_t number = lx_get_int(LX("newest"), 0) + 1;
  lx_value notice = lx_map();
  lx_set(&notice, LX("order"), lx_arg(0));
  lx_set(&notice, LX("status"), lx_arg(1));
  lx_set(&notice, LX("at_ms"), lx_int(lx_self.now_ms));
  lx_put(LX("newest"), lx_int(number));
  lx_put(key_of(number), notice);
  if (number > NOTICES_MAX) lx_delete(key_of(number - NOTICES_MAX));
  return lx_null();
}

LX_HANDLER(read) {
  lx_value lines = lx_list();
  lx_cursor at = lx_scan(LX("notice/"), LX(""));
  while (lx_next(&at)) {
    lx_value line = lx_map();
    lx_set(&line, LX("order"), lx_field(at.value, LX("order")));
    lx_set(&line, LX("status"), lx_field(at.value, LX("status")));
    lx_push(&lines, line);
  }
  return lines;
}
