/*
** collector.c - keeps Lua's collector, and so finalizers, out of the way while a message is made
** or read: a finalizer could change a table under the writer's hands, or make a system call and
** overwrite the message.
**
** Stopped once, not counted. After a memory error in between, it stays stopped (emergency
** collections still happen, and run no finalizers) until the next message starts it again; 5.1
** and 5.2, which have no emergency collections while it is stopped, start it again at once.
*/
#include "lx.h"

#include "lstate.h"

#include "lgc.h"

static global_State *stopped = NULL; /* whose collector is stopped */

#if LUA_VERSION_NUM >= 504
static lu_byte before;
#define STOP(g) (before = (g)->gcstp, (g)->gcstp |= GCSTPUSR)
#define RESTART(g) ((g)->gcstp = before)
#elif LUA_VERSION_NUM >= 502
static lu_byte before;
#define STOP(g) (before = (g)->gcrunning, (g)->gcrunning = 0)
#define RESTART(g) ((g)->gcrunning = before)
#else
static lu_mem before;
#define STOP(g) (before = (g)->GCthreshold, (g)->GCthreshold = MAX_LUMEM)
#define RESTART(g) ((g)->GCthreshold = before)
#endif

/* Stops the collector; returns whether it was running, so that the caller is to restart it. */
int lx_stop_collector(lua_State *L) {
  if (stopped != NULL) return 0;
  stopped = G(L);
  STOP(stopped);
  return 1;
}

void lx_restart_collector(void) {
  if (stopped == NULL) return;
  RESTART(stopped);
  stopped = NULL;
}

/* Lua's allocator. */
void *lx_alloc(void *unused, void *block, size_t old_bytes, size_t new_bytes) {
  (void)unused, (void)old_bytes;
  if (new_bytes == 0) {
    lx_free(block);
    return NULL;
  }
  block = lx_realloc(block, new_bytes);
#if LUA_VERSION_NUM <= 502
  if (block == NULL) lx_restart_collector(); /* there is no second try: this is an error now */
#endif
  return block;
}
