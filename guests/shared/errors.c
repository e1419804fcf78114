/*
** errors.c - what went wrong, as the host is told: texts are bounded, error values of any kind are
** dealt with, and nothing an error value does can fail the telling.
*/
#include <stdlib.h>
#include <string.h>

#include "lx.h"

/* ---- in place of what Lua 5.1 lacks ---- */

#if LUA_VERSION_NUM == 501

/* Calls the global function `name` of library `library` with what is on the stack. */
static void call_library(lua_State *L, const char *library, const char *name, int arguments) {
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, library);
  lua_getfield(L, -1, name);
  lua_replace(L, -3);
  lua_pop(L, 1);
  lua_insert(L, -1 - arguments);
  lua_call(L, arguments, 1);
}

static void push_traceback(lua_State *L) {
  lua_pushcfunction(L, lx_traceback);
  lua_pushliteral(L, "");
  lua_pushinteger(L, 2);
  lua_call(L, 2, 1);
}

static void push_text_of(lua_State *L, int index) {
  lua_pushvalue(L, index);
  call_library(L, "_G", "tostring", 1);
}

#else

static void push_traceback(lua_State *L) {
  luaL_traceback(L, L, NULL, 1);
}

static void push_text_of(lua_State *L, int index) {
  luaL_tolstring(L, index, NULL);
}

#endif

/* ---- protected calls ---- */

/* Message handler: keeps a traceback beside the error value. */
static int keep_traceback(lua_State *L) {
  push_traceback(L);
  lua_rawseti(L, LUA_REGISTRYINDEX, LX_REF_TRACEBACK);
  return 1;
}

/* Runs `body` under protection; returns its status, with the error value left on the stack. */
int lx_run_protected(lua_State *L, lua_CFunction body) {
  int status;
  lx_restart_collector();
  lua_settop(L, 0);
  lua_pushcfunction(L, keep_traceback);
  lua_pushcfunction(L, body);
  status = lua_pcall(L, 0, 0, 1);
  if (status == LUA_ERRMEM) lx_end_out_of_memory();
  return status;
}

/* Writes the error on top of the stack with `put`, which may itself fail on a hostile value. */
void lx_put_failure(lua_State *L, lua_CFunction put) {
  lua_pushcfunction(L, put);
  lua_insert(L, -2);
  for (int attempt = 0; attempt < 2; attempt++) {
    int status = lua_pcall(L, 1, 0, 0);
    if (status == LUA_OK) return;
    if (status == LUA_ERRMEM) break;
    lua_settop(L, 0);
    lua_pushcfunction(L, put);
    lua_pushliteral(L, "the error could not be told");
  }
  lx_end_out_of_memory();
}

/* ---- texts ---- */

static void put_traceback(lua_State *L) {
  size_t len = 0;
  const char *text = NULL;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_TRACEBACK);
  if (lua_type(L, -1) == LUA_TSTRING) text = lua_tolstring(L, -1, &len);
  while (len > 0 && *text == '\n') text++, len--; /* 5.1 begins it with an empty message */
  lx_put_text(L, &lx_message, text, len, LX_MESSAGE_BYTES_MAX);
  lua_pop(L, 1);
}

static int push_text(lua_State *L) {
  push_text_of(L, 1);
  return 1;
}

/* Pushes what the error value at `index` says: itself, its `message`, or what tostring makes. */
static void push_error_text(lua_State *L, int index) {
  if (lua_type(L, index) == LUA_TSTRING) {
    lua_pushvalue(L, index);
    return;
  }
  if (lua_istable(L, index)) {
    lua_pushliteral(L, "message");
    lua_rawget(L, index);
    if (lua_type(L, -1) == LUA_TSTRING) return;
    lua_pop(L, 1);
  }
  lua_pushcfunction(L, push_text);
  lua_pushvalue(L, index);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_type(L, -1) == LUA_TSTRING) return;
  lua_pop(L, 1);
  lua_pushfstring(L, "(a %s whose __tostring failed)", luaL_typename(L, index));
}

/* Writes the error value as data, protected: argument 1 is the value. */
static int put_data(lua_State *L) {
  lx_put_value(L, &lx_message, 1, &(LxName){"error", NULL, 0});
  return 0;
}

/* Begins a message in lx_message: [1, [code, message, traceback, data] ... of error value 1. The
** caller's `outcome_count` says how many elements the outcome has. */
void lx_put_error(lua_State *L, size_t outcome_count) {
  size_t len, start;
  const char *text = "";
  lua_settop(L, 1);
  luaL_checkstack(L, 12, "no room to tell an error");
  push_error_text(L, 1); /* first: it may run Lua code */
  lx_message.len = 0;
  lx_put_array(L, &lx_message, outcome_count);
  lx_put_integer(L, &lx_message, 1);
  lx_put_array(L, &lx_message, 4);
  len = 0;
  if (lua_istable(L, 1)) {
    lua_pushliteral(L, "code");
    lua_rawget(L, 1);
    if (lua_type(L, -1) == LUA_TSTRING) text = lua_tolstring(L, -1, &len);
  }
  lx_put_text(L, &lx_message, text, len, LX_CODE_BYTES_MAX);
  text = lua_tolstring(L, 2, &len);
  lx_put_text(L, &lx_message, text, len, LX_MESSAGE_BYTES_MAX);
  put_traceback(L);
  start = lx_message.len;
  lua_pushcfunction(L, put_data);
  lua_pushvalue(L, 1);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK || lx_message.len - start > LX_ERROR_DATA_BYTES_MAX) {
    lx_message.len = start;
    lx_put_nil(L, &lx_message);
  }
}

/* Returns the number in "name:number:", or -1. */
static int64_t find_line(const char *text) {
  for (const char *colon = strchr(text, ':'); colon != NULL; colon = strchr(colon + 1, ':')) {
    char *end;
    long line = strtol(colon + 1, &end, 10);
    if (end > colon + 1 && *end == ':' && line > 0) return line;
  }
  return -1;
}

/* Name of the chunk that is being loaded, on Lua's stack; NULL: messages are left as they are. */
const char *lx_chunk_name = NULL;

/* Makes the text on top of the stack begin with the chunk's name; Lua's own errors do already. */
static void push_named(lua_State *L) {
  const char *name = lx_chunk_name;
  if (name == NULL || strncmp(lua_tostring(L, -1), name, strlen(name)) == 0) return;
  lua_pushfstring(L, "%s: %s", name, lua_tostring(L, -1));
}

/* Writes [1, message, line | nil, traceback] of error value 1. */
int lx_put_load_error(lua_State *L) {
  size_t len;
  const char *text;
  int64_t line;
  lua_settop(L, 1);
  push_error_text(L, 1);
  push_named(L);
  text = lua_tolstring(L, -1, &len);
  line = find_line(text);
  lx_message.len = 0;
  lx_put_array(L, &lx_message, 4);
  lx_put_integer(L, &lx_message, 1);
  lx_put_text(L, &lx_message, text, len, LX_MESSAGE_BYTES_MAX);
  if (line < 0) lx_put_nil(L, &lx_message);
  else lx_put_integer(L, &lx_message, line);
  put_traceback(L);
  return 0;
}
