/*
** debuglib.c - Lua's debug library as it is, without debug.debug, which reads a terminal. All of
** it stays within the process that uses it: the wall around a program is the sandbox, not Lua.
*/
#include <stdio.h>
#include <stdlib.h>

#include "lx.h"

#include "ldblib.c"

int lx_open_debug(lua_State *L) {
  (void)db_debug;
  luaL_newlib(L, dblib);
  lua_pushnil(L);
  lua_setfield(L, -2, "debug");
  return 1;
}

#if LUA_VERSION_NUM == 501
/* debug.traceback, which later versions have as luaL_traceback. */
int lx_traceback(lua_State *L) {
  return db_errorfb(L);
}
#endif
