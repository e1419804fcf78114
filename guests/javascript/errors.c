/*
** errors.c - what went wrong, as the host is told: texts are bounded, thrown values of any kind are
** dealt with, and nothing a thrown value does can fail the telling. Making an error runs no
** JavaScript: the prelude takes away what would (Error.prepareStackTrace, Error.stackTraceLimit).
*/
#include "lx.h"

static JSValue error_prototype;

/* Takes the prototype of LithoxError. */
void lx_keep_error_prototype(JSValue prototype) {
  error_prototype = prototype;
}

/* ---- what the host refused ---- */

/* Throws [status, code, message, fields] as a LithoxError {code, message, ...fields}. */
JSValue lx_throw_refusal(LxReader *answer) {
  JSValue error = JS_NewError(lx_js), code, message;
  const char *text;
  size_t len;
  JS_SetPrototype(lx_js, error, error_prototype);
  text = lx_get_text(answer, &len);
  code = lx_new_text(text, len);
  text = lx_get_text(answer, &len);
  message = lx_new_text(text, len);
  if (answer->at < answer->end && !lx_get_nil(answer)) {
    uint32_t count = lx_get_map(answer);
    while (count-- > 0) {
      JSAtom name;
      text = lx_get_text(answer, &len);
      name = JS_NewAtomLen(lx_js, text, len);
      JS_DefinePropertyValue(lx_js, error, name, lx_get_value(answer), JS_PROP_C_W_E);
      JS_FreeAtom(lx_js, name);
    }
  }
  JS_DefinePropertyValueStr(lx_js, error, "code", code, JS_PROP_C_W_E);
  JS_DefinePropertyValueStr(lx_js, error, "message", message,
                            JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
  return JS_Throw(lx_js, error);
}

/* ---- what was thrown ---- */

/* Drops an exception that telling another one has made. */
static void drop_exception(void) {
  JS_FreeValue(lx_js, JS_GetException(lx_js));
}

/* Returns an own property that is text, else undefined; runs nothing. */
JSValue lx_text_property(JSValueConst object, const char *name) {
  LxProperty property;
  if (!JS_IsObject(object) || !lx_own_property(object, name, &property) ||
      !JS_IsString(property.value))
    return JS_UNDEFINED;
  return JS_DupValue(lx_js, property.value);
}

/* Returns "TypeError" and the like; undefined for a plain Error and for what is none. */
static JSValue name_of(JSValueConst thrown) {
  JSValue name;
  const char *text;
  int is_plain = 1;
  if (!JS_IsError(thrown)) return JS_UNDEFINED;
  name = JS_GetPropertyStr(lx_js, thrown, "name"); /* may run JavaScript */
  if (JS_IsException(name)) drop_exception();
  if (!JS_IsString(name)) {
    JS_FreeValue(lx_js, name);
    return JS_UNDEFINED;
  }
  text = JS_ToCString(lx_js, name);
  if (text != NULL) is_plain = strcmp(text, "Error") == 0 || strcmp(text, "LithoxError") == 0;
  JS_FreeCString(lx_js, text);
  if (!is_plain) return name;
  JS_FreeValue(lx_js, name);
  return JS_UNDEFINED;
}

/* Returns "name: text". */
static JSValue join_name(JSValueConst name, JSValueConst text) {
  const char *first = JS_ToCString(lx_js, name), *second = JS_ToCString(lx_js, text);
  LxBuffer whole = {lx_need(malloc(256)), 0, 256, 1};
  lx_put_raw(&whole, first, strlen(first));
  lx_put_raw(&whole, ": ", 2);
  lx_put_raw(&whole, second, strlen(second));
  return lx_new_text((const char *)whole.bytes, whole.len);
}

static JSValue message_of_object(JSValueConst thrown) {
  JSValue text = lx_text_property(thrown, "message"), name = JS_UNDEFINED;
  if (JS_IsUndefined(lx_text_property(thrown, "code"))) name = name_of(thrown);
  if (!JS_IsUndefined(name)) return JS_IsUndefined(text) ? name : join_name(name, text);
  if (!JS_IsUndefined(text)) return text;
  return JS_NewString(lx_js, JS_IsError(thrown) ? "an Error without a message was thrown"
                                                : "an object without a message was thrown");
}

/* Returns what a thrown value says, text: its message, itself, or what it is. */
static JSValue message_of(JSValueConst thrown) {
  JSValue text;
  if (JS_IsObject(thrown)) return message_of_object(thrown);
  if (JS_IsSymbol(thrown)) return JS_NewString(lx_js, "a symbol was thrown");
  text = JS_ToString(lx_js, thrown);
  if (!JS_IsException(text)) return text;
  drop_exception();
  return JS_NewString(lx_js, "a value was thrown that has no text");
}

/* Returns `text` behind a first line that names the constructor in prelude.c: no code of the module
** stands there. */
static const char *skip_ours(const char *text, size_t *len) {
  static const char ours[] = "    at LithoxError (lithox:";
  const char *end = memchr(text, '\n', *len);
  if (*len < sizeof ours || memcmp(text, ours, sizeof ours - 1) != 0 || end == NULL) return text;
  *len -= (size_t)(end + 1 - text);
  return end + 1;
}

/* Returns the error's stack as UTF-8 without the last line's end. */
static const char *stack_of(JSValueConst thrown, size_t *len) {
  JSValue stack = JS_IsObject(thrown) ? lx_stack_of(thrown) : JS_UNDEFINED;
  const char *text = JS_IsUndefined(stack) ? NULL : JS_ToCStringLen(lx_js, len, stack);
  JS_FreeValue(lx_js, stack);
  if (text == NULL) {
    *len = 0;
    return "";
  }
  while (*len > 0 && text[*len - 1] == '\n') --*len;
  return skip_ours(text, len);
}

static void put_stack(JSValueConst thrown) {
  size_t len;
  const char *text = stack_of(thrown, &len);
  JSValue value = lx_new_text(text, len);
  lx_put_shown(&lx_message, value, LX_MESSAGE_BYTES_MAX);
}

/* Returns a plain object of an error's own properties that are values; undefined: it has none. */
static JSValue fields_of(JSValueConst error) {
  JSValue fields = JS_NewObject(lx_js);
  LxBuffer scratch = {lx_need(malloc(256)), 0, 256, 1};
  int any = 0;
  for (uint32_t i = 0; i < lx_property_count(error); i++) {
    LxProperty property;
    char small[128], *name;
    size_t len;
    JSAtom atom;
    if (!lx_property_at(error, i, &property) || property.is_getter) continue;
    scratch.len = 0;
    if (lx_put_value(&scratch, property.value, &(LxName){"error", NULL, 0})) {
      drop_exception();
      continue;
    }
    name = lx_utf8_of(&property.name, &len, small, sizeof small);
    if (name == NULL) continue;
    atom = JS_NewAtomLen(lx_js, name, len);
    JS_DefinePropertyValue(lx_js, fields, atom, JS_DupValue(lx_js, property.value), JS_PROP_C_W_E);
    any = 1;
  }
  return any ? fields : JS_UNDEFINED;
}

/* Writes the thrown value as data: itself, or an error's own fields; nil when it is no value. */
static void put_data(JSValueConst thrown) {
  size_t start = lx_message.len;
  JSValue data = JS_IsError(thrown) ? fields_of(thrown) : JS_DupValue(lx_js, thrown);
  int result = lx_put_value(&lx_message, data, &(LxName){"error", NULL, 0});
  if (result) drop_exception();
  if (result == 0 && lx_message.len - start <= LX_ERROR_DATA_BYTES_MAX) return;
  lx_message.len = start;
  lx_put_nil(&lx_message);
}

/* Writes the outcome [1, [code, message, traceback, data], reads, scans, {}] of a thrown value. */
void lx_put_error(JSValue thrown) {
  JSValue message = message_of(thrown); /* first: it may run JavaScript */
  JSValue code = lx_text_property(thrown, "code");
  lx_message.len = 0;
  lx_put_array(&lx_message, 5);
  lx_put_integer(&lx_message, 1);
  lx_put_array(&lx_message, 4);
  if (JS_IsUndefined(code)) lx_put_text(&lx_message, "", 0);
  else lx_put_shown(&lx_message, code, LX_CODE_BYTES_MAX);
  lx_put_shown(&lx_message, message, LX_MESSAGE_BYTES_MAX);
  put_stack(thrown);
  put_data(thrown);
  lx_state_put_used(&lx_message);
  lx_put_map(&lx_message, 0);
}

/* ---- what cannot be loaded ---- */

typedef struct Place {
  long line, column; /* 0: unknown */
} Place;

/* Finds the first "name:line:column" in a stack. */
static Place find_place(const char *stack, const char *name) {
  size_t len = strlen(name);
  for (const char *at = strstr(stack, name); at != NULL; at = strstr(at + 1, name)) {
    char *end;
    Place place;
    if (at[len] != ':') continue;
    place.line = strtol(at + len + 1, &end, 10);
    if (end == at + len + 1 || place.line <= 0) continue;
    place.column = *end == ':' ? strtol(end + 1, &end, 10) : 0;
    return place;
  }
  return (Place){0, 0};
}

/* Writes [1, message, line | nil, traceback, column | nil]. `import_line`: of an import that was
** refused, else 0. */
void lx_put_load_error(JSValue thrown, const char *name, uint32_t import_line) {
  JSValue message = message_of(thrown);
  size_t len;
  const char *stack = stack_of(thrown, &len), *text = JS_ToCString(lx_js, message);
  Place place = find_place(stack, name);
  LxBuffer whole = {lx_need(malloc(256)), 0, 256, 1};
  char number[32];
  if (import_line > 0) place = (Place){(long)import_line, 0};
  lx_put_raw(&whole, name, strlen(name));
  if (place.line > 0)
    lx_put_raw(&whole, number, (size_t)snprintf(number, sizeof number, ":%ld", place.line));
  if (place.column > 0)
    lx_put_raw(&whole, number, (size_t)snprintf(number, sizeof number, ":%ld", place.column));
  lx_put_raw(&whole, ": ", 2);
  lx_put_raw(&whole, text, strlen(text));
  lx_message.len = 0;
  lx_put_array(&lx_message, 5);
  lx_put_integer(&lx_message, 1);
  lx_put_shown(&lx_message, lx_new_text((const char *)whole.bytes, whole.len),
               LX_MESSAGE_BYTES_MAX);
  if (place.line > 0) lx_put_integer(&lx_message, place.line);
  else lx_put_nil(&lx_message);
  put_stack(thrown);
  if (place.column > 0) lx_put_integer(&lx_message, place.column);
  else lx_put_nil(&lx_message);
}
