/*
** later.c - what a handler sets going for after its commit: self.send, and its timers.
**
** All of it commits with the run; the host bounds and checks what is asked.
*/
#include "lx.h"

static void put_name(const char *name) {
  lx_put_text(&lx_message, name, strlen(name));
}

static JSValueConst argument(int argc, JSValueConst *argv, int index) {
  return index < argc ? argv[index] : JS_UNDEFINED;
}

/* Sends lx_message; the answer's value is the method's. */
static JSValue finish(void) {
  LxReader answer;
  return lx_make_call(&answer) ? JS_EXCEPTION : lx_first_answer(&answer);
}

/* self.send(entity, handler, ...args) -> message id */
static JSValue self_send(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
  (void)ctx, (void)this_value;
  if (lx_check_callable()) return JS_EXCEPTION;
  lx_begin_call("send", 3);
  if (lx_put_text_argument(argument(argc, argv, 0), "entity") ||
      lx_put_text_argument(argument(argc, argv, 1), "handler") ||
      lx_put_arguments(argc - 2, argv + 2))
    return JS_EXCEPTION;
  return finish();
}

static const char *const kinds[] = {"after", "at", "every", "cron"};
enum { KIND_AFTER, KIND_AT, KIND_EVERY, KIND_CRON };

/* self.after(ms, handler, ...args), self.at(ms since 1970, ...), self.every(ms, ...),
** self.cron(line, ...) -> timer id */
static JSValue set_timer(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv,
                         int kind) {
  int64_t ms = 0;
  (void)ctx, (void)this_value;
  if (lx_check_callable()) return JS_EXCEPTION;
  if (kind != KIND_CRON && lx_get_whole(argument(argc, argv, 0), "a time in milliseconds", &ms))
    return JS_EXCEPTION;
  lx_begin_call("schedule", 1);
  lx_put_map(&lx_message, 3);
  put_name(kinds[kind]);
  if (kind != KIND_CRON) lx_put_integer(&lx_message, ms);
  else if (lx_put_text_argument(argument(argc, argv, 0), "a cron line")) return JS_EXCEPTION;
  put_name("handler");
  if (lx_put_text_argument(argument(argc, argv, 1), "handler")) return JS_EXCEPTION;
  put_name("args");
  if (lx_put_arguments(argc - 2, argv + 2)) return JS_EXCEPTION;
  return finish();
}

/* self.schedule({handler, args, after | at | every | cron, zone, name, missed}) -> timer id */
static JSValue self_schedule(JSContext *ctx, JSValueConst this_value, int argc,
                             JSValueConst *argv) {
  static const char *const known[] = {"handler", "args", "after", "at",    "every",
                                      "cron",    "zone", "name",  "missed"};
  JSValueConst options = argument(argc, argv, 0);
  uint32_t found = 0, count = 0;
  size_t mark;
  LxProperty property;
  (void)this_value;
  if (lx_check_callable()) return JS_EXCEPTION;
  if (!JS_IsObject(options) || lx_kind_of(options) != LX_KIND_PLAIN)
    return JS_ThrowTypeError(ctx, "a schedule is a plain object");
  lx_begin_call("schedule", 1);
  mark = lx_open_map(&lx_message);
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (!lx_own_property(options, known[i], &property)) continue;
    found++;
    if (JS_IsUndefined(property.value) || JS_IsNull(property.value)) continue;
    put_name(known[i]);
    if (lx_put_value(&lx_message, property.value, &(LxName){known[i], NULL, 0}))
      return JS_EXCEPTION;
    count++;
  }
  lx_close_map(&lx_message, mark, count);
  for (uint32_t i = 0; i < lx_property_count(options); i++)
    if (lx_property_at(options, i, &property) && found-- == 0)
      return JS_ThrowTypeError(ctx, "a schedule has handler, args, one of after, at, every and "
                                    "cron, and zone, name, missed, and nothing else");
  return finish();
}

/* self.cancel(id) -> whether there was such a timer */
static JSValue self_cancel(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
  (void)ctx, (void)this_value;
  if (lx_check_callable()) return JS_EXCEPTION;
  lx_begin_call("cancel", 1);
  if (lx_put_text_argument(argument(argc, argv, 0), "id")) return JS_EXCEPTION;
  return finish();
}

/* Adds the next page of timers, those behind `after`, to `list`. Returns whether there are more,
** and their last id; -1 and throws when the host refuses. */
static int add_timers(JSContext *ctx, JSValueConst list, uint32_t *count, JSValue *after) {
  LxReader answer;
  JSValue last = JS_UNDEFINED;
  uint32_t rows;
  lx_begin_call("timers", 1);
  if (JS_IsUndefined(*after) || JS_IsNull(*after)) lx_put_nil(&lx_message);
  else if (lx_put_text_argument(*after, "after")) return -1;
  if (lx_make_call(&answer)) return -1;
  rows = lx_get_array(&answer);
  for (uint32_t i = 0; i < rows; i++) {
    JSValue timer = lx_get_value(&answer);
    JS_FreeValue(ctx, last);
    last = JS_GetPropertyStr(ctx, timer, "id");
    JS_DefinePropertyValueUint32(ctx, list, (*count)++, timer, JS_PROP_C_W_E);
  }
  JS_FreeValue(ctx, *after);
  *after = last;
  return lx_get_bool(&answer) && rows > 0;
}

/* self.timers([after]) -> all its timers by id */
static JSValue self_timers(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
  JSValue list, after;
  uint32_t count = 0;
  int more;
  (void)this_value;
  if (lx_check_callable()) return JS_EXCEPTION;
  list = JS_NewArray(ctx);
  after = JS_DupValue(ctx, argument(argc, argv, 0));
  while ((more = add_timers(ctx, list, &count, &after)) > 0) continue;
  JS_FreeValue(ctx, after);
  if (more == 0) return list;
  JS_FreeValue(ctx, list);
  return JS_EXCEPTION;
}

const JSCFunctionListEntry lx_later_methods[] = {
    JS_CFUNC_DEF("send", 2, self_send),
    JS_CFUNC_MAGIC_DEF("after", 2, set_timer, KIND_AFTER),
    JS_CFUNC_MAGIC_DEF("at", 2, set_timer, KIND_AT),
    JS_CFUNC_MAGIC_DEF("every", 2, set_timer, KIND_EVERY),
    JS_CFUNC_MAGIC_DEF("cron", 2, set_timer, KIND_CRON),
    JS_CFUNC_DEF("schedule", 1, self_schedule),
    JS_CFUNC_DEF("cancel", 1, self_cancel),
    JS_CFUNC_DEF("timers", 0, self_timers)};
const int lx_later_count = sizeof lx_later_methods / sizeof *lx_later_methods;
