/*
** shim.c - the module's exports (guests/lua/README.md has the ABI): start the interpreter, load a
** module, run a handler. Every result is MessagePack at (pointer << 32 | length).
*/
#include "lx.h"

JSContext *lx_js = NULL;

static JSValue handlers; /* the namespace of the module that was loaded */

/* ---- jobs and promises ---- */

/* Promises that were rejected with nobody looking, and why. */
typedef struct Rejection {
  JSValue promise, reason;
} Rejection;

static struct {
  Rejection *list;
  uint32_t count, cap;
} rejections;

static void track_rejection(JSContext *ctx, JSValueConst promise, JSValueConst reason,
                            bool is_handled, void *unused) {
  (void)unused;
  for (uint32_t i = 0; is_handled && i < rejections.count; i++) {
    Rejection *one = &rejections.list[i];
    if (JS_VALUE_GET_PTR(one->promise) != JS_VALUE_GET_PTR(promise)) continue;
    JS_FreeValue(ctx, one->promise);
    JS_FreeValue(ctx, one->reason);
    memmove(one, one + 1, (--rejections.count - i) * sizeof *one);
    return;
  }
  if (is_handled) return;
  rejections.list = lx_grow(rejections.list, rejections.count, &rejections.cap, sizeof(Rejection));
  rejections.list[rejections.count++] =
      (Rejection){JS_DupValue(ctx, promise), JS_DupValue(ctx, reason)};
}

/* Runs what is left to run, then takes the value of `result`, which is a promise or a value.
** Returns an exception when something was rejected that nobody looked at, or can never settle. */
static JSValue settle(JSValue result, const char *never) {
  int is_promise = JS_IsPromise(result);
  JSContext *of;
  int ran;
  if (is_promise) JS_PromiseMarkAsHandled(lx_js, result);
  while ((ran = JS_ExecutePendingJob(JS_GetRuntime(lx_js), &of)) > 0) continue;
  if (ran < 0) return JS_EXCEPTION;
  if (is_promise) {
    JSPromiseStateEnum state = JS_PromiseState(lx_js, result);
    JSValue value = JS_PromiseResult(lx_js, result);
    JS_FreeValue(lx_js, result);
    if (state == JS_PROMISE_PENDING) return JS_ThrowTypeError(lx_js, "%s", never);
    if (state == JS_PROMISE_REJECTED) return JS_Throw(lx_js, value);
    result = value;
  }
  if (rejections.count == 0) return result;
  return JS_Throw(lx_js, JS_DupValue(lx_js, rejections.list[0].reason));
}

/* ---- boot ---- */

/* writeLog(level, text) of the prelude; `magic` 1: keepErrorPrototype(prototype). */
static JSValue prelude_function(JSContext *ctx, JSValueConst this_value, int argc,
                                JSValueConst *argv, int magic) {
  JSValue log, result;
  (void)this_value;
  if (magic) {
    lx_keep_error_prototype(JS_DupValue(ctx, argv[0]));
    return JS_UNDEFINED;
  }
  log = JS_GetPropertyStr(ctx, lx_self, "log");
  result = JS_Call(ctx, log, lx_self, argc, argv);
  JS_FreeValue(ctx, log);
  return result;
}

static int run_prelude(void) {
  JSValue function =
      JS_Eval(lx_js, lx_prelude, strlen(lx_prelude), "lithox", JS_EVAL_TYPE_GLOBAL);
  JSValue arguments[2] = {
      JS_NewCFunctionMagic(lx_js, prelude_function, "writeLog", 2, JS_CFUNC_generic_magic, 0),
      JS_NewCFunctionMagic(lx_js, prelude_function, "keep", 1, JS_CFUNC_generic_magic, 1)};
  JSValue result = JS_Call(lx_js, function, JS_UNDEFINED, 2, arguments);
  int is_good = !JS_IsException(result);
  JS_FreeValue(lx_js, arguments[0]);
  JS_FreeValue(lx_js, arguments[1]);
  JS_FreeValue(lx_js, function);
  JS_FreeValue(lx_js, result);
  return is_good;
}

