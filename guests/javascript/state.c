/*
** state.c - self.state: what was loaded, what was used, what has changed.
**
** self.state is an object whose properties are ours: QuickJS asks the functions at the end of this
** file. An entry is "live" once its key has been read or written: its value is then an ordinary
** JavaScript value, which the handler changes without us.
**
**   read    not live -> decode what the run message brought (KNOWN), or ask the host; READ, LIVE
**   write   not live -> LIVE, and not KNOWN: written blindly, always a write
**
** At the end (and before a call) every live entry is encoded and compared with its base; so changes
** deep inside are seen, whatever made them, and nobody keeps a list of changes. What a call has
** told the host is not told again: its keys read are off the list, and what it wrote is the new
** base.
*/
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

static JSClassID state_class;

/* ---- entries ---- */

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

static void grow_entries(uint32_t cap) {
  LxEntry *entries = lx_need(malloc(cap * sizeof *entries));
  uint32_t *slots = lx_need(calloc(cap * 2, sizeof *slots));
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
static LxEntry *add_entry(const char *key, size_t len) {
  LxEntry *entry;
  if (state.count == state.cap) grow_entries(state.cap * 4);
  entry = &state.entries[state.count++];
  *find_slot(key, len) = state.count;
  *entry = (LxEntry){key, NULL, (uint32_t)len, 0, JS_UNDEFINED, 0};
  return entry;
}

LxEntry *lx_state_add(const char *key, size_t len) {
  return add_entry(lx_copy(key, len), len);
}

LxEntry *lx_state_entry(uint32_t number) {
  return &state.entries[number];
}

uint32_t lx_state_generation(void) {
  return state.generation;
}

int lx_state_is_complete(void) {
  return state.is_complete;
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
const uint32_t *lx_state_sort(uint32_t *count) {
  uint32_t old = order.count, fresh = state.count - old, at = state.count, *tail;
  *count = state.count;
  if (fresh == 0) return order.numbers;
  if (order.cap < state.count) {
    order.numbers = lx_need(realloc(order.numbers, state.cap * sizeof *order.numbers));
    order.cap = state.cap;
  }
  tail = lx_need(malloc(fresh * sizeof *tail));
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

static void clear_entries(void) {
  for (uint32_t i = 0; i < state.count; i++) JS_FreeValue(lx_js, state.entries[i].value);
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
void lx_state_begin(LxReader *run) {
  uint32_t count = lx_get_map(run);
  clear_entries();
  if (count > state.cap) {
    uint32_t cap = state.cap; /* a power of two, and the slots' mask needs it to stay one */
    while (cap < count + count / 2) cap *= 2;
    grow_entries(cap);
  }
  for (uint32_t i = 0; i < count; i++) {
    size_t len;
    const char *key = lx_get_text(run, &len);
    LxEntry *entry = add_entry(key, len);
    entry->base = lx_skip(run);
    entry->base_len = (uint32_t)(run->at - entry->base);
    entry->flags = LX_KNOWN;
  }
  state.is_complete = lx_get_bool(run);
}

/* ---- values ---- */

/* Keeps a copy of what the host has under an entry's key; NULL: nothing. */
void lx_state_know(LxEntry *entry, const uint8_t *base, size_t len) {
  entry->base = base != NULL ? lx_copy(base, len) : NULL;
  entry->base_len = (uint32_t)len;
  entry->flags |= LX_KNOWN;
}

/* Decodes a KNOWN entry's value, which is the truth from now on. */
void lx_state_make_live(LxEntry *entry) {
  LxReader r = {entry->base, entry->base + entry->base_len, 0};
  entry->flags |= LX_LIVE;
  if (entry->base == NULL) return; /* its value is undefined */
  entry->value = lx_get_value(&r);
  if (r.is_lossy) { /* compare with what JavaScript would write, not with what it was given */
    LxBuffer b = {lx_need(malloc(64)), 0, 64, 1};
    lx_put_value(&b, entry->value, &(LxName){"self.state", entry->key, entry->key_len});
    entry->base = b.bytes;
    entry->base_len = (uint32_t)b.len;
  }
}

/* Asks the host for a key; returns its entry, KNOWN, or NULL and throws. */
static LxEntry *fetch(const char *key, size_t len) {
  LxReader answer;
  LxEntry *entry;
  lx_begin_call("get", 1);
  lx_put_text(&lx_message, key, len);
  if (lx_make_call(&answer)) return NULL;
  entry = lx_state_add(key, len);
  if (lx_get_nil(&answer)) lx_state_know(entry, NULL, 0);
  else {
    const uint8_t *base = lx_skip(&answer);
    lx_state_know(entry, base, (size_t)(answer.at - base));
  }
  return entry;
}

/* A property's name as a key. */
typedef struct KeyText {
  char *text;
  size_t len;
  char small[120];
} KeyText;

static void close_key(KeyText *key) {
  if (key->text != key->small) free(key->text);
}

/* Returns 1 and the key; 0 for a symbol, which is none; -1 and throws when it is not valid. */
static int open_key(KeyText *key, JSAtom atom) {
  LxChars chars;
  if (lx_check_callable()) return -1;
  if (!lx_atom_chars(atom, &chars)) return 0;
  key->text = lx_utf8_of(&chars, &key->len, key->small, sizeof key->small);
  if (key->text != NULL) return 1;
  JS_ThrowTypeError(lx_js, "keys of self.state are valid Unicode; found a lone surrogate");
  return -1;
}

/* Returns the entry of a key that is used, known or live; NULL and throws when it cannot be had. */
static LxEntry *use_entry(const char *key, size_t len) {
  LxEntry *entry = lx_state_find(key, len);
  if (entry != NULL && (entry->flags & LX_LIVE)) return entry;
  if (entry == NULL) {
    entry = state.is_complete ? lx_state_add(key, len) : fetch(key, len);
    if (entry == NULL) return NULL;
  }
  if (!(entry->flags & LX_READ)) {
    reads.numbers = lx_grow(reads.numbers, reads.count, &reads.cap, sizeof *reads.numbers);
    reads.numbers[reads.count++] = (uint32_t)(entry - state.entries);
  }
  entry->flags |= LX_KNOWN | LX_READ;
  return entry;
}

static int is_there(const LxEntry *entry) {
  return (entry->flags & LX_LIVE) ? !JS_IsUndefined(entry->value) : entry->base != NULL;
}

/* Makes the key's value `value`, which is the callee's; what it had is not asked for. */
static void set_entry(const char *key, size_t len, JSValue value) {
  LxEntry *entry = lx_state_find(key, len);
  JSValue old;
  if (entry == NULL) entry = lx_state_add(key, len);
  if (!(entry->flags & LX_LIVE)) {
    entry->flags |= LX_LIVE;
    entry->flags &= (uint8_t)~LX_KNOWN;
  }
  old = entry->value;
  entry->value = JS_IsNull(value) ? JS_UNDEFINED : value; /* null is what a deleted key has */
  JS_FreeValue(lx_js, old);
}

/* ---- what goes out ---- */

/* Begins a message: nothing is in it yet of what the host must know. */
void lx_state_begin_message(void) {
  reads.sent = writes.count = 0;
  scans_sent = scans_told;
}

/* Writes `reads` and `scans`: those the host does not know of. */
void lx_state_put_used(LxBuffer *b) {
  lx_put_array(b, reads.count);
  for (uint32_t i = 0; i < reads.count; i++) {
    const LxEntry *entry = &state.entries[reads.numbers[i]];
    lx_put_text(b, entry->key, entry->key_len);
  }
  reads.sent = reads.count;
  lx_put_array(b, scan_count - scans_told.count);
  lx_put_raw(b, scans.bytes + scans_told.len, scans.len - scans_told.len);
  scans_sent.len = scans.len;
  scans_sent.count = scan_count;
}

/* Notes that a value of `len` bytes at `value` of the message is written; none: deleted. */
static void add_sent(uint32_t number, size_t value, size_t len) {
  writes.values = lx_grow(writes.values, writes.count, &writes.cap, sizeof *writes.values);
  writes.values[writes.count++] = (Sent){number, value, len};
}

/* Does the host have what `base` says, for certain? */
static int is_certain(const LxEntry *entry) {
  return (entry->flags & LX_KNOWN) && !(entry->flags & LX_UNSURE);
}

/* Writes a live entry if it is a change; returns -1 and throws when it has no value. */
static int put_write(LxBuffer *b, uint32_t number) {
  const LxEntry *entry = &state.entries[number];
  size_t start = b->len, value;
  if (JS_IsUndefined(entry->value)) {
    if (entry->base == NULL && is_certain(entry)) return 0;
    lx_put_text(b, entry->key, entry->key_len);
    lx_put_nil(b);
    add_sent(number, 0, 0);
    return 0;
  }
  lx_put_text(b, entry->key, entry->key_len);
  value = b->len;
  if (lx_put_value(b, entry->value, &(LxName){"self.state", entry->key, entry->key_len})) return -1;
  if (is_certain(entry) && entry->base != NULL && b->len - value == entry->base_len &&
      memcmp(b->bytes + value, entry->base, entry->base_len) == 0)
    b->len = start;
  else
    add_sent(number, value, b->len - value);
  return 0;
}

/* Writes the map of keys that are not what the host has; nil deletes. */
int lx_state_put_writes(LxBuffer *b) {
  size_t mark = lx_open_map(b);
  writes.count = 0;
  for (uint32_t i = 0; i < state.count; i++)
    if ((state.entries[i].flags & LX_LIVE) && put_write(b, i)) return -1;
  lx_close_map(b, mark, writes.count);
  return 0;
}

/* Takes `entry`'s value in lx_message as its new base. */
static void set_base(LxEntry *entry, const Sent *sent) {
  if (entry->flags & LX_OWNED) free((void *)entry->base);
  lx_state_know(entry, sent->value_len ? lx_message.bytes + sent->value : NULL, sent->value_len);
  entry->flags |= LX_OWNED;
  entry->flags &= (uint8_t)~LX_UNSURE;
}

/* The host has answered lx_message. After a refusal it may have taken some of the writes, so all of
** them stay in every message until one is not refused. Reads it has taken in any case. */
void lx_state_confirm(int is_refused) {
  if (reads.sent > 0) reads.count = 0; /* a message has all of them or none */
  scans_told = scans_sent;
  for (uint32_t i = 0; i < writes.count; i++)
    state.entries[writes.values[i].number].flags |= LX_UNSURE;
  for (uint32_t i = 0; i < writes.count && !is_refused; i++)
    set_base(&state.entries[writes.values[i].number], &writes.values[i]);
  lx_state_begin_message();
}

/* ---- areas used whole ---- */

static int is_behind(const char *a, size_t a_len, const char *b, size_t b_len) {
  return lx_state_compare(a, a_len, b, b_len) > 0;
}

/* Takes the next area of `scans`. */
static void get_area(LxReader *r, LxArea *area) {
  *area = (LxArea){NULL, NULL, NULL, 0, 0, 0, 1};
  if ((*r->at & 0xf0) == 0x90) {
    area->is_prefix = 0;
    lx_get_array(r);
  }
  area->start = lx_get_text(r, &area->start_len);
  if (!area->is_prefix && !lx_get_nil(r)) area->end = lx_get_text(r, &area->end_len);
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
void lx_state_add_scan(const LxArea *area) {
  LxReader r = {scans.bytes, scans.bytes + scans.len, 0};
  LxArea known;
  for (uint32_t i = 0; i < scan_count; i++) {
    get_area(&r, &known);
    if (has_area(&known, area)) return;
  }
  if (!area->is_prefix) lx_put_array(&scans, 2);
  lx_put_text(&scans, area->start, area->start_len);
  if (area->end != NULL) lx_put_text(&scans, area->end, area->end_len);
  else if (!area->is_prefix) lx_put_nil(&scans);
  scan_count++;
}

/* What the host has put under `key` on the run's behalf; an assigned value is forgotten. */
void lx_state_replace(const char *key, size_t len, LxReader value) {
  LxEntry *entry = lx_state_find(key, len);
  JSValue old;
  if (entry == NULL) entry = lx_state_add(key, len);
  old = entry->value;
  entry->value = JS_UNDEFINED;
  entry->flags &= LX_READ;
  lx_state_know(entry, value.at, (size_t)(value.end - value.at));
  JS_FreeValue(lx_js, old);
}

/* Forgets every value: a cycle of calls has changed the state. Objects taken before are detached.
** The host knows all reads and writes: the call that is being answered has told them. */
void lx_state_drop(void) {
  clear_entries();
  state.is_complete = 0;
  state.generation++;
}

/* ---- self.state as QuickJS sees it ---- */

static JSValue state_get(JSContext *ctx, JSValueConst object, JSAtom atom, JSValueConst receiver) {
  KeyText key;
  int found = open_key(&key, atom);
  JSValue value = JS_EXCEPTION;
  LxEntry *entry;
  (void)object, (void)receiver;
  if (found <= 0) return found ? JS_EXCEPTION : JS_UNDEFINED;
  entry = use_entry(key.text, key.len);
  if (entry != NULL && !(entry->flags & LX_LIVE)) {
    if (entry->base != NULL && lx_is_big(entry->base, entry->base_len)) {
      JS_ThrowTypeError(ctx, "self.state[\"%.*s\"] is a big value; read it with self.reader",
                        (int)(key.len < 100 ? key.len : 100), key.text);
      entry = NULL;
    }
    else lx_state_make_live(entry);
  }
  if (entry != NULL) value = JS_DupValue(ctx, entry->value);
  close_key(&key);
  return value;
}

static int state_has(JSContext *ctx, JSValueConst object, JSAtom atom) {
  KeyText key;
  int found = open_key(&key, atom);
  const LxEntry *entry;
  (void)ctx, (void)object;
  if (found <= 0) return found;
  entry = use_entry(key.text, key.len);
  close_key(&key);
  return entry == NULL ? -1 : is_there(entry);
}

static int state_get_own(JSContext *ctx, JSPropertyDescriptor *desc, JSValueConst object,
                         JSAtom atom) {
  KeyText key;
  int found = open_key(&key, atom);
  LxEntry *entry;
  (void)object;
  if (found <= 0) return found;
  entry = use_entry(key.text, key.len);
  found = entry == NULL ? -1 : is_there(entry);
  if (found > 0 && desc != NULL) {
    desc->flags = JS_PROP_C_W_E;
    desc->getter = desc->setter = JS_UNDEFINED;
    if (!(entry->flags & LX_LIVE) && lx_is_big(entry->base, entry->base_len)) {
      LxReader value = {entry->base, entry->base + entry->base_len, 0};
      desc->value = lx_new_reader(key.text, key.len, value);
    }
    else {
      if (!(entry->flags & LX_LIVE)) lx_state_make_live(entry);
      desc->value = JS_DupValue(ctx, entry->value);
    }
  }
  close_key(&key);
  return found;
}

/* Sets the key of `atom` to `value`; returns -1 and throws for a name that is no key. */
static int assign(JSContext *ctx, JSAtom atom, JSValueConst value) {
  KeyText key;
  int found = open_key(&key, atom);
  if (found == 0) JS_ThrowTypeError(ctx, "keys of self.state are text; found a symbol");
  if (found <= 0) return -1;
  set_entry(key.text, key.len, JS_DupValue(ctx, value));
  close_key(&key);
  return 1;
}

static int state_set(JSContext *ctx, JSValueConst object, JSAtom atom, JSValueConst value,
                     JSValueConst receiver, int flags) {
  if (JS_VALUE_GET_PTR(object) != JS_VALUE_GET_PTR(receiver))
    return JS_DefinePropertyValue(ctx, receiver, atom, JS_DupValue(ctx, value),
                                  JS_PROP_C_W_E | flags);
  return assign(ctx, atom, value);
}

static int state_define(JSContext *ctx, JSValueConst object, JSAtom atom, JSValueConst value,
                        JSValueConst getter, JSValueConst setter, int flags) {
  (void)object, (void)getter, (void)setter;
  if (flags & JS_PROP_HAS_VALUE) return assign(ctx, atom, value);
  JS_ThrowTypeError(ctx, "self.state has values alone: no getters, and nothing in it is frozen");
  return -1;
}

static int state_delete(JSContext *ctx, JSValueConst object, JSAtom atom) {
  KeyText key;
  int found = open_key(&key, atom);
  (void)ctx, (void)object;
  if (found < 0) return -1;
  if (found > 0) {
    set_entry(key.text, key.len, JS_UNDEFINED);
    close_key(&key);
  }
  return 1;
}

static int state_names(JSContext *ctx, JSPropertyEnum **names, uint32_t *count,
                       JSValueConst object) {
  (void)ctx, (void)object;
  return lx_check_callable() ? -1 : lx_scan_keys(names, count);
}

static void state_mark(JSRuntime *runtime, JSValueConst object, JS_MarkFunc *mark) {
  (void)object;
  for (uint32_t i = 0; i < state.count; i++) JS_MarkValue(runtime, state.entries[i].value, mark);
}

static JSClassExoticMethods state_methods = {
    .get_own_property = state_get_own,
    .get_own_property_names = state_names,
    .delete_property = state_delete,
    .define_own_property = state_define,
    .has_property = state_has,
    .get_property = state_get,
    .set_property = state_set,
};

/* Makes self.state. Nothing is behind it, so that every name is a key and nothing else. */
JSValue lx_open_state(void) {
  static const JSClassDef definition = {
      .class_name = "State", .gc_mark = state_mark, .exotic = &state_methods};
  JSValue object;
  clear_entries();
  JS_NewClassID(JS_GetRuntime(lx_js), &state_class);
  JS_NewClass(JS_GetRuntime(lx_js), state_class, &definition);
  object = JS_NewObjectProtoClass(lx_js, JS_NULL, state_class);
  return object;
}
