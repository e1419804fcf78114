/*
** big.c - big values: self.reader(key) and self.writer(key), a piece at a time.
**
** A big value stands in state as MessagePack extension 2: [id, size, chunks, SHA-256]; its bytes
** are the host's. A reader is bound to a digest: when the key holds something else, reading it is
** refused, so no reader ever gives parts of two values. A writer collects up to LX_PIECE_BYTES
** before it asks the host, so many small writes cost little; what it wrote counts once it is
** closed.
*/
#include "lx.h"

#define EXT_BIG 2
#define LX_DIGEST_BYTES 32
#define LX_PIECE_BYTES (64u << 10)  /* what a writer collects, and a read without a size gives */
#define LX_READ_BYTES (256u << 10)  /* most the host gives for one call */

typedef struct Big {
  int64_t size, position;
  int64_t token;    /* of a writer; 0: closed */
  uint8_t *piece;   /* of a writer: what it has collected */
  size_t piece_len;
  char digest[LX_DIGEST_BYTES * 2];
  size_t key_len;
  char key[];
} Big;

static JSClassID reader_class, writer_class;
static int64_t last_token;

/* Does an encoded value stand for a big one? */
int lx_is_big(const uint8_t *bytes, size_t len) {
  return len > 3 && bytes[0] == 0xc7 && bytes[2] == EXT_BIG;
}

static void finalize_reader(JSRuntime *runtime, JSValueConst object) {
  (void)runtime;
  free(JS_GetOpaque(object, reader_class));
}

static void finalize_writer(JSRuntime *runtime, JSValueConst object) {
  Big *big = JS_GetOpaque(object, writer_class);
  (void)runtime;
  if (big == NULL) return;
  free(big->piece);
  free(big);
}

static Big *new_big(JSClassID kind, const char *key, size_t key_len, JSValue *object) {
  Big *big = lx_need(calloc(1, sizeof *big + key_len));
  big->key_len = key_len;
  memcpy(big->key, key, key_len);
  *object = JS_NewObjectClass(lx_js, kind);
  JS_SetOpaque(*object, big);
  return big;
}

/* Returns the reader of the big value encoded at `value`, which stands under `key`. */
JSValue lx_new_reader(const char *key, size_t key_len, LxReader value) {
  static const char digits[] = "0123456789abcdef";
  JSValue object;
  Big *big = new_big(reader_class, key, key_len, &object);
  const char *digest;
  size_t len;
  lx_get_bytes(&value, 3); /* 0xc7, length, type */
  if (lx_get_array(&value) != 4) lx_malformed();
  lx_skip(&value);
  big->size = lx_get_integer(&value);
  lx_skip(&value);
  digest = lx_get_text(&value, &len);
  if (len != LX_DIGEST_BYTES) lx_malformed();
  for (size_t i = 0; i < len; i++) {
    big->digest[i * 2] = digits[(uint8_t)digest[i] >> 4];
    big->digest[i * 2 + 1] = digits[(uint8_t)digest[i] & 15];
  }
  return object;
}

/* Takes a key as UTF-8, to be freed; NULL and throws when it is none. */
static char *take_key(int argc, JSValueConst *argv, size_t *len) {
  JSValueConst value = argc > 0 ? argv[0] : JS_UNDEFINED;
  LxChars chars;
  JSValue flat;
  char *key;
  if (lx_check_callable() || lx_check_text(value, "key")) return NULL;
  flat = lx_flat_text(value, &chars);
  key = lx_utf8_of(&chars, len, NULL, 0);
  if (key == NULL && chars.len == 0) key = lx_copy("", *len = 0);
  JS_FreeValue(lx_js, flat);
  if (key == NULL) JS_ThrowTypeError(lx_js, "key is valid Unicode; found a lone surrogate");
  return key;
}

/* ---- reading ---- */

/* self.reader(key) -> reader, or null when there is no such key */
static JSValue self_reader(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
  LxReader answer;
  size_t len;
  JSValue reader = JS_EXCEPTION;
  char *key = take_key(argc, argv, &len);
  (void)ctx, (void)this_value;
  if (key == NULL) return JS_EXCEPTION;
  lx_begin_call("blob_open", 2);
  lx_put_text(&lx_message, key, len);
  if (lx_state_put_writes(&lx_message) == 0 && lx_make_call(&answer) == 0)
    reader = lx_get_nil(&answer) ? JS_NULL : lx_new_reader(key, len, answer);
  free(key);
  return reader;
}

