/*
** shim.c - the module's exports (guests/lua/README.md): start the interpreter, load a chunk, run a
** handler. Every result is MessagePack at (pointer << 32 | length).
*/
#include <stdlib.h>
#include <string.h>

#include "lx.h"

static lua_State *lua = NULL;

/* Writes the outcome [1, error, reads, scans, {}] of error value 1. */
static int put_raised(lua_State *L) {
  lx_put_error(L, 5);
  lx_state_put_used(L, &lx_message);
  lx_close(&lx_message, lx_open_map(L, &lx_message), 0);
  return 0;
}

/* ---- boot ---- */

static int boot_body(lua_State *L) {
  lua_gc(L, LUA_GCSTOP);
  luaL_checkversion(L);
  for (int ref = LX_REF_FIRST; ref <= LX_REF_LAST; ref++) { /* an array, not a hash */
    lua_pushboolean(L, 0);
    lua_rawseti(L, LUA_REGISTRYINDEX, ref);
  }
  lx_open_libraries(L);
  lx_open_values(L);
  lx_open_state(L);
  lx_open_big(L);
  lx_open_self(L);
  lua_gc(L, LUA_GCRESTART);
  return 0;
}

LX_EXPORT("lx_boot") int32_t lx_boot(void) {
  lua = lua_newstate(lx_alloc, NULL);
  if (lua == NULL) return 1;
  if (lx_run_protected(lua, boot_body) != LUA_OK) return 2;
  lua_settop(lua, 0);
  lua_gc(lua, LUA_GCCOLLECT);
  lx_phase = LX_LOADING;
  return 0;
}

/* ---- load ---- */

static int compare_names(const void *left, const void *right) {
  return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Writes [0, names of the functions in the table on top, sorted]. */
static void put_handler_names(lua_State *L) {
  size_t count = 0, i = 0;
  const char **names;
  int table = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) count++;
  names = lua_newuserdatauv(L, (count + 1) * sizeof *names, 0);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    size_t len;
    if (lua_type(L, -2) != LUA_TSTRING || !lua_isfunction(L, -1)) continue;
    names[i] = lua_tolstring(L, -2, &len);
    if (strlen(names[i]) == len && lx_is_utf8(names[i], len)) i++;
  }
  qsort(names, i, sizeof *names, compare_names);
  lx_message.len = 0;
  lx_put_array(L, &lx_message, 2);
  lx_put_integer(L, &lx_message, 0);
  lx_put_array(L, &lx_message, i);
  for (size_t n = 0; n < i; n++) lx_put_string(L, &lx_message, names[n], strlen(names[n]));
  lua_settop(L, table);
}

static int load_body(lua_State *L) {
  size_t name_len, source_len;
  const char *name, *source;
  lx_get_array(L, &lx_input);
  name = lx_get_string(L, &lx_input, &name_len);
  source = lx_get_string(L, &lx_input, &source_len);
  lua_pushliteral(L, "@");
  lua_pushlstring(L, name, name_len);
  lua_concat(L, 2);
  if (luaL_loadbufferx(L, source, source_len, lua_tostring(L, -1), "t") != LUA_OK)
    return lua_error(L);
  lua_call(L, 0, 1);
  if (!lua_istable(L, -1))
    return luaL_error(L, "%s: a module returns a table of functions; this one returned a %s value",
                      lua_tostring(L, 1) + 1, luaL_typename(L, -1));
  lua_pushvalue(L, -1);
  lua_rawseti(L, LUA_REGISTRYINDEX, LX_REF_HANDLERS);
  put_handler_names(L);
  return 0;
}

LX_EXPORT("lx_load") uint64_t lx_load(uint32_t len) {
  lx_open_input(len);
  if (lx_run_protected(lua, load_body) != LUA_OK) lx_put_failure(lua, lx_put_load_error);
  lx_close_input();
  lua_settop(lua, 0);
  lua_gc(lua, LUA_GCCOLLECT);
  lua_gc(lua, LUA_GCCOLLECT); /* what finalizers of the first let go */
  return lx_pack_message();
}

/* ---- run ---- */

static void set_text_field(lua_State *L, int field) {
  size_t len;
  const char *text;
  if (lx_get_nil(&lx_input)) lua_pushnil(L);
  else {
    text = lx_get_string(L, &lx_input, &len);
    lua_pushlstring(L, text, len);
  }
  lx_set_field(L, field);
}

/* Calls the handler the run message names and writes [0, value, reads, scans, writes]. */
static int run_body(lua_State *L) {
  LxReader args;
  const char *handler;
  size_t handler_len;
  uint32_t count;
  lx_get_array(L, &lx_input);
  handler = lx_get_string(L, &lx_input, &handler_len);
  args.at = lx_skip(L, &lx_input);
  args.end = lx_input.at;
  set_text_field(L, LX_FIELD_ID);
  set_text_field(L, LX_FIELD_CALLER);
  set_text_field(L, LX_FIELD_REQUEST_ID);
  lua_pushinteger(L, lx_get_integer(L, &lx_input));
  lx_set_field(L, LX_FIELD_ATTEMPT);
  lx_now_ms = lx_get_integer(L, &lx_input);
  lx_seed = (uint64_t)lx_get_integer(L, &lx_input);
  lx_reseed(L);
  lx_state_begin(L, &lx_input);

  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_HANDLERS);
  lua_pushlstring(L, handler, handler_len);
  if (!lua_istable(L, 1) || lua_rawget(L, 1) != LUA_TFUNCTION)
    return luaL_error(L, "the module has no handler of that name");
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_SELF);
  count = lx_get_array(L, &args);
  if (count > LX_ARGUMENTS_MAX) return luaL_error(L, "a handler takes at most 250 arguments");
  luaL_checkstack(L, (int)count + 8, NULL);
  for (uint32_t i = 0; i < count; i++) lx_get_value(L, &args);
  lua_call(L, (int)count + 1, 1);

  lx_message.len = 0;
  lx_put_array(L, &lx_message, 5);
  lx_put_integer(L, &lx_message, 0);
  lx_put_value(L, &lx_message, -1, &(LxName){"the returned value", NULL, 0});
  lx_state_put_used(L, &lx_message);
  lx_state_put_writes(L, &lx_message);
  return 0;
}

LX_EXPORT("lx_run") uint64_t lx_run(uint32_t len) {
  lx_open_input(len);
  lx_phase = LX_RUNNING;
  if (lx_run_protected(lua, run_body) != LUA_OK) lx_put_failure(lua, put_raised);
  return lx_pack_message();
}
