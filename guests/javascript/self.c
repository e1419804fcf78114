/*
** self.c - `self`: its fields and methods, and the system calls under them.
**
** One call is made at a time: building a message runs no JavaScript (value.c). Methods return when
** the answer is there, the whole guest waits meanwhile; to await what they return does no harm.
*/
#include <math.h>

#include "lx.h"

LxPhase lx_phase = LX_BOOTING;
int64_t lx_now_ms = 0;
JSValue lx_self;

static uint8_t first_answer[1024];
static uint8_t *big_answer = NULL;

/* ---- the system call ---- */

/* Returns -1 and throws unless system calls are possible here: in a run. */
int lx_check_callable(void) {
  if (lx_phase == LX_RUNNING) return 0;
  JS_ThrowTypeError(lx_js,
                    "self and its system calls are there in a run only, not while a module loads");
  return -1;
}

/* Begins the message [0, name, ...]; the caller puts `argument_count` values after it. */
void lx_begin_call(const char *name, int argument_count) {
  lx_state_begin_message();
  lx_message.len = 0;
  lx_put_array(&lx_message, (size_t)argument_count + 2);
  lx_put_integer(&lx_message, 0);
  lx_put_text(&lx_message, name, strlen(name));
}

static void send_message(LxReader *answer) {
  int32_t len;
  free(big_answer);
  big_answer = NULL;
  len = lx_host_call(lx_message.bytes, (int32_t)lx_message.len, first_answer, sizeof first_answer);
  answer->at = first_answer;
  if (len < 0) {
    len = -len;
    big_answer = lx_need(malloc((size_t)len));
    len = lx_host_call(NULL, 0, big_answer, len);
    answer->at = big_answer;
  }
  if (len < 0) lx_malformed();
  answer->end = answer->at + len;
  answer->is_lossy = 0;
}

/* Sends lx_message and waits. `answer` is left at the first value after the status and is good
** until the next call. Returns -1 and throws when the host refuses. */
int lx_make_call(LxReader *answer) {
  int is_refused;
  send_message(answer);
  lx_get_array(answer);
  is_refused = lx_get_integer(answer) != 0;
  lx_state_confirm(is_refused);
  if (!is_refused) return 0;
  lx_throw_refusal(answer);
  return -1;
}

/* Returns the first value of `answer`; undefined when there is none, or null. */
JSValue lx_first_answer(LxReader *answer) {
  JSValue value = answer->at == answer->end ? JS_UNDEFINED : lx_get_value(answer);
  return JS_IsNull(value) ? JS_UNDEFINED : value;
}

/* ---- arguments ---- */

/* Returns -1 and throws unless `value` is text. */
int lx_check_text(JSValueConst value, const char *what) {
  if (JS_IsString(value)) return 0;
  JS_ThrowTypeError(lx_js, "%s is text", what);
  return -1;
}

/* Writes a text argument; returns -1 and throws when it is none. */
int lx_put_text_argument(JSValueConst value, const char *what) {
  if (lx_check_text(value, what)) return -1;
  return lx_put_js_text(&lx_message, value, &(LxName){what, NULL, 0});
}

/* Writes arguments as one list, undefined as null; returns -1 and throws when one is no value. */
int lx_put_arguments(int argc, JSValueConst *argv) {
  lx_put_array(&lx_message, argc > 0 ? (size_t)argc : 0);
  for (int i = 0; i < argc; i++)
    if (lx_put_value(&lx_message, argv[i], &(LxName){"argument", NULL, (size_t)i + 1})) return -1;
  return 0;
}

/* Takes a whole number; returns -1 and throws when `value` is none. */
int lx_get_whole(JSValueConst value, const char *what, int64_t *out) {
  double number;
  if (JS_IsBigInt(value)) return JS_ToBigInt64(lx_js, out, value);
  if (JS_IsNumber(value)) {
    JS_ToFloat64(lx_js, &number, value);
    if (number == floor(number) && fabs(number) <= (double)LX_SAFE_MAX) {
      *out = (int64_t)number;
      return 0;
    }
  }
  JS_ThrowTypeError(lx_js, "%s is a whole number", what);
  return -1;
}

