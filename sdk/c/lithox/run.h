/*
** run.h - what the host calls, and whose run it is. Part of lithox.h.
*/

/* The linker puts the entries LX_HANDLER makes one after the other, and gives both ends. */
extern const lx_handler __start_lx_handlers[], __stop_lx_handlers[];

/* ---- arguments ---- */

LX_API lx_value lx_arg(uint32_t index) {
  return lx_item(lx_self.args, index);
}

/* Leaves the error of an argument that is of another kind. */
LX_API void lx__refuse_argument(uint32_t index, const char *expected) {
  lx_str text = lx_concat(LX("argument "), lx_str_of_int((int64_t)index + 1));
  lx_fail_at(LX(""), lx_concat(lx_concat(text, LX(": expected ")), lx_str_of(expected)), lx_null(),
             NULL, 0, NULL);
}

LX_API int64_t lx_arg_int(uint32_t index, int64_t otherwise) {
  lx_value value = lx_arg(index);
  if (value.kind != LX_INT && value.kind != LX_NULL) lx__refuse_argument(index, "an integer");
  return lx_as_int(value, otherwise);
}

LX_API double lx_arg_float(uint32_t index, double otherwise) {
  lx_value value = lx_arg(index);
  if (value.kind != LX_INT && value.kind != LX_FLOAT && value.kind != LX_NULL)
    lx__refuse_argument(index, "a number");
  return lx_as_float(value, otherwise);
}

LX_API bool lx_arg_bool(uint32_t index, bool otherwise) {
  lx_value value = lx_arg(index);
  if (value.kind != LX_BOOL && value.kind != LX_NULL) lx__refuse_argument(index, "a bool");
  return lx_as_bool(value, otherwise);
}

LX_API lx_str lx_arg_text(uint32_t index, lx_str otherwise) {
  lx_value value = lx_arg(index);
  if (value.kind != LX_TEXT && value.kind != LX_NULL) lx__refuse_argument(index, "a text");
  return value.kind == LX_TEXT ? lx_as_text(value, otherwise) : otherwise;
}

/* ---- randomness ---- */

static uint64_t lx__seed;

/* SplitMix64 (Steele, Lea, Flood 2014). */
LX_API uint64_t lx_random(void) {
  uint64_t mixed = lx__seed += 0x9e3779b97f4a7c15u;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
  return mixed ^ (mixed >> 31);
}

/* ---- a run ---- */

static uint8_t *lx__message = lx__inbox;

LX_API lx_str lx__take_text(lx__input *in) {
  return lx_as_text(lx__take_value(in, 1), (lx_str){NULL, 0});
}

/* Takes the run message: [handler, args, entity, caller, request_id, attempt, now_ms, seed, state,
** complete]. Texts stay where they are. */
LX_API void lx__take_run(lx__input *in) {
  lx__take_count(in);
  lx_self.handler = lx__take_text(in);
  lx_self.args = lx__take_value(in, 1);
  lx_self.id = lx__take_text(in);
  lx_self.caller = lx__take_text(in);
  lx_self.request_id = lx__take_text(in);
  lx_self.attempt = lx_as_int(lx__take_value(in, 1), 1);
  lx_self.now_ms = lx_as_int(lx__take_value(in, 1), 0);
  lx__seed = (uint64_t)lx_as_int(lx__take_value(in, 1), 0);
  uint64_t left = lx__skip_head(in) / 2;
  while (left-- > 0 && !in->is_broken) {
    lx_str key = lx__take_text(in);
    bool is_there;
    uint32_t place = lx__find_entry(key, &is_there);
    lx__entry *entry = is_there ? &lx__state.entries[place] : lx__add_entry(place, key);
    entry->base = entry->now = lx__take_raw(in);
    entry->is_known = true;
  }
  lx__state.is_complete = lx_as_bool(lx__take_value(in, 1), false);
}

LX_API uint64_t lx__give(const lx__buffer *b) {
  return (uint64_t)(uintptr_t)b->bytes << 32 | (uint32_t)b->length;
}

/* Writes [1, [code, message, traceback, data], reads, scans, {}]. */
LX_API uint64_t lx__tell_failure(void) {
  lx__buffer b = {NULL, 0, 0};
  lx_error error;
  lx_catch(&error);
  if (!lx__is_utf8(error.message)) error.message = LX("(a message that is not text)");
  if (!lx__is_utf8(error.code)) error.code = LX("");
  lx__put_array(&b, 5);
  lx__put_int(&b, 1);
  lx__put_array(&b, 4);
  lx__put_text(&b, error.code);
  lx__put_text(&b, error.message);
  lx__put_text(&b, lx__failure.traceback);
  size_t before = b.length;
  lx__put_value(&b, error.fields, 1);
  if (lx_catch(NULL)) { /* the data cannot travel */
    b.length = before;
    lx__put_nil(&b);
  }
  lx__put_reads(&b);
  lx__put_array(&b, 0);
  lx__put_map(&b, 0);
  return lx__give(&b);
}

/* Writes [0, value, reads, scans, writes]. */
LX_API uint64_t lx__tell_value(lx_value value) {
  lx__buffer b = {NULL, 0, 0};
  lx__put_array(&b, 5);
  lx__put_int(&b, 0);
  lx__put_value(&b, value, 1);
  if (lx_failed()) return lx__tell_failure();
  lx__put_reads(&b);
  lx__put_array(&b, 0);
  lx__put_writes(&b);
  return lx__give(&b);
}

/* The host asks where a message of `length` bytes is to be put; 0: there is no memory for it. */
__attribute__((export_name("lx_reserve"))) void *lx_reserve(uint32_t length) {
  lx__message = length <= LX__INBOX_BYTES ? lx__inbox : lx_alloc(length);
  return lx__message;
}

/* The host runs a handler; gives address << 32 | length of the outcome. */
__attribute__((export_name("lx_run"))) uint64_t lx_run(uint32_t length) {
  lx__input in = {lx__message, lx__message + length, false};
  lx__take_run(&in);
  for (const lx_handler *one = __start_lx_handlers; one < __stop_lx_handlers; one++) {
    if (!lx_str_equal(one->name, lx_self.handler)) continue;
    lx_value value = one->run();
    return lx_failed() ? lx__tell_failure() : lx__tell_value(value);
  }
  lx_fail_at(LX(""), LX("the module has no handler of that name"), lx_null(), NULL, 0, NULL);
  return lx__tell_failure();
}