static char *keep_name(JSContext *ctx, const char *base, const char *name, void *unused);
static JSModuleDef *refuse_import(JSContext *ctx, const char *name, void *unused);

LX_EXPORT("lx_boot") int32_t lx_boot(void) {
  JSRuntime *runtime = lx_new_runtime();
  lx_js = lx_new_context(runtime);
  if (lx_js == NULL) return 1;
  JS_SetModuleLoaderFunc(runtime, keep_name, refuse_import, NULL);
  JS_SetHostPromiseRejectionTracker(runtime, track_rejection, NULL);
  lx_open_scan();
  lx_open_big();
  lx_open_self();
  if (!run_prelude()) return 2;
  lx_seed_random(1);
  lx_live_bytes();
  lx_phase = LX_LOADING;
  return 0;
}

/* ---- load ---- */

/* The text that is being loaded, with a zero at its end; NULL during a run. */
static char *source;
static size_t source_len;
static uint32_t import_line;

/* Returns the line in which `name` stands in quotes first, or 0. */
static uint32_t find_quoted(const char *name) {
  size_t len = strlen(name);
  uint32_t line = 1;
  for (size_t i = 0; source != NULL && i + len + 1 < source_len; i++) {
    if (source[i] == '\n') line++;
    if ((source[i] == '"' || source[i] == '\'') && source[i + len + 1] == source[i] &&
        memcmp(source + i + 1, name, len) == 0)
      return line;
  }
  return 0;
}

static char *keep_name(JSContext *ctx, const char *base, const char *name, void *unused) {
  (void)base, (void)unused;
  return js_strdup(ctx, name);
}

/* A handler's module is whole in itself. */
static JSModuleDef *refuse_import(JSContext *ctx, const char *name, void *unused) {
  (void)unused;
  import_line = find_quoted(name);
  JS_ThrowTypeError(ctx,
                    "'%s' cannot be imported: a module is one file here; put its functions into it",
                    name);
  return NULL;
}

static int compare_names(const void *left, const void *right) {
  const LxProperty *a = left, *b = right;
  return lx_compare_chars(&a->name, &b->name);
}

/* Writes [0, names of the exported functions, sorted]. */
static void put_handler_names(void) {
  JSPropertyEnum *names = NULL;
  uint32_t count = 0, kept = 0;
  JSValue *texts;
  JS_GetOwnPropertyNames(lx_js, &names, &count, handlers, JS_GPN_STRING_MASK);
  LxProperty *list = lx_need(calloc(count + 1, sizeof *list));
  texts = lx_need(calloc(count + 1, sizeof *texts));
  for (uint32_t i = 0; i < count; i++) {
    JSValue value = JS_GetProperty(lx_js, handlers, names[i].atom);
    if (JS_IsFunction(lx_js, value) && !lx_is_class(value)) {
      texts[kept] = lx_flat_text(JS_AtomToString(lx_js, names[i].atom), &list[kept].name);
      kept++;
    }
    JS_FreeValue(lx_js, value);
  }
  qsort(list, kept, sizeof *list, compare_names);
  lx_message.len = 0;
  lx_put_array(&lx_message, 2);
  lx_put_integer(&lx_message, 0);
  lx_put_array(&lx_message, kept);
  for (uint32_t i = 0; i < kept; i++) {
    size_t len;
    char small[128], *name = lx_utf8_of(&list[i].name, &len, small, sizeof small);
    lx_put_text(&lx_message, name != NULL ? name : "", name != NULL ? len : 0);
    if (name != small) free(name);
  }
  for (uint32_t i = 0; i < kept; i++) JS_FreeValue(lx_js, texts[i]);
  free(texts);
  free(list);
  JS_FreePropertyEnum(lx_js, names, count);
}

