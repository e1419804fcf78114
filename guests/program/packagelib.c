/*
** packagelib.c - Lua's package library: require, module (5.1), package.loaded, preload, and the
** searchers (5.1: loaders). There are no files and no C modules, so the only searcher is that of
** package.preload; the native runtime adds the one that asks the library store.
*/
#include <stdlib.h>

#include "lx.h"

#define getenv(name) ((void)(name), (char *)NULL)
#include "loadlib.c"

#if LUA_VERSION_NUM == 501
#define SEARCHERS "loaders"
#else
#define SEARCHERS "searchers"
#endif

/* package.searchpath finds nothing: there are no files. */
int lx_open_package(lua_State *L) {
  luaopen_package(L);
  lua_getfield(L, -1, SEARCHERS);
  for (int i = 2; i <= 4; i++) {
    lua_pushnil(L);
    lua_rawseti(L, -2, i);
  }
  lua_pop(L, 1);
  lua_pushnil(L);
  lua_setfield(L, -2, "loadlib");
  lua_pushliteral(L, "");
  lua_setfield(L, -2, "cpath");
  return 1;
}
