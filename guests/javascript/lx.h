/*
** lx.h - what the parts of the JavaScript guest know of each other. Of guests/shared it has
** alloc.c (the heap) and inbox.c (messages in, results out).
**
** engine.c   QuickJS itself, and what is needed of its insides (engine.h)
** shim.c     exports: boot, load, run        state.c  self.state and what was used
** heap.c     memory, and its end             scan.c   for..in, self.scan, self.range
** message.c  MessagePack both ways           self.c   self and its methods, the system call
** value.c    values as MessagePack           later.c  self.send and timers
** errors.c   what went wrong, for the host   big.c    big values: self.reader, self.writer
** prelude.c  what is written in JavaScript: LithoxError, console
**
** One run per image: the host restores the memory taken after lx_load before each lx_run, so
** static variables begin every run with the values lx_load left, and nothing is freed for its own
** sake. Memory that is refused is the guest's end (heap.c), so no allocation is checked.
*/
#ifndef lx_h
#define lx_h

#include "engine.h"

#define LX_DEPTH_MAX 64                 /* containers inside containers, as model/values.py */
#define LX_VALUE_BYTES_MAX (16u << 20)  /* encoded size of one value, as model/values.py */
#define LX_INBOX_BYTES (16u << 10)      /* the inbox that is always there */
#define LX_MESSAGE_BYTES_MAX 4096u      /* text of an error, and of its traceback */
#define LX_CODE_BYTES_MAX 128u          /* an error's own code */
#define LX_ERROR_DATA_BYTES_MAX (16u << 10) /* what an error carries along as data */
#define LX_ARGUMENTS_MAX 250u           /* of a handler, as in every language */
#define LX_SCAN_ROWS_MAX 128            /* rows asked for in one page of a scan */
#define LX_SAFE_MAX 9007199254740991ll  /* Number.MAX_SAFE_INTEGER */

/* ---- heap.c ---- */

void *lx_need(void *block);
void *lx_copy(const void *bytes, size_t len);
void *lx_grow(void *items, uint32_t count, uint32_t *cap, size_t bytes);

/* ---- message.c ---- */

typedef struct LxBuffer {
  uint8_t *bytes;
  size_t len, cap;
  int is_heap; /* `bytes` came from malloc */
} LxBuffer;

typedef struct LxReader {
  const uint8_t *at, *end;
  int is_lossy; /* a value was read that JavaScript writes differently (the float 1.0) */
} LxReader;

extern LxBuffer lx_message; /* outgoing messages, one at a time */

uint8_t *lx_reserve_bytes(LxBuffer *b, size_t more);
void lx_put_raw(LxBuffer *b, const void *bytes, size_t len);
void lx_put_nil(LxBuffer *b);
void lx_put_bool(LxBuffer *b, int value);
void lx_put_integer(LxBuffer *b, int64_t value);
void lx_put_float(LxBuffer *b, double value);
void lx_put_array(LxBuffer *b, size_t count);
void lx_put_map(LxBuffer *b, size_t count);
void lx_put_text_head(LxBuffer *b, size_t len);
void lx_put_text(LxBuffer *b, const char *text, size_t len);
void lx_put_bytes(LxBuffer *b, const void *bytes, size_t len);
void lx_put_cut(LxBuffer *b, const char *text, size_t len, size_t bytes_max);
size_t lx_open_map(LxBuffer *b);
void lx_close_map(LxBuffer *b, size_t mark, uint32_t count);

enum { LX_NOTHING, LX_LIST, LX_MAP, LX_TEXT, LX_BYTES };

int64_t lx_get_integer(LxReader *r);
int lx_get_bool(LxReader *r);
int lx_get_nil(LxReader *r);
const char *lx_get_text(LxReader *r, size_t *len);
uint32_t lx_get_array(LxReader *r);
uint32_t lx_get_map(LxReader *r);
uint64_t lx_get_number(LxReader *r, int bytes);
const uint8_t *lx_get_bytes(LxReader *r, size_t len);
int lx_take_head(LxReader *r, uint8_t type, size_t *count);
int lx_take_integer(LxReader *r, uint8_t type, int64_t *value);
const uint8_t *lx_skip(LxReader *r);
_Noreturn void lx_malformed(void);

/* ---- guests/shared/inbox.c ---- */

#define LX_EXPORT(name) __attribute__((export_name(name)))

extern LxReader lx_input; /* the message lx_load or lx_run was given */

void lx_open_input(uint32_t len);
void lx_close_input(void);
uint64_t lx_pack_message(void);
_Noreturn void lx_end_out_of_memory(void);

