/*
** bytecode.c - in place of lundump.c and ldump.c: bytecode is neither loaded nor made. Loading it
** could break the interpreter's own rules, and text is all that stores keep.
*/
#include "lx.h"

#include "lstate.h"

#include "ldo.h"
#include "lobject.h"
#include "lundump.h"

static _Noreturn void refuse(lua_State *L) {
  luaO_pushfstring(L, "bytecode is not loaded; give the source text");
  luaD_throw(L, LUA_ERRSYNTAX);
  __builtin_unreachable();
}

/* Called by the core for any chunk that begins as bytecode does. */
#if LUA_VERSION_NUM == 501
Proto *luaU_undump(lua_State *L, ZIO *input, Mbuffer *buffer, const char *name) {
  (void)input, (void)buffer, (void)name;
  refuse(L);
}
#elif LUA_VERSION_NUM == 502
Closure *luaU_undump(lua_State *L, ZIO *input, Mbuffer *buffer, const char *name) {
  (void)input, (void)buffer, (void)name;
  refuse(L);
}
#elif LUA_VERSION_NUM < 505
LClosure *luaU_undump(lua_State *L, ZIO *input, const char *name) {
  (void)input, (void)name;
  refuse(L);
}
#else
LClosure *luaU_undump(lua_State *L, ZIO *input, const char *name, int is_fixed) {
  (void)input, (void)name, (void)is_fixed;
  refuse(L);
}
#endif

int luaU_dump(lua_State *L, const Proto *function, lua_Writer writer, void *data, int strip) {
  (void)L, (void)function, (void)writer, (void)data, (void)strip;
  return 1;
}
