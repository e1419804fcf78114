/*
** reader.c - MessagePack into Lua values, and the small values programs make themselves:
** lithox.null, lithox.list, lithox.bytes.
**
** What is read comes from the host, which checked it; the reader still never reads past its end.
*/
#include <stdlib.h>
#include <string.h>

#include "lx.h"

_Noreturn void lx_malformed(lua_State *L) {
  lx_restart_collector();
  luaL_error(L, "malformed message from the host");
  abort();
}

static uint64_t take_number(lua_State *L, LxReader *r, int n) {
  uint64_t number = 0;
  if (r->end - r->at < n) lx_malformed(L);
  for (int i = 0; i < n; i++) number = number << 8 | *r->at++;
  return number;
}

static const uint8_t *take_bytes(lua_State *L, LxReader *r, size_t len) {
  const uint8_t *bytes = r->at;
  if ((size_t)(r->end - r->at) < len) lx_malformed(L);
  r->at += len;
  return bytes;
}

static uint8_t take_type(lua_State *L, LxReader *r) {
  if (r->at == r->end) lx_malformed(L);
  return *r->at++;
}

/* Returns 1 and the length if `type` begins text (1) or bytes (2), else 0. */
static int string_length(lua_State *L, LxReader *r, uint8_t type, size_t *len) {
  if ((type & 0xe0) == 0xa0) {
    *len = type & 0x1f;
    return 1;
  }
  if (type >= 0xd9 && type <= 0xdb) {
    *len = (size_t)take_number(L, r, 1 << (type - 0xd9));
    return 1;
  }
  if (type >= 0xc4 && type <= 0xc6) {
    *len = (size_t)take_number(L, r, 1 << (type - 0xc4));
    return 2;
  }
  return 0;
}

/* Returns 1 (list) or 2 (map) and the count if `type` begins a container, else 0. */
static int container_count(lua_State *L, LxReader *r, uint8_t type, uint32_t *count) {
  int is_map = 0;
  if ((type & 0xf0) == 0x90 || (type & 0xf0) == 0x80) {
    *count = type & 0x0f;
    return (type & 0xf0) == 0x90 ? 1 : 2;
  }
  if (type < 0xdc || type > 0xdf) return 0;
  is_map = type >= 0xde;
  *count = (uint32_t)take_number(L, r, (type & 1) ? 4 : 2);
  return is_map ? 2 : 1;
}

/* Returns 1 and the integer if `type` begins one, else 0. */
static int integer_value(lua_State *L, LxReader *r, uint8_t type, int64_t *value) {
  if (type < 0x80 || type >= 0xe0) *value = (int8_t)type;
  else switch (type) {
    case 0xcc: *value = (int64_t)take_number(L, r, 1); break;
    case 0xcd: *value = (int64_t)take_number(L, r, 2); break;
    case 0xce: *value = (int64_t)take_number(L, r, 4); break;
    case 0xcf: *value = (int64_t)take_number(L, r, 8); break;
    case 0xd0: *value = (int8_t)take_number(L, r, 1); break;
    case 0xd1: *value = (int16_t)take_number(L, r, 2); break;
    case 0xd2: *value = (int32_t)take_number(L, r, 4); break;
    case 0xd3: *value = (int64_t)take_number(L, r, 8); break;
    default: return 0;
  }
  return 1;
}

int64_t lx_get_integer(lua_State *L, LxReader *r) {
  int64_t value;
  if (!integer_value(L, r, take_type(L, r), &value)) lx_malformed(L);
  return value;
}

int lx_get_bool(LxReader *r) {
  return r->at < r->end && *r->at++ == 0xc3;
}

/* Takes a nil if one is next. */
int lx_get_nil(LxReader *r) {
  if (r->at == r->end || *r->at != 0xc0) return 0;
  r->at++;
  return 1;
}

const char *lx_get_string(lua_State *L, LxReader *r, size_t *len) {
  if (!string_length(L, r, take_type(L, r), len)) lx_malformed(L);
  return (const char *)take_bytes(L, r, *len);
}

uint32_t lx_get_array(lua_State *L, LxReader *r) {
  uint32_t count;
  if (container_count(L, r, take_type(L, r), &count) != 1) lx_malformed(L);
  return count;
}

uint32_t lx_get_map(lua_State *L, LxReader *r) {
  uint32_t count;
  if (container_count(L, r, take_type(L, r), &count) != 2) lx_malformed(L);
  return count;
}

/* Steps over one value and returns where it began. */
const uint8_t *lx_skip(lua_State *L, LxReader *r) {
  const uint8_t *start = r->at;
  uint64_t left = 1;
  while (left-- > 0) {
    uint8_t type = take_type(L, r);
    size_t len;
    uint32_t count;
    int64_t ignored;
    int container;
    if (type == 0xc0 || type == 0xc2 || type == 0xc3) continue;
    if (type == 0xd6) take_bytes(L, r, 5);
    else if (type == 0xc7) { /* an extension of up to 255 bytes behind its type */
      len = (size_t)take_number(L, r, 1);
      take_bytes(L, r, len + 1);
    }
    else if (type == 0xcb || type == 0xca) take_bytes(L, r, type == 0xcb ? 8 : 4);
    else if (string_length(L, r, type, &len)) take_bytes(L, r, len);
    else if ((container = container_count(L, r, type, &count)) != 0)
      left += (uint64_t)count * (uint64_t)container;
    else if (!integer_value(L, r, type, &ignored)) lx_malformed(L);
  }
  return start;
}

/* Pushes an integer; where Lua has only doubles, one beyond 2^53 is rounded. */
void lx_push_integer(lua_State *L, int64_t value) {
#if LX_HAS_INTEGERS
  lua_pushinteger(L, value);
#else
  lua_pushnumber(L, (double)value);
#endif
}

