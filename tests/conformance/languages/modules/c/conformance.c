/*
** The handlers of README.md in C. What a handler does is said there, once.
*/
#include <lithox.h>

/* Texts the run is refused with are the SDK's; CANNOT is what C has no way to try. */
#define CANNOT lx_text(LX("cannot"))

/* Things that must not outlive a run; `bump` counts each up. */
static int64_t static_variable;
int64_t global_variable;
static uint8_t static_buffer[4096];
static int64_t *made_by_initialize;
static int64_t (*function_pointer)(void);

static int64_t first_function(void) { return 1; }
static int64_t second_function(void) { return 2; }

LX_INITIALIZE() {
  made_by_initialize = lx_alloc(sizeof *made_by_initialize);
  *made_by_initialize = 0;
  function_pointer = first_function;
}

static lx_str text_arg(uint32_t index) { return lx_arg_text(index, LX("")); }

/* A list of arguments, left out: none. */
static lx_value args_arg(uint32_t index) {
  lx_value args = lx_arg(index);
  return lx_is_null(args) ? lx_list() : args;
}

static lx_value text_of(uint32_t length) {
  char *text = lx_alloc(length);
  for (uint32_t i = 0; i < length; i++) text[i] = 'x';
  return lx_text((lx_str){text, length});
}

/* ---- values ---- */

LX_HANDLER(echo) { return lx_arg(0); }

LX_HANDLER(pair) { return lx_list_of(lx_arg(0), lx_arg(1)); }

LX_HANDLER(describe) {
  static const char *const kinds[] = {"null", "bool",  "int",  "float",
                                      "text", "bytes", "list", "map"};
  return lx_text(lx_str_of(kinds[lx_arg(0).kind]));
}

static lx_value make_value(lx_str kind) {
  if (lx_str_equal(kind, LX("nan"))) return lx_float(__builtin_nan(""));
  if (lx_str_equal(kind, LX("infinity"))) return lx_float(__builtin_inf());
  if (lx_str_equal(kind, LX("minus_infinity"))) return lx_float(-__builtin_inf());
  if (lx_str_equal(kind, LX("lone_surrogate"))) return lx_text(LX("a\xed\xa0\x80z"));
  if (lx_str_equal(kind, LX("cycle"))) {
    lx_value list = lx_list_of(lx_null());
    list.items[0] = list;
    return list;
  }
  return CANNOT;
}

LX_HANDLER(make) {
  lx_value value = make_value(text_arg(0));
  if (lx_is_null(lx_arg(1)) || lx_str_equal(lx_as_text(value, LX("")), LX("cannot"))) return value;
  lx_put(text_arg(1), value);
  return lx_null();
}

LX_HANDLER(empty) { return lx_str_equal(text_arg(0), LX("list")) ? lx_list() : lx_map(); }

LX_HANDLER(nest) {
  lx_value value = lx_list();
  for (int64_t depth = lx_arg_int(0, 1); depth > 1; depth--) value = lx_list_of(value);
  return value;
}

LX_HANDLER(text) { return text_of((uint32_t)lx_arg_int(0, 0)); }

LX_HANDLER(_hidden) { return lx_int(1); }

/* ---- whose run it is ---- */

static lx_value who(void) {
  lx_value told = lx_map();
  lx_set(&told, LX("id"), lx_text(lx_self.id));
  lx_set(&told, LX("caller"), lx_text(lx_self.caller));
  lx_set(&told, LX("request_id"),
         lx_self.request_id.at == NULL ? lx_null() : lx_text(lx_self.request_id));
  lx_set(&told, LX("attempt"), lx_int(lx_self.attempt));
  return told;
}

LX_HANDLER(who) { return who(); }

LX_HANDLER(forge) {
  lx_self.id = lx_self.caller = lx_self.request_id = LX("forged");
  lx_self.attempt = 1000;
  return who();
}

LX_HANDLER(log) {
  lx_log(text_arg(0), text_arg(1), lx_arg(2));
  return lx_null();
}

LX_HANDLER(say) { return lx_null(); }

LX_HANDLER(log_often) {
  lx_value text = text_of((uint32_t)lx_arg_int(1, 0));
  for (int64_t i = lx_arg_int(0, 0); i > 0; i--)
    lx_log(LX("info"), lx_as_text(text, LX("")), lx_null());
  return lx_null();
}

