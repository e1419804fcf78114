/*
** scan.c - pairs(self.state), self:scan(prefix, after) and self:range(from, to, after): keys in the
** order of their bytes, a page at a time, with the run's own changes in their places.
**
** A page is a Lua table {key, value, key, value, ...}. Plain values stand in it; a table becomes
** live in self.state (its changes must be seen), and so has only a placeholder here. When a key
** is reached, a live value wins over what the page says, so changes made while walking are seen.
** A big value stands in the page as its reader.
*/
#include <stdlib.h>
#include <string.h>

#include "lx.h"

typedef struct Row {
  const char *key;
  const uint8_t *base; /* NULL: the value is live in self.state */
  size_t key_len, base_len;
} Row;

/* UP_END: text; nil, to the last key; false, UP_START is a prefix. */
enum { UP_START = 1, UP_END, UP_PAGE, UP_POSITION, UP_AFTER, UP_MORE, UP_COUNT = UP_MORE };

static int compare_rows(const void *left, const void *right) {
  const Row *a = left, *b = right;
  int order = memcmp(a->key, b->key, a->key_len < b->key_len ? a->key_len : b->key_len);
  if (order != 0) return order;
  return (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

/* Is the key at upvalue `index` before (-1), equal to (0) or behind (1) `row`? */
static int compare_upvalue(lua_State *L, int index, const Row *row) {
  Row left = {NULL, NULL, 0, 0};
  left.key = lua_tolstring(L, lua_upvalueindex(index), &left.key_len);
  return compare_rows(&left, row);
}

/* Is `row` in the area, and behind where the last page ended? */
static int is_inside(lua_State *L, const Row *row) {
  if (lua_isstring(L, lua_upvalueindex(UP_AFTER)) && compare_upvalue(L, UP_AFTER, row) >= 0)
    return 0;
  if (lua_isboolean(L, lua_upvalueindex(UP_END))) {
    size_t len;
    const char *prefix = lua_tolstring(L, lua_upvalueindex(UP_START), &len);
    return row->key_len >= len && memcmp(row->key, prefix, len) == 0;
  }
  if (compare_upvalue(L, UP_START, row) > 0) return 0;
  return lua_isnil(L, lua_upvalueindex(UP_END)) || compare_upvalue(L, UP_END, row) > 0;
}

static int has_live_value(lua_State *L, const LxEntry *entry) {
  int is_there;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_STATE);
  lua_pushlstring(L, entry->key, entry->key_len);
  is_there = lua_rawget(L, -2) != LUA_TNIL;
  lua_pop(L, 2);
  return is_there;
}

static void put_upvalue(lua_State *L, int index) {
  size_t len;
  const char *text = lua_tolstring(L, lua_upvalueindex(index), &len);
  if (text == NULL) lx_put_nil(L, &lx_message);
  else lx_put_string(L, &lx_message, text, len);
}

/* Asks the host for the page after `after`; returns how many rows it gives. */
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
  lx_state_put_writes(L, &lx_message);
  lx_make_call(L, answer);
  return lx_get_array(L, answer);
}

/* Takes the host's rows, but for keys that are live here. */
static size_t take_rows(lua_State *L, LxReader *answer, uint32_t count, Row *rows) {
  size_t taken = 0;
  for (uint32_t i = 0; i < count; i++) {
    Row row;
    const LxEntry *entry;
    lx_get_array(L, answer);
    row.key = lx_get_string(L, answer, &row.key_len);
    row.base = lx_skip(L, answer);
    row.base_len = (size_t)(answer->at - row.base);
    entry = lx_state_find(row.key, row.key_len);
    if (entry == NULL || !(entry->flags & LX_LIVE)) rows[taken++] = row;
  }
  return taken;
}

/* Takes our own entries after the last page's end and, if more pages follow, up to `last`. */
static size_t take_entries(lua_State *L, const Row *last, Row *rows) {
  size_t taken = 0;
  uint32_t count;
  const LxEntry *entries = lx_state_entries(&count);
  for (uint32_t i = 0; i < count; i++) {
    const LxEntry *entry = &entries[i];
    Row row = {entry->key, NULL, entry->key_len, entry->base_len};
    if (!is_inside(L, &row)) continue;
    if (last != NULL && compare_rows(last, &row) < 0) continue;
    if (entry->flags & LX_LIVE) {
      if (!has_live_value(L, entry)) continue;
    }
    else {
      if (!lx_state_is_complete() || entry->base == NULL) continue;
      row.base = entry->base;
    }
    rows[taken++] = row;
  }
  return taken;
}

