/*
** sandbox.c - what Lua code may reach: the pure libraries, and the few functions of ours that
** stand where Lua has ones that touch the world.
**
** Taken away: io, dofile, loadfile, string.dump, os beyond time, debug beyond traceback, package
** beyond loaded and preload. Bytecode: see bytecode.c.
*/
#include <stdlib.h>
#include <string.h>

#include "lx.h"

#include "lualib.h"

/* ---- globals ---- */

/* print(...): a line of the log at level info. */
static int print_line(lua_State *L) {
  int count = lua_gettop(L);
  luaL_Buffer b;
  size_t len;
  const char *text;
  luaL_buffinit(L, &b);
  for (int i = 1; i <= count; i++) {
    if (i > 1) luaL_addchar(&b, '\t');
    luaL_tolstring(L, i, NULL);
    luaL_addvalue(&b);
  }
  luaL_pushresult(&b);
  text = lua_tolstring(L, -1, &len);
  lx_log(L, "info", text, len, 0);
  return 0;
}

/* next(table, key): Lua's own, but not over self.state, whose fields are only those used so far. */
static int next_field(lua_State *L) {
  int is_state;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_STATE);
  is_state = lua_rawequal(L, 1, 3);
  lua_settop(L, 2);
  if (is_state) return luaL_error(L, "next does not walk self.state; use pairs(self.state)");
  if (lua_next(L, 1)) return 2;
  lua_pushnil(L);
  return 1;
}

/* require(name): what is loaded, or a function in package.preload. */
static int require_module(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, 2, name) != LUA_TNIL && lua_toboolean(L, -1)) return 1;
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  if (lua_getfield(L, -1, name) == LUA_TNIL)
    return luaL_error(L,
                      "module '%s' not found: this version loads no modules beside the handler's "
                      "own; put its functions into package.preload or into the same file",
                      name);
  lua_pushvalue(L, 1);
  lua_pushliteral(L, ":preload:");
  lua_call(L, 2, 1);
  if (!lua_isnil(L, -1)) lua_setfield(L, 2, name);
  if (lua_getfield(L, 2, name) == LUA_TNIL) {
    lua_pushboolean(L, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, name);
  }
  lua_pushliteral(L, ":preload:");
  return 2;
}

/* debug.traceback([thread,] [message [, level]]), as in ldblib.c. */
static int make_traceback(lua_State *L) {
  int has_thread = lua_isthread(L, 1);
  lua_State *of = has_thread ? lua_tothread(L, 1) : L;
  const char *message = lua_tostring(L, has_thread + 1);
  if (message == NULL && !lua_isnoneornil(L, has_thread + 1)) lua_pushvalue(L, has_thread + 1);
  else luaL_traceback(L, of, message, (int)luaL_optinteger(L, has_thread + 2, L == of));
  return 1;
}

static void remove_fields(lua_State *L, const char *table, const char *const *names) {
  lua_getglobal(L, table);
  for (; *names != NULL; names++) {
    lua_pushnil(L);
    lua_setfield(L, -2, *names);
  }
  lua_pop(L, 1);
}

static void open_package(lua_State *L) {
  lua_createtable(L, 0, 2);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_setfield(L, -2, "loaded");
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_setfield(L, -2, "preload");
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, "package");
  lua_pop(L, 1);
  lua_setglobal(L, "package");
  lua_register(L, "require", require_module);
}

static int open_debug(lua_State *L) {
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, make_traceback);
  lua_setfield(L, -2, "traceback");
  return 1;
}

void lx_open_libraries(lua_State *L) {
  static const luaL_Reg libraries[] = {
      {LUA_GNAME, luaopen_base},          {LUA_TABLIBNAME, luaopen_table},
      {LUA_STRLIBNAME, luaopen_string},   {LUA_MATHLIBNAME, lx_open_math},
      {LUA_UTF8LIBNAME, luaopen_utf8},    {LUA_COLIBNAME, luaopen_coroutine},
      {LUA_OSLIBNAME, lx_open_os},        {LUA_DBLIBNAME, open_debug},
      {NULL, NULL}};
  static const char *const of_globals[] = {"dofile", "loadfile", NULL};
  static const char *const of_string[] = {"dump", NULL};
  for (const luaL_Reg *library = libraries; library->func != NULL; library++) {
    luaL_requiref(L, library->name, library->func, 1);
    lua_pop(L, 1);
  }
  open_package(L);
  remove_fields(L, LUA_GNAME, of_globals);
  remove_fields(L, LUA_STRLIBNAME, of_string);
  lua_register(L, "print", print_line);
  lua_register(L, "next", next_field);
  lua_register(L, "rawset", lx_state_rawset);
  lua_setwarnf(L, lx_warn, NULL);
}