LX_HANDLER(usage) { return lx_usage(); }

/* ---- state ---- */

LX_HANDLER(increment) {
  lx_value count = lx_int(lx_get_int(LX("count"), 0) + lx_arg_int(0, 1));
  lx_put(LX("count"), count);
  return count;
}

LX_HANDLER(get) { return lx_get(text_arg(0)); }

LX_HANDLER(has) { return lx_bool(lx_has(text_arg(0))); }

LX_HANDLER(put) {
  lx_put(text_arg(0), lx_arg(1));
  return lx_null();
}

LX_HANDLER(delete) {
  lx_delete(text_arg(0));
  return lx_null();
}

static int64_t count_leaves(lx_value value) {
  int64_t count = 0;
  if (value.kind != LX_LIST && value.kind != LX_MAP) return 1;
  for (uint32_t i = 0; i < value.length; i++)
    count += count_leaves(value.kind == LX_LIST ? value.items[i] : value.members[i].value);
  return count;
}

LX_HANDLER(look) { return lx_int(count_leaves(lx_get(text_arg(0)))); }

static void edit_value(lx_value *value) {
  lx_value *inner = lx_field_at(value, LX("inner"));
  lx_value *count = lx_field_at(inner, LX("count"));
  *count = lx_int(lx_as_int(*count, 0) + 1);
  lx_push(lx_field_at(inner, LX("list")), lx_text(LX("added")));
}

LX_HANDLER(edit) {
  lx_value value = lx_get(text_arg(0));
  edit_value(&value);
  lx_put(text_arg(0), value);
  return lx_null();
}

LX_HANDLER(unedit) {
  lx_value value = lx_get(text_arg(0));
  lx_value *inner = lx_field_at(&value, LX("inner")), *count = lx_field_at(inner, LX("count"));
  edit_value(&value);
  lx_put(text_arg(0), value);
  *count = lx_int(lx_as_int(*count, 0) - 1);
  lx_field_at(inner, LX("list"))->length--;
  lx_put(text_arg(0), value);
  return lx_null();
}

LX_HANDLER(detach) {
  lx_value old = lx_get(text_arg(0)), fresh = lx_map();
  lx_set(&fresh, LX("new"), lx_bool(true));
  lx_put(text_arg(0), fresh);
  edit_value(&old);
  return lx_null();
}

LX_HANDLER(share) {
  lx_put(text_arg(1), lx_get(text_arg(0)));
  return lx_null();
}

/* Rows of a walk, or their keys alone, at most `count` of them. */
static lx_value collect(lx_cursor cursor, bool are_keys, int64_t count) {
  lx_value rows = lx_list();
  while (rows.length < count && lx_next(&cursor)) {
    lx_value key = lx_text(cursor.key);
    lx_push(&rows, are_keys ? key : lx_list_of(key, cursor.value));
  }
  return rows;
}

LX_HANDLER(keys) { return collect(lx_scan(LX(""), LX("")), true, INT64_MAX); }

LX_HANDLER(scan) { return collect(lx_scan(text_arg(0), text_arg(1)), false, INT64_MAX); }

LX_HANDLER(range) {
  lx_str end = lx_arg_text(1, (lx_str){NULL, 0});
  return collect(lx_range(text_arg(0), end, text_arg(2)), false, INT64_MAX);
}

LX_HANDLER(scan_some) {
  return collect(lx_scan(text_arg(0), LX("")), false, lx_arg_int(1, 0));
}

LX_HANDLER(scan_own) {
  lx_put(text_arg(1), lx_bool(true));
  lx_delete(text_arg(2));
  return collect(lx_scan(text_arg(0), LX("")), true, INT64_MAX);
}

LX_HANDLER(fill) {
  lx_value text = text_of((uint32_t)lx_arg_int(2, 0));
  for (int64_t n = 1; n <= lx_arg_int(1, 0); n++) {
    lx_str digits = lx_str_of_int(100000 + n);
    lx_put(lx_concat(text_arg(0), (lx_str){digits.at + 1, digits.length - 1}), text);
  }
  return lx_null();
}

/* ---- others ---- */

LX_HANDLER(call) { return lx_call(text_arg(0), text_arg(1), args_arg(2)); }