/* Pushes what the page holds for `row`: its value, or `true` where the value is live. */
static void push_row_value(lua_State *L, const Row *row) {
  LxReader r = {row->base, row->base + row->base_len, 0};
  LxEntry *entry;
  if (row->base == NULL) {
    lua_pushboolean(L, 1);
    return;
  }
  if (lx_is_big(row->base, row->base_len)) {
    lx_push_reader(L, row->key, row->key_len, r);
    return;
  }
  lx_get_value(L, &r);
  if (!lua_istable(L, -1)) return;
  lua_pop(L, 1);
  entry = lx_state_find(row->key, row->key_len);
  if (entry == NULL || !(entry->flags & LX_KNOWN)) {
    const uint8_t *base = lx_copy(L, row->base, row->base_len);
    if (entry == NULL) entry = lx_state_add(L, row->key, row->key_len);
    entry->base = base;
    entry->base_len = (uint32_t)row->base_len;
    entry->flags |= LX_KNOWN;
  }
  lua_pushlstring(L, row->key, row->key_len);
  lx_state_make_live(L, entry);
  lua_pop(L, 2);
  lua_pushboolean(L, 1);
}

/* Replaces the page by the next one. */
static void turn_page(lua_State *L) {
  LxReader answer = {NULL, NULL, 0};
  uint32_t row_count = 0, entry_count;
  size_t count, host_count;
  int has_more = 0;
  Row *rows, last;
  if (!lx_state_is_complete()) row_count = ask_page(L, &answer);
  lx_state_entries(&entry_count);
  rows = lua_newuserdatauv(L, (row_count + entry_count + 1) * sizeof *rows, 0);
  if (row_count > 0) {
    LxReader rest = answer;
    for (uint32_t i = 0; i < row_count; i++) {
      LxReader row;
      row.at = lx_skip(L, &rest);
      row.end = rest.at;
      lx_get_array(L, &row);
      last.key = lx_get_string(L, &row, &last.key_len);
    }
  }
  host_count = take_rows(L, &answer, row_count, rows);
  if (!lx_state_is_complete()) has_more = lx_get_bool(&answer) && row_count > 0;
  count = host_count + take_entries(L, has_more ? &last : NULL, rows + host_count);
  qsort(rows, count, sizeof *rows, compare_rows);
  if (has_more) {
    lua_pushlstring(L, last.key, last.key_len);
    lua_replace(L, lua_upvalueindex(UP_AFTER));
  }
  lua_createtable(L, (int)count * 2, 0);
  for (size_t i = 0; i < count; i++) {
    lua_pushlstring(L, rows[i].key, rows[i].key_len);
    lua_rawseti(L, -2, (lua_Integer)i * 2 + 1);
    push_row_value(L, &rows[i]);
    lua_rawseti(L, -2, (lua_Integer)i * 2 + 2);
  }
  lua_replace(L, lua_upvalueindex(UP_PAGE));
  lua_pushinteger(L, 1);
  lua_replace(L, lua_upvalueindex(UP_POSITION));
  lua_pushboolean(L, has_more);
  lua_replace(L, lua_upvalueindex(UP_MORE));
  lua_pop(L, 1);
}

/* Pushes the value the key on top of the stack has now; returns 0 when it was deleted. */
static int push_current(lua_State *L, lua_Integer position) {
  size_t len;
  const char *key = lua_tolstring(L, -1, &len);
  const LxEntry *entry = lx_state_find(key, len);
  if (entry == NULL || !(entry->flags & LX_LIVE)) {
    lua_rawgeti(L, lua_upvalueindex(UP_PAGE), position + 1);
    return 1;
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_STATE);
  lua_pushvalue(L, -2);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  return !lua_isnil(L, -1);
}

static int scan_next(lua_State *L) {
  lx_check_callable(L);
  luaL_checkstack(L, 8, NULL);
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
  lua_pushinteger(L, 1);
  if (area->after == NULL) lua_pushnil(L);
  else lua_pushlstring(L, area->after, area->after_len);
  lua_pushboolean(L, 1);
  lua_pushcclosure(L, scan_next, UP_COUNT);
  return 1;
}
