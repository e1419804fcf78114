/*
** value.c - JavaScript's values as MessagePack, both ways.
**
** Writing runs no JavaScript: no getter, no toJSON, no proxy's trap. So nothing changes under the
** writer's hands, and nobody can make a system call while a message is half made. Map keys are
** sorted by their UTF-8 bytes, so two equal values have equal bytes and "has it changed" is a
** comparison. docs/reference/javascript.md says which value becomes what.
*/
#include <math.h>

#include "lx.h"

/* ---- text ---- */

static const uint8_t *narrow(const LxChars *chars) {
  return chars->at;
}

static const uint16_t *wide(const LxChars *chars) {
  return chars->at;
}

static int is_high(uint32_t unit) {
  return (unit & 0xfffffc00) == 0xd800;
}

static int is_low(uint32_t unit) {
  return (unit & 0xfffffc00) == 0xdc00;
}

/* Returns the character at `*i` and steps over it; a lone surrogate is given as it is. */
static uint32_t next_char(const LxChars *chars, uint32_t *i) {
  uint32_t unit;
  if (!chars->is_wide) return narrow(chars)[(*i)++];
  unit = wide(chars)[(*i)++];
  if (is_high(unit) && *i < chars->len && is_low(wide(chars)[*i]))
    unit = 0x10000 + ((unit & 0x3ff) << 10) + (wide(chars)[(*i)++] & 0x3ff);
  return unit;
}

