/*
** lx.h - what the parts of the handlers' shim know of each other, beside guests/shared.
**
** shim.c     exports: boot, load, run         state.c  self.state and what was used
** sandbox.c  what Lua code may reach          scan.c   pairs(self.state), self:scan, self:range
** self.c     self, its methods, the log       big.c    big values: self:reader, self:writer
** later.c    self:send and timers
*/
#ifndef lx_h
#define lx_h

#include "lx_shared.h"

#define LX_SCAN_ROWS_MAX 128            /* rows asked for in one page of a scan */

/* References into the registry, made at boot in this order. */
enum {
  LX_REF_FIRST = LX_REGISTRY_FIRST,
  LX_REF_LIST = LX_REF_FIRST,       /* metatable that marks lists */
  LX_REF_BYTES,                     /* metatable of lithox.bytes */
  LX_REF_REFUSAL,                   /* metatable of errors the host gave */
  LX_REF_STATE,                     /* self.state */
  LX_REF_SELF,                      /* self */
  LX_REF_FIELDS,                    /* fields of self: id, caller, ... and the methods */
  LX_REF_HANDLERS,                  /* the table a module returned */
  LX_REF_RANDOM,                    /* anchors the generator's state */
  LX_REF_TRACEBACK,                 /* where the last error came from */
  LX_REF_LAST = LX_REF_TRACEBACK
};

/* ---- self.c ---- */

enum { LX_FIELD_ID, LX_FIELD_CALLER, LX_FIELD_REQUEST_ID, LX_FIELD_ATTEMPT, LX_FIELD_COUNT };

void lx_check_callable(lua_State *L);
void lx_begin_call(lua_State *L, const char *name, int argument_count);
void lx_make_call(lua_State *L, LxReader *answer);
void lx_log(lua_State *L, const char *level, const char *text, size_t len, int fields_index);
void lx_warn(void *ud, const char *text, int to_be_continued);
void lx_set_field(lua_State *L, int field);
void lx_open_self(lua_State *L);
void lx_check_self(lua_State *L);
const char *lx_check_text(lua_State *L, int index, size_t *len);
void lx_put_text_argument(lua_State *L, int index);
void lx_put_arguments(lua_State *L, int first);
void lx_push_answer(lua_State *L, LxReader *answer);

/* ---- later.c ---- */

extern const luaL_Reg lx_later_methods[];

/* ---- big.c ---- */

extern const luaL_Reg lx_big_methods[];

int lx_is_big(const uint8_t *bytes, size_t len);
void lx_push_reader(lua_State *L, const char *key, size_t key_len, LxReader value);
void lx_open_big(lua_State *L);

/* ---- state.c ---- */

/* Keys from `start` to before `end` (NULL: to the last), or all that begin with `start`; of those
** only what comes behind `after` (NULL: all). */
typedef struct LxArea {
  const char *start, *end, *after;
  size_t start_len, end_len, after_len;
  int is_prefix;
} LxArea;

typedef struct LxEntry {
  const char *key;
  const uint8_t *base; /* canonical bytes the host has; NULL: absent */
  uint32_t key_len, base_len;
  uint8_t flags;
} LxEntry;

enum {
  LX_KNOWN = 1, /* `base` says what the host has */
  LX_READ = 2,  /* the run used its value or absence */
  LX_LIVE = 4,  /* self.state's raw field is its value from now on (nil: deleted or absent) */
  LX_UNSURE = 8, /* the host may have something else than `base`; in every write set */
  LX_SEEN = 16, /* put_writes has come by its raw field */
  LX_OWNED = 32 /* `base` is on the heap, and only here */
};

void lx_open_state(lua_State *L);
void lx_state_begin(lua_State *L, LxReader *run);
void lx_state_begin_message(void);
void lx_state_confirm(lua_State *L, int is_refused);
void lx_state_put_used(lua_State *L, LxBuffer *b);
void lx_state_put_writes(lua_State *L, LxBuffer *b);
void lx_state_drop(lua_State *L);
void lx_state_add_scan(lua_State *L, const LxArea *area);
void lx_state_replace(lua_State *L, const char *key, size_t len, LxReader value);
int lx_state_is_complete(void);
uint32_t lx_state_generation(void);
int lx_state_rawset(lua_State *L);
int lx_state_compare(const char *a, size_t a_len, const char *b, size_t b_len);
const uint32_t *lx_state_sort(lua_State *L, uint32_t *count);
LxEntry *lx_state_entry(uint32_t number);
LxEntry *lx_state_find(const char *key, size_t len);
LxEntry *lx_state_add(lua_State *L, const char *key, size_t len);
void lx_state_make_live(lua_State *L, LxEntry *entry);

/* ---- scan.c ---- */

int lx_scan(lua_State *L, const LxArea *area);

/* ---- sandbox.c ---- */

void lx_open_libraries(lua_State *L);

#endif
