/*
** state.h - the entity's state. Part of lithox.h.
**
** A key is an entry once the host has told of it or the handler has touched it. `base` is what the
** host has, where that is known; `now` is what the run has. Whatever differs is a write: it is told
** with the next call that must know of it, and with the outcome.
*/

typedef struct lx__entry {
  lx_str key;
  lx_str base; /* encoded; .at NULL: absent */
  lx_str now;  /* the same, of the run */
  bool is_known; /* base is what the host has */
  bool is_used;  /* the outcome depends on base */
  bool is_told;  /* the host has heard of that */
  bool is_sent;  /* now is in the message that is being made */
} lx__entry;

static struct {
  lx__entry *entries; /* in the order of their keys */
  uint32_t count, room;
  bool is_complete; /* a key without an entry is absent */
} lx__state;

/* Returns where the entry of `key` is, or belongs. */
LX_API uint32_t lx__find_entry(lx_str key, bool *is_there) {
  uint32_t low = 0, high = lx__state.count;
  *is_there = false;
  if (high > 0 && lx_str_compare(lx__state.entries[high - 1].key, key) < 0) return high;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    int order = lx_str_compare(lx__state.entries[middle].key, key);
    if (order == 0) {
      *is_there = true;
      return middle;
    }
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

LX_API lx__entry *lx__add_entry(uint32_t place, lx_str key) {
  lx__entry *entries = lx__state.entries;
  size_t size = sizeof *entries;
  if (lx__state.count == lx__state.room) {
    uint32_t room = lx__state.room == 0 ? 16 : lx__state.room * 2;
    entries = lx__regrow(entries, lx__state.count * size, lx__state.room * size, room * size);
    lx__state.entries = entries;
    lx__state.room = room;
  }
  __builtin_memmove(&entries[place + 1], &entries[place], (lx__state.count - place) * size);
  lx__state.count++;
  entries[place] = (lx__entry){.key = key};
  return &entries[place];
}

LX_API lx__entry *lx__entry_of(lx_str key) {
  bool is_there;
  uint32_t place = lx__find_entry(key, &is_there);
  return is_there ? &lx__state.entries[place] : lx__add_entry(place, lx__copy(key));
}

LX_API bool lx__same(lx_str a, lx_str b) {
  if (a.at == NULL || b.at == NULL) return a.at == b.at;
  return lx_str_equal(a, b);
}

LX_API bool lx__is_write(const lx__entry *entry) {
  return !entry->is_known || !lx__same(entry->base, entry->now);
}

LX_API lx_str lx__absent(void) {
  return (lx_str){NULL, 0};
}

/* Returns the entry of `key` with `now` known; NULL when the host refused to tell. */
LX_API lx__entry *lx__known_entry(lx_str key) {
  bool is_there;
  uint32_t place = lx__find_entry(key, &is_there);
  lx__entry *entry;
  if (is_there) {
    entry = &lx__state.entries[place];
    entry->is_used = entry->is_used || entry->is_known;
    return entry;
  }
  if (lx__state.is_complete) {
    entry = lx__add_entry(place, lx__copy(key));
    entry->is_used = true;
  }
  else {
    lx__buffer b = lx__begin(LX("get"), 1);
    lx__input in;
    lx_str value;
    lx__put_checked_text(&b, key);
    if (!lx__ask(&b, &in)) return NULL;
    value = lx__take_raw(&in);
    entry = lx__add_entry(place, lx__copy(key));
    if (value.length != 1 || (uint8_t)value.at[0] != 0xc0) entry->base = entry->now = value;
  }
  entry->is_known = true;
  return entry;
}

LX_API lx_value lx_get(lx_str key) {
  const lx__entry *entry;
  if (lx_failed()) return lx_null();
  entry = lx__known_entry(key);
  if (entry == NULL || entry->now.at == NULL) return lx_null();
  if ((uint8_t)entry->now.at[0] == 0xc7)
    return lx_fail_at(LX(""), lx_concat(key, LX(" is a big value; lx_open_reader reads it")),
                      lx_null(), NULL, 0, NULL);
  return lx_decode(entry->now);
}

LX_API int64_t lx_get_int(lx_str key, int64_t otherwise) {
  return lx_as_int(lx_get(key), otherwise);
}

LX_API bool lx_has(lx_str key) {
  const lx__entry *entry = lx_failed() ? NULL : lx__known_entry(key);
  return entry != NULL && entry->now.at != NULL;
}

LX_API void lx_put(lx_str key, lx_value value) {
  lx_str encoded;
  if (lx_failed()) return;
  encoded = value.kind == LX_NULL ? lx__absent() : lx_encode(value);
  if (!lx__is_utf8(key)) lx__refuse_value("keys of the state are valid UTF-8 text");
  if (!lx_failed()) lx__entry_of(key)->now = encoded;
}

LX_API void lx_delete(lx_str key) {
  lx_put(key, lx_null());
}

/* ---- telling the host ---- */

/* Writes the keys the run depends on and the host does not know of. */
LX_API void lx__put_reads(lx__buffer *b) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < lx__state.count; i++)
    count += lx__state.entries[i].is_used && !lx__state.entries[i].is_told;
  lx__put_array(b, count);
  for (uint32_t i = 0; i < lx__state.count; i++) {
    const lx__entry *entry = &lx__state.entries[i];
    if (entry->is_used && !entry->is_told) lx__put_text(b, entry->key);
  }
}

