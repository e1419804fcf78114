/*
** shim.c - the module's exports (guests/lua/README.md): start the interpreter, load a chunk, run a
** handler. Every result is MessagePack at (pointer << 32 | length).
*/
#include <stdlib.h>
#include <string.h>

#include "lx.h"

#define EXPORT(name) __attribute__((export_name(name)))

static lua_State *lua = NULL;
static uint8_t inbox[LX_INBOX_BYTES];
static uint8_t *big_inbox = NULL;
static size_t big_inbox_bytes = 0;
static uint8_t *current_inbox = inbox;

static LxReader input; /* the message lx_load or lx_run was given */

/* ---- inbox ---- */

EXPORT("lx_inbox") void *lx_inbox(void) {
  return inbox;
}

/* Returns where a message of `len` bytes is to be put, or NULL when there is no memory for it. */
EXPORT("lx_reserve") void *lx_reserve(uint32_t len) {
  current_inbox = inbox;
  if (len <= sizeof inbox) return inbox;
  if (len > big_inbox_bytes) {
    free(big_inbox);
    big_inbox = malloc(len);
    big_inbox_bytes = big_inbox != NULL ? len : 0;
  }
  current_inbox = big_inbox;
  return big_inbox;
}

static void open_input(uint32_t len) {
  input.at = current_inbox;
  input.end = current_inbox + len;
  input.is_lossy = 0;
}

static uint64_t pack_message(void) {
  return (uint64_t)(uintptr_t)lx_message.bytes << 32 | lx_message.len;
}

/* Memory was refused and nobody dealt with it: the end of the guest. The inbox says why. */
static _Noreturn void end_out_of_memory(void) {
  memcpy(inbox, "out of memory", 14);
  __builtin_trap();
}

/* ---- errors ---- */

/* Message handler: keeps a traceback beside the error value. */
static int keep_traceback(lua_State *L) {
  luaL_traceback(L, L, NULL, 1);
  lua_rawseti(L, LUA_REGISTRYINDEX, LX_REF_TRACEBACK);
  return 1;
}

static void put_traceback(lua_State *L) {
  size_t len = 0;
  const char *text;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_TRACEBACK);
  text = lua_tolstring(L, -1, &len);
  if (text == NULL) text = "";
  lx_put_text(L, &lx_message, text, len, LX_MESSAGE_BYTES_MAX);
  lua_pop(L, 1);
}

static int push_text(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
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
    if (lua_rawget(L, index) == LUA_TSTRING) return;
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

/* Writes the outcome [1, [code, message, traceback, data], reads, scans, {}] of error value 1. */
static int put_raised(lua_State *L) {
  size_t len, start;
  const char *text = "";
  lua_settop(L, 1);
  luaL_checkstack(L, 12, NULL);
  push_error_text(L, 1); /* first: it may run Lua code */
  lx_message.len = 0;
  lx_put_array(L, &lx_message, 5);
  lx_put_integer(L, &lx_message, 1);
  lx_put_array(L, &lx_message, 4);
  len = 0;
  if (lua_istable(L, 1)) {
    lua_pushliteral(L, "code");
    if (lua_rawget(L, 1) == LUA_TSTRING) text = lua_tolstring(L, -1, &len);
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
  lx_state_put_used(L, &lx_message);
  lx_close(&lx_message, lx_open_map(L, &lx_message), 0);
  return 0;
}

/* Runs `body` under protection; returns its status, with the error value left on the stack. */
static int run_protected(lua_CFunction body) {
  int status;
  lua_settop(lua, 0);
  lua_pushcfunction(lua, keep_traceback);
  lua_pushcfunction(lua, body);
  status = lua_pcall(lua, 0, 0, 1);
  if (status == LUA_ERRMEM) end_out_of_memory();
  return status;
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
  lx_open_self(L);
  lua_gc(L, LUA_GCRESTART);
  return 0;
}

EXPORT("lx_boot") int32_t lx_boot(void) {
  lua = lua_newstate(lx_alloc, NULL);
  if (lua == NULL) return 1;
  if (run_protected(boot_body) != LUA_OK) return 2;
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
  lx_get_array(L, &input);
  name = lx_get_string(L, &input, &name_len);
  source = lx_get_string(L, &input, &source_len);
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

/* Returns the number in "name:number:", or -1. */
static lua_Integer find_line(const char *text) {
  for (const char *colon = strchr(text, ':'); colon != NULL; colon = strchr(colon + 1, ':')) {
    char *end;
    long line = strtol(colon + 1, &end, 10);
    if (end > colon + 1 && *end == ':' && line > 0) return line;
  }
  return -1;
}

/* Writes [1, message, line | nil, traceback] of error value 1. */
static int put_load_error(lua_State *L) {
  size_t len;
  const char *text;
  lua_Integer line;
  lua_settop(L, 1);
  push_error_text(L, 1);
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

/* Writes an error's message with `put`, which may itself fail on a hostile error value. */
static void put_error(lua_CFunction put) {
  lua_pushcfunction(lua, put);
  lua_insert(lua, -2);
  for (int attempt = 0; attempt < 2; attempt++) {
    int status = lua_pcall(lua, 1, 0, 0);
    if (status == LUA_OK) return;
    if (status == LUA_ERRMEM) break;
    lua_settop(lua, 0);
    lua_pushcfunction(lua, put);
    lua_pushliteral(lua, "the error could not be told");
  }
  end_out_of_memory();
}

EXPORT("lx_load") uint64_t lx_load(uint32_t len) {
  open_input(len);
  if (run_protected(load_body) != LUA_OK) put_error(put_load_error);
  lua_settop(lua, 0);
  lua_gc(lua, LUA_GCCOLLECT);
  lua_gc(lua, LUA_GCCOLLECT); /* what finalizers of the first let go */
  return pack_message();
}

/* ---- run ---- */

static void set_text_field(lua_State *L, int field) {
  size_t len;
  const char *text;
  if (lx_get_nil(&input)) lua_pushnil(L);
  else {
    text = lx_get_string(L, &input, &len);
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
  lx_get_array(L, &input);
  handler = lx_get_string(L, &input, &handler_len);
  args.at = lx_skip(L, &input);
  args.end = input.at;
  set_text_field(L, LX_FIELD_ID);
  set_text_field(L, LX_FIELD_CALLER);
  set_text_field(L, LX_FIELD_REQUEST_ID);
  lua_pushinteger(L, lx_get_integer(L, &input));
  lx_set_field(L, LX_FIELD_ATTEMPT);
  lx_now_ms = lx_get_integer(L, &input);
  lx_seed = (uint64_t)lx_get_integer(L, &input);
  lx_reseed(L);
  lx_state_begin(L, &input);

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

EXPORT("lx_run") uint64_t lx_run(uint32_t len) {
  open_input(len);
  lx_phase = LX_RUNNING;
  if (run_protected(run_body) != LUA_OK) put_error(put_raised);
  return pack_message();
}
