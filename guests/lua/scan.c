/*
** scan.c - pairs(self.state), self:scan(prefix, after) and self:range(from, to, after): keys in the
** order of their bytes, a page at a time, with the run's own changes in their places.
**
** A page is a Lua table {key, place, key, place, ...}. The place is where the value begins in the
** host's answer, kept beside it, or false for what is ours. A value is made when its key is reached
** and not before: what is live then wins, so changes made while walking are seen; and a table
** becomes live in self.state, as its changes must be. A big value is given as its reader.
**
** A page costs its own rows, whatever came before: the host need not know our changes to give its
** rows, and ours are found by their order.
*/
#include <stdlib.h>
#include <string.h>

#include "lx.h"

typedef struct Text {
  const char *bytes;
  size_t len;
} Text;

/* UP_END: text; nil, to the last key; false, UP_START is a prefix. UP_BYTES: the host's answer.
** UP_AFTER: the next page begins behind it. UP_GENERATION: of the state the page was taken from. */
enum {
  UP_START = 1,
  UP_END,
  UP_PAGE,
  UP_BYTES,
  UP_POSITION,
  UP_AFTER,
  UP_MORE,
  UP_GENERATION,
  UP_COUNT = UP_GENERATION
};

/* Is the text at upvalue `index` before (<0), equal to (0) or behind (>0) `key`? */
static int compare_upvalue(lua_State *L, int index, Text key) {
  size_t len;
  const char *text = lua_tolstring(L, lua_upvalueindex(index), &len);
  return lx_state_compare(text, len, key.bytes, key.len);
}

/* Does `key` come before what the page is taken from? */
static int is_before(lua_State *L, Text key) {
  if (lua_isstring(L, lua_upvalueindex(UP_AFTER)) && compare_upvalue(L, UP_AFTER, key) >= 0)
    return 1;
  return compare_upvalue(L, UP_START, key) > 0;
}

/* Is `key`, which does not come before it, in the area? */
static int is_inside(lua_State *L, Text key) {
  if (lua_isboolean(L, lua_upvalueindex(UP_END))) {
    size_t len;
    const char *prefix = lua_tolstring(L, lua_upvalueindex(UP_START), &len);
    return key.len >= len && memcmp(key.bytes, prefix, len) == 0;
  }
  return lua_isnil(L, lua_upvalueindex(UP_END)) || compare_upvalue(L, UP_END, key) > 0;
}

static void put_upvalue(lua_State *L, int index) {
  size_t len;
  const char *text = lua_tolstring(L, lua_upvalueindex(index), &len);
  if (text == NULL) lx_put_nil(L, &lx_message);
  else lx_put_string(L, &lx_message, text, len);
}

/* Asks the host for the next page, of its own keys; returns how many rows it gives. */
static uint32_t ask_page(lua_State *L, LxReader *answer) {
  if (lua_isboolean(L, lua_upvalueindex(UP_END))) {
    lx_begin_call(L, "scan", 4);
    put_upvalue(L, UP_START);
  }
  else {
    lx_begin_call(L, "range", 5);
    put_upvalue(L, UP_START);
    put_upvalue(L, UP_END);
  }
  put_upvalue(L, UP_AFTER);
  lx_put_integer(L, &lx_message, LX_SCAN_ROWS_MAX);
  lx_close(&lx_message, lx_open_map(L, &lx_message), 0);
  lx_make_call(L, answer);
  return lx_get_array(L, answer);
}

/* Keeps `answer` beside the page and lets it point there. */
static void keep_answer(lua_State *L, LxReader *answer) {
  size_t len = (size_t)(answer->end - answer->at);
  uint8_t *bytes = lua_newuserdatauv(L, len, 0);
  memcpy(bytes, answer->at, len);
  answer->at = bytes;
  answer->end = bytes + len;
  lua_replace(L, lua_upvalueindex(UP_BYTES));
}

/* Returns the last of `count` > 0 rows; `rows` is left behind them. */
static Text skip_rows(lua_State *L, LxReader *rows, uint32_t count) {
  Text key = {NULL, 0};
  while (count-- > 0) {
    lx_get_array(L, rows);
    key.bytes = lx_get_string(L, rows, &key.len);
    lx_skip(L, rows);
  }
  return key;
}

static Text key_of(uint32_t number) {
  const LxEntry *entry = lx_state_entry(number);
  return (Text){entry->key, entry->key_len};
}

