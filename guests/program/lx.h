/*
** lx.h - what the parts of the programs' shim know of each other, beside guests/shared.
**
** shim.c       exports: boot, load, run        sys.c      the system calls as Lua sees them
** libraries.c  what Lua code may reach         events.c   sys.pull: events into tables
** debuglib.c, packagelib.c  Lua's own, without the world
*/
#ifndef lx_h
#define lx_h

#include "lx_shared.h"

#define LX_SHARED_MAX 256u /* contexts that travel with one message */

/* References into the registry, made at boot in this order. */
enum {
  LX_REF_FIRST = LX_REGISTRY_FIRST,
  LX_REF_LIST = LX_REF_FIRST, /* metatable that marks lists */
  LX_REF_BYTES,               /* metatable of lithox.bytes */
  LX_REF_SHARED,              /* metatable of handles made by sys.share */
  LX_REF_SYS,                 /* the table sys */
  LX_REF_START,               /* the function given to sys.on_start */
  LX_REF_STARTERS,            /* functions the runtimes returned */
  LX_REF_MAIN,                /* the program's main function */
  LX_REF_RANDOM,              /* anchors the generator's state */
  LX_REF_TRACEBACK,           /* where the last error came from */
  LX_REF_LAST = LX_REF_TRACEBACK
};

/* ---- sys.c ---- */

/* Contexts that came with the answer being read: the integers of its second element. */
typedef struct LxContexts {
  LxReader items;
  uint32_t count;
} LxContexts;

void lx_open_sys(lua_State *L);
void lx_begin_shared(int is_allowed);
void lx_put_arguments(lua_State *L, int first, int last);
uint32_t lx_open_answer(lua_State *L, LxReader *answer);
void lx_call_host(lua_State *L, LxReader *answer);
void lx_warn(void *ud, const char *text, int to_be_continued);

/* ---- events.c ---- */

void lx_open_events(lua_State *L);

/* ---- shim.c ---- */

/* Leaves lx_run at once, whatever stands in between; the outcome is [0, []]. */
_Noreturn void lx_leave(void);

/* ---- libraries.c, debuglib.c, packagelib.c ---- */

void lx_open_libraries(lua_State *L);
int lx_open_debug(lua_State *L);
int lx_open_package(lua_State *L);
int lx_traceback(lua_State *L);

#endif
