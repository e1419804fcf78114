/* What the modules of this folder share: texts put together, numbers checked. */
#ifndef PARTS_H
#define PARTS_H

#include <lithox.h>

/* One text of several: JOIN(lx_self.id, LX(" is closed")). */
#define JOIN(...) \
  join((lx_str[]){__VA_ARGS__}, sizeof((lx_str[]){__VA_ARGS__}) / sizeof(lx_str))

static inline lx_str join(const lx_str *parts, size_t count) {
  lx_str whole = LX("");
  for (size_t i = 0; i < count; i++) whole = lx_concat(whole, parts[i]);
  return whole;
}

static inline lx_str number(int64_t value) {
  return lx_str_of_int(value);
}

/* Keys are ordered as text, so numbers in them have a fixed width of eight digits. */
static inline lx_str padded(int64_t value) {
  lx_str digits = number(value), zeros = LX("00000000");
  if (digits.length < zeros.length) zeros.length -= digits.length;
  else zeros.length = 0;
  return lx_concat(zeros, digits);
}

/* Leaves an error with a code and gives null: `return REFUSE("closed", JOIN(...));`. */
#define REFUSE(code, message) lx_fail_with(LX(code), message, lx_null())

static inline bool is_whole(lx_value value, int64_t smallest, int64_t largest) {
  return value.kind == LX_INT && value.integer >= smallest && value.integer <= largest;
}

static inline int64_t int_field(lx_value map, lx_str key) {
  return lx_as_int(lx_field(map, key), 0);
}

static inline lx_str text_field(lx_value map, lx_str key) {
  return lx_as_text(lx_field(map, key), LX(""));
}

#endif
