/*
** self.c - `self`: its fields and methods, and the system calls under them.
**
** One call is made at a time: building a message runs no Lua code, and finalizers (the only code
** that could come between) are refused every system call.
*/
#include <stdlib.h>
#include <string.h>

#include "lx.h"

#include "lstate.h"

#include "lgc.h"
#include "lstring.h"
#include "ltable.h"

/* While a finalizer runs the collector is stopped by this flag. */
static void check_not_finalizer(lua_State *L) {
  if (G(L)->gcstp & GCSTPGC) luaL_error(L, "a finalizer makes no system calls");
}

/* Raises unless system calls are possible here: in a run, and not in a finalizer. */
void lx_check_callable(lua_State *L) {
  if (lx_phase != LX_RUNNING)
    luaL_error(L, "self and its system calls are there in a run only, not while a module loads");
  check_not_finalizer(L);
}

/* Begins the message [0, name, ...]; the caller puts `argument_count` values after it. */
void lx_begin_call(lua_State *L, const char *name, int argument_count) {
  lx_state_begin_message();
  lx_begin_message(L, name, strlen(name), (size_t)argument_count + 2);
}

static int refusal_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_pushliteral(L, "message");
  if (lua_rawget(L, 1) != LUA_TSTRING) lua_pushliteral(L, "refused");
  return 1;
}

/* Raises [status, code, message, fields] as a table {code=, message=, ...fields}. */
static void raise_refusal(lua_State *L, LxReader *answer) {
  LxReader code = *answer, message;
  const char *text;
  size_t len;
  lx_skip(L, answer);
  message = *answer;
  lx_skip(L, answer);
  if (answer->at == answer->end || lx_get_nil(answer)) lua_newtable(L);
  else lx_get_value(L, answer);
  if (!lua_istable(L, -1)) lua_newtable(L);
  text = lx_get_string(L, &code, &len);
  lua_pushlstring(L, text, len);
  lua_setfield(L, -2, "code");
  text = lx_get_string(L, &message, &len);
  lua_pushlstring(L, text, len);
  lua_setfield(L, -2, "message");
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_REFUSAL);
  lua_setmetatable(L, -2);
  lua_error(L);
}

/*
** Sends lx_message and waits. `answer` is left at the first value after the status and is good
** until the next call; a refusal is raised.
*/
void lx_make_call(lua_State *L, LxReader *answer) {
  int is_refused;
  luaL_checkstack(L, 8, NULL);
  lx_send_message(L, answer);
  lx_get_array(L, answer);
  is_refused = lx_get_integer(L, answer) != 0;
  lx_state_confirm(L, is_refused);
  if (is_refused) raise_refusal(L, answer);
}

/* ---- the log ---- */

/* Logs `text`; `fields_index` is the stack index of a table of fields, or 0. */
void lx_log(lua_State *L, const char *level, const char *text, size_t len, int fields_index) {
  LxReader answer;
  check_not_finalizer(L);
  lx_begin_call(L, "log", 3);
  lx_put_string(L, &lx_message, level, strlen(level));
  lx_put_text(L, &lx_message, text, len, LX_INBOX_BYTES);
  if (fields_index == 0) lx_put_nil(L, &lx_message);
  else lx_put_value(L, &lx_message, fields_index, &(LxName){"fields", NULL, 0});
  lx_make_call(L, &answer);
}

/*
** Lua's warning function, off until warn("@on") as in the stock interpreter. It may be called in
** the middle of a collection, so it has a message of its own and never raises.
*/
void lx_warn(void *ud, const char *text, int to_be_continued) {
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
  if (len == 0) { /* [0, "log", "warning", text of 16-bit length, nil] */
    memcpy(line, "\x95\x00\xa3log\xa7warning\xda\0\0", 17);
    len = 17;
  }
  is_continued = to_be_continued;
  if (more > sizeof line - 1 - len) more = sizeof line - 1 - len;
  for (size_t i = 0; i < more; i++) line[len++] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
  if (to_be_continued) return;
  line[15] = (char)((len - 17) >> 8);
  line[16] = (char)(len - 17);
  line[len++] = (char)0xc0;
  if (is_on) lx_host_call(line, (int32_t)len, ignored, sizeof ignored);
  len = 0;
}

/* ---- what is no value ---- */

