/*
** state.c - self.state: what was loaded, what was used, what has changed.
**
** The table self.state is a proxy that holds, as raw fields, the values that are "live": once a
** key has been read or written its raw field is the truth, and Lua reads and writes it without
** us. A miss comes here:
**
**   read    not live -> decode what the run message brought (KNOWN), or ask the host; READ, LIVE
**           live     -> nil: it is absent or was deleted
**   write   not live -> LIVE, and not KNOWN: written blindly, always a write
**
** At the end (and before a call) every live key is encoded and compared with its base; so changes
** deep inside a table are seen, and nobody keeps a list of changes. What a call has told the host
** is not told again: its keys read are off the list, and what it wrote is the new base.
*/
#include <stdlib.h>
#include <string.h>

#include "lx.h"

static struct {
  LxEntry *entries;
  uint32_t count, cap;
  uint32_t *slots; /* entry number + 1, or 0; a power of two of them */
  uint32_t slot_count;
  int is_complete; /* a key without an entry is absent */
  uint32_t generation; /* how often everything was forgotten */
} state;

/* Numbers of entries, of the first `count` entries, in the order of their keys. */
static struct {
  uint32_t *numbers, count, cap;
} order;

/* Numbers of entries read that the host does not know of; `sent`: so many are in the message. */
static struct {
  uint32_t *numbers, count, cap, sent;
} reads;

/* Where the values written stand in the message that is being made; no value: deleted. */
typedef struct Sent {
  uint32_t number;
  size_t value, value_len;
} Sent;

static struct {
  Sent *values;
  uint32_t count, cap;
} writes;

static LxEntry first_entries[16];
static uint32_t first_slots[32];

/* Areas used whole, encoded: prefixes, [from, to]; up to where the host knows them, and will. */
static uint8_t first_scans[64];
static LxBuffer scans = {first_scans, 0, sizeof first_scans, 0};
static uint32_t scan_count;
static struct {
  size_t len;
  uint32_t count;
} scans_told, scans_sent;

/* ---- entries ---- */

/* Makes room for one more item of `bytes` bytes; twice as many each time. */
static void *grow_list(lua_State *L, void *items, uint32_t count, uint32_t *cap, size_t bytes) {
  void *grown;
  if (count < *cap) return items;
  grown = realloc(items, (*cap ? *cap * 2 : 16) * bytes);
  if (grown == NULL) lx_no_memory(L);
  *cap = *cap ? *cap * 2 : 16;
  return grown;
}

static uint32_t hash_key(const char *key, size_t len) {
  uint32_t hash = 2166136261u ^ (uint32_t)len;
  for (size_t i = 0; i < len; i++) hash = (hash ^ (uint8_t)key[i]) * 16777619u;
  return hash ^ (hash >> 15);
}

/* Returns the slot of `key`, or the free one where it belongs. */
static uint32_t *find_slot(const char *key, size_t len) {
  uint32_t mask = state.slot_count - 1;
  for (uint32_t i = hash_key(key, len) & mask;; i = (i + 1) & mask) {
    uint32_t number = state.slots[i];
    const LxEntry *entry;
    if (number == 0) return &state.slots[i];
    entry = &state.entries[number - 1];
    if (entry->key_len == len && memcmp(entry->key, key, len) == 0) return &state.slots[i];
  }
}

LxEntry *lx_state_find(const char *key, size_t len) {
  uint32_t number = *find_slot(key, len);
  return number ? &state.entries[number - 1] : NULL;
}

static void grow_entries(lua_State *L, uint32_t cap) {
  LxEntry *entries = malloc(cap * sizeof *entries);
  uint32_t *slots = calloc(cap * 2, sizeof *slots);
  if (entries == NULL || slots == NULL) {
    free(entries);
    free(slots);
    lx_no_memory(L);
  }
  memcpy(entries, state.entries, state.count * sizeof *entries);
  if (state.entries != first_entries) {
    free(state.entries);
    free(state.slots);
  }
  state.entries = entries;
  state.cap = cap;
  state.slots = slots;
  state.slot_count = cap * 2;
  for (uint32_t i = 0; i < state.count; i++)
    *find_slot(entries[i].key, entries[i].key_len) = i + 1;
}