static lx_value try_call(uint32_t first) {
  lx_value told = lx_map(), value;
  lx_error error;
  value = lx_call(text_arg(first), text_arg(first + 1), args_arg(first + 2));
  if (lx_catch(&error)) {
    lx_set(&told, LX("code"), lx_text(error.code));
    lx_set(&told, LX("message"), lx_text(error.message));
  }
  else lx_set(&told, LX("value"), value);
  return told;
}

LX_HANDLER(try_call) { return try_call(0); }

LX_HANDLER(put_call) {
  lx_put(text_arg(0), lx_arg(1));
  return try_call(2);
}

LX_HANDLER(call_fail) {
  lx_call(text_arg(0), text_arg(1), args_arg(2));
  return lx_fail("after_call", "after the call");
}

LX_HANDLER(request) { return lx_request(text_arg(0), text_arg(1), args_arg(2)); }

LX_HANDLER(request_fail) {
  lx_request(text_arg(0), text_arg(1), args_arg(2));
  return lx_fail("after_request", "after the request");
}

LX_HANDLER(send) { return lx_send(text_arg(0), text_arg(1), args_arg(2)); }

LX_HANDLER(send_fail) {
  lx_send(text_arg(0), text_arg(1), args_arg(2));
  return lx_fail("after_send", "after sending");
}

LX_HANDLER(after) { return lx_after(lx_arg_int(0, 0), text_arg(1), args_arg(2)); }

LX_HANDLER(schedule) { return lx_schedule(lx_arg(0)); }

LX_HANDLER(cancel) { return lx_bool(lx_cancel(lx_arg(0))); }

LX_HANDLER(timers) { return lx_timers(); }

/* ---- big values ---- */

LX_HANDLER(write_big) {
  lx_writer writer = lx_open_writer(text_arg(0));
  lx_value piece = text_of((uint32_t)lx_arg_int(2, 0));
  for (int64_t n = lx_arg_int(1, 0); n > 0; n--) lx_write(&writer, lx_as_text(piece, LX("")));
  return lx_text(lx_close_writer(&writer));
}

LX_HANDLER(leave_big) {
  lx_writer writer = lx_open_writer(text_arg(0));
  lx_write(&writer, LX("never closed"));
  return lx_null();
}

LX_HANDLER(read_big) {
  lx_reader reader;
  lx_value told = lx_map();
  int64_t pieces = 0, bytes = 0;
  if (!lx_open_reader(&reader, text_arg(0))) return lx_null();
  for (lx_str piece; (piece = lx_read(&reader, (uint32_t)lx_arg_int(1, 0))).length > 0; pieces++)
    bytes += piece.length;
  lx_set(&told, LX("size"), lx_int(reader.size));
  lx_set(&told, LX("digest"), lx_text(reader.digest));
  lx_set(&told, LX("pieces"), lx_int(pieces));
  lx_set(&told, LX("bytes"), lx_int(bytes));
  return told;
}

LX_HANDLER(big_at) {
  lx_reader reader;
  if (!lx_open_reader(&reader, text_arg(0))) return lx_null();
  reader.position = lx_arg_int(1, 0);
  return lx_bytes(lx_read(&reader, (uint32_t)lx_arg_int(2, 0)));
}

/* ---- errors ---- */

static lx_value raise_plain(lx_str message) {
  return lx_fail_with(LX(""), message, lx_null()); /* RAISED HERE */
}

LX_HANDLER(fail) {
  if (lx_is_null(lx_arg(1))) return raise_plain(text_arg(0));
  return lx_fail_with(text_arg(1), text_arg(0), lx_arg(2));
}

LX_HANDLER(put_fail) {
  lx_put(text_arg(0), lx_arg(1));
  lx_delete(LX("count"));
  lx_put(lx_concat(LX("not "), text_arg(0)), lx_bool(true));
  return lx_fail_with(LX(""), text_arg(2), lx_null());
}

LX_HANDLER(catch) {
  raise_plain(LX("to be caught"));
  return lx_text(lx_catch(NULL) ? LX("caught") : LX("passed"));
}

/* ---- limits ---- */

/* What a compiler must take for something that may change, or it would leave the loop out. */
static volatile uint32_t seen;

static void loop_for_ever(void) {
  for (;;) seen++;
}

LX_HANDLER(loop) {
  loop_for_ever();
  return lx_null();
}

/* The attribute runs it when the variable goes out of scope. */
static void loop_at_end(int *unused) {
  (void)unused;
  loop_for_ever();
}

