/*
** lx.h - what the parts of the shim know of each other.
**
** shim.c    exports: boot, load, run         value.c   values into MessagePack
** state.c   self.state and what was used     reader.c  MessagePack into values; the table `lithox`
** scan.c    pairs(self.state), self:scan     self.c    self, its methods, system calls
** sandbox.c what Lua code may reach          libc.c    what stands in for an operating system
** buffer.c  growing bytes                    oslib.c, mathlib.c  Lua's own, with our clock and seed
**
** One run per image: the host restores the memory taken after lx_load before each lx_run, so
** static variables here begin every run with the values lx_load left.
*/
#ifndef lx_h
#define lx_h

#include <stddef.h>
#include <stdint.h>

#include "lauxlib.h"
#include "lua.h"

#define LX_DEPTH_MAX 64                 /* containers inside containers, as model/values.py */
#define LX_VALUE_BYTES_MAX (16u << 20)  /* encoded size of one value, as model/values.py */
#define LX_INBOX_BYTES (16u << 10)      /* the inbox that is always there */
#define LX_MESSAGE_BYTES_MAX 4096u      /* text of an error, and of its traceback */
#define LX_CODE_BYTES_MAX 128u          /* an error table's own code */
#define LX_ERROR_DATA_BYTES_MAX (16u << 10) /* an error value sent along as data */
#define LX_ARGUMENTS_MAX 250u           /* as many as a Lua function can name */
#define LX_SCAN_ROWS_MAX 128            /* rows asked for in one page of a scan */

/* References into the registry, made at boot in this order. */
enum {
  LX_REF_FIRST = LUA_RIDX_LAST + 2, /* luaL_ref keeps its free list at LUA_RIDX_LAST + 1 */
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

/* ---- buffer.c ---- */

typedef struct LxBuffer {
  uint8_t *bytes;
  size_t len, cap;
  int is_heap; /* `bytes` came from malloc */
} LxBuffer;

extern LxBuffer lx_message; /* outgoing messages, one at a time */

void lx_buffer_reserve(lua_State *L, LxBuffer *buffer, size_t more);
void lx_buffer_put(lua_State *L, LxBuffer *buffer, const void *bytes, size_t len);
void *lx_copy(lua_State *L, const void *bytes, size_t len);
_Noreturn void lx_no_memory(lua_State *L);

/* ---- value.c ---- */

typedef struct LxReader {
  const uint8_t *at, *end;
  int is_lossy; /* a value was read that Lua writes differently (bytes that are valid UTF-8) */
} LxReader;

/* What a value is called when it is refused: "what", "what.key", or "what[key_len]" without key. */
typedef struct LxName {
  const char *what, *key;
  size_t key_len;
} LxName;

void lx_put_nil(lua_State *L, LxBuffer *b);
void lx_put_bool(lua_State *L, LxBuffer *b, int value);
void lx_put_integer(lua_State *L, LxBuffer *b, lua_Integer value);
void lx_put_array(lua_State *L, LxBuffer *b, size_t count);
void lx_put_string(lua_State *L, LxBuffer *b, const char *text, size_t len);
void lx_put_text(lua_State *L, LxBuffer *b, const char *text, size_t len, size_t bytes_max);
size_t lx_open_map(lua_State *L, LxBuffer *b);
size_t lx_open_array(lua_State *L, LxBuffer *b);
void lx_close(LxBuffer *b, size_t mark, uint32_t count);
void lx_put_value(lua_State *L, LxBuffer *b, int index, const LxName *name);
int lx_is_utf8(const char *text, size_t len);

void lx_get_value(lua_State *L, LxReader *r);
lua_Integer lx_get_integer(lua_State *L, LxReader *r);
int lx_get_bool(LxReader *r);
int lx_get_nil(LxReader *r);
const char *lx_get_string(lua_State *L, LxReader *r, size_t *len);
uint32_t lx_get_array(lua_State *L, LxReader *r);
uint32_t lx_get_map(lua_State *L, LxReader *r);
const uint8_t *lx_skip(lua_State *L, LxReader *r);
void lx_open_values(lua_State *L);

/* ---- self.c ---- */

enum { LX_FIELD_ID, LX_FIELD_CALLER, LX_FIELD_REQUEST_ID, LX_FIELD_ATTEMPT, LX_FIELD_COUNT };

typedef enum { LX_BOOTING, LX_LOADING, LX_RUNNING } LxPhase;
extern LxPhase lx_phase;
extern int64_t lx_now_ms;
extern uint64_t lx_seed;

void lx_check_callable(lua_State *L);
void lx_begin_call(lua_State *L, const char *name, int argument_count);
void lx_make_call(lua_State *L, LxReader *answer);
void lx_log(lua_State *L, const char *level, const char *text, size_t len, int fields_index);
void lx_warn(void *ud, const char *text, int to_be_continued);
double lx_fuel_seconds(lua_State *L);
void lx_set_field(lua_State *L, int field);
void lx_open_self(lua_State *L);

/* ---- state.c ---- */

typedef struct LxEntry {
  const char *key;
  const uint8_t *base; /* canonical bytes it had when loaded; NULL: absent */
  uint32_t key_len, base_len;
  uint8_t flags;
} LxEntry;

enum {
  LX_KNOWN = 1, /* `base` says what the store has */
  LX_READ = 2,  /* the run used its value or absence */
  LX_LIVE = 4,  /* self.state's raw field is its value from now on (nil: deleted or absent) */
  LX_SENT = 8,  /* went out with a call; stays in every later write set */
  LX_SEEN = 16  /* put_writes has come by its raw field */
};

void lx_open_state(lua_State *L);
void lx_state_begin(lua_State *L, LxReader *run);
void lx_state_put_used(lua_State *L, LxBuffer *b);
void lx_state_put_writes(lua_State *L, LxBuffer *b);
void lx_state_drop(lua_State *L);
void lx_state_add_scan(lua_State *L, const char *prefix, size_t len);
int lx_state_is_complete(void);
LxEntry *lx_state_entries(uint32_t *count);
LxEntry *lx_state_find(const char *key, size_t len);
LxEntry *lx_state_add(lua_State *L, const char *key, size_t len);
void lx_state_make_live(lua_State *L, LxEntry *entry);

/* ---- scan.c ---- */

int lx_scan(lua_State *L, const char *prefix, size_t len);

/* ---- sandbox.c ---- */

void lx_open_libraries(lua_State *L);

/* ---- alloc.c, mathlib.c, oslib.c ---- */

void *lx_alloc(void *unused, void *block, size_t old_bytes, size_t new_bytes);

void lx_reseed(lua_State *L);
int lx_open_math(lua_State *L);
int lx_open_os(lua_State *L);

#endif