static size_t char_bytes(uint32_t c) {
  return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

static uint8_t *add_char(uint8_t *to, uint32_t c) {
  if (c < 0x80) *to++ = (uint8_t)c;
  else if (c < 0x800) {
    *to++ = (uint8_t)(0xc0 | c >> 6);
    *to++ = (uint8_t)(0x80 | (c & 0x3f));
  }
  else {
    if (c < 0x10000) *to++ = (uint8_t)(0xe0 | c >> 12);
    else {
      *to++ = (uint8_t)(0xf0 | c >> 18);
      *to++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    }
    *to++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    *to++ = (uint8_t)(0x80 | (c & 0x3f));
  }
  return to;
}

/* Returns how many bytes of UTF-8 the text has, or -1 when it has a lone surrogate. */
static int64_t utf8_bytes(const LxChars *chars) {
  int64_t bytes = 0;
  if (!chars->is_wide) {
    const uint8_t *text = narrow(chars);
    for (uint32_t i = 0; i < chars->len; i++) bytes += text[i] >> 7;
    return bytes + chars->len;
  }
  for (uint32_t i = 0; i < chars->len;) {
    uint32_t c = next_char(chars, &i);
    if (is_high(c) || is_low(c)) return -1;
    bytes += (int64_t)char_bytes(c);
  }
  return bytes;
}

static void write_utf8(const LxChars *chars, size_t bytes, uint8_t *to) {
  if (!chars->is_wide && bytes == chars->len) {
    memcpy(to, chars->at, bytes);
    return;
  }
  for (uint32_t i = 0; i < chars->len;) to = add_char(to, next_char(chars, &i));
}

/* Returns the text as UTF-8, in `small` when it fits, else on the heap; NULL when it is none. */
char *lx_utf8_of(const LxChars *chars, size_t *len, char *small, size_t small_bytes) {
  int64_t bytes = utf8_bytes(chars);
  char *text = small;
  if (bytes < 0) return NULL;
  if ((size_t)bytes > small_bytes) text = lx_need(malloc((size_t)bytes));
  write_utf8(chars, (size_t)bytes, (uint8_t *)text);
  *len = (size_t)bytes;
  return text;
}

/* Writes a text value for people: what is not valid Unicode is replaced by U+FFFD, and no more than
** `bytes_max` of it are looked at. */
void lx_put_shown(LxBuffer *b, JSValueConst text, size_t bytes_max) {
  LxChars chars;
  JSValue flat = lx_flat_text(text, &chars);
  uint8_t *bytes, *end;
  if (chars.len > bytes_max) chars.len = (uint32_t)bytes_max + 1; /* one more, so that it is cut */
  bytes = end = lx_need(malloc((size_t)chars.len * 3 + 1));
  for (uint32_t i = 0; i < chars.len;) {
    uint32_t c = next_char(&chars, &i);
    end = add_char(end, is_high(c) || is_low(c) ? 0xfffd : c);
  }
  lx_put_cut(b, (char *)bytes, (size_t)(end - bytes), bytes_max);
  free(bytes);
  JS_FreeValue(lx_js, flat);
}

/* Compares as the bytes of UTF-8 do: by characters. */
int lx_compare_chars(const LxChars *a, const LxChars *b) {
  uint32_t i = 0, j = 0;
  if (!a->is_wide && !b->is_wide) {
    int order = memcmp(a->at, b->at, a->len < b->len ? a->len : b->len);
    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
  }
  while (i < a->len && j < b->len) {
    uint32_t c = next_char(a, &i), d = next_char(b, &j);
    if (c != d) return c < d ? -1 : 1;
  }
  return (i < a->len) - (j < b->len);
}

/* ---- writing ---- */

typedef struct Key {
  LxChars name;
  JSValueConst value;
  int is_copy; /* the name is on the heap, and only here */
} Key;

typedef struct Step {
  LxChars name;
  uint32_t number; /* of a list's element, when `name.at` is NULL */
} Step;

/* Where the writer is. Static: it is never entered twice. */
static struct {
  LxBuffer *buffer;
  size_t start;
  LxName name;
  int depth;
  const void *objects[LX_DEPTH_MAX]; /* the containers around, to find cycles */
  Step path[LX_DEPTH_MAX];
} writer;

/* Keys of the maps being written, innermost last. */
static struct {
  Key *keys;
  uint32_t count, cap;
} sorted;

static LxBuffer path_text;

static void add_text(const char *text, size_t len) {
  lx_put_raw(&path_text, text, len);
}

/* Adds ".key" of at most 64 characters. */
static void add_key(const LxChars *name) {
  LxChars cut = *name;
  char small[256];
  size_t len;
  const char *text;
  if (cut.len > 64) cut.len = 64;
  text = lx_utf8_of(&cut, &len, small, sizeof small);
  add_text(".", 1);
  add_text(text != NULL ? text : "?", text != NULL ? len : 1);
}

static void add_number(uint32_t number) {
  char text[16];
  add_text(text, (size_t)snprintf(text, sizeof text, "[%lu]", (unsigned long)number));
}

/* Throws "<what>.<path>: <problem>" about the value that is being written; returns -1. */
static int refuse(const char *problem) {
  JSValue error, message;
  if (path_text.bytes == NULL) path_text = (LxBuffer){lx_need(malloc(256)), 0, 256, 1};
  path_text.len = 0;
  add_text(writer.name.what, strlen(writer.name.what));
  if (writer.name.key != NULL) {
    add_text(".", 1);
    add_text(writer.name.key, writer.name.key_len < 64 ? writer.name.key_len : 64);
  }
  else if (writer.name.key_len > 0) add_number((uint32_t)writer.name.key_len - 1);
  for (int i = 0; i < writer.depth && i < 8; i++) {
    const Step *step = &writer.path[i];
    if (step->name.at != NULL) add_key(&step->name);
    else if (step->number > 0) add_number(step->number - 1);
  }
  add_text(": ", 2);
  add_text(problem, strlen(problem));
  message = lx_new_text((const char *)path_text.bytes, path_text.len);
  error = JS_NewTypeError(lx_js, "%s", ""); /* a formatted message would be cut at 255 bytes */
  JS_DefinePropertyValueStr(lx_js, error, "message", message,
                            JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
  JS_Throw(lx_js, error);
  return -1;
}

static int put_chars(const LxChars *chars) {
  int64_t bytes = utf8_bytes(chars);
  if (bytes < 0) return refuse("text with a lone surrogate is not a value");
  if (bytes > LX_VALUE_BYTES_MAX) return refuse("a value has at most 16 MiB");
  lx_put_text_head(writer.buffer, (size_t)bytes);
  write_utf8(chars, (size_t)bytes, lx_reserve_bytes(writer.buffer, (size_t)bytes));
  writer.buffer->len += (size_t)bytes;
  return 0;
}

static int put_text_value(JSValueConst text) {
  LxChars chars;
  JSValue flat = lx_flat_text(text, &chars);
  int result = put_chars(&chars);
  JS_FreeValue(lx_js, flat);
  return result;
}

static int compare_keys(const void *left, const void *right) {
  return lx_compare_chars(&((const Key *)left)->name, &((const Key *)right)->name);
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

/* Adds a property to the keys; a name that lies elsewhere than in the object is copied. */
static void add_property(const LxProperty *property, int is_number) {
  Key key = {property->name, property->value, is_number};
  if (is_number) key.name.at = lx_copy(property->name.at, property->name.len);
  sorted.keys = lx_grow(sorted.keys, sorted.count, &sorted.cap, sizeof *sorted.keys);
  sorted.keys[sorted.count++] = key;
}

/* Could the name be that of a whole number, which is kept as one and not as text? */
static int may_be_number(const LxChars *name) {
  return !name->is_wide && name->len > 0 && name->len <= 10 &&
         (uint8_t)(narrow(name)[0] - '0') < 10;
}

static void drop_keys(uint32_t first) {
  while (sorted.count > first)
    if (sorted.keys[--sorted.count].is_copy) free((void *)sorted.keys[sorted.count].name.at);
}

static int put_any(JSValueConst value);

static Step *last_step(void) {
  return &writer.path[writer.depth - 1];
}

/* Writes a map: own enumerable properties with texts as names; undefined ones are left out. */
static int put_object(JSValueConst object) {
  uint32_t first = sorted.count, places = lx_property_count(object), count;
  int result = 0;
  for (uint32_t i = 0; i < places; i++) {
    LxProperty property;
    if (!lx_property_at(object, i, &property)) continue;
    if (property.is_getter) {
      last_step()->name = property.name;
      return refuse("a property with a getter or setter is not a value");
    }
    if (!JS_IsUndefined(property.value)) add_property(&property, may_be_number(&property.name));
  }
  count = sorted.count - first;
  lx_put_map(writer.buffer, count);
  sort_keys(sorted.keys + first, count);
  for (uint32_t i = first; i < first + count && result == 0; i++) {
    Key key = sorted.keys[i]; /* a copy: the array may move */
    last_step()->name = key.name;
    result = put_chars(&key.name);
    if (result == 0) result = put_any(key.value);
  }
  drop_keys(first);
  return result;
}

static int put_element(uint32_t index, JSValueConst value) {
  last_step()->number = index + 1;
  if (JS_IsUndefined(value)) return refuse("a list has no undefined elements (null keeps a place)");
  return put_any(value);
}

static int put_list(JSValueConst array) {
  JSValueConst *values;
  uint32_t count;
  if (lx_list_values(array, &values, &count)) {
    lx_put_array(writer.buffer, count);
    for (uint32_t i = 0; i < count; i++)
      if (put_element(i, values[i])) return -1;
    return 0;
  }
  count = lx_list_length(array);
  lx_put_array(writer.buffer, count);
  for (uint32_t i = 0; i < count; i++) {
    LxProperty element;
    last_step()->number = i + 1;
    if (!lx_list_element(array, i, &element))
      return refuse("a list has no holes (null keeps a place)");
    if (element.is_getter) return refuse("a property with a getter or setter is not a value");
    if (put_element(i, element.value)) return -1;
  }
  return 0;
}

static int refuse_object(JSValueConst object, LxKind kind) {
  char problem[160];
  size_t len;
  const char *name = lx_class_name(object, &len);
  if (JS_IsProxy(object)) return refuse("a Proxy is not a value");
  if (kind == LX_KIND_FUNCTION) return refuse("a function is not a value");
  if (kind == LX_KIND_ERROR)
    return refuse("an Error is not a value; send its message, or throw it");
  if (kind == LX_KIND_INSTANCE)
    return refuse("an instance of a class is not a value; copy it with {...object}");
  if (len == 4 && memcmp(name, "Date", 4) == 0)
    return refuse("a Date is not a value; use getTime() or toISOString()");
  if (len == 3 && memcmp(name, "Map", 3) == 0)
    return refuse("a Map is not a value; use Object.fromEntries(map)");
  if (len == 3 && memcmp(name, "Set", 3) == 0) return refuse("a Set is not a value; use [...set]");
  if (len == 7 && memcmp(name, "Promise", 7) == 0)
    return refuse("a Promise is not a value; await it");
  snprintf(problem, sizeof problem, "a value of class %.*s is not plain data",
           len < 100 ? (int)len : 100, name);
  return refuse(problem);
}

static int put_container(JSValueConst object) {
  LxKind kind = lx_kind_of(object);
  const void *identity = JS_VALUE_GET_PTR(object);
  int result;
  if (kind == LX_KIND_BYTES) {
    size_t len;
    const uint8_t *bytes = lx_bytes_of(object, &len);
    if (len > LX_VALUE_BYTES_MAX) return refuse("a value has at most 16 MiB");
    lx_put_bytes(writer.buffer, len > 0 ? bytes : (const uint8_t *)"", len);
    return 0;
  }
  if (kind != LX_KIND_PLAIN && kind != LX_KIND_ARRAY) return refuse_object(object, kind);
  for (int i = 0; i < writer.depth; i++)
    if (writer.objects[i] == identity)
      return refuse("an object that contains itself is not a value");
  if (writer.depth == LX_DEPTH_MAX) return refuse("values nest at most 64 levels deep");
  writer.objects[writer.depth] = identity;
  writer.path[writer.depth++] = (Step){{NULL, 0, 0}, 0};
  result = kind == LX_KIND_ARRAY ? put_list(object) : put_object(object);
  writer.depth--;
  return result;
}

/* Whole numbers below 2^53 are integers, also 1.0, which is the same number; -0 and all others are
** floats. */
static int is_integer(double value) {
  return value == floor(value) && fabs(value) <= (double)LX_SAFE_MAX &&
         !(value == 0 && signbit(value));
}

static int put_number(double value) {
  if (isnan(value)) return refuse("NaN is not a value");
  if (isinf(value)) return refuse("Infinity is not a value");
  if (is_integer(value)) lx_put_integer(writer.buffer, (int64_t)value);
  else lx_put_float(writer.buffer, value);
  return 0;
}

static int put_big_integer(JSValueConst value) {
  int64_t integer;
  JSValue back;
  int is_same;
  JS_ToBigInt64(lx_js, &integer, value); /* modulo 2^64 */
  back = JS_NewBigInt64(lx_js, integer);
  is_same = JS_IsStrictEqual(lx_js, back, value);
  JS_FreeValue(lx_js, back);
  if (!is_same) return refuse("integers have 64 bits; this BigInt has more");
  lx_put_integer(writer.buffer, integer);
  return 0;
}

static int put_any(JSValueConst value) {
  LxBuffer *b = writer.buffer;
  if (b->len - writer.start > LX_VALUE_BYTES_MAX) return refuse("a value has at most 16 MiB");
  switch (JS_VALUE_GET_NORM_TAG(value)) {
    case JS_TAG_INT: lx_put_integer(b, JS_VALUE_GET_INT(value)); return 0;
    case JS_TAG_FLOAT64: return put_number(JS_VALUE_GET_FLOAT64(value));
    case JS_TAG_BOOL: lx_put_bool(b, JS_VALUE_GET_BOOL(value)); return 0;
    case JS_TAG_NULL:
    case JS_TAG_UNDEFINED: lx_put_nil(b); return 0;
    case JS_TAG_STRING:
    case JS_TAG_STRING_ROPE: return put_text_value(value);
    case JS_TAG_SHORT_BIG_INT:
    case JS_TAG_BIG_INT: return put_big_integer(value);
    case JS_TAG_OBJECT: return put_container(value);
    case JS_TAG_SYMBOL: return refuse("a symbol is not a value");
    default: return refuse("this is not a value");
  }
}

/* Writes a value. Returns -1 and throws "<name>.<path>: <problem>" when it is none. */
int lx_put_value(LxBuffer *b, JSValueConst value, const LxName *name) {
  int result;
  writer.buffer = b;
  writer.start = b->len;
  writer.name = *name;
  writer.depth = 0;
  result = put_any(value);
  drop_keys(0);
  if (result == 0 && b->len - writer.start > LX_VALUE_BYTES_MAX)
    return refuse("a value has at most 16 MiB");
  return result;
}

/* Writes a text value. Returns -1 and throws when it is not valid Unicode. */
int lx_put_js_text(LxBuffer *b, JSValueConst text, const LxName *name) {
  writer.buffer = b;
  writer.start = b->len;
  writer.name = *name;
  writer.depth = 0;
  return put_text_value(text);
}

/* ---- reading ---- */

JSValue lx_new_text(const char *text, size_t len) {
  return JS_NewStringLen(lx_js, text, len);
}

static JSValue get_any(LxReader *r, int depth);

static JSValue get_list(LxReader *r, size_t count, int depth) {
  JSValue *values, list;
  if (count > (size_t)(r->end - r->at)) lx_malformed();
  if (count == 0) return JS_NewArray(lx_js);
  values = lx_need(malloc(count * sizeof *values));
  for (size_t i = 0; i < count; i++) values[i] = get_any(r, depth + 1);
  list = JS_NewArrayFrom(lx_js, (int)count, values);
  free(values);
  return list;
}

static JSValue get_map(LxReader *r, size_t count, int depth) {
  JSValue map = JS_NewObject(lx_js);
  if (count > (size_t)(r->end - r->at)) lx_malformed();
  for (size_t i = 0; i < count; i++) {
    size_t len;
    const char *key = lx_get_text(r, &len);
    JSAtom atom = JS_NewAtomLen(lx_js, key, len);
    JS_DefinePropertyValue(lx_js, map, atom, get_any(r, depth + 1), JS_PROP_C_W_E);
    JS_FreeAtom(lx_js, atom);
  }
  return map;
}

static JSValue get_float(LxReader *r) {
  uint64_t bits = lx_get_number(r, 8);
  double value;
  memcpy(&value, &bits, 8);
  if (is_integer(value)) r->is_lossy = 1;
  return JS_NewNumber(lx_js, value);
}

static JSValue get_any(LxReader *r, int depth) {
  uint8_t type = (uint8_t)lx_get_number(r, 1);
  int64_t integer;
  size_t count;
  if (lx_take_integer(r, type, &integer)) {
    if (integer < -LX_SAFE_MAX || integer > LX_SAFE_MAX) return JS_NewBigInt64(lx_js, integer);
    return JS_NewInt64(lx_js, integer);
  }
  if (type == 0xc0) return JS_NULL;
  if (type == 0xc2 || type == 0xc3) return JS_NewBool(lx_js, type == 0xc3);
  if (type == 0xcb) return get_float(r);
  switch (lx_take_head(r, type, &count)) {
    case LX_TEXT: return lx_new_text((const char *)lx_get_bytes(r, count), count);
    case LX_BYTES: return JS_NewUint8ArrayCopy(lx_js, lx_get_bytes(r, count), count);
    case LX_LIST:
    case LX_MAP: break;
    default: lx_malformed();
  }
  if (depth == LX_DEPTH_MAX) lx_malformed();
  if ((type & 0xf0) == 0x90 || type == 0xdc || type == 0xdd) return get_list(r, count, depth);
  return get_map(r, count, depth);
}

JSValue lx_get_value(LxReader *r) {
  return get_any(r, 0);
}