LX_HANDLER(loop_caught) {
  for (;;) {
    __attribute__((cleanup(loop_at_end))) int cleaned = 0;
    raise_plain(LX("swallowed"));
    lx_catch(NULL);
    loop_at_end(&cleaned);
  }
}

LX_HANDLER(loop_asking) {
  for (;;) {
    lx_usage();
    lx_catch(NULL);
  }
}

__attribute__((noinline)) static uint32_t go_down(uint32_t n) {
  volatile uint32_t kept = n;
  seen++;
  return go_down(n + 1) + kept;
}

LX_HANDLER(recurse) { return lx_int(go_down(0)); }

LX_HANDLER(eat) {
  for (;;) text_of(100000);
}

LX_HANDLER(eat_caught) {
  for (;;) seen += (uint32_t)__builtin_wasm_memory_grow(0, 1);
}

LX_HANDLER(ask_often) {
  int64_t answered = 0;
  for (int64_t n = lx_arg_int(0, 0); n > 0; n--) {
    lx_usage();
    answered += !lx_catch(NULL);
  }
  return lx_int(answered);
}

LX_HANDLER(spin) {
  int64_t t = 0, count = lx_arg_int(0, 0);
  for (int64_t i = 1; i <= count; i++) t = (t * 31 + i) % 1000003;
  return lx_int(t);
}

/* ---- determinism, authority, images ---- */

LX_HANDLER(random) {
  lx_value numbers = lx_list();
  for (int64_t n = lx_arg_int(0, 0); n > 0; n--)
    lx_push(&numbers, lx_int((int64_t)(lx_random() >> 1)));
  return numbers;
}

LX_HANDLER(now) { return lx_int(lx_self.now_ms); }

LX_HANDLER(clocks) { return lx_list(); }

/* Addresses, sizes of memory, floats and random numbers, as they come. */
LX_HANDLER(mixed) {
  lx_value seen_here = lx_list(), map = lx_map();
  for (int64_t n = lx_arg_int(0, 0); n > 0; n--) {
    double third = (double)lx_random() / 3.0;
    lx_set(&map, lx_str_of_int((int64_t)(lx_random() % 1000)), lx_float(third));
    lx_push(&seen_here, lx_int((int64_t)(uintptr_t)lx_alloc(8)));
    lx_push(&seen_here, lx_int((int64_t)(uintptr_t)&third));
    lx_push(&seen_here, lx_int((int64_t)__builtin_wasm_memory_size(0)));
  }
  lx_push(&seen_here, map);
  lx_push(&seen_here, lx_int((int64_t)(uintptr_t)go_down));
  return seen_here;
}

LX_HANDLER(bump) {
  static int64_t in_function;
  int64_t by_pointer = function_pointer() - 1; /* the second function is there in a second run */
  uint8_t *behind = lx_alloc(64);
  int64_t in_free_memory = behind[32] == 0xa5;
  int64_t in_pages = (int64_t)__builtin_wasm_memory_grow(0, 1);
  function_pointer = second_function;
  behind[32] = 0xa5;
  static_buffer[4095]++;
  return lx_list_of(lx_int(++static_variable), lx_int(++global_variable), lx_int(++in_function),
                    lx_int(static_buffer[4095]), lx_int(++*made_by_initialize),
                    lx_int(by_pointer + 1), lx_int(in_free_memory + 1), lx_int(in_pages > 0));
}

/* There is one import, and it is the run's own: nothing else to try from C. */
LX_HANDLER(reach) {
  static const char *const ways[] = {"files", "network", "environment", "process", "code"};
  lx_value told = lx_map();
  lx_value refusal;
  lx_error error;
  for (uint32_t i = 0; i < sizeof ways / sizeof *ways; i++)
    lx_set(&told, lx_str_of(ways[i]), lx_text(LX("absent")));
  lx_set(&told, LX("clock"), lx_text(LX("virtual")));
  lx_set(&told, LX("randomness"), lx_text(LX("virtual")));
  lx__buffer b = lx__begin(LX("open"), 1); /* a call the node does not have */
  lx__put_text(&b, LX("/etc/passwd"));
  refusal = lx__ask_value(&b);
  lx_set(&told, LX("host"),
         lx_catch(&error) ? lx_text(LX("refused")) : lx_list_of(lx_text(LX("reached: ")), refusal));
  return told;
}
