/*
** message.c - MessagePack both ways, without what values mean.
**
** Writing is canonical: shortest integers and lengths, float64. What is read comes from the host,
** which checked it; the reader still never reads past its end, and takes no message it cannot.
*/
#include "lx.h"

static uint8_t first_bytes[4096];

LxBuffer lx_message = {first_bytes, 0, sizeof first_bytes, 0};

/* ---- writing ---- */

/* Makes room for `more` bytes, half as much again each time, so that n bytes cost O(n); returns
** where they go. */
uint8_t *lx_reserve_bytes(LxBuffer *b, size_t more) {
  size_t cap = b->cap;
  uint8_t *bytes;
  if (cap - b->len >= more) return b->bytes + b->len;
  while (cap - b->len < more) {
    if (cap > SIZE_MAX / 4) lx_end_out_of_memory();
    cap += cap / 2;
  }
  bytes = lx_need(realloc(b->is_heap ? b->bytes : NULL, cap));
  if (!b->is_heap) memcpy(bytes, b->bytes, b->len);
  b->bytes = bytes;
  b->cap = cap;
  b->is_heap = 1;
  return bytes + b->len;
}

void lx_put_raw(LxBuffer *b, const void *bytes, size_t len) {
  memcpy(lx_reserve_bytes(b, len), bytes, len);
  b->len += len;
}

static void put_byte(LxBuffer *b, uint8_t byte) {
  if (b->len == b->cap) lx_reserve_bytes(b, 1);
  b->bytes[b->len++] = byte;
}

/* Writes a type byte and the low `n` bytes of `number`, big end first. */
static void put_head(LxBuffer *b, uint8_t type, uint64_t number, int n) {
  uint8_t *to = lx_reserve_bytes(b, (size_t)n + 1);
  *to++ = type;
  for (int shift = (n - 1) * 8; shift >= 0; shift -= 8) *to++ = (uint8_t)(number >> shift);
  b->len += (size_t)n + 1;
}

void lx_put_nil(LxBuffer *b) {
  put_byte(b, 0xc0);
}

void lx_put_bool(LxBuffer *b, int value) {
  put_byte(b, value ? 0xc3 : 0xc2);
}

void lx_put_integer(LxBuffer *b, int64_t value) {
  uint64_t u = (uint64_t)value;
  if (value >= 0) {
    if (u < 0x80) put_byte(b, (uint8_t)u);
    else if (u <= 0xff) put_head(b, 0xcc, u, 1);
    else if (u <= 0xffff) put_head(b, 0xcd, u, 2);
    else if (u <= 0xffffffff) put_head(b, 0xce, u, 4);
    else put_head(b, 0xcf, u, 8);
  }
  else if (value >= -32) put_byte(b, (uint8_t)u);
  else if (value >= INT8_MIN) put_head(b, 0xd0, u, 1);
  else if (value >= INT16_MIN) put_head(b, 0xd1, u, 2);
  else if (value >= INT32_MIN) put_head(b, 0xd2, u, 4);
  else put_head(b, 0xd3, u, 8);
}

void lx_put_float(LxBuffer *b, double value) {
  uint64_t bits;
  memcpy(&bits, &value, 8);
  put_head(b, 0xcb, bits, 8);
}

/* Writes the head of a container: `few` + count below 16, else 16 or 32 bits. */
static void put_container(LxBuffer *b, uint8_t few, uint8_t many, size_t count) {
  if (count < 16) put_byte(b, (uint8_t)(few | count));
  else if (count <= 0xffff) put_head(b, many, count, 2);
  else put_head(b, (uint8_t)(many + 1), count, 4);
}

void lx_put_array(LxBuffer *b, size_t count) {
  put_container(b, 0x90, 0xdc, count);
}

void lx_put_map(LxBuffer *b, size_t count) {
  put_container(b, 0x80, 0xde, count);
}

/* Begins a text of `len` bytes of UTF-8, which the caller puts. */
void lx_put_text_head(LxBuffer *b, size_t len) {
  if (len < 32) put_byte(b, (uint8_t)(0xa0 | len));
  else if (len <= 0xff) put_head(b, 0xd9, len, 1);
  else if (len <= 0xffff) put_head(b, 0xda, len, 2);
  else put_head(b, 0xdb, len, 4);
}

/* Writes valid UTF-8. */
void lx_put_text(LxBuffer *b, const char *text, size_t len) {
  lx_put_text_head(b, len);
  lx_put_raw(b, text, len);
}

void lx_put_bytes(LxBuffer *b, const void *bytes, size_t len) {
  if (len <= 0xff) put_head(b, 0xc4, len, 1);
  else if (len <= 0xffff) put_head(b, 0xc5, len, 2);
  else put_head(b, 0xc6, len, 4);
  lx_put_raw(b, bytes, len);
}

/* Writes valid UTF-8 for people, cut between characters (with an ellipsis) to `bytes_max`. */
void lx_put_cut(LxBuffer *b, const char *text, size_t len, size_t bytes_max) {
  if (len <= bytes_max) {
    lx_put_text(b, text, len);
    return;
  }
  len = bytes_max;
  while (len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80) len--;
  lx_put_text_head(b, len + 3);
  lx_put_raw(b, text, len);
  lx_put_raw(b, "\xe2\x80\xa6", 3);
}

