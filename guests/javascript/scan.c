/*
** scan.c - for..in over self.state, self.scan(prefix, after) and self.range(from, to, after): keys
** in the order of their bytes, a page at a time, with the run's own changes in their places.
**
** A scan is an iterator of [key, value]. A page's rows point into the host's answer, kept beside
** it, or say that the value is ours. A value is made when its key is reached and not before: what
** is live then wins, so changes made while walking are seen; and a list, map or bytes becomes live
** in self.state, as changes in it must be. A big value is given as its reader.
**
** A page costs its own rows, whatever came before: the host need not know our changes to give its
** rows, and ours are found by their order.
*/
#include "lx.h"

typedef struct Text {
  const char *bytes;
  size_t len;
} Text;

typedef struct Row {
  Text key;
  const uint8_t *value; /* NULL: ours */
} Row;

typedef struct Scan {
  LxArea area; /* `after`: the next page begins behind it */
  Row *rows;
  uint32_t count, cap, position;
  uint8_t *answer; /* what the rows point into */
  const uint8_t *answer_end;
  int has_more;
  uint32_t generation; /* of the state the page was taken from */
} Scan;

static JSClassID scan_class;

static int compare_texts(const char *text, size_t len, Text key) {
  return lx_state_compare(text, len, key.bytes, key.len);
}

/* Does `key` come before what the page is taken from? */
static int is_before(const LxArea *area, Text key) {
  if (area->after != NULL && compare_texts(area->after, area->after_len, key) >= 0) return 1;
  return compare_texts(area->start, area->start_len, key) > 0;
}

/* Is `key`, which does not come before it, in the area? */
static int is_inside(const LxArea *area, Text key) {
  if (area->is_prefix)
    return key.len >= area->start_len && memcmp(key.bytes, area->start, area->start_len) == 0;
  return area->end == NULL || compare_texts(area->end, area->end_len, key) > 0;
}

/* Asks the host for the next page, of its own keys; returns -1 and throws when it is refused. */
static int ask_page(const LxArea *area, LxReader *answer) {
  lx_begin_call(area->is_prefix ? "scan" : "range", area->is_prefix ? 4 : 5);
  lx_put_text(&lx_message, area->start, area->start_len);
  if (area->end != NULL) lx_put_text(&lx_message, area->end, area->end_len);
  else if (!area->is_prefix) lx_put_nil(&lx_message);
  if (area->after != NULL) lx_put_text(&lx_message, area->after, area->after_len);
  else lx_put_nil(&lx_message);
  lx_put_integer(&lx_message, LX_SCAN_ROWS_MAX);
  lx_put_map(&lx_message, 0);
  return lx_make_call(answer);
}

/* Keeps `answer` beside the page and lets it point there. */
static void keep_answer(Scan *scan, LxReader *answer) {
  size_t len = (size_t)(answer->end - answer->at);
  free(scan->answer);
  scan->answer = lx_copy(answer->at, len);
  scan->answer_end = scan->answer + len;
  answer->at = scan->answer;
  answer->end = scan->answer_end;
}