/* Adds an entry that must not be there yet; `key` must outlive the run. */
static LxEntry *add_entry(lua_State *L, const char *key, size_t len) {
  LxEntry *entry;
  if (state.count == state.cap) grow_entries(L, state.cap * 4);
  entry = &state.entries[state.count++];
  *find_slot(key, len) = state.count;
  *entry = (LxEntry){key, NULL, (uint32_t)len, 0, 0};
  return entry;
}

LxEntry *lx_state_add(lua_State *L, const char *key, size_t len) {
  return add_entry(L, lx_copy(L, key, len), len);
}

LxEntry *lx_state_entry(uint32_t number) {
  return &state.entries[number];
}

uint32_t lx_state_generation(void) {
  return state.generation;
}

int lx_state_compare(const char *a, size_t a_len, const char *b, size_t b_len) {
  int by_bytes = memcmp(a, b, a_len < b_len ? a_len : b_len);
  return by_bytes != 0 ? by_bytes : (a_len > b_len) - (a_len < b_len);
}

static int compare_numbers(const void *left, const void *right) {
  const LxEntry *a = &state.entries[*(const uint32_t *)left];
  const LxEntry *b = &state.entries[*(const uint32_t *)right];
  return lx_state_compare(a->key, a->key_len, b->key, b->key_len);
}

/* Returns the numbers of all entries in the order of their keys, good until one is added. Only
** new ones are sorted; what lies behind them moves, so a walk that adds at its end moves little. */
const uint32_t *lx_state_sort(lua_State *L, uint32_t *count) {
  uint32_t old = order.count, fresh = state.count - old, at = state.count, *tail;
  *count = state.count;
  if (fresh == 0) return order.numbers;
  if (order.cap < state.count) {
    uint32_t *numbers = realloc(order.numbers, state.cap * sizeof *numbers);
    if (numbers == NULL) lx_no_memory(L);
    order.numbers = numbers;
    order.cap = state.cap;
  }
  tail = malloc(fresh * sizeof *tail);
  if (tail == NULL) lx_no_memory(L);
  for (uint32_t i = 0; i < fresh; i++) tail[i] = old + i;
  qsort(tail, fresh, sizeof *tail, compare_numbers);
  while (fresh > 0) {
    if (old > 0 && compare_numbers(&order.numbers[old - 1], &tail[fresh - 1]) > 0)
      order.numbers[--at] = order.numbers[--old];
    else
      order.numbers[--at] = tail[--fresh];
  }
  free(tail);
  order.count = state.count;
  return order.numbers;
}

int lx_state_is_complete(void) {
  return state.is_complete;
}

static void clear_entries(void) {
  if (state.entries != first_entries && state.entries != NULL) {
    free(state.entries);
    free(state.slots);
  }
  state.entries = first_entries;
  state.cap = sizeof first_entries / sizeof *first_entries;
  state.slots = first_slots;
  state.slot_count = sizeof first_slots / sizeof *first_slots;
  if (state.count > 0) memset(first_slots, 0, sizeof first_slots);
  state.count = 0;
  order.count = reads.count = writes.count = 0;
}

/* Takes [..., state map, complete] of the run message; values stay where they are. */
void lx_state_begin(lua_State *L, LxReader *run) {
  uint32_t count = lx_get_map(L, run);
  clear_entries();
  if (count > state.cap) {
    uint32_t cap = state.cap; /* a power of two, and the slots' mask needs it to stay one */
    while (cap < count + count / 2) cap *= 2;
    grow_entries(L, cap);
  }
  for (uint32_t i = 0; i < count; i++) {
    size_t len;
    const char *key = lx_get_string(L, run, &len);
    LxEntry *entry = add_entry(L, key, len);
    entry->base = lx_skip(L, run);
    entry->base_len = (uint32_t)(run->at - entry->base);
    entry->flags = LX_KNOWN;
  }
  state.is_complete = lx_get_bool(run);
}

/* ---- reading and writing ---- */