/* Reads up to `size` bytes from the reader's place into `to`; returns how many came, or -1 and
** throws. */
static int64_t read_piece(Big *big, uint8_t *to, size_t size) {
  LxReader answer;
  const char *bytes;
  size_t len;
  lx_begin_call("blob_read", 4);
  lx_put_text(&lx_message, big->key, big->key_len);
  lx_put_text(&lx_message, big->digest, sizeof big->digest);
  lx_put_integer(&lx_message, big->position);
  lx_put_integer(&lx_message, (int64_t)size);
  if (lx_make_call(&answer)) return -1;
  bytes = lx_get_text(&answer, &len);
  if (len > size) lx_malformed();
  memcpy(to, bytes, len);
  big->position += (int64_t)len;
  return (int64_t)len;
}

/* reader.read([n]) -> the next n bytes (fewer at the end), or null at the end */
static JSValue reader_read(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
  Big *big = JS_GetOpaque2(ctx, this_value, reader_class);
  int64_t wanted = LX_PIECE_BYTES, got = 0, len = 1;
  const LxEntry *entry;
  uint8_t *bytes;
  JSValue result;
  if (big == NULL || lx_check_callable()) return JS_EXCEPTION;
  if (argc > 0 && !JS_IsUndefined(argv[0]) && lx_get_whole(argv[0], "a number of bytes", &wanted))
    return JS_EXCEPTION;
  if (wanted < 0) return JS_ThrowRangeError(ctx, "a number of bytes is 0 or more");
  entry = lx_state_find(big->key, big->key_len);
  if (entry != NULL && (entry->flags & LX_LIVE)) /* assigned since; the host may not know yet */
    return JS_ThrowTypeError(ctx, "the value under '%.*s' was replaced or deleted; open it again",
                             (int)(big->key_len < 100 ? big->key_len : 100), big->key);
  if (big->position >= big->size) return JS_NULL;
  if (wanted > big->size - big->position) wanted = big->size - big->position;
  bytes = lx_need(malloc((size_t)wanted + 1));
  while (got < wanted && len > 0) {
    int64_t piece = wanted - got < LX_READ_BYTES ? wanted - got : LX_READ_BYTES;
    len = read_piece(big, bytes + got, (size_t)piece);
    if (len > 0) got += len;
  }
  result = len < 0 ? JS_EXCEPTION : JS_NewUint8ArrayCopy(ctx, bytes, (size_t)got);
  free(bytes);
  return result;
}

/* reader.seek([offset]) -> where the next read begins; a place behind the end reads null */
static JSValue reader_seek(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
  Big *big = JS_GetOpaque2(ctx, this_value, reader_class);
  int64_t offset;
  if (big == NULL) return JS_EXCEPTION;
  if (argc == 0 || JS_IsUndefined(argv[0])) return JS_NewInt64(ctx, big->position);
  if (lx_get_whole(argv[0], "an offset", &offset)) return JS_EXCEPTION;
  if (offset < 0) return JS_ThrowRangeError(ctx, "an offset is 0 or more");
  big->position = offset;
  return JS_NewInt64(ctx, offset);
}

static JSValue reader_size(JSContext *ctx, JSValueConst this_value) {
  const Big *big = JS_GetOpaque2(ctx, this_value, reader_class);
  return big == NULL ? JS_EXCEPTION : JS_NewInt64(ctx, big->size);
}

static JSValue reader_digest(JSContext *ctx, JSValueConst this_value) {
  const Big *big = JS_GetOpaque2(ctx, this_value, reader_class);
  return big == NULL ? JS_EXCEPTION : lx_new_text(big->digest, sizeof big->digest);
}

/* ---- writing ---- */

/* self.writer(key) -> writer of a new value; the key keeps its old one until that is closed */
static JSValue self_writer(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
  size_t len;
  JSValue writer;
  char *key = take_key(argc, argv, &len);
  (void)ctx, (void)this_value;
  if (key == NULL) return JS_EXCEPTION;
  new_big(writer_class, key, len, &writer)->token = ++last_token;
  free(key);
  return writer;
}

/* Returns an open writer; NULL and throws when it is none. */
static Big *check_writer(JSContext *ctx, JSValueConst this_value) {
  Big *big = JS_GetOpaque2(ctx, this_value, writer_class);
  if (big == NULL || lx_check_callable()) return NULL;
  if (big->token != 0) return big;
  JS_ThrowTypeError(ctx, "the writer is closed");
  return NULL;
}

/* Sends what is collected; returns -1 and throws when the host refuses. */
static int send_piece(Big *big) {
  LxReader answer;
  lx_begin_call("blob_write", 3);
  lx_put_text(&lx_message, big->key, big->key_len);
  lx_put_integer(&lx_message, big->token);
  lx_put_bytes(&lx_message, big->piece, big->piece_len);
  big->piece_len = 0;
  return lx_make_call(&answer);
}