/* An optional text: undefined and null are left out. Text is copied to outlive the run. Returns -1
** and throws when it is something else. */
static int get_area_text(JSValueConst value, const char *what, const char **text, size_t *len) {
  LxChars chars;
  JSValue flat;
  char *copy;
  if (JS_IsUndefined(value) || JS_IsNull(value)) return 0;
  if (lx_check_text(value, what)) return -1;
  flat = lx_flat_text(value, &chars);
  copy = lx_utf8_of(&chars, len, NULL, 0);
  JS_FreeValue(lx_js, flat);
  *text = copy != NULL ? copy : "";
  if (copy != NULL || chars.len == 0) return 0;
  JS_ThrowTypeError(lx_js, "%s is valid Unicode; found a lone surrogate", what);
  return -1;
}

static JSValueConst argument(int argc, JSValueConst *argv, int index) {
  return index < argc ? argv[index] : JS_UNDEFINED;
}

/* ---- methods ---- */

/* self.call(entity, handler, ...args): joins this run's transaction. */
static JSValue self_call(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
  LxReader answer;
  JSValue value;
  (void)ctx, (void)this_value;
  if (lx_check_callable()) return JS_EXCEPTION;
  lx_begin_call("call", 6);
  if (lx_put_text_argument(argument(argc, argv, 0), "entity") ||
      lx_put_text_argument(argument(argc, argv, 1), "handler") ||
      lx_put_arguments(argc - 2, argv + 2))
    return JS_EXCEPTION;
  lx_state_put_used(&lx_message);
  if (lx_state_put_writes(&lx_message) || lx_make_call(&answer)) return JS_EXCEPTION;
  value = lx_get_value(&answer);
  if (lx_get_bool(&answer)) lx_state_drop();
  return JS_IsNull(value) ? JS_UNDEFINED : value;
}

/* self.request(entity, handler, ...args): a request of its own, committed before it answers. */
static JSValue self_request(JSContext *ctx, JSValueConst this_value, int argc,
                            JSValueConst *argv) {
  LxReader answer;
  (void)ctx, (void)this_value;
  if (lx_check_callable()) return JS_EXCEPTION;
  lx_begin_call("request", 3);
  if (lx_put_text_argument(argument(argc, argv, 0), "entity") ||
      lx_put_text_argument(argument(argc, argv, 1), "handler") ||
      lx_put_arguments(argc - 2, argv + 2) || lx_make_call(&answer))
    return JS_EXCEPTION;
  return lx_first_answer(&answer);
}

/* self.scan([prefix [, after]]) */
static JSValue self_scan(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
  LxArea area = {"", NULL, NULL, 0, 0, 0, 1};
  (void)ctx, (void)this_value;
  if (lx_check_callable() ||
      get_area_text(argument(argc, argv, 0), "prefix", &area.start, &area.start_len) ||
      get_area_text(argument(argc, argv, 1), "after", &area.after, &area.after_len))
    return JS_EXCEPTION;
  return lx_scan(&area);
}

/* self.range(from, to [, after]): `from` included, `to` not; null: from the first, to the last. */
static JSValue self_range(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
  LxArea area = {"", NULL, NULL, 0, 0, 0, 0};
  (void)ctx, (void)this_value;
  if (lx_check_callable() ||
      get_area_text(argument(argc, argv, 0), "from", &area.start, &area.start_len) ||
      get_area_text(argument(argc, argv, 1), "to", &area.end, &area.end_len) ||
      get_area_text(argument(argc, argv, 2), "after", &area.after, &area.after_len))
    return JS_EXCEPTION;
  return lx_scan(&area);
}

/* self.log(level, text [, fields]) */
static JSValue self_log(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
  static const char *const levels[] = {"debug", "info", "warning", "error", NULL};
  const char *const *level = levels;
  JSValueConst fields = argument(argc, argv, 2);
  int is_bare = JS_IsUndefined(fields) || JS_IsNull(fields), is_refused;
  LxReader answer;
  JSValue text;
  const char *name;
  (void)this_value;
  if (lx_check_text(argument(argc, argv, 0), "level")) return JS_EXCEPTION;
  name = JS_ToCString(ctx, argv[0]);
  while (*level != NULL && strcmp(*level, name) != 0) level++;
  JS_FreeCString(ctx, name);
  if (*level == NULL)
    return JS_ThrowTypeError(ctx, "level is one of debug, info, warning and error");
  if (!is_bare && !JS_IsObject(fields)) return JS_ThrowTypeError(ctx, "fields are an object");
  text = JS_ToString(ctx, argument(argc, argv, 1)); /* may run JavaScript: before the message */
  if (JS_IsException(text)) return JS_EXCEPTION;
  lx_begin_call("log", 3);
  lx_put_text(&lx_message, *level, strlen(*level));
  lx_put_shown(&lx_message, text, LX_INBOX_BYTES);
  JS_FreeValue(ctx, text);
  is_refused = lx_put_value(&lx_message, fields, &(LxName){"fields", NULL, 0});
  return is_refused || lx_make_call(&answer) ? JS_EXCEPTION : JS_UNDEFINED;
}

