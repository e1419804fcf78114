/*
** shim.c - the module's exports (guests/program/README.md): start the interpreter, load a program
** with what runs before it, run it. Every result is MessagePack at (pointer << 32 | length).
*/
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "lx.h"

static lua_State *lua = NULL;
static jmp_buf end_of_run;

/* ---- boot ---- */

static int boot_body(lua_State *L) {
  lua_gc(L, LUA_GCSTOP, 0);
  for (int ref = LX_REF_FIRST; ref <= LX_REF_LAST; ref++) { /* an array, not a hash */
    lua_pushboolean(L, 0);
    lua_rawseti(L, LUA_REGISTRYINDEX, ref);
  }
  lx_open_libraries(L);
  lx_open_values(L);
  lx_open_sys(L);
  lua_gc(L, LUA_GCRESTART, 0);
  return 0;
}

LX_EXPORT("lx_boot") int32_t lx_boot(void) {
#if LUA_VERSION_NUM >= 505
  lua = lua_newstate(lx_alloc, NULL, luai_makeseed());
#else
  lua = lua_newstate(lx_alloc, NULL);
#endif
  if (lua == NULL) return 1;
  if (lx_run_protected(lua, boot_body) != LUA_OK) return 2;
  lua_settop(lua, 0);
  lua_gc(lua, LUA_GCCOLLECT, 0);
  lx_phase = LX_LOADING;
  return 0;
}

/* ---- load ---- */

/* The first line of a file that begins with # is for an operating system; its end stays, so that
** lines keep their numbers. */
static void skip_first_line(const char **text, size_t *len) {
  if (*len == 0 || **text != '#') return;
  while (*len > 0 && **text != '\n') (*text)++, (*len)--;
}

/* Takes [name, text] off the input, compiles it and pushes its function above "@name", which stays
** on the stack while the chunk runs. */
static void compile_next(lua_State *L) {
  size_t name_len, len;
  const char *name = lx_get_string(L, &lx_input, &name_len);
  const char *text = lx_get_string(L, &lx_input, &len);
  lua_pushliteral(L, "@");
  lua_pushlstring(L, name, name_len);
  lua_concat(L, 2);
  lx_chunk_name = lua_tostring(L, -1) + 1;
  skip_first_line(&text, &len);
  if (luaL_loadbufferx(L, text, len, lua_tostring(L, -1), "t") != LUA_OK) lua_error(L);
}

/* Runs prelude number `i` (from 0): the first gets sys; what a later one returns is a starter. */
static void run_prelude(lua_State *L, uint32_t i) {
  int base = lua_gettop(L);
  if (lx_get_array(L, &lx_input) != 2) lx_malformed(L);
  compile_next(L);
  if (i == 0) lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_SYS);
  lua_call(L, i == 0 ? 1 : 0, 1);
  if (i > 0 && lua_isfunction(L, -1)) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_STARTERS);
    lua_insert(L, -2);
    lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
  }
  lua_settop(L, base);
}

static int load_body(lua_State *L) {
  LxReader main;
  uint32_t count;
  if (lx_get_array(L, &lx_input) != 3) lx_malformed(L);
  main = lx_input;
  lx_skip(L, &lx_input);
  lx_skip(L, &lx_input);
  count = lx_get_array(L, &lx_input);
  if (count > 0) { /* without preludes, those of the load before stay: the image is theirs */
    lua_newtable(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, LX_REF_STARTERS);
  }
  for (uint32_t i = 0; i < count; i++) run_prelude(L, i);
  lx_input = main;
  compile_next(L);
  lx_chunk_name = NULL;
  lua_rawseti(L, LUA_REGISTRYINDEX, LX_REF_MAIN);
  lua_settop(L, 0);
  lx_message.len = 0;
  lx_put_array(L, &lx_message, 2);
  lx_put_integer(L, &lx_message, 0);
  lx_put_array(L, &lx_message, 0);
  return 0;
}

LX_EXPORT("lx_load") uint64_t lx_load(uint32_t len) {
  lx_open_input(len);
  if (lx_run_protected(lua, load_body) != LUA_OK) lx_put_failure(lua, lx_put_load_error);
  lx_close_input();
  lua_settop(lua, 0);
  lua_gc(lua, LUA_GCCOLLECT, 0);
  lua_gc(lua, LUA_GCCOLLECT, 0); /* what finalizers of the first let go */
  return lx_pack_message();
}

/* ---- run ---- */

/* Calls start(main, starters, info, args...), or main(args...) when nothing was registered, and
** writes [0, [values...]]. */
static int run_body(lua_State *L) {
  LxReader args;
  uint32_t count;
  int results;
  if (lx_get_array(L, &lx_input) != 4) lx_malformed(L);
  args.at = lx_skip(L, &lx_input);
  args.end = lx_input.at;
  args.is_lossy = 0;
  lx_now_ms = lx_get_integer(L, &lx_input);
  lx_seed = (uint64_t)lx_get_integer(L, &lx_input);
  lx_reseed(L);
  count = lx_get_array(L, &args);
  if (count > LX_ARGUMENTS_MAX) return luaL_error(L, "a program takes at most 250 arguments");
  luaL_checkstack(L, (int)count + 8, "arguments");
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_START);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_MAIN);
  if (lua_isfunction(L, 1)) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_STARTERS);
    lx_get_value(L, &lx_input);
  }
  else lua_remove(L, 1);
  for (uint32_t i = 0; i < count; i++) lx_get_value(L, &args);
  lx_close_input();
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  results = lua_gettop(L);
  lx_message.len = 0;
  lx_put_array(L, &lx_message, 2);
  lx_put_integer(L, &lx_message, 0);
  lx_put_array(L, &lx_message, (size_t)results);
  lx_begin_shared(0);
  for (int i = 1; i <= results; i++)
    lx_put_value(L, &lx_message, i, &(LxName){"returned value", NULL, (size_t)i});
  return 0;
}

static int put_raised(lua_State *L) {
  lx_put_error(L, 2);
  return 0;
}

_Noreturn void lx_leave(void) {
  longjmp(end_of_run, 1);
}

/* Ends a run whose process has exited: nothing of Lua is touched any more. */
static void put_nothing(void) {
  static const uint8_t outcome[] = {0x92, 0x00, 0x90};
  memcpy(lx_message.bytes, outcome, sizeof outcome);
  lx_message.len = sizeof outcome;
}

LX_EXPORT("lx_run") uint64_t lx_run(uint32_t len) {
  lx_open_input(len);
  lx_phase = LX_RUNNING;
  if (setjmp(end_of_run) != 0) {
    put_nothing();
    return lx_pack_message();
  }
  if (lx_run_protected(lua, run_body) != LUA_OK) lx_put_failure(lua, put_raised);
  return lx_pack_message();
}