/* Pushes an entry's value and makes it self.state's raw field. The entry must be KNOWN, its key at
** the top of the stack. */
void lx_state_make_live(lua_State *L, LxEntry *entry) {
  uint32_t number = (uint32_t)(entry - state.entries);
  LxReader r = {entry->base, entry->base + entry->base_len, 0};
  if (entry->base == NULL) lua_pushnil(L);
  else lx_get_value(L, &r);
  if (!lua_isnil(L, -1)) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_STATE);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
  }
  if (r.is_lossy) { /* compare with what Lua would write, not with what it was given */
    LxBuffer b = {malloc(64), 0, 64, 1};
    if (b.bytes == NULL) lx_no_memory(L);
    lx_put_value(L, &b, -1, &(LxName){"self.state", entry->key, entry->key_len});
    entry = &state.entries[number];
    entry->base = b.bytes;
    entry->base_len = (uint32_t)b.len;
  }
  entry->flags |= LX_LIVE;
}

/* Asks the host for a key; returns its entry, KNOWN. */
static LxEntry *fetch(lua_State *L, const char *key, size_t len) {
  LxReader answer;
  LxEntry *entry;
  const uint8_t *base;
  size_t base_len;
  lx_begin_call(L, "get", 1);
  lx_put_string(L, &lx_message, key, len);
  lx_make_call(L, &answer);
  if (lx_get_nil(&answer)) base = NULL, base_len = 0;
  else {
    base = lx_skip(L, &answer);
    base_len = (size_t)(answer.at - base);
    base = lx_copy(L, base, base_len);
  }
  entry = lx_state_add(L, key, len);
  entry->base = base;
  entry->base_len = (uint32_t)base_len;
  return entry;
}

static const char *check_key(lua_State *L, size_t *len) {
  const char *key;
  if (lua_type(L, 2) != LUA_TSTRING)
    luaL_error(L, "keys of self.state are text; found a %s", luaL_typename(L, 2));
  key = lua_tolstring(L, 2, len);
  return key;
}

static int state_index(lua_State *L) {
  size_t len;
  const char *key = check_key(L, &len);
  LxEntry *entry;
  lx_check_callable(L);
  entry = lx_state_find(key, len);
  if (entry != NULL && (entry->flags & LX_LIVE)) {
    lua_pushnil(L);
    return 1;
  }
  if (entry == NULL) {
    if (!lx_is_utf8(key, len)) return luaL_error(L, "keys of self.state are valid UTF-8 text");
    entry = state.is_complete ? lx_state_add(L, key, len) : fetch(L, key, len);
  }
  if (!(entry->flags & LX_READ)) {
    reads.numbers = grow_list(L, reads.numbers, reads.count, &reads.cap, sizeof *reads.numbers);
    reads.numbers[reads.count++] = (uint32_t)(entry - state.entries);
  }
  entry->flags |= LX_KNOWN | LX_READ;
  lua_settop(L, 2);
  if (entry->base != NULL && lx_is_big(entry->base, entry->base_len))
    return luaL_error(L, "self.state[\"%s\"] is a big value; read it with self:reader", key);
  lx_state_make_live(L, entry);
  return 1;
}

/* Makes the key at index 2 live: what it had is not asked for. */
static void begin_write(lua_State *L) {
  size_t len;
  const char *key = check_key(L, &len);
  LxEntry *entry;
  lx_check_callable(L);
  entry = lx_state_find(key, len);
  if (entry == NULL) {
    if (!lx_is_utf8(key, len)) luaL_error(L, "keys of self.state are valid UTF-8 text");
    entry = lx_state_add(L, key, len);
  }
  if (!(entry->flags & LX_LIVE)) {
    entry->flags |= LX_LIVE;
    entry->flags &= (uint8_t)~LX_KNOWN;
  }
}

static int state_newindex(lua_State *L) {
  begin_write(L);
  if (!lua_isnil(L, 3)) lua_rawset(L, 1);
  return 0;
}

/* rawset(table, key, value): Lua's own, but self.state never has a field we do not know of. */
int lx_state_rawset(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkany(L, 2);
  luaL_checkany(L, 3);
  lua_settop(L, 3);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_STATE);
  if (lua_rawequal(L, 1, 4)) begin_write(L);
  lua_settop(L, 3);
  lua_rawset(L, 1);
  return 1;
}

