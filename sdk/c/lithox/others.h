/*
** others.h - other entities, timers, the log, big values. Part of lithox.h.
*/

/* ---- calls, requests, messages ---- */

/* Writes entity, handler and the list of arguments. */
LX_API void lx__put_target(lx__buffer *b, lx_str entity, lx_str handler, lx_value args) {
  lx__put_checked_text(b, entity);
  lx__put_checked_text(b, handler);
  if (args.kind != LX_LIST) lx__refuse_value("arguments are a list: lx_list_of(...)");
  lx__put_value(b, args, 1);
}

LX_API lx_value lx_call(lx_str entity, lx_str handler, lx_value args) {
  lx__buffer b = lx__begin(LX("call"), 6);
  lx__input in;
  bool is_answered;
  lx_value value;
  if (lx_failed()) return lx_null();
  lx__put_target(&b, entity, handler, args);
  if (lx_failed()) return lx_null();
  lx__put_reads(&b);
  lx__put_array(&b, 0);
  lx__put_writes(&b);
  is_answered = lx__ask(&b, &in);
  lx__note_told(is_answered, true);
  if (!is_answered) return lx_null();
  value = lx__take_value(&in, 1);
  if (lx_as_bool(lx__take_value(&in, 1), true)) lx__forget_state();
  return value;
}

LX_API lx_value lx__tell(lx_str name, lx_str entity, lx_str handler, lx_value args) {
  lx__buffer b = lx__begin(name, 3);
  lx__put_target(&b, entity, handler, args);
  return lx__ask_value(&b);
}

LX_API lx_value lx_request(lx_str entity, lx_str handler, lx_value args) {
  return lx__tell(LX("request"), entity, handler, args);
}

LX_API lx_value lx_send(lx_str entity, lx_str handler, lx_value args) {
  return lx__tell(LX("send"), entity, handler, args);
}

/* ---- timers ---- */

LX_API lx_value lx_schedule(lx_value options) {
  lx__buffer b = lx__begin(LX("schedule"), 1);
  lx__put_value(&b, options, 1);
  return lx__ask_value(&b);
}

LX_API lx_value lx__set_timer(lx_str when, lx_value at, lx_str handler, lx_value args) {
  lx_value options = lx_map();
  lx_set(&options, when, at);
  lx_set(&options, LX("handler"), lx_text(handler));
  lx_set(&options, LX("args"), args);
  return lx_schedule(options);
}

LX_API lx_value lx_after(int64_t ms, lx_str handler, lx_value args) {
  return lx__set_timer(LX("after"), lx_int(ms), handler, args);
}

LX_API lx_value lx_at(int64_t ms, lx_str handler, lx_value args) {
  return lx__set_timer(LX("at"), lx_int(ms), handler, args);
}

LX_API lx_value lx_every(int64_t ms, lx_str handler, lx_value args) {
  return lx__set_timer(LX("every"), lx_int(ms), handler, args);
}

LX_API lx_value lx_cron(lx_str line, lx_str handler, lx_value args) {
  return lx__set_timer(LX("cron"), lx_text(line), handler, args);
}

LX_API bool lx_cancel(lx_value id) {
  lx__buffer b = lx__begin(LX("cancel"), 1);
  lx__put_value(&b, id, 1);
  return lx_as_bool(lx__ask_value(&b), false);
}

LX_API lx_value lx_timers(void) {
  lx_value all = lx_list(), after = lx_null();
  bool has_more = true;
  while (has_more && !lx_failed()) {
    lx__buffer b = lx__begin(LX("timers"), 1);
    lx__input in;
    lx_value page;
    lx__put_value(&b, after, 1);
    if (!lx__ask(&b, &in)) break;
    page = lx__take_value(&in, 1);
    has_more = lx_as_bool(lx__take_value(&in, 1), false) && page.length > 0;
    for (uint32_t i = 0; i < page.length; i++) lx_push(&all, page.items[i]);
    if (has_more) after = lx_field(page.items[page.length - 1], LX("id"));
  }
  return all;
}

/* ---- log, usage ---- */

LX_API bool lx__is_level(lx_str level) {
  return lx_str_equal(level, LX("debug")) || lx_str_equal(level, LX("info")) ||
         lx_str_equal(level, LX("warning")) || lx_str_equal(level, LX("error"));
}