void lx_check_table(lua_State *L, int index) {
  for (int ref = LX_REF_STATE; ref <= LX_REF_FIELDS; ref++) {
    int same;
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    same = lua_rawequal(L, -1, index);
    lua_pop(L, 1);
    if (same) lx_refuse_value(L, "self and self.state are not values; copy what is needed");
  }
}

/* Handlers have no userdata of their own, */
int lx_put_userdata(lua_State *L, LxBuffer *b, int index) {
  (void)L, (void)b, (void)index;
  return 0;
}

/* and no contexts. */
int lx_push_extension(lua_State *L, uint8_t type, uint32_t content) {
  (void)L, (void)type, (void)content;
  return 0;
}

/* ---- methods ---- */

/* Checks that a method was called as self:method(...). */
void lx_check_self(lua_State *L) {
  int is_self;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_SELF);
  is_self = lua_rawequal(L, -1, 1);
  lua_pop(L, 1);
  if (!is_self) luaL_argerror(L, 1, "methods are called with a colon, as in self:call(...)");
  lx_check_callable(L);
}

/* Returns the text at `index`, an argument of a method. */
const char *lx_check_text(lua_State *L, int index, size_t *len) {
  const char *text = luaL_checklstring(L, index, len);
  if (!lx_is_utf8(text, *len)) luaL_argerror(L, index, "valid UTF-8 text expected");
  return text;
}

/* As lx_check_text; NULL when there is none. */
static const char *find_text(lua_State *L, int index, size_t *len) {
  *len = 0;
  return lua_isnoneornil(L, index) ? NULL : lx_check_text(L, index, len);
}

void lx_put_text_argument(lua_State *L, int index) {
  size_t len;
  const char *text = lx_check_text(L, index, &len);
  lx_put_string(L, &lx_message, text, len);
}

/* Writes the arguments from `first` to the top as one list. */
void lx_put_arguments(lua_State *L, int first) {
  int last = lua_gettop(L);
  lx_put_array(L, &lx_message, last >= first ? (size_t)(last - first + 1) : 0);
  for (int i = first; i <= last; i++)
    lx_put_value(L, &lx_message, i, &(LxName){"argument", NULL, (size_t)(i - first + 1)});
}

/* self:call(entity, handler, ...): joins this run's transaction. */
static int self_call(lua_State *L) {
  LxReader answer;
  lx_check_self(L);
  luaL_checkstring(L, 2);
  luaL_checkstring(L, 3);
  lx_begin_call(L, "call", 6);
  lx_put_text_argument(L, 2);
  lx_put_text_argument(L, 3);
  lx_put_arguments(L, 4);
  lx_state_put_used(L, &lx_message);
  lx_state_put_writes(L, &lx_message);
  lx_make_call(L, &answer);
  lua_settop(L, 0);
  lx_get_value(L, &answer);
  if (lx_get_bool(&answer)) lx_state_drop(L);
  return 1;
}

/* Pushes the first value of `answer`, nil when there is none. */
void lx_push_answer(lua_State *L, LxReader *answer) {
  if (answer->at == answer->end) lua_pushnil(L);
  else lx_get_value(L, answer);
}

/* self:request(entity, handler, ...): a request of its own, committed before it answers. */
static int self_request(lua_State *L) {
  LxReader answer;
  lx_check_self(L);
  lx_begin_call(L, "request", 3);
  lx_put_text_argument(L, 2);
  lx_put_text_argument(L, 3);
  lx_put_arguments(L, 4);
  lx_make_call(L, &answer);
  lua_settop(L, 0);
  lx_push_answer(L, &answer);
  return 1;
}

/* self:scan([prefix [, after]]) */
static int self_scan(lua_State *L) {
  LxArea area = {"", NULL, NULL, 0, 0, 0, 1};
  lx_check_self(L);
  if (!lua_isnoneornil(L, 2)) area.start = lx_check_text(L, 2, &area.start_len);
  area.after = find_text(L, 3, &area.after_len);
  return lx_scan(L, &area);
}

/* self:range(from, to [, after]): `from` included, `to` not; nil: from the first, to the last. */
static int self_range(lua_State *L) {
  LxArea area = {"", NULL, NULL, 0, 0, 0, 0};
  lx_check_self(L);
  if (!lua_isnoneornil(L, 2)) area.start = lx_check_text(L, 2, &area.start_len);
  area.end = find_text(L, 3, &area.end_len);
  area.after = find_text(L, 4, &area.after_len);
  return lx_scan(L, &area);
}