static int collect(Big *big, const uint8_t *bytes, size_t len) {
  if (big->piece == NULL) big->piece = lx_need(malloc(LX_PIECE_BYTES));
  while (len > 0) {
    size_t room = LX_PIECE_BYTES - big->piece_len, part = len < room ? len : room;
    memcpy(big->piece + big->piece_len, bytes, part);
    big->piece_len += part;
    bytes += part;
    len -= part;
    if (big->piece_len == LX_PIECE_BYTES && send_piece(big)) return -1;
  }
  return 0;
}

static int write_text(Big *big, JSValueConst text) {
  LxChars chars;
  JSValue flat = lx_flat_text(text, &chars);
  char small[256], *utf8;
  size_t len;
  int result = -1;
  utf8 = lx_utf8_of(&chars, &len, small, sizeof small);
  JS_FreeValue(lx_js, flat);
  if (utf8 == NULL) JS_ThrowTypeError(lx_js, "text is valid Unicode; found a lone surrogate");
  else result = collect(big, (const uint8_t *)utf8, len);
  if (utf8 != small) free(utf8);
  return result;
}

/* writer.write(bytes or text, ...) -> the writer */
static JSValue writer_write(JSContext *ctx, JSValueConst this_value, int argc,
                            JSValueConst *argv) {
  Big *big = check_writer(ctx, this_value);
  if (big == NULL) return JS_EXCEPTION;
  for (int i = 0; i < argc; i++) {
    int result;
    if (JS_IsString(argv[i])) result = write_text(big, argv[i]);
    else if (JS_IsObject(argv[i]) && lx_kind_of(argv[i]) == LX_KIND_BYTES) {
      size_t len;
      const uint8_t *bytes = lx_bytes_of(argv[i], &len);
      result = collect(big, bytes, len);
    }
    else return JS_ThrowTypeError(ctx, "a writer takes Uint8Array and text");
    if (result) return JS_EXCEPTION;
  }
  return JS_DupValue(ctx, this_value);
}

/* writer.close() -> digest; from now on the key holds what was written */
static JSValue writer_close(JSContext *ctx, JSValueConst this_value, int argc,
                            JSValueConst *argv) {
  Big *big = check_writer(ctx, this_value);
  LxReader answer;
  const char *digest;
  size_t len;
  JSValue result;
  (void)argc, (void)argv;
  if (big == NULL || (big->piece_len > 0 && send_piece(big))) return JS_EXCEPTION;
  lx_begin_call("blob_close", 2);
  lx_put_text(&lx_message, big->key, big->key_len);
  lx_put_integer(&lx_message, big->token);
  if (lx_make_call(&answer)) return JS_EXCEPTION;
  big->token = 0;
  digest = lx_get_text(&answer, &len);
  result = lx_new_text(digest, len);
  lx_state_replace(big->key, big->key_len, answer);
  return result;
}

/* ---- opening ---- */

static const JSCFunctionListEntry reader_methods[] = {
    JS_CFUNC_DEF("read", 0, reader_read), JS_CFUNC_DEF("seek", 0, reader_seek),
    JS_CGETSET_DEF("size", reader_size, NULL), JS_CGETSET_DEF("digest", reader_digest, NULL)};
static const JSCFunctionListEntry writer_methods[] = {JS_CFUNC_DEF("write", 1, writer_write),
                                                      JS_CFUNC_DEF("close", 0, writer_close)};
const JSCFunctionListEntry lx_big_methods[] = {JS_CFUNC_DEF("reader", 1, self_reader),
                                               JS_CFUNC_DEF("writer", 1, self_writer)};
const int lx_big_count = sizeof lx_big_methods / sizeof *lx_big_methods;

/* Makes the classes of readers and writers. */
void lx_open_big(void) {
  static const JSClassDef readers = {.class_name = "Reader", .finalizer = finalize_reader};
  static const JSClassDef writers = {.class_name = "Writer", .finalizer = finalize_writer};
  JSRuntime *runtime = JS_GetRuntime(lx_js);
  JSValue methods;
  JS_NewClassID(runtime, &reader_class);
  JS_NewClass(runtime, reader_class, &readers);
  methods = JS_NewObject(lx_js);
  JS_SetPropertyFunctionList(lx_js, methods, reader_methods,
                             sizeof reader_methods / sizeof *reader_methods);
  JS_SetClassProto(lx_js, reader_class, methods);
  JS_NewClassID(runtime, &writer_class);
  JS_NewClass(runtime, writer_class, &writers);
  methods = JS_NewObject(lx_js);
  JS_SetPropertyFunctionList(lx_js, methods, writer_methods,
                             sizeof writer_methods / sizeof *writer_methods);
  JS_SetClassProto(lx_js, writer_class, methods);
}
