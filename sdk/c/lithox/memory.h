/*
** memory.h - memory and texts. Part of lithox.h; not to be included alone.
**
** Memory comes from an arena that only grows: first a static piece, then pages of the module. What
** was taken last can be made longer in place, which is what growing buffers do.
*/

#define LX__INBOX_BYTES (16u << 10)
#define LX__PAGE_BYTES 65536u

static uint8_t lx__inbox[LX__INBOX_BYTES];
static _Alignas(8) uint8_t lx__first_arena[LX_ARENA_BYTES];

/* The piece memory is taken from now. */
static struct {
  uint8_t *low, *at, *end;
} lx__arena = {lx__first_arena, lx__first_arena, lx__first_arena + LX_ARENA_BYTES};

/* The inbox tells the host why: docs/abi.md. */
LX_API _Noreturn void lx__end_out_of_memory(void) {
  __builtin_memcpy(lx__inbox, "out of memory", 14);
  __builtin_trap();
}

/* Makes room for `bytes` at the arena's end. */
LX_API void lx__need(size_t bytes) {
  size_t pages, before;
  uint8_t *grown;
  if ((size_t)(lx__arena.end - lx__arena.at) >= bytes) return;
  if (bytes > UINT32_MAX - LX__PAGE_BYTES) lx__end_out_of_memory();
  pages = (bytes + LX__PAGE_BYTES - 1) / LX__PAGE_BYTES;
  before = __builtin_wasm_memory_grow(0, pages);
  if (before == SIZE_MAX) lx__end_out_of_memory();
  grown = (uint8_t *)(before * LX__PAGE_BYTES);
  if (grown != lx__arena.end) lx__arena.low = lx__arena.at = grown;
  lx__arena.end = grown + pages * LX__PAGE_BYTES;
}

LX_API void *lx_alloc(size_t bytes) {
  uint8_t *taken;
  if (bytes > UINT32_MAX - 8) lx__end_out_of_memory();
  bytes = (bytes + 7) & ~(size_t)7;
  lx__need(bytes);
  taken = lx__arena.at;
  lx__arena.at += bytes;
  return taken;
}

/* Returns `bytes` of room with what `old` had in its first `used`; in place where it can. */
LX_API void *lx__regrow(void *old, size_t used, size_t had, size_t bytes) {
  void *grown;
  had = (had + 7) & ~(size_t)7;
  if (old != NULL && (uint8_t *)old + had == lx__arena.at && bytes >= had &&
      bytes - had <= (size_t)(lx__arena.end - lx__arena.at)) {
    lx_alloc(bytes - had);
    return old;
  }
  grown = lx_alloc(bytes);
  if (used > 0) __builtin_memcpy(grown, old, used);
  return grown;
}

LX_API lx_str lx__copy(lx_str text) {
  char *to = lx_alloc(text.length);
  if (text.length > 0) __builtin_memcpy(to, text.at, text.length);
  return (lx_str){to, text.length};
}

/* Gives back what was taken since the arena stood at `before`, unless somebody may need it: an
** error that was left since, or what begins before a growth that has moved the arena. */
LX_API void lx__give_back(uint8_t *before);

/* ---- texts ---- */

LX_API lx_str lx_str_of(const char *ended) {
  uint32_t length = 0;
  if (ended == NULL) return LX("");
  while (ended[length] != '\0') length++;
  return (lx_str){ended, length};
}

LX_API int lx_str_compare(lx_str a, lx_str b) {
  uint32_t shorter = a.length < b.length ? a.length : b.length;
  for (uint32_t i = 0; i < shorter; i++)
    if (a.at[i] != b.at[i]) return (uint8_t)a.at[i] < (uint8_t)b.at[i] ? -1 : 1;
  return (a.length > b.length) - (a.length < b.length);
}

LX_API bool lx_str_equal(lx_str a, lx_str b) {
  return a.length == b.length && lx_str_compare(a, b) == 0;
}

LX_API lx_str lx_concat(lx_str a, lx_str b) {
  char *both = lx_alloc((size_t)a.length + b.length);
  if (a.length > 0) __builtin_memcpy(both, a.at, a.length);
  if (b.length > 0) __builtin_memcpy(both + a.length, b.at, b.length);
  return (lx_str){both, a.length + b.length};
}

LX_API lx_str lx_str_of_int(int64_t value) {
  char digits[20];
  uint32_t count = 0;
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  do {
    digits[sizeof digits - ++count] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest > 0);
  if (value < 0) digits[sizeof digits - ++count] = '-';
  return lx__copy((lx_str){digits + sizeof digits - count, count});
}

/* Is it valid UTF-8, without surrogates? */
LX_API bool lx__is_utf8(lx_str text) {
  const uint8_t *at = (const uint8_t *)text.at, *end = at + text.length;
  while (at < end) {
    uint32_t first = *at++, more, point, least;
    if (first < 0x80) continue;
    if (first >= 0xf0 && first < 0xf5) more = 3, point = first & 7, least = 0x10000;
    else if (first >= 0xe0) more = 2, point = first & 15, least = 0x800;
    else if (first >= 0xc2) more = 1, point = first & 31, least = 0x80;
    else return false;
    if (first >= 0xf5 || (uint32_t)(end - at) < more) return false;
    for (; more > 0; more--, at++) {
      if ((*at & 0xc0) != 0x80) return false;
      point = point << 6 | (*at & 0x3f);
    }
    if (point < least || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
  }
  return true;
}