static int self_log(lua_State *L) {
  static const char *const levels[] = {"debug", "info", "warning", "error", NULL};
  size_t len;
  const char *text;
  int level;
  lx_check_self(L);
  lua_settop(L, 4);
  level = luaL_checkoption(L, 2, NULL, levels);
  text = luaL_tolstring(L, 3, &len);
  if (!lua_isnoneornil(L, 4)) luaL_checktype(L, 4, LUA_TTABLE);
  lx_log(L, levels[level], text, len, lua_istable(L, 4) ? 4 : 0);
  return 0;
}

/* self:now(): milliseconds since 1970 at the run's start. */
static int self_now(lua_State *L) {
  lx_check_self(L);
  lua_pushinteger(L, lx_now_ms);
  return 1;
}

static void push_usage(lua_State *L) {
  LxReader answer;
  lx_begin_call(L, "usage", 0);
  lx_make_call(L, &answer);
  lx_get_value(L, &answer);
}

static int self_usage(lua_State *L) {
  lx_check_self(L);
  push_usage(L);
  return 1;
}

/* Returns the run's fuel time, what os.clock gives; 0 while a module loads. */
double lx_fuel_seconds(lua_State *L) {
  double fuel = 0;
  if (lx_phase != LX_RUNNING) return 0;
  lx_check_callable(L);
  push_usage(L);
  if (lua_istable(L, -1) && lua_getfield(L, -1, "used") == LUA_TTABLE) {
    lua_getfield(L, -1, "fuel");
    fuel = lua_tonumber(L, -1);
  }
  return fuel * LX_SECONDS_PER_FUEL;
}

static int self_newindex(lua_State *L) {
  const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
  return luaL_error(L, "self.%s cannot be set; what must last goes into self.state", name);
}

static int self_tostring(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_FIELDS);
  lua_getfield(L, -1, "id");
  if (lua_isnil(L, -1)) lua_pushliteral(L, "self");
  return 1;
}

static const luaL_Reg methods[] = {
    {"call", self_call}, {"request", self_request}, {"scan", self_scan},   {"range", self_range},
    {"log", self_log},   {"now", self_now},         {"usage", self_usage}, {NULL, NULL}};

static const char *const set_by_runs[LX_FIELD_COUNT] = {"id", "caller", "request_id", "attempt"};
static Table *fields;
static TValue *field_slots[LX_FIELD_COUNT];

/* Sets a field of self to the value on top of the stack, and pops it. Nobody else can reach the
** table, so its slots stay where they were made and a run saves the search for them. */
void lx_set_field(lua_State *L, int field) {
  TValue *value = s2v(L->top.p - 1);
  setobj2t(L, field_slots[field], value);
  luaC_barrierback(L, obj2gco(fields), value);
  invalidateTMcache(fields);
  lua_pop(L, 1);
}

/* Makes `self`: an empty table whose metatable's __index is the table of fields and methods. */
void lx_open_self(lua_State *L) {
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, refusal_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "lithox.error");
  lua_setfield(L, -2, "__name");
  lua_rawseti(L, LUA_REGISTRYINDEX, LX_REF_REFUSAL);

  lua_newtable(L);
  lua_createtable(L, 0, 4);
  lua_createtable(L, 0, 32); /* room for all, so that field_slots stay where they are */
  luaL_setfuncs(L, methods, 0);
  luaL_setfuncs(L, lx_later_methods, 0);
  luaL_setfuncs(L, lx_big_methods, 0);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_STATE);
  lua_setfield(L, -2, "state");
  fields = hvalue(s2v(L->top.p - 1));
  for (int i = 0; i < LX_FIELD_COUNT; i++) {
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, set_by_runs[i]);
  }
  for (int i = 0; i < LX_FIELD_COUNT; i++)
    field_slots[i] = (TValue *)luaH_getstr(fields, luaS_new(L, set_by_runs[i]));
  lua_pushvalue(L, -1);
  lua_rawseti(L, LUA_REGISTRYINDEX, LX_REF_FIELDS);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, self_newindex);
  lua_setfield(L, -2, "__newindex");
  lua_pushcfunction(L, self_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  lua_rawseti(L, LUA_REGISTRYINDEX, LX_REF_SELF);
}
