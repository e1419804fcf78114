/*
** value.c - values as MessagePack, both ways.
**
** Writing is canonical: shortest integers and lengths, float64, map keys sorted by bytes, so two
** equal values have equal bytes and "has it changed" is a comparison. The writer runs no Lua code
** (no metamethods, no allocation of Lua objects but keys), so nothing changes under its hands.
** What is read comes from the host, which checked it; bounds are checked here all the same.
*/
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lx.h"

/* ---- UTF-8 ---- */

/* Returns the length of the valid UTF-8 sequence at `s`, or 0; surrogates and overlong forms are
** not valid, as in Python. */
static size_t sequence_length(const uint8_t *s, const uint8_t *end) {
  size_t left = (size_t)(end - s);
  if (s[0] < 0x80) return 1;
  if (s[0] < 0xc2) return 0;
  if (left < 2 || (s[1] & 0xc0) != 0x80) return 0;
  if (s[0] < 0xe0) return 2;
  if (left < 3 || (s[2] & 0xc0) != 0x80) return 0;
  if (s[0] < 0xf0) {
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0)) return 0;
    return 3;
  }
  if (left < 4 || s[0] > 0xf4 || (s[3] & 0xc0) != 0x80) return 0;
  if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90)) return 0;
  return 4;
}

int lx_is_utf8(const char *text, size_t len) {
  const uint8_t *s = (const uint8_t *)text, *end = s + len;
  while (s < end) {
    while (end - s >= 8) { /* eight bytes of ASCII at once */
      uint64_t word;
      memcpy(&word, s, 8);
      if (word & 0x8080808080808080u) break;
      s += 8;
    }
    while (s < end && *s < 0x80) s++;
    if (s == end) break;
    size_t n = sequence_length(s, end);
    if (n == 0) return 0;
    s += n;
  }
  return 1;
}

/* ---- writing ---- */

static void put_byte(lua_State *L, LxBuffer *b, uint8_t byte) {
  if (b->len == b->cap) lx_buffer_reserve(L, b, 1);
  b->bytes[b->len++] = byte;
}

/* Writes a type byte and the low `n` bytes of `number`, big end first. */
static void put_head(lua_State *L, LxBuffer *b, uint8_t type, uint64_t number, int n) {
  uint8_t *to;
  lx_buffer_reserve(L, b, (size_t)n + 1);
  to = b->bytes + b->len;
  *to++ = type;
  for (int shift = (n - 1) * 8; shift >= 0; shift -= 8) *to++ = (uint8_t)(number >> shift);
  b->len += (size_t)n + 1;
}

void lx_put_nil(lua_State *L, LxBuffer *b) {
  put_byte(L, b, 0xc0);
}

void lx_put_bool(lua_State *L, LxBuffer *b, int value) {
  put_byte(L, b, value ? 0xc3 : 0xc2);
}

void lx_put_integer(lua_State *L, LxBuffer *b, int64_t value) {
  uint64_t u = (uint64_t)value;
  if (value >= 0) {
    if (u < 0x80) put_byte(L, b, (uint8_t)u);
    else if (u <= 0xff) put_head(L, b, 0xcc, u, 1);
    else if (u <= 0xffff) put_head(L, b, 0xcd, u, 2);
    else if (u <= 0xffffffff) put_head(L, b, 0xce, u, 4);
    else put_head(L, b, 0xcf, u, 8);
  }
  else if (value >= -32) put_byte(L, b, (uint8_t)u);
  else if (value >= INT8_MIN) put_head(L, b, 0xd0, u, 1);
  else if (value >= INT16_MIN) put_head(L, b, 0xd1, u, 2);
  else if (value >= INT32_MIN) put_head(L, b, 0xd2, u, 4);
  else put_head(L, b, 0xd3, u, 8);
}

static void put_float(lua_State *L, LxBuffer *b, double value) {
  uint64_t bits;
  memcpy(&bits, &value, 8);
  put_head(L, b, 0xcb, bits, 8);
}

/* Writes the head of a container: `few` + count below 16, else 16 or 32 bits. */
static void put_container(lua_State *L, LxBuffer *b, uint8_t few, uint8_t many, size_t count) {
  if (count < 16) put_byte(L, b, (uint8_t)(few | count));
  else if (count <= 0xffff) put_head(L, b, many, count, 2);
  else put_head(L, b, (uint8_t)(many + 1), count, 4);
}