LX_API void lx_log(lx_str level, lx_str text, lx_value fields) {
  uint8_t *before = lx__arena.at;
  lx__buffer b = lx__begin(LX("log"), 3);
  lx__input in;
  if (!lx__is_level(level)) lx__refuse_value("a log level is debug, info, warning or error");
  lx__put_checked_text(&b, level);
  lx__put_checked_text(&b, text);
  lx__put_value(&b, fields, 1);
  lx__ask(&b, &in);
  lx__give_back(before);
}

LX_API lx_value lx_usage(void) {
  lx__buffer b = lx__begin(LX("usage"), 0);
  return lx__ask_value(&b);
}

/* ---- big values ---- */

#define LX__READ_BYTES (256u << 10) /* most the host gives for one call */
#define LX__DIGEST_BYTES 32

LX_API lx_str lx__hexadecimal(lx_str bytes) {
  static const char digits[] = "0123456789abcdef";
  char *text = lx_alloc(bytes.length * 2);
  for (uint32_t i = 0; i < bytes.length; i++) {
    text[i * 2] = digits[(uint8_t)bytes.at[i] >> 4];
    text[i * 2 + 1] = digits[(uint8_t)bytes.at[i] & 15];
  }
  return (lx_str){text, bytes.length * 2};
}

/* The answer is null or a big value, whose content is the array [id, size, chunks, digest]. */
LX_API bool lx_open_reader(lx_reader *reader, lx_str key) {
  lx__buffer b = lx__begin(LX("blob_open"), 2);
  lx_value value, parts;
  lx__input in;
  bool is_answered;
  *reader = (lx_reader){.key = key, .digest = LX("")};
  if (lx_failed()) return false;
  lx__put_checked_text(&b, key);
  lx__put_writes(&b);
  is_answered = lx__ask(&b, &in);
  lx__note_told(is_answered, false);
  if (!is_answered) return false;
  value = lx__take_value(&in, 1);
  if (value.kind != LX_BIG) return false;
  parts = lx_decode((lx_str){value.text, value.length});
  reader->key = lx__copy(key);
  reader->size = lx_as_int(lx_item(parts, 1), 0);
  reader->digest = lx__hexadecimal(lx_as_text(lx_item(parts, 3), LX("")));
  return !lx_failed();
}

LX_API lx_str lx_read(lx_reader *reader, uint32_t size) {
  lx_str whole = {lx_alloc(0), 0};
  while (size > 0 && reader->position < reader->size) {
    lx__buffer b = lx__begin(LX("blob_read"), 4);
    lx_str piece;
    lx__put_text(&b, reader->key);
    lx__put_text(&b, reader->digest);
    lx__put_int(&b, reader->position);
    lx__put_int(&b, size < LX__READ_BYTES ? size : LX__READ_BYTES);
    piece = lx_as_text(lx__ask_value(&b), LX(""));
    if (piece.length == 0) break;
    reader->position += piece.length;
    size -= piece.length < size ? piece.length : size;
    whole = whole.length == 0 ? piece : lx_concat(whole, piece);
  }
  return lx_failed() ? LX("") : whole;
}

LX_API lx_writer lx_open_writer(lx_str key) {
  static int64_t last_token;
  return (lx_writer){lx__copy(key), ++last_token};
}

LX_API void lx_write(lx_writer *writer, lx_str bytes) {
  while (bytes.length > 0 && !lx_failed()) {
    uint32_t part = bytes.length < LX__READ_BYTES ? bytes.length : LX__READ_BYTES;
    uint8_t *before = lx__arena.at;
    lx__buffer b = lx__begin(LX("blob_write"), 3);
    lx__put_checked_text(&b, writer->key);
    lx__put_int(&b, writer->token);
    lx__put_bytes(&b, (lx_str){bytes.at, part});
    lx__ask_value(&b);
    lx__give_back(before);
    bytes.at += part;
    bytes.length -= part;
  }
}

LX_API lx_str lx_close_writer(lx_writer *writer) {
  lx__buffer b = lx__begin(LX("blob_close"), 2);
  lx__input in;
  lx_str digest, value;
  lx__entry *entry;
  lx__put_checked_text(&b, writer->key);
  lx__put_int(&b, writer->token);
  if (!lx__ask(&b, &in)) return LX("");
  digest = lx_as_text(lx__take_value(&in, 1), LX(""));
  value = lx__take_raw(&in);
  entry = lx__entry_of(writer->key);
  entry->base = entry->now = value; /* the host has put it there itself */
  entry->is_known = true;
  return digest;
}
