/*
** events.c - sys.pull: the next event as a table.
**
** An answer [0, contexts, type, ...] becomes {type = type, ...}: the fields below, in the order in
** which they come. Field names stand in the upvalues, so that none is looked up while a table is
** built.
*/
#include <string.h>

#include "lx.h"

/* Upvalues of sys.pull: the names of fields. */
enum {
  NO_FIELD,
  TYPE,
  CID,
  CTX,
  NAME,
  PID,
  STATUS,
  QUEUE,
  MISSED,
  CODE,
  MESSAGE,
  N,
  ARGS, /* this and the next are lists with a count: {n = count, ...} */
  VALUES,
  FIELD_COUNT = VALUES
};

static const char *const names[FIELD_COUNT] = {"type",   "cid",  "ctx",     "name", "pid",
                                               "status", "queue", "missed", "code", "message",
                                               "n",      "args", "values"};

#define FIELDS_MAX 5

static const struct {
  const char *type;
  uint8_t fields[FIELDS_MAX + 1];
} events[] = {
    {"call", {CID, CTX, NAME, PID, ARGS}},
    {"answer", {CID, STATUS, ARGS}},
    {"open", {CTX, PID}},
    {"close", {CTX, PID}},
    {"message", {CTX, QUEUE, PID, ARGS, MISSED}},
    {"exit", {PID, STATUS, CODE, MESSAGE, VALUES}},
};

#define EVENT_COUNT (sizeof events / sizeof *events)

/* Pushes {n = count, ...}; an element nil is a hole. */
static void push_list(lua_State *L, LxReader *r) {
  uint32_t count = lx_get_array(L, r);
  if (count > (size_t)(r->end - r->at)) lx_malformed(L);
  lua_createtable(L, (int)count, 1);
  lua_pushvalue(L, lua_upvalueindex(N));
  lx_push_integer(L, count);
  lua_rawset(L, -3);
  for (uint32_t i = 1; i <= count; i++) {
    lx_get_value(L, r);
    lua_rawseti(L, -2, (int)i);
  }
}

/* Pushes the event of `count` values that comes next, the type among them. */
static void push_event(lua_State *L, LxReader *r, uint32_t count) {
  size_t len, event = 0;
  const char *type = lx_get_string(L, r, &len);
  while (event < EVENT_COUNT &&
         (strlen(events[event].type) != len || memcmp(events[event].type, type, len) != 0))
    event++;
  if (event == EVENT_COUNT) lx_malformed(L);
  lua_createtable(L, 0, (int)count);
  lua_pushvalue(L, lua_upvalueindex(TYPE));
  lua_pushlstring(L, type, len);
  lua_rawset(L, -3);
  for (uint32_t i = 0; i < FIELDS_MAX && i + 1 < count && events[event].fields[i]; i++) {
    int field = events[event].fields[i];
    lua_pushvalue(L, lua_upvalueindex(field));
    if (field >= ARGS) push_list(L, r);
    else lx_get_value(L, r);
    lua_rawset(L, -3);
  }
}

static void check_running(lua_State *L) {
  if (lx_phase != LX_RUNNING)
    luaL_error(L, "system calls are there in a run only, not while a program is loaded");
  luaL_checkstack(L, 16, "system call");
}

/* Sends the message; returns the event that answers it, nil, or nil, status, values. */
static int receive(lua_State *L) {
  LxReader answer;
  uint32_t count;
  lx_call_host(L, &answer);
  lua_settop(L, 0);
  lua_pushnil(L);
  count = lx_open_answer(L, &answer);
  if (lua_tonumber(L, 2) != 0) {
    if (!lua_checkstack(L, (int)count + 8)) lx_malformed(L);
    for (uint32_t i = 0; i < count; i++) lx_get_value(L, &answer);
    lx_restart_collector();
    return (int)count + 2;
  }
  if (count == 0) lua_settop(L, 1);
  else push_event(L, &answer, count);
  lx_restart_collector();
  return 1;
}

/* sys.pull(timeout_ms | nil) -> event | nil, or nil, status, code, message when it is refused. */
static int pull(lua_State *L) {
  check_running(L);
  lua_settop(L, 1);
  lx_stop_collector(L);
  lx_begin_shared(0);
  lx_begin_message(L, "pull", 4, 4);
  lx_put_value(L, &lx_message, 1, &(LxName){"argument", NULL, 1});
  return receive(L);
}

/* sys.reply(cid, status, timeout, ...) -> as sys.pull: answers a call and takes the next event, in
** one round through the host. */
static int reply(lua_State *L) {
  int last;
  check_running(L);
  if (lua_gettop(L) < 3) lua_settop(L, 3);
  last = lua_gettop(L);
  lx_stop_collector(L);
  lx_begin_shared(1);
  lx_begin_message(L, "reply", 5, 7);
  lx_put_arguments(L, 1, 3);
  lx_put_array(L, &lx_message, (size_t)last - 3);
  lx_put_arguments(L, 4, last);
  return receive(L);
}

/* Adds `pull` and `reply` to the table sys. */
void lx_open_events(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_SYS);
  for (int i = 0; i < FIELD_COUNT; i++) lua_pushstring(L, names[i]);
  lua_pushcclosure(L, pull, FIELD_COUNT);
  lua_setfield(L, -2, "pull");
  for (int i = 0; i < FIELD_COUNT; i++) lua_pushstring(L, names[i]);
  lua_pushcclosure(L, reply, FIELD_COUNT);
  lua_setfield(L, -2, "reply");
  lua_pop(L, 1);
}