void lx_put_array(lua_State *L, LxBuffer *b, size_t count) {
  put_container(L, b, 0x90, 0xdc, count);
}

static void put_str(lua_State *L, LxBuffer *b, const char *text, size_t len) {
  if (len < 32) put_byte(L, b, (uint8_t)(0xa0 | len));
  else if (len <= 0xff) put_head(L, b, 0xd9, len, 1);
  else if (len <= 0xffff) put_head(L, b, 0xda, len, 2);
  else put_head(L, b, 0xdb, len, 4);
  lx_buffer_put(L, b, text, len);
}

/* Writes bytes, whatever they spell. */
void lx_put_bytes(lua_State *L, LxBuffer *b, const char *bytes, size_t len) {
  if (len <= 0xff) put_head(L, b, 0xc4, len, 1);
  else if (len <= 0xffff) put_head(L, b, 0xc5, len, 2);
  else put_head(L, b, 0xc6, len, 4);
  lx_buffer_put(L, b, bytes, len);
}

/* Writes a Lua string: text when it is valid UTF-8, else bytes. */
void lx_put_string(lua_State *L, LxBuffer *b, const char *text, size_t len) {
  if (lx_is_utf8(text, len)) put_str(L, b, text, len);
  else lx_put_bytes(L, b, text, len);
}

/* Writes text for people: always text, what is not valid UTF-8 replaced by U+FFFD, and cut (with
** an ellipsis) so that no more than `bytes_max` of the original are looked at. */
void lx_put_text(lua_State *L, LxBuffer *b, const char *text, size_t len, size_t bytes_max) {
  const uint8_t *s = (const uint8_t *)text, *end;
  int is_cut = len > bytes_max;
  size_t mark, written;
  if (!is_cut && lx_is_utf8(text, len)) {
    put_str(L, b, text, len);
    return;
  }
  if (is_cut) {
    len = bytes_max;
    for (int i = 0; i < 3 && len > 0 && (s[len] & 0xc0) == 0x80; i++) len--;
  }
  end = s + len;
  put_head(L, b, 0xdb, 0, 4);
  mark = b->len;
  while (s < end) {
    size_t n = sequence_length(s, end);
    if (n > 0) lx_buffer_put(L, b, s, n);
    else lx_buffer_put(L, b, "\xef\xbf\xbd", 3);
    s += n > 0 ? n : 1;
  }
  if (is_cut) lx_buffer_put(L, b, "\xe2\x80\xa6", 3);
  written = b->len - mark;
  for (int i = 0; i < 4; i++) b->bytes[mark - 1 - (size_t)i] = (uint8_t)(written >> (8 * i));
}

/* Opens a container whose count is not known yet; `lx_close` fills it in. */
size_t lx_open_map(lua_State *L, LxBuffer *b) {
  put_head(L, b, 0xdf, 0, 4);
  return b->len;
}

size_t lx_open_array(lua_State *L, LxBuffer *b) {
  put_head(L, b, 0xdd, 0, 4);
  return b->len;
}

void lx_close(LxBuffer *b, size_t mark, uint32_t count) {
  for (int i = 0; i < 4; i++) b->bytes[mark - 1 - (size_t)i] = (uint8_t)(count >> (8 * i));
}

/* ---- tables ---- */

typedef struct Key {
  const char *text; /* NULL: the element number of a list */
  size_t len;
} Key;

/* Where the writer is. Static: it is never entered twice, and 1 kB a call is saved. */
static struct {
  LxBuffer *buffer;
  size_t start;
  LxName name;
  int depth;
  const void *tables[LX_DEPTH_MAX]; /* the containers around, to find cycles */
  Key path[LX_DEPTH_MAX];
} writer;

/* Keys of the maps being written, innermost last. */
static struct {
  Key *keys;
  size_t count, cap;
} sorted;

/* Adds ".key" or "[number]" to a path in a message. */
static void add_step(luaL_Buffer *b, Key key) {
  if (key.text != NULL && key.len > 0) {
    size_t len = key.len < 64 ? key.len : 64;
    luaL_addchar(b, '.');
    if (lx_is_utf8(key.text, len)) luaL_addlstring(b, key.text, len);
    else luaL_addchar(b, '?');
  }
  else if (key.len > 0) {
    lua_pushfstring(b->L, "[%d]", (int)key.len);
    luaL_addvalue(b);
  }
}

