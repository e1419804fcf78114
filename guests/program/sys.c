/*
** sys.c - the system calls as Lua sees them: sys.call, sys.invoke, sys.share, sys.on_start.
**
**   call    [0, name, ...arguments, shared]     shared: the contexts that travel, by number
**   answer  [status, contexts, ...values]       contexts: the receiver's numbers for those
**
** Inside values a context is MessagePack extension 1: an index into that list. From the first byte
** of a message to the last value of its answer the collector stands still, so no finalizer (which
** may make system calls like any other code) comes in between.
*/
#include <string.h>

#include "lx.h"

#define EXT_CONTEXT 1
#define CONTEXT_MAX 0xffffffffu /* numbers are counted from 0 and never used twice */

static struct {
  int64_t numbers[LX_SHARED_MAX];
  uint32_t count;
  int is_allowed;
} shared;

static LxContexts contexts;

/* ---- contexts in values ---- */

void lx_begin_shared(int is_allowed) {
  shared.count = 0;
  shared.is_allowed = is_allowed;
}

void lx_check_table(lua_State *L, int index) {
  (void)L, (void)index;
}

/* Is the userdata at `index` one that sys.share made? */
static int is_shared(lua_State *L, int index) {
  int same;
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) return 0;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_SHARED);
  same = lua_rawequal(L, -1, -2) && lua_rawlen(L, index) == sizeof(int64_t);
  lua_pop(L, 2);
  return same;
}

int lx_put_userdata(lua_State *L, LxBuffer *b, int index) {
  uint8_t bytes[6] = {0xd6, EXT_CONTEXT, 0, 0, 0, 0};
  if (!is_shared(L, index)) return 0;
  if (!shared.is_allowed)
    lx_refuse_value(L, "contexts are shared in answers and when a process is started");
  if (shared.count == LX_SHARED_MAX) lx_refuse_value(L, "at most 256 contexts in one message");
  bytes[4] = (uint8_t)(shared.count >> 8);
  bytes[5] = (uint8_t)shared.count;
  memcpy(&shared.numbers[shared.count++], lua_touserdata(L, index), sizeof(int64_t));
  lx_buffer_put(L, b, bytes, sizeof bytes);
  return 1;
}

int lx_push_extension(lua_State *L, uint8_t type, uint32_t content) {
  LxReader items = contexts.items;
  if (type != EXT_CONTEXT || content >= contexts.count) return 0;
  for (uint32_t i = 0; i < content; i++) lx_skip(L, &items);
  lx_push_integer(L, lx_get_integer(L, &items));
  return 1;
}

/* sys.share(ctx): stands for a context inside the values of an answer or of run's options. */
static int make_shared(lua_State *L) {
  lua_Number number = luaL_checknumber(L, 1);
  int64_t context = (int64_t)number;
  if (!(number >= 0 && number <= CONTEXT_MAX) || (lua_Number)context != number)
    return luaL_argerror(L, 1, "the number of a context expected");
  memcpy(lua_newuserdatauv(L, sizeof context, 0), &context, sizeof context);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_SHARED);
  lua_setmetatable(L, -2);
  return 1;
}

static int shared_tostring(lua_State *L) {
  int64_t context;
  if (!is_shared(L, 1)) return luaL_argerror(L, 1, "a shared context expected");
  memcpy(&context, lua_touserdata(L, 1), sizeof context);
  lua_pushfstring(L, "shared context %f", (lua_Number)context);
  return 1;
}

/* ---- calls ---- */

/* Ends the message with the contexts it shares, sends it, and waits. */
void lx_call_host(lua_State *L, LxReader *answer) {
  lx_put_array(L, &lx_message, shared.count);
  for (uint32_t i = 0; i < shared.count; i++)
    lx_put_integer(L, &lx_message, shared.numbers[i]);
  shared.is_allowed = 0;
  lx_send_message(L, answer);
}

/* Reads [status, contexts, ...]; pushes the status and returns how many values follow. */
uint32_t lx_open_answer(lua_State *L, LxReader *answer) {
  uint32_t count = lx_get_array(L, answer);
  LxReader items;
  if (count < 2 || count > LX_ARGUMENTS_MAX + 2) lx_malformed(L);
  lx_push_integer(L, lx_get_integer(L, answer));
  contexts.count = lx_get_array(L, answer);
  contexts.items = items = *answer;
  for (uint32_t i = 0; i < contexts.count; i++) lx_get_integer(L, &items);
  contexts.items.end = answer->at = items.at;
  return count - 2;
}

/* Pushes the answer's status and values; returns how many. */
static int push_answer(lua_State *L, LxReader *answer) {
  uint32_t count = lx_open_answer(L, answer);
  if (!lua_checkstack(L, (int)count + 8)) lx_malformed(L);
  for (uint32_t i = 0; i < count; i++) lx_get_value(L, answer);
  return (int)count + 1;
}

/* Checks that a call may be made now, and returns its name, argument 1. */
static const char *check_call(lua_State *L, size_t *len) {
  if (lua_type(L, 1) != LUA_TSTRING) luaL_argerror(L, 1, "the name of a system call expected");
  if (lx_phase != LX_RUNNING)
    luaL_error(L, "system calls are there in a run only, not while a program is loaded");
  luaL_checkstack(L, 16, "system call");
  return lua_tolstring(L, 1, len);
}

/* Writes the stack's values from `first` to `last`. */
void lx_put_arguments(lua_State *L, int first, int last) {
  for (int i = first; i <= last; i++)
    lx_put_value(L, &lx_message, i, &(LxName){"argument", NULL, (size_t)i - 1});
}