/* Writes the map of keys that are not what the host has; null deletes. */
LX_API void lx__put_writes(lx__buffer *b) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < lx__state.count; i++) {
    lx__state.entries[i].is_sent = lx__is_write(&lx__state.entries[i]);
    count += lx__state.entries[i].is_sent;
  }
  lx__put_map(b, count);
  for (uint32_t i = 0; i < lx__state.count; i++) {
    const lx__entry *entry = &lx__state.entries[i];
    if (!entry->is_sent) continue;
    lx__put_text(b, entry->key);
    if (entry->now.at == NULL) lx__put_nil(b);
    else lx__put_raw(b, entry->now);
  }
}

/* Takes note that a message with writes was answered. Of a refused one nobody knows how much of it
** the host has taken over, so all of it is told again. */
LX_API void lx__note_told(bool is_answered, bool has_reads) {
  for (uint32_t i = 0; i < lx__state.count; i++) {
    lx__entry *entry = &lx__state.entries[i];
    if (entry->is_sent) {
      entry->is_known = is_answered;
      entry->base = entry->now;
      entry->is_sent = false;
    }
    if (is_answered && has_reads && entry->is_used) entry->is_told = true;
  }
}

/* Forgets what the host has told: a cycle of calls has changed the state. */
LX_API void lx__forget_state(void) {
  lx__state.entries = NULL;
  lx__state.count = lx__state.room = 0;
  lx__state.is_complete = false;
}

/* ---- going through keys ---- */

#define LX__PAGE_ROWS 256

LX_API lx_cursor lx_scan(lx_str prefix, lx_str after) {
  return (lx_cursor){.start = prefix, .after = after, .has_more = true, .page = lx_list()};
}

LX_API lx_cursor lx_range(lx_str start, lx_str end, lx_str after) {
  lx_cursor cursor = lx_scan(start, after);
  cursor.is_range = true;
  cursor.has_end = end.at != NULL;
  cursor.end = end;
  return cursor;
}

/* Asks for the next page, with the run's own changes in it. */
LX_API bool lx__ask_page(lx_cursor *cursor) {
  lx__buffer b = cursor->is_range ? lx__begin(LX("range"), 5) : lx__begin(LX("scan"), 4);
  lx__input in;
  bool is_answered;
  lx__put_checked_text(&b, cursor->start);
  if (cursor->is_range) {
    if (cursor->has_end) lx__put_checked_text(&b, cursor->end);
    else lx__put_nil(&b);
  }
  if (cursor->after.length > 0) lx__put_checked_text(&b, cursor->after);
  else lx__put_nil(&b);
  lx__put_int(&b, LX__PAGE_ROWS);
  lx__put_writes(&b);
  is_answered = lx__ask(&b, &in);
  lx__note_told(is_answered, false);
  if (!is_answered) return false;
  cursor->page = lx__take_value(&in, -1); /* rows are two levels above what nests in them */
  cursor->has_more = lx_as_bool(lx__take_value(&in, 1), false);
  cursor->index = 0;
  return true;
}

LX_API bool lx_next(lx_cursor *cursor) {
  while (!lx_failed()) {
    bool is_there;
    uint32_t place;
    lx_value row;
    if (cursor->index >= cursor->page.length) {
      if (!cursor->has_more || !lx__ask_page(cursor)) return false;
      continue;
    }
    row = cursor->page.items[cursor->index++];
    cursor->key = cursor->after = lx_as_text(lx_item(row, 0), LX(""));
    cursor->value = lx_item(row, 1);
    place = lx__find_entry(cursor->key, &is_there);
    if (is_there) { /* changed since the page was asked for */
      const lx__entry *entry = &lx__state.entries[place];
      if (lx__is_write(entry)) {
        if (entry->now.at == NULL) continue;
        cursor->value = lx_decode(entry->now);
      }
    }
    return true;
  }
  return false;
}