/* Raises "<what>.<path>: <problem>" about the value that is being written. */
_Noreturn void lx_refuse_value(lua_State *L, const char *problem) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addstring(&b, writer.name.what);
  add_step(&b, (Key){writer.name.key, writer.name.key_len});
  for (int i = 0; i < writer.depth && i < 8; i++)
    add_step(&b, writer.path[i]);
  luaL_addstring(&b, ": ");
  luaL_addstring(&b, problem);
  luaL_pushresult(&b);
  lx_restart_collector();
  luaL_where(L, 1);
  lua_insert(L, -2);
  lua_concat(L, 2);
  lua_error(L);
  abort();
}

static int compare_keys(const void *left, const void *right) {
  const Key *a = left, *b = right;
  int order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);
  if (order != 0) return order;
  return (a->len > b->len) - (a->len < b->len);
}

static void sort_keys(Key *keys, size_t count) {
  if (count > 16) {
    qsort(keys, count, sizeof *keys, compare_keys);
    return;
  }
  for (size_t i = 1; i < count; i++) {
    Key key = keys[i];
    size_t j = i;
    for (; j > 0 && compare_keys(&keys[j - 1], &key) > 0; j--) keys[j] = keys[j - 1];
    keys[j] = key;
  }
}

static void add_key(lua_State *L, const char *text, size_t len) {
  if (sorted.count == sorted.cap) {
    size_t cap = sorted.cap ? sorted.cap * 2 : 64;
    Key *keys = realloc(sorted.keys, cap * sizeof *keys);
    if (keys == NULL) lx_no_memory(L);
    sorted.keys = keys;
    sorted.cap = cap;
  }
  sorted.keys[sorted.count++] = (Key){text, len};
}

static void put_any(lua_State *L, int index);

/* Writes element 1..count of the table at `index`. */
static void put_list(lua_State *L, int index, size_t count) {
  lx_put_array(L, writer.buffer, count);
  for (size_t i = 1; i <= count; i++) {
    lua_rawgeti(L, index, (int)i);
    writer.path[writer.depth - 1] = (Key){NULL, i};
    put_any(L, lua_gettop(L));
    lua_pop(L, 1);
  }
}

/* Writes the map whose keys are the last ones of `sorted`, from `first` on. */
static void put_map(lua_State *L, int index, size_t first) {
  size_t count = sorted.count - first;
  put_container(L, writer.buffer, 0x80, 0xde, count);
  sort_keys(sorted.keys + first, count);
  for (size_t i = first; i < first + count; i++) {
    Key key = sorted.keys[i]; /* a copy: the array may move */
    writer.path[writer.depth - 1] = key;
    if (!lx_is_utf8(key.text, key.len)) lx_refuse_value(L, "keys are valid UTF-8 text");
    put_str(L, writer.buffer, key.text, key.len);
    lua_pushlstring(L, key.text, key.len);
    lua_rawget(L, index);
    put_any(L, lua_gettop(L));
    lua_pop(L, 1);
  }
  sorted.count = first;
}

/* Is the table at `index` marked as a list? */
static int is_marked_list(lua_State *L, int index) {
  int same;
  if (!lua_getmetatable(L, index)) return 0;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_LIST);
  same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

/* Returns the key at `index` if it is the number of a list's element, else 0. */
static int64_t element_number(lua_State *L, int index) {
#if LX_HAS_INTEGERS
  return lua_isinteger(L, index) && lua_tointeger(L, index) > 0 ? lua_tointeger(L, index) : 0;
#else
  double key = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) : 0;
  return key >= 1 && key <= INT32_MAX && key == floor(key) ? (int64_t)key : 0;
#endif
}