/* self.now(): milliseconds since 1970 at the run's start. */
static JSValue self_now(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
  (void)this_value, (void)argc, (void)argv;
  return JS_NewInt64(ctx, lx_now_ms);
}

/* self.usage() -> {used, allowed} */
static JSValue self_usage(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
  LxReader answer;
  (void)ctx, (void)this_value, (void)argc, (void)argv;
  if (lx_check_callable()) return JS_EXCEPTION;
  lx_begin_call("usage", 0);
  return lx_make_call(&answer) ? JS_EXCEPTION : lx_first_answer(&answer);
}

/* ---- self ---- */

enum { FIELD_ID, FIELD_CALLER, FIELD_REQUEST_ID, FIELD_COUNT };

/* The fields of this run, in its message. */
static LxReader fields[FIELD_COUNT];
static int64_t attempt;

/* Takes [..., entity, caller, request_id, attempt, ...] of the run message. */
void lx_self_begin(LxReader *run) {
  for (int i = 0; i < FIELD_COUNT; i++) {
    fields[i].at = lx_skip(run);
    fields[i].end = run->at;
  }
  attempt = lx_get_integer(run);
}

static JSValue get_field(JSContext *ctx, JSValueConst this_value, int field) {
  LxReader r = fields[field];
  (void)ctx, (void)this_value;
  return r.at == NULL ? JS_NULL : lx_get_value(&r);
}

static JSValue get_attempt(JSContext *ctx, JSValueConst this_value) {
  (void)this_value;
  return JS_NewInt64(ctx, attempt);
}

static int refuse_set(JSContext *ctx, JSValueConst object, JSAtom atom, JSValueConst value,
                      JSValueConst receiver, int flags) {
  const char *name = JS_AtomToCString(ctx, atom);
  (void)object, (void)value, (void)receiver, (void)flags;
  JS_ThrowTypeError(ctx, "self.%s cannot be set; what must last goes into self.state",
                    name != NULL ? name : "?");
  JS_FreeCString(ctx, name);
  return -1;
}

#define FIELD JS_PROP_ENUMERABLE

static const JSCFunctionListEntry self_fields[] = {
    JS_CGETSET_MAGIC_DEF2("id", get_field, NULL, FIELD_ID, FIELD),
    JS_CGETSET_MAGIC_DEF2("caller", get_field, NULL, FIELD_CALLER, FIELD),
    JS_CGETSET_MAGIC_DEF2("requestId", get_field, NULL, FIELD_REQUEST_ID, FIELD),
    JS_CGETSET_DEF2("attempt", get_attempt, NULL, FIELD),
    JS_CFUNC_DEF("call", 2, self_call),
    JS_CFUNC_DEF("request", 2, self_request),
    JS_CFUNC_DEF("scan", 0, self_scan),
    JS_CFUNC_DEF("range", 2, self_range),
    JS_CFUNC_DEF("log", 2, self_log),
    JS_CFUNC_DEF("now", 0, self_now),
    JS_CFUNC_DEF("usage", 0, self_usage)};

/* Makes `self`, frozen: nobody can put something else in the place of its fields and methods. */
void lx_open_self(void) {
  static JSClassExoticMethods methods = {.set_property = refuse_set};
  static const JSClassDef definition = {.class_name = "Self", .exotic = &methods};
  static JSClassID self_class;
  JS_NewClassID(JS_GetRuntime(lx_js), &self_class);
  JS_NewClass(JS_GetRuntime(lx_js), self_class, &definition);
  lx_self = JS_NewObjectProtoClass(lx_js, JS_NULL, self_class);
  JS_SetPropertyFunctionList(lx_js, lx_self, self_fields, sizeof self_fields / sizeof *self_fields);
  JS_SetPropertyFunctionList(lx_js, lx_self, lx_later_methods, lx_later_count);
  JS_SetPropertyFunctionList(lx_js, lx_self, lx_big_methods, lx_big_count);
  JS_DefinePropertyValueStr(lx_js, lx_self, "state", lx_open_state(), JS_PROP_ENUMERABLE);
  JS_FreezeObject(lx_js, lx_self);
}