/* Our own keys of a page: from `at` to before `end` in the order of all. */
typedef struct Own {
  const uint32_t *at, *end;
} Own;

/* Finds our keys behind the last page's end and, if more pages follow, up to `last`. */
static Own find_own(lua_State *L, const Text *last) {
  uint32_t count, low = 0, high;
  const uint32_t *numbers = lx_state_sort(L, &count);
  Own own;
  high = count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (is_before(L, key_of(numbers[middle]))) low = middle + 1;
    else high = middle;
  }
  for (high = low; high < count; high++) {
    Text key = key_of(numbers[high]);
    if (!is_inside(L, key)) break;
    if (last != NULL && lx_state_compare(last->bytes, last->len, key.bytes, key.len) < 0) break;
  }
  own.at = numbers + low;
  own.end = numbers + high;
  return own;
}

/* Does `entry` decide what its key has, and not the host's row? */
static int is_own(const LxEntry *entry) {
  return (entry->flags & LX_LIVE) || (lx_state_is_complete() && entry->base != NULL);
}

/* Adds a row to the page on top of the stack; a `place` below 0: ours. */
static void add_row(lua_State *L, lua_Integer *count, Text key, ptrdiff_t place) {
  lua_pushlstring(L, key.bytes, key.len);
  lua_rawseti(L, -2, ++*count);
  if (place < 0) lua_pushboolean(L, 0);
  else lua_pushinteger(L, place);
  lua_rawseti(L, -2, ++*count);
}

/* Pushes the page of the host's rows and ours, both in order. */
static void push_page(lua_State *L, LxReader rows, uint32_t row_count, Own own) {
  const uint8_t *bytes = lua_touserdata(L, lua_upvalueindex(UP_BYTES));
  lua_Integer count = 0;
  Text key = {NULL, 0};
  lua_createtable(L, (int)(row_count + (own.end - own.at)) * 2, 0);
  for (uint32_t i = 0; i <= row_count; i++) {
    int is_hidden = 0, is_last = i == row_count;
    if (!is_last) {
      lx_get_array(L, &rows);
      key.bytes = lx_get_string(L, &rows, &key.len);
    }
    for (; own.at < own.end && !is_hidden; own.at++) {
      Text mine = key_of(*own.at);
      int order = is_last ? -1 : lx_state_compare(mine.bytes, mine.len, key.bytes, key.len);
      if (order > 0) break;
      if (!is_own(lx_state_entry(*own.at))) continue;
      add_row(L, &count, mine, -1);
      is_hidden = order == 0;
    }
    if (is_last) break;
    if (!is_hidden) add_row(L, &count, key, rows.at - bytes);
    lx_skip(L, &rows);
  }
}

/* Replaces the page by the next one. */
static void turn_page(lua_State *L) {
  LxReader answer = {NULL, NULL, 0}, rest;
  uint32_t row_count = 0;
  int has_more = 0;
  Text last = {NULL, 0};
  if (!lx_state_is_complete()) {
    row_count = ask_page(L, &answer);
    keep_answer(L, &answer);
    rest = answer;
    last = skip_rows(L, &rest, row_count);
    has_more = lx_get_bool(&rest) && row_count > 0;
  }
  push_page(L, answer, row_count, find_own(L, has_more ? &last : NULL));
  lua_replace(L, lua_upvalueindex(UP_PAGE));
  if (has_more) {
    lua_pushlstring(L, last.bytes, last.len);
    lua_replace(L, lua_upvalueindex(UP_AFTER));
  }
  lua_pushinteger(L, 1);
  lua_replace(L, lua_upvalueindex(UP_POSITION));
  lua_pushboolean(L, has_more);
  lua_replace(L, lua_upvalueindex(UP_MORE));
}

/* A call has changed the state since the page was made: asks again behind the key given last. */
static void leave_page(lua_State *L) {
  lua_Integer position = lua_tointeger(L, lua_upvalueindex(UP_POSITION));
  if (position > 1) {
    lua_rawgeti(L, lua_upvalueindex(UP_PAGE), position - 2);
    lua_replace(L, lua_upvalueindex(UP_AFTER));
    lua_newtable(L);
    lua_replace(L, lua_upvalueindex(UP_PAGE));
    lua_pushinteger(L, 1);
    lua_replace(L, lua_upvalueindex(UP_POSITION));
    lua_pushboolean(L, 1);
    lua_replace(L, lua_upvalueindex(UP_MORE));
  }
  lua_pushinteger(L, lx_state_generation());
  lua_replace(L, lua_upvalueindex(UP_GENERATION));
}

