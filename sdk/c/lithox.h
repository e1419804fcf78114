/*
** lithox.h - handlers for lithox in C, compiled to a WebAssembly module.
**
** One include, no library, no libc: everything is in this header and the folder beside it.
**
**   #include <lithox.h>
**
**   LX_HANDLER(increment) {
**     lx_value count = lx_int(lx_get_int(LX("count"), 0) + lx_arg_int(0, 1));
**     lx_put(LX("count"), count);
**     return count;
**   }
**
** A module is loaded once and started anew for each run: no variable keeps what a run has written.
** Memory is taken and never given back; the run's end frees all of it.
**
** Errors. What fails here (a refused call, a value of the wrong kind, lx_fail) leaves an error.
** While one is there, nothing is asked of the node and every function gives null, 0 or false. When
** the handler returns and nobody has taken the error with lx_catch, the run fails with it, whatever
** the handler returned. So code that forgets to look fails, and never goes on with half the truth.
**
** The rules behind this header are in docs/abi.md, its use in docs/how-to/handlers-in-c.md.
** Version 1 of the ABI.
*/
#ifndef LITHOX_H
#define LITHOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes a run may take before its memory grows. Less makes a run start sooner, 50 ns a kilobyte. */
#ifndef LX_ARENA_BYTES
#define LX_ARENA_BYTES (32u << 10)
#endif

/* All of it is in this one translation unit, used or not. */
#define LX_API __attribute__((unused)) static

/* ---- text ---- */

/* Text or bytes, not ended by a zero. */
typedef struct lx_str {
  const char *at;
  uint32_t length;
} lx_str;

/* The text of a literal: LX("count"). */
#define LX(literal) ((lx_str){"" literal, sizeof(literal) - 1})

/* The text of a C string. */
LX_API lx_str lx_str_of(const char *ended);
LX_API bool lx_str_equal(lx_str a, lx_str b);
/* <0, 0, >0: in the order of bytes, which is the order of keys. */
LX_API int lx_str_compare(lx_str a, lx_str b);
LX_API lx_str lx_concat(lx_str a, lx_str b);
LX_API lx_str lx_str_of_int(int64_t value);

/* ---- values ---- */

typedef enum lx_kind {
  LX_NULL,
  LX_BOOL,
  LX_INT,
  LX_FLOAT,
  LX_TEXT,
  LX_BYTES,
  LX_LIST,
  LX_MAP,
  LX_BIG /* stands for a big value in state; lx_open_reader reads it */
} lx_kind;

/* Plain data. Lists and maps are shared by copies of a value until one of them grows. */
typedef struct lx_value {
  lx_kind kind;
  uint32_t length; /* of text, bytes, list, map */
  uint32_t room;   /* of a list or map: items there is memory for */
  union {
    bool boolean;
    int64_t integer;
    double number;
    const char *text; /* of text and bytes */
    struct lx_value *items;
    struct lx_member *members; /* in the order of their keys */
  };
} lx_value;

typedef struct lx_member {
  lx_str key;
  lx_value value;
} lx_member;

LX_API lx_value lx_null(void);
LX_API lx_value lx_bool(bool value);
LX_API lx_value lx_int(int64_t value);
LX_API lx_value lx_float(double value); /* finite, or what takes it fails */
LX_API lx_value lx_text(lx_str value);  /* valid UTF-8, or what takes it fails */
LX_API lx_value lx_bytes(lx_str value);
LX_API lx_value lx_list(void);
LX_API lx_value lx_map(void);

/* Reading a value as something else than it is gives `otherwise`, no error. */
LX_API bool lx_is_null(lx_value value);
LX_API int64_t lx_as_int(lx_value value, int64_t otherwise);
LX_API double lx_as_float(lx_value value, double otherwise); /* also of an int */
LX_API bool lx_as_bool(lx_value value, bool otherwise);
LX_API lx_str lx_as_text(lx_value value, lx_str otherwise); /* also of bytes */