static int state_pairs(lua_State *L) {
  lx_check_callable(L);
  return lx_scan(L, &(LxArea){"", NULL, NULL, 0, 0, 0, 1});
}

static int state_length(lua_State *L) {
  return luaL_error(L, "self.state is a map without a length; count with pairs(self.state)");
}

/* ---- what goes out ---- */

/* Begins a message: nothing is in it yet of what the host must know. */
void lx_state_begin_message(void) {
  reads.sent = writes.count = 0;
  scans_sent = scans_told;
}

/* Writes `reads` and `scans`: those the host does not know of. */
void lx_state_put_used(lua_State *L, LxBuffer *b) {
  lx_put_array(L, b, reads.count);
  for (uint32_t i = 0; i < reads.count; i++) {
    const LxEntry *entry = &state.entries[reads.numbers[i]];
    lx_put_string(L, b, entry->key, entry->key_len);
  }
  reads.sent = reads.count;
  lx_put_array(L, b, scan_count - scans_told.count);
  lx_buffer_put(L, b, scans.bytes + scans_told.len, scans.len - scans_told.len);
  scans_sent.len = scans.len;
  scans_sent.count = scan_count;
}

/* Notes that a value of `len` bytes at `value` of the message is written; none: deleted. */
static void add_sent(lua_State *L, const LxEntry *entry, size_t value, size_t len) {
  writes.values =
      grow_list(L, writes.values, writes.count, &writes.cap, sizeof *writes.values);
  writes.values[writes.count++] = (Sent){(uint32_t)(entry - state.entries), value, len};
}

/* Does the host have what `base` says, for certain? */
static int is_certain(const LxEntry *entry) {
  return (entry->flags & LX_KNOWN) && !(entry->flags & LX_UNSURE);
}

/* Writes a live key and the value on top of the stack if that is a change. */
static void put_write(lua_State *L, LxBuffer *b, const LxEntry *entry) {
  size_t start = b->len, value;
  lx_put_string(L, b, entry->key, entry->key_len);
  value = b->len;
  lx_put_value(L, b, -1, &(LxName){"self.state", entry->key, entry->key_len});
  if (is_certain(entry) && entry->base != NULL && b->len - value == entry->base_len &&
      memcmp(b->bytes + value, entry->base, entry->base_len) == 0)
    b->len = start;
  else
    add_sent(L, entry, value, b->len - value);
}

/* Writes the map of keys that are not what the host has; nil deletes. */
void lx_state_put_writes(lua_State *L, LxBuffer *b) {
  size_t mark = lx_open_map(L, b);
  luaL_checkstack(L, 8, NULL);
  writes.count = 0;
  for (uint32_t i = 0; i < state.count; i++) state.entries[i].flags &= (uint8_t)~LX_SEEN;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_STATE);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    size_t len;
    const char *key = lua_tolstring(L, -2, &len);
    LxEntry *entry = lx_state_find(key, len);
    entry->flags |= LX_SEEN;
    put_write(L, b, entry);
  }
  lua_pop(L, 1);
  for (uint32_t i = 0; i < state.count; i++) {
    const LxEntry *entry = &state.entries[i];
    int is_gone = (entry->flags & (LX_LIVE | LX_SEEN)) == LX_LIVE;
    if (!is_gone || (entry->base == NULL && is_certain(entry))) continue;
    lx_put_string(L, b, entry->key, entry->key_len);
    lx_put_nil(L, b);
    add_sent(L, entry, 0, 0);
  }
  lx_close(b, mark, writes.count);
}

/* Takes `entry`'s value in lx_message as its new base. */
static void set_base(lua_State *L, LxEntry *entry, const Sent *sent) {
  const uint8_t *value = lx_message.bytes + sent->value;
  uint8_t *base = sent->value_len ? lx_copy(L, value, sent->value_len) : NULL;
  if (entry->flags & LX_OWNED) free((void *)entry->base);
  entry->base = base;
  entry->base_len = (uint32_t)sent->value_len;
  entry->flags |= LX_KNOWN | LX_OWNED;
  entry->flags &= (uint8_t)~LX_UNSURE;
}