static void put_table(lua_State *L, int index) {
  const void *table = lua_topointer(L, index);
  size_t first = sorted.count, elements = 0;
  int64_t last = 0, number;
  for (int i = 0; i < writer.depth; i++)
    if (writer.tables[i] == table)
      lx_refuse_value(L, "a table that contains itself is not a value");
  if (writer.depth == LX_DEPTH_MAX) lx_refuse_value(L, "values nest at most 64 levels deep");
  lx_check_table(L, index);
  writer.tables[writer.depth] = table;
  writer.path[writer.depth++] = (Key){"", 0};
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TSTRING) {
      size_t len;
      const char *text = lua_tolstring(L, -2, &len);
      add_key(L, text, len);
    }
    else if ((number = element_number(L, -2)) > 0) {
      elements++;
      if (number > last) last = number;
    }
    else lx_refuse_value(L, "keys are text, or the integers 1..n of a list");
  }
  if (elements == 0) {
    if (sorted.count == first && is_marked_list(L, index)) lx_put_array(L, writer.buffer, 0);
    else put_map(L, index, first);
  }
  else if (sorted.count != first) lx_refuse_value(L, "a table is a list or a map, not both");
  else if ((size_t)last != elements || last > INT32_MAX)
    lx_refuse_value(L, "a list has the keys 1..n without holes (lithox.null keeps a place)");
  else put_list(L, index, elements);
  writer.depth--;
}

static void put_number(lua_State *L, int index) {
  LxBuffer *b = writer.buffer;
  double value;
#if LX_HAS_INTEGERS
  if (lua_isinteger(L, index)) {
    lx_put_integer(L, b, lua_tointeger(L, index));
    return;
  }
#endif
  value = lua_tonumber(L, index);
  if (isnan(value)) lx_refuse_value(L, "NaN is not a value");
  if (isinf(value)) lx_refuse_value(L, "infinity is not a value");
#if !LX_HAS_INTEGERS
  if (value == floor(value) && fabs(value) <= LX_WHOLE_MAX && !(value == 0 && signbit(value))) {
    lx_put_integer(L, b, (int64_t)value);
    return;
  }
#endif
  put_float(L, b, value);
}

static int has_bytes(lua_State *L, int index) {
  int same;
  if (!lua_getmetatable(L, index)) return 0;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_BYTES);
  same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

/* Writes the value at the absolute `index`. */
static void put_any(lua_State *L, int index) {
  LxBuffer *b = writer.buffer;
  if (b->len - writer.start > LX_VALUE_BYTES_MAX) lx_refuse_value(L, "a value has at most 16 MiB");
  switch (lua_type(L, index)) {
    case LUA_TNIL: lx_put_nil(L, b); return;
    case LUA_TBOOLEAN: lx_put_bool(L, b, lua_toboolean(L, index)); return;
    case LUA_TNUMBER: put_number(L, index); return;
    case LUA_TSTRING: {
      size_t len;
      const char *text = lua_tolstring(L, index, &len);
      if (len > LX_VALUE_BYTES_MAX) lx_refuse_value(L, "a value has at most 16 MiB");
      lx_put_string(L, b, text, len);
      return;
    }
    case LUA_TTABLE:
      if (!lua_checkstack(L, 6)) lx_refuse_value(L, "stack overflow");
      put_table(L, index);
      return;
    case LUA_TLIGHTUSERDATA:
      if (lua_touserdata(L, index) == NULL) {
        lx_put_nil(L, b);
        return;
      }
      break;
    case LUA_TUSERDATA:
      if (has_bytes(L, index)) {
        size_t len = lua_rawlen(L, index);
        if (len > LX_VALUE_BYTES_MAX) lx_refuse_value(L, "a value has at most 16 MiB");
        lx_put_bytes(L, b, lua_touserdata(L, index), len);
        return;
      }
      if (lx_put_userdata(L, b, index)) return;
      break;
    default: break;
  }
  lua_pushfstring(L, "a %s is not a value", luaL_typename(L, index));
  lx_refuse_value(L, lua_tostring(L, -1));
}

static int is_plain(lua_State *L, int index) {
  return lua_type(L, index) != LUA_TTABLE;
}

/*
** Writes the value at `index` of the stack. Raises "<name>.<path>: <problem>" when it is no value.
*/
void lx_put_value(lua_State *L, LxBuffer *b, int index, const LxName *name) {
  writer.buffer = b;
  writer.start = b->len;
  writer.name = *name;
  writer.depth = 0;
  sorted.count = 0;
  if (!is_plain(L, index)) {
    int has_stopped = lx_stop_collector(L); /* a finalizer could change the table */
    put_any(L, lua_absindex(L, index));
    if (has_stopped) lx_restart_collector();
  }
  else put_any(L, lua_absindex(L, index));
  if (b->len - writer.start > LX_VALUE_BYTES_MAX) lx_refuse_value(L, "a value has at most 16 MiB");
}
