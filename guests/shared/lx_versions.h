/*
** lx_versions.h - the same words for all versions of Lua from 5.1 to 5.5.
**
** The shim is written for the C interface of 5.4; what an older one lacks is made here of what it
** has. Functions that return a value's type in 5.3 and later are used as if they returned nothing.
*/
#ifndef lx_versions_h
#define lx_versions_h

#include "lauxlib.h"
#include "lua.h"

/* Numbers of 5.1 and 5.2 are all doubles: whole ones cross the border as integers. */
#define LX_HAS_INTEGERS (LUA_VERSION_NUM >= 503)
/* Whole doubles beyond this are not exact. */
#define LX_WHOLE_MAX 9007199254740992.0

#if LUA_VERSION_NUM < 504
#define lua_newuserdatauv(L, bytes, values) lua_newuserdata(L, bytes)
#endif

#if LUA_VERSION_NUM == 501
#define LUA_OK 0
#define lua_rawlen(L, index) lua_objlen(L, index)
#define lua_absindex(L, index) \
  ((index) > 0 || (index) <= LUA_REGISTRYINDEX ? (index) : lua_gettop(L) + (index) + 1)
#define luaL_setfuncs(L, functions, upvalues) luaL_register(L, NULL, functions)
#define luaL_newlib(L, functions) (lua_newtable(L), luaL_register(L, NULL, functions))
#define luaL_loadbufferx(L, text, len, name, mode) luaL_loadbuffer(L, text, len, name)
#define LX_REGISTRY_FIRST 8 /* luaL_ref and the libraries use text keys and 0 */
#else
#define LX_REGISTRY_FIRST (LUA_RIDX_LAST + 2) /* luaL_ref keeps its list before it */
#endif

#endif
