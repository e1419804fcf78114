/*
** libraries.c - what a program finds when it begins: the libraries of its version of Lua, without
** what would touch a world that is not there.
**
** Taken away: io, dofile, loadfile, print (the native runtime's), string.dump, os beyond time,
** debug.debug, package.loadlib. Bytecode: see bytecode.c.
*/
#include "lx.h"

#include "lualib.h"

static void remove_fields(lua_State *L, const char *table, const char *const *names) {
#if LUA_VERSION_NUM == 501
  lua_getglobal(L, table);
#else
  luaL_getsubtable(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, table);
  lua_remove(L, -2);
#endif
  for (; *names != NULL; names++) {
    lua_pushnil(L);
    lua_setfield(L, -2, *names);
  }
  lua_pop(L, 1);
}

/* Opens one library as a global table and in package.loaded. */
static void open_library(lua_State *L, const char *name, lua_CFunction open) {
#if LUA_VERSION_NUM == 501
  lua_pushcfunction(L, open); /* called, because it may set its own environment */
  lua_pushstring(L, name);
  lua_call(L, 1, 1);
  if (lua_istable(L, -1)) {
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_setglobal(L, name);
  }
#else
  luaL_requiref(L, name, open, 1);
#endif
  lua_settop(L, 0);
}

void lx_open_libraries(lua_State *L) {
  static const luaL_Reg libraries[] = {
      {"_G", luaopen_base},          {"package", lx_open_package}, {"table", luaopen_table},
      {"string", luaopen_string},    {"math", lx_open_math},       {"os", lx_open_os},
      {"debug", lx_open_debug},
#if LUA_VERSION_NUM >= 502
      {"coroutine", luaopen_coroutine},
#endif
#if LUA_VERSION_NUM == 502
      {"bit32", luaopen_bit32},
#endif
#if LUA_VERSION_NUM >= 503
      {"utf8", luaopen_utf8},
#endif
      {NULL, NULL}};
  static const char *const of_globals[] = {"dofile", "loadfile", "print", NULL};
  static const char *const of_string[] = {"dump", NULL};
  lua_settop(L, 0);
  for (const luaL_Reg *library = libraries; library->func != NULL; library++)
    open_library(L, library->name, library->func);
  remove_fields(L, "_G", of_globals);
  remove_fields(L, "string", of_string);
#if LUA_VERSION_NUM >= 504
  lua_setwarnf(L, lx_warn, NULL);
#endif
}