/* May the value that begins with `byte` become a table: an array, a map, bytes? */
static int is_container(uint8_t byte) {
  return (byte & 0xe0) == 0x80 || (byte >= 0xdc && byte <= 0xdf) || (byte >= 0xc4 && byte <= 0xc6);
}

/* Returns the entry of a table in the host's answer, KNOWN. */
static LxEntry *add_table(lua_State *L, Text key, LxReader value) {
  LxEntry *entry = lx_state_find(key.bytes, key.len);
  const uint8_t *base = lx_copy(L, value.at, (size_t)(value.end - value.at));
  if (entry == NULL) entry = lx_state_add(L, key.bytes, key.len);
  entry->base = base;
  entry->base_len = (uint32_t)(value.end - value.at);
  entry->flags |= LX_KNOWN;
  return entry;
}

/* Pushes the value `key`, on top of the stack, has now; returns 0 when it has none. */
static int push_current(lua_State *L, lua_Integer position) {
  Text key;
  LxEntry *entry;
  LxReader value = {NULL, NULL, 0};
  key.bytes = lua_tolstring(L, -1, &key.len);
  entry = lx_state_find(key.bytes, key.len);
  if (entry != NULL && (entry->flags & LX_LIVE)) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_STATE);
    lua_pushvalue(L, -2);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    return !lua_isnil(L, -1);
  }
  if (entry != NULL && (entry->flags & LX_KNOWN)) {
    if (entry->base == NULL) return 0;
    value.at = entry->base;
    value.end = entry->base + entry->base_len;
  }
  else {
    LxReader rest;
    size_t len = lua_rawlen(L, lua_upvalueindex(UP_BYTES));
    const uint8_t *bytes = lua_touserdata(L, lua_upvalueindex(UP_BYTES));
    lua_rawgeti(L, lua_upvalueindex(UP_PAGE), position + 1);
    rest = (LxReader){bytes + lua_tointeger(L, -1), bytes + len, 0};
    lua_pop(L, 1);
    value.at = lx_skip(L, &rest);
    value.end = rest.at;
    if (is_container(*value.at)) entry = add_table(L, key, value);
  }
  if (is_container(*value.at)) lx_state_make_live(L, entry);
  else if (lx_is_big(value.at, (size_t)(value.end - value.at)))
    lx_push_reader(L, key.bytes, key.len, value);
  else lx_get_value(L, &value);
  return 1;
}

static int scan_next(lua_State *L) {
  lx_check_callable(L);
  luaL_checkstack(L, 8, NULL);
  lua_settop(L, 0);
  if (lua_tointeger(L, lua_upvalueindex(UP_GENERATION)) != lx_state_generation()) leave_page(L);
  for (;;) {
    lua_Integer position = lua_tointeger(L, lua_upvalueindex(UP_POSITION));
    lua_settop(L, 0);
    if (lua_rawgeti(L, lua_upvalueindex(UP_PAGE), position) == LUA_TNIL) {
      if (!lua_toboolean(L, lua_upvalueindex(UP_MORE))) return 1;
      turn_page(L);
      continue;
    }
    lua_pushinteger(L, position + 2);
    lua_replace(L, lua_upvalueindex(UP_POSITION));
    if (push_current(L, position)) return 2;
  }
}

/* Pushes an iterator over the keys of `area`: the first page begins behind `after`, so what lies
** before it costs nothing. Pages the host gives are in the read set as far as they were given. */
int lx_scan(lua_State *L, const LxArea *area) {
  if (lx_state_is_complete()) lx_state_add_scan(L, area);
  lua_pushlstring(L, area->start, area->start_len);
  if (area->is_prefix) lua_pushboolean(L, 0);
  else if (area->end == NULL) lua_pushnil(L);
  else lua_pushlstring(L, area->end, area->end_len);
  lua_newtable(L);
  lua_pushnil(L);
  lua_pushinteger(L, 1);
  if (area->after == NULL) lua_pushnil(L);
  else lua_pushlstring(L, area->after, area->after_len);
  lua_pushboolean(L, 1);
  lua_pushinteger(L, lx_state_generation());
  lua_pushcclosure(L, scan_next, UP_COUNT);
  return 1;
}
