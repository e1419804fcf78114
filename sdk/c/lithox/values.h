/*
** values.h - plain data in memory, and the error of the run. Part of lithox.h.
*/

LX_API lx_value lx_null(void) {
  return (lx_value){.kind = LX_NULL, .integer = 0};
}

LX_API lx_value lx_bool(bool value) {
  return (lx_value){.kind = LX_BOOL, .boolean = value};
}

LX_API lx_value lx_int(int64_t value) {
  return (lx_value){.kind = LX_INT, .integer = value};
}

LX_API lx_value lx_float(double value) {
  return (lx_value){.kind = LX_FLOAT, .number = value};
}

LX_API lx_value lx_text(lx_str value) {
  return (lx_value){.kind = LX_TEXT, .length = value.length, .text = value.at};
}

LX_API lx_value lx_bytes(lx_str value) {
  return (lx_value){.kind = LX_BYTES, .length = value.length, .text = value.at};
}

LX_API lx_value lx_list(void) {
  return (lx_value){.kind = LX_LIST, .items = NULL};
}

LX_API lx_value lx_map(void) {
  return (lx_value){.kind = LX_MAP, .members = NULL};
}

LX_API bool lx_is_null(lx_value value) {
  return value.kind == LX_NULL;
}

LX_API int64_t lx_as_int(lx_value value, int64_t otherwise) {
  return value.kind == LX_INT ? value.integer : otherwise;
}

LX_API double lx_as_float(lx_value value, double otherwise) {
  if (value.kind == LX_INT) return (double)value.integer;
  return value.kind == LX_FLOAT ? value.number : otherwise;
}

LX_API bool lx_as_bool(lx_value value, bool otherwise) {
  return value.kind == LX_BOOL ? value.boolean : otherwise;
}

LX_API lx_str lx_as_text(lx_value value, lx_str otherwise) {
  bool is_text = value.kind == LX_TEXT || value.kind == LX_BYTES;
  return is_text ? (lx_str){value.text, value.length} : otherwise;
}

/* ---- errors ---- */

static struct {
  bool is_there;
  lx_error error;
  lx_str traceback;
} lx__failure;

LX_API bool lx_failed(void) {
  return lx__failure.is_there;
}

LX_API lx_value lx_fail_at(lx_str code, lx_str message, lx_value data, const char *file,
                                  int line, const char *function) {
  if (lx__failure.is_there) return lx_null(); /* the first one is the cause */
  lx__failure.is_there = true;
  lx__failure.error = (lx_error){lx__copy(code), lx__copy(message), data};
  lx__failure.traceback = LX("");
  if (file != NULL) {
    lx_str where = lx_concat(lx_str_of(file), lx_concat(LX(":"), lx_str_of_int(line)));
    lx__failure.traceback = lx_concat(where, lx_concat(LX(": in "), lx_str_of(function)));
  }
  return lx_null();
}

LX_API bool lx_catch(lx_error *error) {
  if (!lx__failure.is_there) return false;
  if (error != NULL) *error = lx__failure.error;
  lx__failure.is_there = false;
  return true;
}

LX_API void lx__give_back(uint8_t *before) {
  if (!lx_failed() && before >= lx__arena.low && before <= lx__arena.at) lx__arena.at = before;
}

/* ---- lists ---- */

LX_API lx_value lx_item(lx_value list, uint32_t index) {
  return list.kind == LX_LIST && index < list.length ? list.items[index] : lx_null();
}

LX_API lx_value *lx_item_at(lx_value *list, uint32_t index) {
  return list->kind == LX_LIST && index < list->length ? &list->items[index] : NULL;
}

/* Makes room for one more of `size` bytes each; returns where all of them are. */
LX_API void *lx__make_room(lx_value *value, void *items, size_t size) {
  uint32_t room;
  if (value->length < value->room) return items;
  room = value->room == 0 ? 4 : value->room * 2;
  if (room > UINT32_MAX / 2 / size) lx__end_out_of_memory();
  items = lx__regrow(items, value->length * size, value->room * size, room * size);
  value->room = room;
  return items;
}

LX_API void lx_push(lx_value *list, lx_value item) {
  if (list->kind != LX_LIST) {
    lx_fail_at(LX(""), LX("lx_push: not a list"), lx_null(), NULL, 0, NULL);
    return;
  }
  list->items = lx__make_room(list, list->items, sizeof item);
  list->items[list->length++] = item;
}

LX_API lx_value lx_list_from(const lx_value *items, size_t count) {
  lx_value list = lx_list();
  list.items = lx_alloc(count * sizeof *items);
  list.length = list.room = (uint32_t)count;
  for (size_t i = 0; i < count; i++) list.items[i] = items[i];
  return list;
}

/* ---- maps ---- */

/* Returns where `key` is, or belongs. */
LX_API uint32_t lx__place(const lx_value *map, lx_str key, bool *is_there) {
  uint32_t low = 0, high = map->length;
  *is_there = false;
  if (high > 0) { /* most maps are made in the order of their keys */
    int order = lx_str_compare(map->members[high - 1].key, key);
    if (order < 0) return high;
  }
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    int order = lx_str_compare(map->members[middle].key, key);
    if (order == 0) {
      *is_there = true;
      return middle;
    }
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

LX_API lx_value *lx_field_at(lx_value *map, lx_str key) {
  bool is_there;
  uint32_t place;
  if (map->kind != LX_MAP) return NULL;
  place = lx__place(map, key, &is_there);
  return is_there ? &map->members[place].value : NULL;
}

LX_API lx_value lx_field(lx_value map, lx_str key) {
  const lx_value *found = lx_field_at(&map, key);
  return found != NULL ? *found : lx_null();
}

LX_API void lx_set(lx_value *map, lx_str key, lx_value value) {
  bool is_there;
  uint32_t place;
  if (map->kind != LX_MAP) {
    lx_fail_at(LX(""), LX("lx_set: not a map"), lx_null(), NULL, 0, NULL);
    return;
  }
  place = lx__place(map, key, &is_there);
  if (!is_there) {
    map->members = lx__make_room(map, map->members, sizeof *map->members);
    __builtin_memmove(&map->members[place + 1], &map->members[place],
                      (map->length - place) * sizeof *map->members);
    map->length++;
    map->members[place].key = key;
  }
  map->members[place].value = value;
}

LX_API bool lx_remove(lx_value *map, lx_str key) {
  bool is_there;
  uint32_t place;
  if (map->kind != LX_MAP) return false;
  place = lx__place(map, key, &is_there);
  if (!is_there) return false;
  map->length--;
  __builtin_memmove(&map->members[place], &map->members[place + 1],
                    (map->length - place) * sizeof *map->members);
  return true;
}