/* ---- value.c ---- */

/* What a value is called when it is refused: "what", "what.key", or "what[number]" without key. */
typedef struct LxName {
  const char *what, *key;
  size_t key_len;
} LxName;

int lx_put_value(LxBuffer *b, JSValueConst value, const LxName *name);
int lx_put_js_text(LxBuffer *b, JSValueConst text, const LxName *name);
void lx_put_shown(LxBuffer *b, JSValueConst text, size_t bytes_max);
JSValue lx_get_value(LxReader *r);
JSValue lx_new_text(const char *text, size_t len);
char *lx_utf8_of(const LxChars *chars, size_t *len, char *small, size_t small_bytes);
int lx_compare_chars(const LxChars *a, const LxChars *b);

/* ---- errors.c ---- */

void lx_keep_error_prototype(JSValue prototype);
void lx_put_error(JSValue thrown);
void lx_put_load_error(JSValue thrown, const char *name, uint32_t import_line);
JSValue lx_throw_refusal(LxReader *answer);

/* ---- self.c ---- */

typedef enum { LX_BOOTING, LX_LOADING, LX_RUNNING } LxPhase;
extern LxPhase lx_phase;
extern int64_t lx_now_ms;

int lx_check_callable(void);
void lx_begin_call(const char *name, int argument_count);
int lx_make_call(LxReader *answer);
int lx_check_text(JSValueConst value, const char *what);
int lx_put_text_argument(JSValueConst value, const char *what);
int lx_put_arguments(int argc, JSValueConst *argv);
JSValue lx_first_answer(LxReader *answer);
void lx_self_begin(LxReader *run);
void lx_open_self(void);
int lx_get_whole(JSValueConst value, const char *what, int64_t *out);
JSValue lx_text_property(JSValueConst object, const char *name);
extern JSValue lx_self;

/* ---- later.c ---- */

extern const JSCFunctionListEntry lx_later_methods[];
extern const int lx_later_count;

/* ---- big.c ---- */

extern const JSCFunctionListEntry lx_big_methods[];
extern const int lx_big_count;

int lx_is_big(const uint8_t *bytes, size_t len);
JSValue lx_new_reader(const char *key, size_t key_len, LxReader value);
void lx_open_big(void);

/* ---- state.c ---- */

/* Keys from `start` to before `end` (NULL: to the last), or all that begin with `start`; of those
** only what comes behind `after` (NULL: all). The texts outlive the run. */
typedef struct LxArea {
  const char *start, *end, *after;
  size_t start_len, end_len, after_len;
  int is_prefix;
} LxArea;

typedef struct LxEntry {
  const char *key;
  const uint8_t *base; /* canonical bytes the host has; NULL: absent */
  uint32_t key_len, base_len;
  JSValue value; /* of a LX_LIVE entry; undefined: deleted or absent */
  uint8_t flags;
} LxEntry;

enum {
  LX_KNOWN = 1, /* `base` says what the host has */
  LX_READ = 2,  /* the run used its value or absence */
  LX_LIVE = 4,  /* `value` is its value from now on */
  LX_UNSURE = 8, /* the host may have something else than `base`; in every write set */
  LX_OWNED = 16 /* `base` is on the heap, and only here */
};

JSValue lx_open_state(void);
void lx_state_begin(LxReader *run);
void lx_state_begin_message(void);
void lx_state_confirm(int is_refused);
void lx_state_put_used(LxBuffer *b);
int lx_state_put_writes(LxBuffer *b);
void lx_state_drop(void);
void lx_state_add_scan(const LxArea *area);
void lx_state_replace(const char *key, size_t len, LxReader value);
int lx_state_is_complete(void);
uint32_t lx_state_generation(void);
int lx_state_compare(const char *a, size_t a_len, const char *b, size_t b_len);
const uint32_t *lx_state_sort(uint32_t *count);
LxEntry *lx_state_entry(uint32_t number);
LxEntry *lx_state_find(const char *key, size_t len);
LxEntry *lx_state_add(const char *key, size_t len);
void lx_state_know(LxEntry *entry, const uint8_t *base, size_t len);
void lx_state_make_live(LxEntry *entry);

/* ---- scan.c ---- */

void lx_open_scan(void);
JSValue lx_scan(const LxArea *area);
int lx_scan_keys(JSPropertyEnum **keys, uint32_t *count);

/* ---- prelude.c ---- */

extern const char lx_prelude[];

/* ---- the system call ---- */

__attribute__((import_module("lithox"), import_name("syscall"))) int32_t lx_host_call(
    const void *message, int32_t len, void *out, int32_t cap);

#endif