/* Opens a map whose count is not known yet; `lx_close_map` fills it in. */
size_t lx_open_map(LxBuffer *b) {
  put_head(b, 0xdf, 0, 4);
  return b->len;
}

void lx_close_map(LxBuffer *b, size_t mark, uint32_t count) {
  for (int i = 0; i < 4; i++) b->bytes[mark - 1 - (size_t)i] = (uint8_t)(count >> (8 * i));
}

/* ---- reading ---- */

/* The host never sends such a message; a guest that cannot read one cannot go on. */
_Noreturn void lx_malformed(void) {
  __builtin_trap();
}

uint64_t lx_get_number(LxReader *r, int n) {
  uint64_t number = 0;
  if (r->end - r->at < n) lx_malformed();
  for (int i = 0; i < n; i++) number = number << 8 | *r->at++;
  return number;
}

const uint8_t *lx_get_bytes(LxReader *r, size_t len) {
  const uint8_t *bytes = r->at;
  if ((size_t)(r->end - r->at) < len) lx_malformed();
  r->at += len;
  return bytes;
}

/* Returns what `type` begins, if it is something with a count, and the count. */
int lx_take_head(LxReader *r, uint8_t type, size_t *count) {
  if ((type & 0xe0) == 0xa0) {
    *count = type & 0x1f;
    return LX_TEXT;
  }
  if ((type & 0xf0) == 0x90 || (type & 0xf0) == 0x80) {
    *count = type & 0x0f;
    return (type & 0xf0) == 0x90 ? LX_LIST : LX_MAP;
  }
  if (type >= 0xd9 && type <= 0xdb) {
    *count = (size_t)lx_get_number(r, 1 << (type - 0xd9));
    return LX_TEXT;
  }
  if (type >= 0xc4 && type <= 0xc6) {
    *count = (size_t)lx_get_number(r, 1 << (type - 0xc4));
    return LX_BYTES;
  }
  if (type >= 0xdc && type <= 0xdf) {
    *count = (size_t)lx_get_number(r, (type & 1) ? 4 : 2);
    return type >= 0xde ? LX_MAP : LX_LIST;
  }
  return LX_NOTHING;
}

/* Returns 1 and the integer if `type` begins one, else 0. */
int lx_take_integer(LxReader *r, uint8_t type, int64_t *value) {
  if (type < 0x80 || type >= 0xe0) *value = (int8_t)type;
  else switch (type) {
    case 0xcc: *value = (int64_t)lx_get_number(r, 1); break;
    case 0xcd: *value = (int64_t)lx_get_number(r, 2); break;
    case 0xce: *value = (int64_t)lx_get_number(r, 4); break;
    case 0xcf: *value = (int64_t)lx_get_number(r, 8); break;
    case 0xd0: *value = (int8_t)lx_get_number(r, 1); break;
    case 0xd1: *value = (int16_t)lx_get_number(r, 2); break;
    case 0xd2: *value = (int32_t)lx_get_number(r, 4); break;
    case 0xd3: *value = (int64_t)lx_get_number(r, 8); break;
    default: return 0;
  }
  return 1;
}

int64_t lx_get_integer(LxReader *r) {
  int64_t value;
  if (!lx_take_integer(r, (uint8_t)lx_get_number(r, 1), &value)) lx_malformed();
  return value;
}

int lx_get_bool(LxReader *r) {
  return r->at < r->end && *r->at++ == 0xc3;
}

/* Takes a nil if one is next. */
int lx_get_nil(LxReader *r) {
  if (r->at == r->end || *r->at != 0xc0) return 0;
  r->at++;
  return 1;
}

static size_t get_count(LxReader *r, int kind, int or_kind) {
  size_t count;
  int found = lx_take_head(r, (uint8_t)lx_get_number(r, 1), &count);
  if (found != kind && found != or_kind) lx_malformed();
  return count;
}

/* Takes text, or bytes. */
const char *lx_get_text(LxReader *r, size_t *len) {
  *len = get_count(r, LX_TEXT, LX_BYTES);
  return (const char *)lx_get_bytes(r, *len);
}

uint32_t lx_get_array(LxReader *r) {
  return (uint32_t)get_count(r, LX_LIST, LX_LIST);
}

uint32_t lx_get_map(LxReader *r) {
  return (uint32_t)get_count(r, LX_MAP, LX_MAP);
}

/* Steps over one value and returns where it began. */
const uint8_t *lx_skip(LxReader *r) {
  const uint8_t *start = r->at;
  uint64_t left = 1;
  while (left-- > 0) {
    uint8_t type = (uint8_t)lx_get_number(r, 1);
    size_t count;
    int64_t ignored;
    int kind;
    if (type == 0xc0 || type == 0xc2 || type == 0xc3) continue;
    if (type == 0xc7) lx_get_bytes(r, (size_t)lx_get_number(r, 1) + 1); /* an extension */
    else if (type == 0xcb) lx_get_bytes(r, 8);
    else if ((kind = lx_take_head(r, type, &count)) == LX_LIST) left += count;
    else if (kind == LX_MAP) left += 2 * (uint64_t)count;
    else if (kind != LX_NOTHING) lx_get_bytes(r, count);
    else if (!lx_take_integer(r, type, &ignored)) lx_malformed();
  }
  return start;
}