/* Item `index` of a list, null where there is none. lx_item_at: NULL where there is none; good
** until the list grows. */
LX_API lx_value lx_item(lx_value list, uint32_t index);
LX_API lx_value *lx_item_at(lx_value *list, uint32_t index);
LX_API void lx_push(lx_value *list, lx_value item);
/* The same for the keys of a map. Setting null keeps the key. */
LX_API lx_value lx_field(lx_value map, lx_str key);
LX_API lx_value *lx_field_at(lx_value *map, lx_str key);
LX_API void lx_set(lx_value *map, lx_str key, lx_value value);
LX_API bool lx_remove(lx_value *map, lx_str key); /* was it there? */

/* A list of values: lx_list_of(lx_int(1), lx_text(LX("two"))), lx_list_of(). */
#define lx_list_of(...) \
  lx_list_from((lx_value[]){lx_null(), ##__VA_ARGS__} + 1, \
               sizeof((lx_value[]){lx_null(), ##__VA_ARGS__}) / sizeof(lx_value) - 1)
LX_API lx_value lx_list_from(const lx_value *items, size_t count);

/* MessagePack, for what travels inside bytes. lx_decode fails on what is no value. */
LX_API lx_str lx_encode(lx_value value);
LX_API lx_value lx_decode(lx_str bytes);

/* ---- handlers ---- */

/* Whose run this is. */
typedef struct lx_run_info {
  lx_str handler, id, caller;
  lx_str request_id; /* .at is NULL when the request has none */
  int64_t attempt;
  int64_t now_ms; /* milliseconds since 1970 when the run began; there is no other clock */
  lx_value args;  /* a list */
} lx_run_info;

static lx_run_info lx_self;

/* What LX_HANDLER makes; a module says its handlers' names in a custom section. */
typedef struct lx_handler {
  lx_str name;
  lx_value (*run)(void);
} lx_handler;

/* Makes a handler: LX_HANDLER(name) { ... return value; }. Names are [a-z_][a-z0-9_]*; those that
** begin with _ are not to be called from outside. */
#define LX_HANDLER(name) \
  static lx_value lx_handler_##name(void); \
  __asm__(".section .custom_section.lithox.handlers.1,\"\",@\n" \
          ".asciz \"" #name "\"\n" \
          ".text\n"); \
  __attribute__((used, section("lx_handlers"))) \
  static const lx_handler lx_handler_entry_##name = {{#name, sizeof #name - 1}, \
                                                     lx_handler_##name}; \
  static lx_value lx_handler_##name(void)

/* A module may have this; it runs once, when the module is loaded, and may ask only for lx_log. */
#define LX_INITIALIZE() \
  static void lx_initialize(void); \
  __attribute__((export_name("_initialize"))) void lx_export_initialize(void) { lx_initialize(); } \
  static void lx_initialize(void)

/* Argument `index`. The first gives null when it was left out; the others fail when the argument is
** of another kind, and give `otherwise` when it was left out or null. */
LX_API lx_value lx_arg(uint32_t index);
LX_API int64_t lx_arg_int(uint32_t index, int64_t otherwise);
LX_API double lx_arg_float(uint32_t index, double otherwise);
LX_API bool lx_arg_bool(uint32_t index, bool otherwise);
LX_API lx_str lx_arg_text(uint32_t index, lx_str otherwise);

/* Random bits, the same in each run with the same seed. */
LX_API uint64_t lx_random(void);

/* ---- errors ---- */

typedef struct lx_error {
  lx_str code;    /* dotted; of an error of this module without one, empty */
  lx_str message;
  lx_value fields; /* map or null */
} lx_error;

/* Leaves an error and gives null, so that a handler can `return lx_fail("gone", "no such item");`.
** The caller gets the code `app.gone`; without a code ("") it gets `guest.raised`. */
#define lx_fail(code, message) \
  lx_fail_at(lx_str_of(code), lx_str_of(message), lx_null(), __FILE_NAME__, __LINE__, __func__)
/* The same, with texts that were made and a map of data for the caller. */
#define lx_fail_with(code, message, data) \
  lx_fail_at(code, message, data, __FILE_NAME__, __LINE__, __func__)

LX_API bool lx_failed(void);
/* Takes the error that is there, if there is one. `error` may be NULL. */
LX_API bool lx_catch(lx_error *error);
LX_API lx_value lx_fail_at(lx_str code, lx_str message, lx_value data, const char *file,
                                  int line, const char *function);

/* ---- state ---- */

/* The value under a key, null when absent. Changing what it gives changes nothing in the state
** until it is put. */
LX_API lx_value lx_get(lx_str key);
LX_API int64_t lx_get_int(lx_str key, int64_t otherwise);
LX_API bool lx_has(lx_str key);
/* Putting null deletes the key. What is put as it was is not written. */
LX_API void lx_put(lx_str key, lx_value value);
LX_API void lx_delete(lx_str key);

/* Goes through keys in the order of their bytes, the run's own changes among them:
**   lx_cursor at = lx_scan(LX("item."), LX(""));
**   while (lx_next(&at)) use(at.key, at.value);
** Keys that are put while it goes on may come or not. */
typedef struct lx_cursor {
  lx_str key;
  lx_value value;
  lx_str start, end, after;
  bool is_range, has_end, is_over, has_more;
  uint32_t index;
  lx_value page;
} lx_cursor;

/* Keys that begin with `prefix` and come behind `after` (empty: all of them). */
LX_API lx_cursor lx_scan(lx_str prefix, lx_str after);
/* Keys from `start` up to, without, `end` (.at NULL: to the last key), behind `after`. */
LX_API lx_cursor lx_range(lx_str start, lx_str end, lx_str after);
LX_API bool lx_next(lx_cursor *cursor);

/* ---- others ---- */

/* Calls another entity inside this transaction; `args` is a list. */
LX_API lx_value lx_call(lx_str entity, lx_str handler, lx_value args);
/* Asks for a transaction of its own and waits for its outcome. */
LX_API lx_value lx_request(lx_str entity, lx_str handler, lx_value args);
/* Sends a message, delivered once after the commit; gives its id. */
LX_API lx_value lx_send(lx_str entity, lx_str handler, lx_value args);

/* Timers of this entity; each gives the timer's id. When: in milliseconds, at milliseconds since
** 1970, or by a cron line. */
LX_API lx_value lx_after(int64_t ms, lx_str handler, lx_value args);
LX_API lx_value lx_at(int64_t ms, lx_str handler, lx_value args);
LX_API lx_value lx_every(int64_t ms, lx_str handler, lx_value args);
LX_API lx_value lx_cron(lx_str line, lx_str handler, lx_value args);
/* With all there is: a map of handler, args, after | at | every | cron, zone, name, missed. */
LX_API lx_value lx_schedule(lx_value options);
LX_API bool lx_cancel(lx_value id); /* was there one? */
LX_API lx_value lx_timers(void);    /* list of maps */

/* Writes a log line; level: debug, info, warning, error; fields: a map or null. */
LX_API void lx_log(lx_str level, lx_str text, lx_value fields);
LX_API lx_value lx_usage(void); /* {"used": {...}, "allowed": {...}} */

/* ---- big values ---- */

typedef struct lx_reader {
  lx_str key, digest; /* 64 hexadecimal digits */
  int64_t size, position;
} lx_reader;

typedef struct lx_writer {
  lx_str key;
  int64_t token;
} lx_writer;

/* Opens the big value under a key; false when there is none. */
LX_API bool lx_open_reader(lx_reader *reader, lx_str key);
/* The next bytes, at most `size`; empty at the end. Set `position` to read elsewhere. */
LX_API lx_str lx_read(lx_reader *reader, uint32_t size);
/* A new big value, which stands under its key once it is closed; gives its digest. */
LX_API lx_writer lx_open_writer(lx_str key);
LX_API void lx_write(lx_writer *writer, lx_str bytes);
LX_API lx_str lx_close_writer(lx_writer *writer);

/* ---- memory ---- */

/* Memory for the rest of the run, not set to anything. Where there is no more, the run ends with
** guest.out_of_memory. */
LX_API void *lx_alloc(size_t bytes);

#include "lithox/memory.h"
#include "lithox/values.h"
#include "lithox/wire.h"
#include "lithox/calls.h"
#include "lithox/state.h"
#include "lithox/others.h"
#include "lithox/run.h"

#endif