static void get_any(lua_State *L, LxReader *r, int depth);

static void get_list(lua_State *L, LxReader *r, uint32_t count, int depth) {
  if (count > (size_t)(r->end - r->at)) lx_malformed(L);
  lua_createtable(L, (int)count, 0);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_LIST);
  lua_setmetatable(L, -2);
  for (uint32_t i = 1; i <= count; i++) {
    get_any(L, r, depth + 1);
    lua_rawseti(L, -2, (int)i);
  }
}

static void get_map(lua_State *L, LxReader *r, uint32_t count, int depth) {
  if (count > (size_t)(r->end - r->at)) lx_malformed(L);
  lua_createtable(L, 0, (int)count);
  for (uint32_t i = 0; i < count; i++) {
    size_t len;
    const char *key = lx_get_string(L, r, &len);
    lua_pushlstring(L, key, len);
    get_any(L, r, depth + 1);
    lua_rawset(L, -3);
  }
}

/* Pushes one value; nil inside a container is lithox.null, so that nothing is lost. */
static void get_any(lua_State *L, LxReader *r, int depth) {
  uint8_t type = take_type(L, r);
  int64_t integer;
  size_t len;
  uint32_t count;
  int kind;
  if (type == 0xc0) {
    if (depth > 0) lua_pushlightuserdata(L, NULL);
    else lua_pushnil(L);
  }
  else if (type == 0xc2 || type == 0xc3) lua_pushboolean(L, type == 0xc3);
  else if (integer_value(L, r, type, &integer)) lx_push_integer(L, integer);
  else if (type == 0xcb) {
    uint64_t bits = take_number(L, r, 8);
    double value;
    memcpy(&value, &bits, 8);
    lua_pushnumber(L, value);
  }
  else if ((kind = string_length(L, r, type, &len)) != 0) {
    const char *text = (const char *)take_bytes(L, r, len);
    if (kind == 2 && lx_is_utf8(text, len)) r->is_lossy = 1;
    lua_pushlstring(L, text, len);
  }
  else if ((kind = container_count(L, r, type, &count)) != 0) {
    if (depth == LX_DEPTH_MAX || !lua_checkstack(L, 6)) lx_malformed(L);
    if (kind == 1) get_list(L, r, count, depth);
    else get_map(L, r, count, depth);
  }
  else if (type == 0xd6) {
    uint8_t kind_of_extension = take_type(L, r);
    if (!lx_push_extension(L, kind_of_extension, (uint32_t)take_number(L, r, 4))) lx_malformed(L);
  }
  else lx_malformed(L);
}

void lx_get_value(lua_State *L, LxReader *r) {
  if (!lua_checkstack(L, 6)) lx_malformed(L);
  get_any(L, r, 0);
}

/* ---- lithox.null, lithox.list, lithox.bytes ---- */

static int null_tostring(lua_State *L) {
  lua_pushliteral(L, "null");
  return 1;
}

/* lithox.list([table]): marks a table as a list, so that it is one also when it is empty. */
static int make_list(lua_State *L) {
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    lua_newtable(L);
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_LIST);
  if (lua_getmetatable(L, 1)) {
    if (!lua_rawequal(L, -1, -2)) return luaL_argerror(L, 1, "it has a metatable of its own");
    lua_pop(L, 1);
  }
  lua_setmetatable(L, 1);
  return 1;
}

/* lithox.bytes(text): bytes outside, whatever they spell. */
static int make_bytes(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  void *bytes = lua_newuserdatauv(L, len, 0);
  memcpy(bytes, text, len);
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_BYTES);
  lua_setmetatable(L, -2);
  return 1;
}

static int bytes_tostring(lua_State *L) {
  const char *bytes = luaL_checkudata(L, 1, "lithox.bytes");
  lua_pushlstring(L, bytes, lua_rawlen(L, 1));
  return 1;
}

static int bytes_length(lua_State *L) {
  luaL_checkudata(L, 1, "lithox.bytes");
  lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
  return 1;
}

/* Returns the content of lithox.bytes, or NULL. */
static const void *find_bytes(lua_State *L, int index) {
  int same;
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) return NULL;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LX_REF_BYTES);
  same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same ? lua_touserdata(L, index) : NULL;
}

static int bytes_equal(lua_State *L) {
  const void *a = find_bytes(L, 1), *b = find_bytes(L, 2);
  lua_pushboolean(L, a != NULL && b != NULL && lua_rawlen(L, 1) == lua_rawlen(L, 2) &&
                         memcmp(a, b, lua_rawlen(L, 1)) == 0);
  return 1;
}

static const luaL_Reg bytes_methods[] = {
    {"__tostring", bytes_tostring}, {"__len", bytes_length}, {"__eq", bytes_equal}, {NULL, NULL}};

static const luaL_Reg lithox_functions[] = {
    {"list", make_list}, {"bytes", make_bytes}, {NULL, NULL}};

/* Makes the metatables and the global `lithox`. */
void lx_open_values(lua_State *L) {
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "lithox.list");
  lua_setfield(L, -2, "__name");
  lua_rawseti(L, LUA_REGISTRYINDEX, LX_REF_LIST);
  luaL_newmetatable(L, "lithox.bytes");
  luaL_setfuncs(L, bytes_methods, 0);
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_rawseti(L, LUA_REGISTRYINDEX, LX_REF_BYTES);
  luaL_newlib(L, lithox_functions);
  lua_pushlightuserdata(L, NULL);
  lua_createtable(L, 0, 3);
  lua_pushcfunction(L, null_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "lithox.null");
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  lua_setfield(L, -2, "null");
  lua_setglobal(L, "lithox");
}