/* Returns the last of `count` > 0 rows; `rows` is left behind them. */
static Text skip_rows(LxReader *rows, uint32_t count) {
  Text key = {NULL, 0};
  while (count-- > 0) {
    lx_get_array(rows);
    key.bytes = lx_get_text(rows, &key.len);
    lx_skip(rows);
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
static Own find_own(const LxArea *area, const Text *last) {
  uint32_t count, low = 0, high;
  const uint32_t *numbers = lx_state_sort(&count);
  high = count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (is_before(area, key_of(numbers[middle]))) low = middle + 1;
    else high = middle;
  }
  for (high = low; high < count; high++) {
    Text key = key_of(numbers[high]);
    if (!is_inside(area, key)) break;
    if (last != NULL && compare_texts(last->bytes, last->len, key) < 0) break;
  }
  return (Own){numbers + low, numbers + high};
}

/* Does `entry` decide what its key has, and not the host's row? */
static int is_own(const LxEntry *entry) {
  return (entry->flags & LX_LIVE) || (lx_state_is_complete() && entry->base != NULL);
}

static void add_row(Scan *scan, Text key, const uint8_t *value) {
  scan->rows = lx_grow(scan->rows, scan->count, &scan->cap, sizeof *scan->rows);
  scan->rows[scan->count++] = (Row){key, value};
}

/* Makes the page of the host's rows and ours, both in order. */
static void make_page(Scan *scan, LxReader rows, uint32_t row_count, Own own) {
  Text key = {NULL, 0};
  scan->count = scan->position = 0;
  for (uint32_t i = 0; i <= row_count; i++) {
    int is_hidden = 0, is_last = i == row_count;
    if (!is_last) {
      lx_get_array(&rows);
      key.bytes = lx_get_text(&rows, &key.len);
    }
    for (; own.at < own.end && !is_hidden; own.at++) {
      Text mine = key_of(*own.at);
      int place = is_last ? -1 : compare_texts(mine.bytes, mine.len, key);
      if (place > 0) break;
      if (!is_own(lx_state_entry(*own.at))) continue;
      add_row(scan, mine, NULL);
      is_hidden = place == 0;
    }
    if (is_last) break;
    if (!is_hidden) add_row(scan, key, rows.at);
    lx_skip(&rows);
  }
}

/* Replaces the page by the next one; returns -1 and throws when the host refuses. */
static int turn_page(Scan *scan) {
  LxReader answer = {NULL, NULL, 0}, rest;
  uint32_t row_count = 0;
  Text last = {NULL, 0};
  scan->has_more = 0;
  if (!lx_state_is_complete()) {
    if (ask_page(&scan->area, &answer)) return -1;
    keep_answer(scan, &answer);
    row_count = lx_get_array(&answer);
    rest = answer;
    last = skip_rows(&rest, row_count);
    scan->has_more = lx_get_bool(&rest) && row_count > 0;
  }
  make_page(scan, answer, row_count, find_own(&scan->area, scan->has_more ? &last : NULL));
  if (scan->has_more) {
    scan->area.after = lx_copy(last.bytes, last.len);
    scan->area.after_len = last.len;
  }
  return 0;
}

/* A call has changed the state since the page was made: asks again behind the key given last. */
static void leave_page(Scan *scan) {
  scan->generation = lx_state_generation();
  if (scan->position == 0 && scan->count == 0) return;
  if (scan->position > 0) {
    Text key = scan->rows[scan->position - 1].key;
    scan->area.after = lx_copy(key.bytes, key.len);
    scan->area.after_len = key.len;
  }
  scan->count = scan->position = 0;
  scan->has_more = 1;
}

/* Does the value that begins with `byte` become an object: a list, a map, bytes? */
static int is_container(uint8_t byte) {
  return (byte & 0xe0) == 0x80 || (byte >= 0xdc && byte <= 0xdf) || (byte >= 0xc4 && byte <= 0xc6);
}

/* Gives the value a row's key has now; returns 0 when it has none. */
static int get_current(const Scan *scan, const Row *row, JSValue *value) {
  LxEntry *entry = lx_state_find(row->key.bytes, row->key.len);
  LxReader encoded = {NULL, NULL, 0};
  if (entry != NULL && (entry->flags & LX_LIVE)) {
    *value = JS_DupValue(lx_js, entry->value);
    return !JS_IsUndefined(entry->value);
  }
  if (entry != NULL && (entry->flags & LX_KNOWN)) {
    if (entry->base == NULL) return 0;
    encoded.at = entry->base;
    encoded.end = entry->base + entry->base_len;
  }
  else {
    LxReader rest = {row->value, scan->answer_end, 0};
    encoded.at = lx_skip(&rest);
    encoded.end = rest.at;
    if (is_container(*encoded.at)) {
      if (entry == NULL) entry = lx_state_add(row->key.bytes, row->key.len);
      lx_state_know(entry, encoded.at, (size_t)(encoded.end - encoded.at));
    }
  }
  if (is_container(*encoded.at)) {
    lx_state_make_live(entry);
    *value = JS_DupValue(lx_js, entry->value);
  }
  else if (lx_is_big(encoded.at, (size_t)(encoded.end - encoded.at)))
    *value = lx_new_reader(row->key.bytes, row->key.len, encoded);
  else *value = lx_get_value(&encoded);
  return 1;
}

/* Steps to the next row that has a value: 1, at the end 0, -1 and throws. */
static int next_row(Scan *scan, const Row **row) {
  if (scan->generation != lx_state_generation()) leave_page(scan);
  while (scan->position == scan->count) {
    if (!scan->has_more) return 0;
    if (turn_page(scan)) return -1;
  }
  *row = &scan->rows[scan->position++];
  return 1;
}

static JSValue scan_next(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv,
                         int *is_done, int magic) {
  Scan *scan = JS_GetOpaque2(ctx, this_value, scan_class);
  const Row *row;
  JSValue pair[2];
  int found;
  (void)argc, (void)argv, (void)magic;
  *is_done = 0;
  if (scan == NULL || lx_check_callable()) return JS_EXCEPTION;
  while ((found = next_row(scan, &row)) > 0) {
    if (!get_current(scan, row, &pair[1])) continue;
    pair[0] = lx_new_text(row->key.bytes, row->key.len);
    return JS_NewArrayFrom(ctx, 2, pair);
  }
  *is_done = 1;
  return found < 0 ? JS_EXCEPTION : JS_UNDEFINED;
}

static void scan_finalize(JSRuntime *runtime, JSValueConst object) {
  Scan *scan = JS_GetOpaque(object, scan_class);
  (void)runtime;
  if (scan == NULL) return;
  free(scan->rows);
  free(scan->answer);
  free(scan);
}

static Scan *new_scan(const LxArea *area) {
  Scan *scan = lx_need(calloc(1, sizeof *scan));
  if (lx_state_is_complete()) lx_state_add_scan(area);
  scan->area = *area;
  scan->has_more = 1;
  scan->generation = lx_state_generation();
  return scan;
}

/* Returns an iterator over the keys of `area`: the first page begins behind `after`, so what lies
** before it costs nothing. Pages the host gives are in the read set as far as they were given. */
JSValue lx_scan(const LxArea *area) {
  JSValue object = JS_NewObjectClass(lx_js, scan_class);
  JS_SetOpaque(object, new_scan(area));
  return object;
}

/* Gives all keys of self.state; what the host's pages brought is known from now on. Returns -1 and
** throws when the host refuses. */
int lx_scan_keys(JSPropertyEnum **keys, uint32_t *count) {
  Scan *scan = new_scan(&(LxArea){"", NULL, NULL, 0, 0, 0, 1});
  const Row *row;
  uint32_t found = 0, cap = 0;
  JSPropertyEnum *list = NULL;
  int more;
  while ((more = next_row(scan, &row)) > 0) {
    LxEntry *entry = lx_state_find(row->key.bytes, row->key.len);
    if (row->value != NULL && (entry == NULL || !(entry->flags & (LX_LIVE | LX_KNOWN)))) {
      LxReader value = {row->value, scan->answer_end, 0};
      lx_skip(&value);
      if (entry == NULL) entry = lx_state_add(row->key.bytes, row->key.len);
      lx_state_know(entry, row->value, (size_t)(value.at - row->value));
    }
    if ((entry->flags & LX_LIVE) ? JS_IsUndefined(entry->value) : entry->base == NULL) continue;
    if (found == cap) {
      cap = cap ? cap * 2 : 16;
      list = js_realloc(lx_js, list, cap * sizeof *list);
    }
    list[found].is_enumerable = 1;
    list[found++].atom = JS_NewAtomLen(lx_js, row->key.bytes, row->key.len);
  }
  free(scan->rows);
  free(scan->answer);
  free(scan);
  if (more < 0) {
    while (found > 0) JS_FreeAtom(lx_js, list[--found].atom);
    js_free(lx_js, list);
    return -1;
  }
  *keys = list != NULL ? list : js_malloc(lx_js, sizeof *list);
  *count = found;
  return 0;
}

static const JSCFunctionListEntry scan_methods[] = {
    JS_ITERATOR_NEXT_DEF("next", 0, scan_next, 0),
    JS_PROP_STRING_DEF("[Symbol.toStringTag]", "Scan", JS_PROP_CONFIGURABLE)};

/* Makes the class of scans, an iterator like the language's own. */
void lx_open_scan(void) {
  static const JSClassDef definition = {.class_name = "Scan", .finalizer = scan_finalize};
  JSValue global = JS_GetGlobalObject(lx_js), iterator, behind, methods;
  JS_NewClassID(JS_GetRuntime(lx_js), &scan_class);
  JS_NewClass(JS_GetRuntime(lx_js), scan_class, &definition);
  iterator = JS_GetPropertyStr(lx_js, global, "Iterator");
  behind = JS_GetPropertyStr(lx_js, iterator, "prototype");
  methods = JS_NewObjectProto(lx_js, behind);
  JS_SetPropertyFunctionList(lx_js, methods, scan_methods,
                             sizeof scan_methods / sizeof *scan_methods);
  JS_SetClassProto(lx_js, scan_class, methods);
  JS_FreeValue(lx_js, behind);
  JS_FreeValue(lx_js, iterator);
  JS_FreeValue(lx_js, global);
}
