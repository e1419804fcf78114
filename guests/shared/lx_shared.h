/*
** lx_shared.h - what the guests made of Lua have in common; each guest's own lx.h includes it.
**
** alloc.c      the heap                          errors.c  what went wrong, for the host
** buffer.c     growing bytes                     inbox.c   messages in, results out
** collector.c  no finalizers in between          host.c    the system call itself
** value.c      values into MessagePack           libc.c    what stands in for an operating system
** reader.c     MessagePack into values; `lithox` bytecode.c  bytecode is refused
**                                                oslib.c, mathlib.c  Lua's own, with our clock
**
** One run per image: the host restores the memory taken after lx_load before each lx_run, so
** static variables here begin every run with the values lx_load left.
**
** A guest's lx.h gives the registry references LX_REF_LIST, LX_REF_BYTES, LX_REF_TRACEBACK and
** LX_REF_RANDOM, and the guest the functions under "given by each guest" below.
*/
#ifndef lx_shared_h
#define lx_shared_h

#include <stddef.h>
#include <stdint.h>

#include "lauxlib.h"
#include "lua.h"
#include "lx_versions.h"

#define LX_DEPTH_MAX 64                 /* containers inside containers, as model/values.py */
#define LX_VALUE_BYTES_MAX (16u << 20)  /* encoded size of one value, as model/values.py */
#define LX_INBOX_BYTES (16u << 10)      /* the inbox that is always there */
#define LX_MESSAGE_BYTES_MAX 4096u      /* text of an error, and of its traceback */
#define LX_CODE_BYTES_MAX 128u          /* an error table's own code */
#define LX_ERROR_DATA_BYTES_MAX (16u << 10) /* an error value sent along as data */
#define LX_ARGUMENTS_MAX 250u           /* as many as a Lua function can name */

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

/* ---- collector.c ---- */

int lx_stop_collector(lua_State *L);
void lx_restart_collector(void);

/* ---- value.c, reader.c ---- */

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
void lx_put_integer(lua_State *L, LxBuffer *b, int64_t value);
void lx_put_array(lua_State *L, LxBuffer *b, size_t count);
void lx_put_string(lua_State *L, LxBuffer *b, const char *text, size_t len);
void lx_put_bytes(lua_State *L, LxBuffer *b, const char *bytes, size_t len);
void lx_put_text(lua_State *L, LxBuffer *b, const char *text, size_t len, size_t bytes_max);
size_t lx_open_map(lua_State *L, LxBuffer *b);
size_t lx_open_array(lua_State *L, LxBuffer *b);
void lx_close(LxBuffer *b, size_t mark, uint32_t count);
void lx_put_value(lua_State *L, LxBuffer *b, int index, const LxName *name);
_Noreturn void lx_refuse_value(lua_State *L, const char *problem);
int lx_is_utf8(const char *text, size_t len);

void lx_get_value(lua_State *L, LxReader *r);
int64_t lx_get_integer(lua_State *L, LxReader *r);
int lx_get_bool(LxReader *r);
int lx_get_nil(LxReader *r);
const char *lx_get_string(lua_State *L, LxReader *r, size_t *len);
uint32_t lx_get_array(lua_State *L, LxReader *r);
uint32_t lx_get_map(lua_State *L, LxReader *r);
const uint8_t *lx_skip(lua_State *L, LxReader *r);
_Noreturn void lx_malformed(lua_State *L);
void lx_push_integer(lua_State *L, int64_t value);
void lx_open_values(lua_State *L);

/* ---- inbox.c ---- */

#define LX_EXPORT(name) __attribute__((export_name(name)))

extern LxReader lx_input; /* the message lx_load or lx_run was given */

void lx_open_input(uint32_t len);
void lx_close_input(void);
uint64_t lx_pack_message(void);
_Noreturn void lx_end_out_of_memory(void);

/* ---- errors.c ---- */

extern const char *lx_chunk_name;

int lx_run_protected(lua_State *L, lua_CFunction body);
void lx_put_failure(lua_State *L, lua_CFunction put);
void lx_put_error(lua_State *L, size_t outcome_count);
int lx_put_load_error(lua_State *L);

/* ---- host.c ---- */

typedef enum { LX_BOOTING, LX_LOADING, LX_RUNNING } LxPhase;
extern LxPhase lx_phase;
extern int64_t lx_now_ms;
extern uint64_t lx_seed;

/* One unit of fuel is about a quarter of a nanosecond (model/limits.py). */
#define LX_SECONDS_PER_FUEL 0.25e-9

__attribute__((import_module("lithox"), import_name("syscall"))) int32_t lx_host_call(
    const void *message, int32_t len, void *out, int32_t cap);
void lx_begin_message(lua_State *L, const char *name, size_t len, size_t count);
void lx_send_message(lua_State *L, LxReader *answer);

/* ---- alloc.c, mathlib.c, oslib.c ---- */

void *lx_alloc(void *unused, void *block, size_t old_bytes, size_t new_bytes);

void lx_reseed(lua_State *L);
int lx_open_math(lua_State *L);
int lx_open_os(lua_State *L);

/* ---- given by each guest ---- */

/* Raises (lx_refuse_value) if the table at `index` is none that may be written. */
void lx_check_table(lua_State *L, int index);
/* Writes the userdata at `index` if it is of a kind this guest has; else returns 0. */
int lx_put_userdata(lua_State *L, LxBuffer *b, int index);
/* Pushes the value of a four-byte MessagePack extension; else returns 0. */
int lx_push_extension(lua_State *L, uint8_t type, uint32_t content);
/* The process's fuel time, what os.clock gives. */
double lx_fuel_seconds(lua_State *L);

#endif