/* Compiles and evaluates the module; returns an exception when it cannot be. */
static JSValue load_module(const char *name) {
  JSValue module = JS_Eval(lx_js, source, source_len, name,
                           JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
  JSModuleDef *definition;
  JSValue result;
  if (JS_IsException(module)) return JS_EXCEPTION;
  definition = JS_VALUE_GET_PTR(module);
  result = settle(JS_EvalFunction(lx_js, module),
                  "the module waits for a promise that can never settle");
  if (!JS_IsException(result)) handlers = JS_GetModuleNamespace(lx_js, definition);
  return result;
}

LX_EXPORT("lx_load") uint64_t lx_load(uint32_t len) {
  size_t name_len;
  const char *text;
  char *name;
  lx_open_input(len);
  JS_UpdateStackTop(JS_GetRuntime(lx_js));
  lx_get_array(&lx_input);
  text = lx_get_text(&lx_input, &name_len);
  name = lx_need(calloc(name_len + 1, 1));
  memcpy(name, text, name_len);
  text = lx_get_text(&lx_input, &source_len);
  source = lx_need(malloc(source_len + 1));
  memcpy(source, text, source_len);
  source[source_len] = '\0';
  lx_close_input();
  import_line = 0;
  if (JS_IsException(load_module(name)))
    lx_put_load_error(JS_GetException(lx_js), name, import_line);
  else put_handler_names();
  free(source);
  source = NULL;
  free(name);
  lx_live_bytes();
  return lx_pack_message();
}

/* ---- run ---- */

/* Returns the handler of that name; an exception when there is none. */
static JSValue find_handler(const char *name, size_t len) {
  JSAtom atom = JS_NewAtomLen(lx_js, name, len);
  JSValue function = JS_GetProperty(lx_js, handlers, atom);
  JS_FreeAtom(lx_js, atom);
  if (JS_IsException(function) || (JS_IsFunction(lx_js, function) && !lx_is_class(function)))
    return function;
  return JS_ThrowTypeError(lx_js, "the module has no handler of that name");
}

/* Calls the handler the run message names; returns its value, or an exception. */
static JSValue call_handler(void) {
  static JSValue arguments[LX_ARGUMENTS_MAX + 1];
  LxReader args;
  JSValue function, result;
  const char *name;
  size_t name_len;
  uint32_t count;
  lx_get_array(&lx_input);
  name = lx_get_text(&lx_input, &name_len);
  args.at = lx_skip(&lx_input);
  args.end = lx_input.at;
  lx_self_begin(&lx_input);
  lx_now_ms = lx_get_integer(&lx_input);
  lx_seed_random((uint64_t)lx_get_integer(&lx_input));
  lx_state_begin(&lx_input);

  function = find_handler(name, name_len);
  if (JS_IsException(function)) return function;
  count = lx_get_array(&args);
  if (count > LX_ARGUMENTS_MAX)
    return JS_ThrowRangeError(lx_js, "a handler takes at most 250 arguments");
  arguments[0] = lx_self;
  for (uint32_t i = 1; i <= count; i++) arguments[i] = lx_get_value(&args);
  result = JS_Call(lx_js, function, JS_UNDEFINED, (int)count + 1, arguments);
  if (JS_IsException(result)) return result;
  return settle(result, "the handler waits for a promise that can never settle");
}

/* Writes [0, value, reads, scans, writes]; returns -1 and throws when something is no value. */
static int put_returned(JSValueConst value) {
  lx_message.len = 0;
  lx_put_array(&lx_message, 5);
  lx_put_integer(&lx_message, 0);
  if (lx_put_value(&lx_message, value, &(LxName){"the returned value", NULL, 0})) return -1;
  lx_state_put_used(&lx_message);
  return lx_state_put_writes(&lx_message);
}

LX_EXPORT("lx_run") uint64_t lx_run(uint32_t len) {
  JSValue result;
  lx_open_input(len);
  lx_phase = LX_RUNNING;
  JS_UpdateStackTop(JS_GetRuntime(lx_js));
  result = call_handler();
  if (JS_IsException(result) || put_returned(result)) lx_put_error(JS_GetException(lx_js));
  return lx_pack_message();
}