/* The host has answered lx_message. After a refusal it may have taken some of the writes, so all of
** them stay in every message until one is not refused. Reads it has taken in any case. */
void lx_state_confirm(lua_State *L, int is_refused) {
  if (reads.sent > 0) reads.count = 0; /* a message has all of them or none */
  scans_told = scans_sent;
  for (uint32_t i = 0; i < writes.count; i++)
    state.entries[writes.values[i].number].flags |= LX_UNSURE;
  for (uint32_t i = 0; i < writes.count && !is_refused; i++)
    set_base(L, &state.entries[writes.values[i].number], &writes.values[i]);
  lx_state_begin_message();
}

static int is_behind(const char *a, size_t a_len, const char *b, size_t b_len) {
  return lx_state_compare(a, a_len, b, b_len) > 0;
}

/* Takes the next area of `scans`. */
static void get_area(lua_State *L, LxReader *r, LxArea *area) {
  *area = (LxArea){NULL, NULL, NULL, 0, 0, 0, 1};
  if ((*r->at & 0xf0) == 0x90) {
    area->is_prefix = 0;
    lx_get_array(L, r);
  }
  area->start = lx_get_string(L, r, &area->start_len);
  if (!area->is_prefix && !lx_get_nil(r)) area->end = lx_get_string(L, r, &area->end_len);
}

/* Does `known` hold all that `area` does? */
static int has_area(const LxArea *known, const LxArea *area) {
  if (known->is_prefix && known->start_len == 0) return 1;
  if (known->is_prefix)
    return area->is_prefix && known->start_len <= area->start_len &&
           memcmp(known->start, area->start, known->start_len) == 0;
  if (area->is_prefix) return 0;
  if (is_behind(known->start, known->start_len, area->start, area->start_len)) return 0;
  if (known->end == NULL) return 1;
  return area->end != NULL && !is_behind(area->end, area->end_len, known->end, known->end_len);
}

/* Remembers that the whole content of `area` was used. */
void lx_state_add_scan(lua_State *L, const LxArea *area) {
  LxReader r = {scans.bytes, scans.bytes + scans.len, 0};
  LxArea known;
  for (uint32_t i = 0; i < scan_count; i++) {
    get_area(L, &r, &known);
    if (has_area(&known, area)) return;
  }
  if (!area->is_prefix) lx_put_array(L, &scans, 2);
  lx_put_string(L, &scans, area->start, area->start_len);
  if (area->end != NULL) lx_put_string(L, &scans, area->end, area->end_len);
  else if (!area->is_prefix) lx_put_nil(L, &scans);
  scan_count++;
}

/* What the host has put under `key` on the run's behalf; assigned values are forgotten. */
void lx_state_replace(lua_State *L, const char *key, size_t len, LxReader value) {
  size_t base_len = (size_t)(value.end - value.at);
  const uint8_t *base = lx_copy(L, value.at, base_len);
  LxEntry *entry = lx_state_find(key, len);
  if (entry == NULL) entry = lx_state_add(L, key, len);
  entry->base = base;
  entry->base_len = (uint32_t)base_len;
  entry->flags = (uint8_t)((entry->flags & LX_READ) | LX_KNOWN);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_STATE);
  lua_pushlstring(L, key, len);
  lua_pushnil(L);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

/* Forgets every value: a cycle of calls has changed the state. Tables taken before are detached.
** The host knows all reads and writes: the call that is being answered has told them. */
void lx_state_drop(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_STATE);
  for (lua_pushnil(L); lua_next(L, -2);) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, -4);
  }
  lua_pop(L, 1);
  clear_entries();
  state.is_complete = 0;
  state.generation++;
}

static const luaL_Reg state_methods[] = {{"__index", state_index},
                                         {"__newindex", state_newindex},
                                         {"__pairs", state_pairs},
                                         {"__len", state_length},
                                         {NULL, NULL}};

/* Makes self.state, with room for a few fields so that ordinary runs do not grow it. */
void lx_open_state(lua_State *L) {
  clear_entries();
  lua_createtable(L, 0, 8);
  luaL_newmetatable(L, "lithox.state");
  luaL_setfuncs(L, state_methods, 0);
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  lua_rawseti(L, LUA_REGISTRYINDEX, LX_REF_STATE);
}