static int finish_call(lua_State *L) {
  LxReader answer;
  int count;
  lx_call_host(L, &answer);
  lua_settop(L, 0);
  count = push_answer(L, &answer);
  lx_restart_collector();
  return count;
}

/* sys.call(name, ...) -> status, values... */
static int sys_call(lua_State *L) {
  size_t len;
  const char *name = check_call(L, &len);
  int last = lua_gettop(L), is_exit = len == 4 && memcmp(name, "exit", 4) == 0;
  lx_stop_collector(L);
  lx_begin_shared(1);
  lx_begin_message(L, name, len, (size_t)last + 2);
  lx_put_arguments(L, 2, last);
  if (is_exit) {
    LxReader answer;
    lx_call_host(L, &answer);
    lx_open_answer(L, &answer);
    if (lua_tonumber(L, -1) == 0) lx_leave();
    lua_pop(L, 1);
    answer.at = answer.end;
    lx_restart_collector();
    return luaL_error(L, "exit was refused");
  }
  return finish_call(L);
}

/* sys.invoke(name, a, b, timeout, ...) -> status, values...: the varargs travel as one list. */
static int sys_invoke(lua_State *L) {
  size_t len;
  const char *name = check_call(L, &len);
  int last;
  if (lua_gettop(L) < 4) lua_settop(L, 4);
  last = lua_gettop(L);
  lx_stop_collector(L);
  lx_begin_shared(1);
  lx_begin_message(L, name, len, 7);
  lx_put_arguments(L, 2, 4);
  lx_put_array(L, &lx_message, (size_t)last - 4);
  lx_put_arguments(L, 5, last);
  return finish_call(L);
}

/* sys.on_start(f): what lx_run is to call. */
static int on_start(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawseti(L, LUA_REGISTRYINDEX, LX_REF_START);
  return 0;
}

/* ---- fuel time ---- */

/* Returns the process's fuel time, what os.clock gives; 0 while a program is loaded. */
double lx_fuel_seconds(lua_State *L) {
  LxReader answer;
  double fuel = 0;
  if (lx_phase != LX_RUNNING) return 0;
  luaL_checkstack(L, 16, "system call");
  lx_stop_collector(L);
  lx_begin_shared(0);
  lx_begin_message(L, "usage", 5, 3);
  lx_call_host(L, &answer);
  if (lx_open_answer(L, &answer) > 0) {
    lx_get_value(L, &answer);
    if (lua_istable(L, -1)) {
      lua_pushliteral(L, "used");
      lua_rawget(L, -2);
      if (lua_istable(L, -1)) {
        lua_pushliteral(L, "fuel");
        lua_rawget(L, -2);
        fuel = lua_tonumber(L, -1);
      }
    }
  }
  lx_restart_collector();
  return fuel * LX_SECONDS_PER_FUEL;
}

/* ---- warnings ---- */

#if LUA_VERSION_NUM >= 504

/*
** Lua's warning function, off until warn("@on") as in the stock interpreter: a line on stderr. It
** may be called in the middle of a collection, so it has a message of its own and never raises.
*/
void lx_warn(void *ud, const char *text, int to_be_continued) {
  static const char head[] = "\x95\x00\xa5write\xa3" "err\xda\0\0Lua warning: ";
  enum { HEAD = sizeof head - 1, LENGTH_AT = 13, TEXT_AT = 15 };
  static char line[512];
  static size_t len = 0;
  static int is_on = 0, is_continued = 0;
  size_t more = strlen(text);
  uint8_t ignored[64];
  (void)ud;
  if (!is_continued && !to_be_continued && text[0] == '@') {
    if (strcmp(text, "@on") == 0) is_on = 1;
    if (strcmp(text, "@off") == 0) is_on = 0;
    return;
  }
  if (len == 0) { /* [0, "write", "err", text of 16-bit length, []] */
    memcpy(line, head, HEAD);
    len = HEAD;
  }
  is_continued = to_be_continued;
  if (more > sizeof line - 2 - len) more = sizeof line - 2 - len;
  for (size_t i = 0; i < more; i++) line[len++] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
  if (to_be_continued) return;
  line[len++] = '\n';
  line[LENGTH_AT] = (char)((len - TEXT_AT) >> 8);
  line[LENGTH_AT + 1] = (char)(len - TEXT_AT);
  line[len++] = (char)0x90;
  if (is_on && lx_phase == LX_RUNNING) lx_host_call(line, (int32_t)len, ignored, sizeof ignored);
  len = 0;
}

#endif

/* ---- the table ---- */

static const luaL_Reg functions[] = {{"call", sys_call},
                                     {"invoke", sys_invoke},
                                     {"share", make_shared},
                                     {"on_start", on_start},
                                     {NULL, NULL}};

void lx_open_sys(lua_State *L) {
  lua_createtable(L, 0, 3);
  lua_pushcfunction(L, shared_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "lithox.shared");
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_rawseti(L, LUA_REGISTRYINDEX, LX_REF_SHARED);
  lua_createtable(L, 0, 8);
  luaL_setfuncs(L, functions, 0);
  lua_pushlstring(L, &LUA_VERSION[4], 3); /* of "Lua 5.4" */
  lua_setfield(L, -2, "version");
  lua_rawseti(L, LUA_REGISTRYINDEX, LX_REF_SYS);
  lx_open_events(L);
}
