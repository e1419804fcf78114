/*
** later.c - what a handler sets going for after its commit: self:send, and its timers.
**
** All of it commits with the run; the host bounds and checks what is asked.
*/
#include <string.h>

#include "lx.h"

static void put_name(lua_State *L, const char *name) {
  lx_put_string(L, &lx_message, name, strlen(name));
}

/* Sends lx_message; the answer's value is the method's. */
static int finish(lua_State *L) {
  LxReader answer;
  lx_make_call(L, &answer);
  lua_settop(L, 0);
  lx_push_answer(L, &answer);
  return 1;
}

/* self:send(entity, handler, ...) -> message id */
static int self_send(lua_State *L) {
  lx_check_self(L);
  lx_begin_call(L, "send", 3);
  lx_put_text_argument(L, 2);
  lx_put_text_argument(L, 3);
  lx_put_arguments(L, 4);
  return finish(L);
}

/* Sends [0, "schedule", {when: argument 2, handler: argument 3, args: the rest}]. */
static int set_timer(lua_State *L, const char *when, int is_text) {
  lx_check_self(L);
  lx_begin_call(L, "schedule", 1);
  lx_close(&lx_message, lx_open_map(L, &lx_message), 3);
  put_name(L, when);
  if (is_text) lx_put_text_argument(L, 2);
  else lx_put_integer(L, &lx_message, luaL_checkinteger(L, 2));
  put_name(L, "handler");
  lx_put_text_argument(L, 3);
  put_name(L, "args");
  lx_put_arguments(L, 4);
  return finish(L);
}

/* self:after(ms, handler, ...) -> timer id */
static int self_after(lua_State *L) {
  return set_timer(L, "after", 0);
}

/* self:at(ms since 1970, handler, ...) -> timer id */
static int self_at(lua_State *L) {
  return set_timer(L, "at", 0);
}

/* self:every(ms, handler, ...) -> timer id */
static int self_every(lua_State *L) {
  return set_timer(L, "every", 0);
}

/* self:cron(line, handler, ...) -> timer id */
static int self_cron(lua_State *L) {
  return set_timer(L, "cron", 1);
}

/* Writes the list of arguments on top of the stack: an empty table is an empty list. */
static void put_args_field(lua_State *L) {
  if (lua_istable(L, -1)) {
    lua_pushnil(L);
    if (!lua_next(L, -2)) {
      lx_put_array(L, &lx_message, 0);
      return;
    }
    lua_pop(L, 2);
  }
  lx_put_value(L, &lx_message, -1, &(LxName){"args", NULL, 0});
}

/* self:schedule{handler=, args=, after=|at=|every=|cron=, zone=, name=, missed=} -> timer id */
static int self_schedule(lua_State *L) {
  static const char *const known[] = {"handler", "args", "after", "at",     "every",
                                      "cron",    "zone", "name",  "missed", NULL};
  uint32_t count = 0;
  size_t mark;
  lx_check_self(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    const char *const *one = known;
    while (*one != NULL && strcmp(*one, name) != 0) one++;
    if (*one == NULL)
      return luaL_error(L, "a schedule has handler, args, one of after, at, every and cron, and "
                           "zone, name, missed; found '%s'", luaL_tolstring(L, -2, NULL));
  }
  lx_begin_call(L, "schedule", 1);
  mark = lx_open_map(L, &lx_message);
  for (const char *const *one = known; *one != NULL; one++) {
    lua_pushstring(L, *one);
    lua_rawget(L, 2);
    if (!lua_isnil(L, -1)) {
      put_name(L, *one);
      if (strcmp(*one, "args") == 0) put_args_field(L);
      else lx_put_value(L, &lx_message, -1, &(LxName){*one, NULL, 0});
      count++;
    }
    lua_settop(L, 2);
  }
  lx_close(&lx_message, mark, count);
  return finish(L);
}

/* self:cancel(id) -> whether there was such a timer */
static int self_cancel(lua_State *L) {
  lx_check_self(L);
  lx_begin_call(L, "cancel", 1);
  lx_put_text_argument(L, 2);
  return finish(L);
}

/* self:timers([after]) -> list of timers by id, whether there are more */
static int self_timers(lua_State *L) {
  LxReader answer;
  lx_check_self(L);
  lua_settop(L, 2);
  lx_begin_call(L, "timers", 1);
  if (lua_isnil(L, 2)) lx_put_nil(L, &lx_message);
  else lx_put_text_argument(L, 2);
  lx_make_call(L, &answer);
  lua_settop(L, 0);
  lx_push_answer(L, &answer);
  lua_pushboolean(L, lx_get_bool(&answer));
  return 2;
}

const luaL_Reg lx_later_methods[] = {
    {"send", self_send},     {"after", self_after}, {"at", self_at},
    {"every", self_every},   {"cron", self_cron},   {"schedule", self_schedule},
    {"cancel", self_cancel}, {"timers", self_timers}, {NULL, NULL}};
